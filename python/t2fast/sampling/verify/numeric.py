r"""Comparing the final numbers of texts; a number is read with all that belongs to it, or not at all."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

from t2fast.errors import T2Error
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify.answers import (
    after_reasoning,
    before_run_on,
    end_of,
    marked,
    plain_latex,
    without_emphasis,
)
from t2fast.sampling.verify.verdict import reference

__all__ = ["Numeric", "final_number", "is_number", "read_number"]

#: Digits that a number may have, and the size of its exponent: far beyond any answer, far below what takes time.
_MOST_DIGITS, _MOST_EXPONENT = 4000, 4000

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d{1,3}(?: \d{3})+(?! ?\d)|\d+)(?:\.\d+)?|\.\d+"
_SCALE = r"(?:[eE][-+]?\d+(?!\w)|\s*\\times\s*10\s*\^\s*(?:\{\s*[-+]?\d+\s*\}|[-+]?\d))"
_PLAIN = rf"(?:{_DIGITS}){_SCALE}?"
_OVER = (
    r"\\[dtc]?frac\s*(?:\{\s*(?P<top>[-\d.,]+)\s*\}|(?P<top1>\d))\s*(?:\{\s*(?P<bottom>[-\d.,]+)\s*\}|(?P<bottom1>\d))"
)
#: A number with all that belongs to it: 1,234.5, 3 1/2, 2/3, \frac{2}{3}, 1\frac{1}{2}, 6.02 \times 10^{23}.
_NUMBER = re.compile(
    rf"(?:(?P<whole>\d+)\s*)?{_OVER}|(?P<mixed>\d+)(?: +|\s*-\s*)(?P<a>\d+) ?/ ?(?P<b>\d+)"
    rf"|(?P<n>{_PLAIN})(?:\s*/\s*(?P<d>{_PLAIN}))?"
)
_CURRENCY = r"(?:\\?\$|[\u20ac\u00a3\u00a5\u20b9]|USD|EUR|GBP|US\$|Rs\.?|INR)"
#: Before a number: a sign that is none of a difference's, and a currency, either one first.
_BEFORE = re.compile(rf"(?:(?P<sign>[-+])\s?)?(?:{_CURRENCY}\s*)?(?P<sign2>[-+])?\Z")
#: One-letter units; other single letters after a number are variables.
_UNITS = "mgshlLAVWJNKCFTBk"
_UNIT = re.compile(
    rf"\s*(?:%|\\%|\^\s*\\circ|\^\s*\{{\s*\\circ\s*\}}|\\degrees?|[A-Za-z]{{2,}}\.?|[{_UNITS}]\b)"
    r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d)|\d(?!\d))?(?:\s*(?:/|per\b)\s*[A-Za-z]+(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d)|\d)?)?"
)
#: What makes a number part of something larger, on its left and on its right.
_LEFT = re.compile(
    r"(?:[\w)\]}!]\s*[-+*/^]|\d\s*:|[*/^_\u221a&|]|\\(?:cdot|times|div|sqrt|pm|log|ln|pi|sin|cos|tan|le|ge|lt|gt|ne|binom|frac|equiv|pmod)\b\s*\{?"
    r"|[<>\u2264\u2265\u2260]=?|\bsqrt\s*\(?|(?<![\w\\])[A-Za-z]\s?\(|\w[-_]|(?<![a-zA-Z])[a-zA-Z]|[A-Za-z]{2,}(?=\Z)|\d[.,]|\d\s*\()\s*\Z"
)
_RIGHT = re.compile(
    r"\s*(?:[*/^!_&|]|[-+]\s*[\w\\(.]|:\s*\d|\\(?:cdot|times|div|sqrt|pm|pi|binom|frac|log|ln|cup|pmod)\b|\\[dt]frac"
    r"|\s?\(\s*[\w\\]+\s*[-+*/^)]|[<>\u2264\u2265\u2260])|[.,]\d"
)
#: A letter directly after a number, but for units and "a": 2x, 3 n.
_VARIABLE = re.compile(rf"\s*(?![{_UNITS}]\b)[A-Za-z](?![A-Za-z])(?<!\sa)")
_LIST = re.compile(r"[\[({]\s*(?:[-\d.\s/]+,\s*)+\Z")
_CHANGES = {",\\!": ",", "{,}": ",", "\\!": "", "\\,": " ", "\\;": " ", "\\:": " ", "\\ ": " ", "~": " "}


def _simple(text: str) -> str:
    """The text with one spelling for signs, spaces and LaTeX's dressing."""
    text = unicodedata.normalize("NFKC", plain_latex(text))
    text = re.sub(r"<<[^<>]*>>", "", text)  # GSM8K's calculator
    text = text.replace("\u2212", "-").replace("\u2013", "-").replace("\u2044", "/")
    for old, new in _CHANGES.items():
        text = text.replace(old, new)
    text = re.sub(r"\\(?:left|right|displaystyle|,)\b\s*", "", text)
    # Units in \text{} are words; so are answers.
    return re.sub(r"\\(?:text|mathrm|textbf|mathbf|textit|mbox|operatorname)\s*\{([^{}]*)\}", r" \1 ", text)


def _value(found: re.Match[str]) -> Fraction | None:
    def number(text: str) -> Fraction:
        text = text.replace(",", "").replace(" ", "")
        text = re.sub(r"\\times10\^\{?([-+]?\d+)\}?", r"e\1", text)
        digits, _, exponent = text.lower().partition("e")
        if len(digits) > _MOST_DIGITS or len(exponent) > 5 or abs(int(exponent or 0)) > _MOST_EXPONENT:
            raise ValueError
        return Fraction(text)

    try:
        if found["n"] is not None:
            return number(found["n"]) / (number(found["d"]) if found["d"] else 1)
        if found["a"] is not None:
            return number(found["mixed"]) + number(found["a"]) / number(found["b"])
        part = number(found["top"] or found["top1"]) / number(found["bottom"] or found["bottom1"])
        return number(found["whole"]) + part if found["whole"] else part
    except (ValueError, ZeroDivisionError):
        return None


def _numbers(text: str) -> list[tuple[int, int, Fraction | None, bool]]:
    """Where the numbers of a simplified text begin and end, what they are (``None``: part of more), and if in percent.

    Exponents of units and digits of names are no numbers of their own.
    """
    out: list[tuple[int, int, Fraction | None, bool]] = []
    end = 0
    for found in _NUMBER.finditer(text):
        if found.start() < end:
            continue
        start, end = found.span()
        value = _value(found)
        before = _BEFORE.search(text, max(0, start - 8), start)
        left = text[max(0, start - 60) : before.start() if before else start]
        negative = before is not None and "-" in (before["sign"] or "", before["sign2"] or "")
        sign = before is not None and bool(before["sign"] or before["sign2"])
        if sign and re.search(r"[\w)\]}]\Z", left):
            value = None  # a difference, a range, a date, a name such as COVID-19
        elif sign and re.search(r"\d\s*\Z", left):
            value = None
        elif negative and re.search(r"(?:^|\n)\s*\Z", left) and (before["sign"] or "") and text[start - 1] == " ":  # type: ignore[index]
            negative = False  # the dash of a list
        elif negative and re.search(r"[A-Za-z]\s+\Z", left) and before["sign"] and text[start - 1] == " ":  # type: ignore[index]
            negative = False  # a dash between words and a number
        if value is not None and (_LEFT.search(left) or _LIST.search(left)):
            value = None
        unit = _UNIT.match(text, end)
        rest = unit.end() if unit else end
        percent = unit is not None and "%" in unit[0]
        if value is not None and (_RIGHT.match(text, rest) or (unit is None and _VARIABLE.match(text, rest))):
            value = None
        if unit:
            end = unit.end()
        out.append(
            (before.start() if before else start, end, -value if value is not None and negative else value, percent)
        )
    return out


def read_number(text: str) -> tuple[Fraction, bool] | None:
    r"""The value of a text that is one number, perhaps with a currency, a unit or a name before an equals sign.

    Returns it with whether it is in percent; ``None`` for anything more.

    Examples
    --------
    >>> read_number(r"x = \$70{,}000")
    (Fraction(70000, 1), False)
    >>> read_number("11 5/6")
    (Fraction(71, 6), False)
    >>> read_number("2x + 1") is None
    True
    """
    text = _simple(without_emphasis(text)).strip().strip("$").strip()
    text = re.sub(r"^(?:[A-Za-z](?:_\{?\w+\}?)?|[A-Za-z ]{2,30})\s*(?:=|:)\s*(?=[^=]*$)", "", text)
    text = re.sub(r"^(?:about|approximately|\\approx|~|exactly)\s+", "", text)
    numbers = _numbers(text)
    if len(numbers) != 1 or numbers[0][2] is None:
        return None
    start, end, value, percent = numbers[0]
    if text[:start].strip() or text[end:].strip(" .,!$"):
        return None
    assert value is not None
    return value, percent


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else."""
    return read_number(text) is not None


#: "The answer is 72": what stands directly after it.
_DIRECTLY = re.compile(
    r"\banswer\b[^.\n]{0,40}?(?:\bis|=|:)[ \t]*:?\s*"
    r"(?=(?:[-+]\s?)?(?:\\?\$|\\\(|\\\[|[\u20ac\u00a3])*\s*[-+]?(?:\.?\d|\\[dt]?frac))",
    re.IGNORECASE,
)


def _final(text: str) -> tuple[Fraction, bool] | None:
    text = end_of(before_run_on(after_reasoning(text)))
    found = marked(text)
    if found is not None:
        whole = read_number(found)
        if whole is not None or "####" not in text or "\\boxed" in text:
            return whole
        first = _numbers(_simple(found))
        return (first[0][2], first[0][3]) if first and first[0][2] is not None else None
    plain = _simple(without_emphasis(text))
    numbers = _numbers(plain)
    if not numbers:
        return None
    chosen = numbers[-1]
    for mark in reversed(list(_DIRECTLY.finditer(plain))):
        after = [one for one in numbers if one[1] > mark.end()]
        # An equation goes on after its first number.
        if after and after[0][2] is not None and not re.match(r"\s*\$?\s*=", plain[after[0][1] :]):
            chosen = after[0]
            break
    return (chosen[2], chosen[3]) if chosen[2] is not None else None


def final_number(text: str) -> Fraction | None:
    r"""The number that a text gives as its answer; ``None`` where it gives none, or where it is part of more.

    Examples
    --------
    >>> final_number("40 + 32 = 72")
    Fraction(72, 1)
    >>> final_number("40 + 32") is None
    True
    """
    found = _final(text)
    return None if found is None else found[0]


def same_number(one: tuple[Fraction, bool], other: tuple[Fraction, bool]) -> bool:
    """Whether two numbers are equal; where one is in percent, it may mean a hundredth."""
    (a, a_percent), (b, b_percent) = one, other
    return a == b or (a_percent != b_percent and (a / 100 == b if a_percent else a == b / 100))


@dataclass(frozen=True)
class Numeric:
    r"""The number that the text gives as its answer equals the answer's, exactly.

    It is the number after ``####`` (as GSM8K is judged) or in the last ``\boxed{}``, else the one directly after "the
    answer is", else the last of the text. A number is read with all that belongs to it: ``1,234.5``, ``11 5/6``,
    ``\frac{2}{3}``, ``70{,}000``, ``$5``, ``18 km^2``; 72, 72.0 and $72 are equal. A number that is part of more
    (``2x + 1``, ``10 - 3``, a date, a tuple) is no match.

    Examples
    --------
    >>> from t2fast.sampling import Prompt
    >>> Numeric()(Prompt("q", "8 x 9?", answer="#### 72"), "8 x 9 = 72, so the answer is $72.")
    True
    >>> Numeric()(Prompt("q", "?", answer="3"), "The answer is 2/3")
    False
    """

    def __call__(self, prompt: Prompt, text: str) -> bool:
        """Compare."""
        answer = reference(prompt)
        wanted = _final(answer)
        if wanted is None:
            raise T2Error(f"prompt {prompt.id!r}: its answer {prompt.answer!r} holds no number")
        if text.strip() == answer.strip():
            return True
        found = _final(text)
        return found is not None and same_number(found, wanted)
