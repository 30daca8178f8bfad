r"""Where in a text its final answer stands, as models write: boxed, marked, stated, or simply last.

What precedes ``</think>`` is no answer, nor is what a base model goes on to ask itself after answering.
"""

from __future__ import annotations

import re

__all__ = [
    "REASONING_END",
    "after_reasoning",
    "before_run_on",
    "boxed",
    "end_of",
    "final_answer",
    "marked",
    "plain_latex",
    "stated",
    "without_emphasis",
]

#: What ends the reasoning part of most models that have one.
REASONING_END = "</think>"

#: Characters of a box that is looked at; longer ones hold no answer.
_LONGEST = 4000
_TAIL = 20_000
#: A line that begins a new question, a turn of the other side, or an end mark that was not decoded away.
_RUN_ON = re.compile(
    r"^[ \t>*#_]*(?:(?:next |new |another )?(?:question|problem|exercise|human|user|q)"
    r"[ \t]*(?:\#?\d+)?[ \t]*[:.)][*_]*(?=\s|$|\w)"
    r"|\#+ *(?:instruction|question|problem|exercise|user|human)\b)"
    r"|<\|(?:im_end|im_start|eot_id|endoftext|end|user|eom_id|start_header_id)\|>|<\|?/?(?:s|eos|end_of_turn)\|?>",
    re.IGNORECASE | re.MULTILINE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\b\s*")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,;.&]|\\[,;: ]|\\quad|\\qquad|\\\(|\\\)|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b)*"
)
_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL)
_STATED = re.compile(
    r"\b(?:(?:correct|right|final|best|simplified|exact|required|desired)\s+)?"
    r"(?:answer|result|solution|option|choice)s?\b(?:\s+(?:to|for|of)\s+[^.:\n=]{1,80}?)?"
    r"(?:\s+(?:is|are|was|must be|should be|would be|equals)\b|\s*(?:=|:|\u2192))"
    r"[ \t]*(?:therefore|thus|then|indeed|simply|just)?[ \t]*:?",
    re.IGNORECASE,
)
_MATHS = re.compile(
    r"\$\$(.{1,2000}?)\$\$|(?<!\\)\$(.{1,2000}?)(?<!\\)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL
)
_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{2,3}|`+)(?=\S)(.{1,300}?)(?<=\S)\1(?![\w*])", re.DOTALL)


def after_reasoning(text: str, end: str = REASONING_END) -> str:
    """What follows the reasoning part; all of a text that has none.

    Examples
    --------
    >>> after_reasoning("<think>4? No, 5.</think>The answer is 5.")
    'The answer is 5.'
    """
    return text.rpartition(end)[2]


def end_of(text: str) -> str:
    """The last 20,000 characters of a text, from a blank on: no model is at its final answer for longer."""
    if len(text) <= _TAIL:
        return text
    blank = re.compile(r"\s").search(text, len(text) - _TAIL)
    return text[blank.end() :] if blank else ""


def before_run_on(text: str) -> str:
    r"""What precedes the next question, where a model asks and answers on after its answer.

    Examples
    --------
    >>> before_run_on("The answer is 5.\n\nQuestion: What is 2 + 2?\nThe answer is 4.")
    'The answer is 5.\n\n'
    """
    for mark in _RUN_ON.finditer(text):
        if text[: mark.start()].strip():
            return text[: mark.start()]
    return text


def _group(text: str, start: int) -> tuple[str, int] | None:
    """The content of the braces that open at ``start``, and where they end."""
    depth = 0
    for place in range(start, min(len(text), start + _LONGEST)):
        if text[place] == "\\":
            continue
        escaped = place > 0 and text[place - 1] == "\\"
        if text[place] == "{" and not escaped:
            depth += 1
        elif text[place] == "}" and not escaped:
            depth -= 1
            if depth == 0:
                return text[start + 1 : place], place + 1
    return None


def boxed(text: str) -> str | None:
    r"""The content of the last ``\boxed{}``; of several side by side, all of them; ``None`` without one.

    Examples
    --------
    >>> boxed(r"not \boxed{1}, but \boxed{\frac{1}{2}}.")
    '\\frac{1}{2}'
    >>> boxed(r"$\boxed{1}$ and $\boxed{2}$")
    '1, 2'
    """
    found: list[tuple[str, int, int]] = []
    end = 0
    for mark in _BOX.finditer(text):
        if mark.start() < end:
            continue  # a box within a box
        if text[mark.end() : mark.end() + 1] == "{":
            inside = _group(text, mark.end())
            if inside is None:
                continue  # cut off within the box
            content, end = inside
        else:
            rest = text[mark.end() :]
            content = re.split(r"[$\n]|\\[)\]]", rest, maxsplit=1)[0]
            end = mark.end() + len(content)
        found.append((content.strip(), mark.start(), end))
    if not found:
        return None
    last = [found[-1]]
    for one in reversed(found[:-1]):
        between = text[one[2] : last[0][1]]
        if "\n\n" in between or not between.strip(" $") or not _BETWEEN_BOXES.fullmatch(between):
            break
        last.insert(0, one)
    inner = ", ".join(content for content, *_ in last)
    nested = boxed(inner)
    return inner if nested is None else nested


def marked(text: str) -> str | None:
    """What an unmistakable mark says is the answer: the last box, the text after the first ``####``, or a tag."""
    box = boxed(text)
    if box is not None:
        return box
    _, hashes, rest = text.partition("####")
    if hashes:
        return rest.strip().split("\n", 1)[0].strip()
    tags = _TAGGED.findall(text)
    return tags[-1].strip() if tags else None


def without_emphasis(text: str) -> str:
    """A text without Markdown's bold, italic and code marks."""
    for _ in range(3):
        text, changed = _EMPHASIS.subn(r"\2", text)
        if not changed:
            break
    return text


def _first_sentence(text: str) -> str:
    """The first line with something in it, to the end of its sentence."""
    line = next((line.strip() for line in text.split("\n") if line.strip(" *_$>")), "")
    return re.split(r"(?<=[^\d\s])[.!?](?=\s|$)|(?<=\d)[.!?](?=\s+\D|\s*$)", line, maxsplit=1)[0].strip()


def _only_maths(text: str) -> str:
    """The formulas of a sentence, if it has any."""
    formulas = [next(part for part in found if part) for found in _MATHS.findall(text)]
    return ", ".join(one.strip() for one in formulas) if formulas else text


def stated(text: str) -> str | None:
    """What the last "the answer is ..." of a text says; ``None`` where nothing is said so."""
    plain = without_emphasis(text)
    for mark in reversed(list(_STATED.finditer(plain))):
        rest = plain[mark.end() :]
        displayed = re.match(r"\s*(?:\$\$|\\\[)(.+?)(?:\$\$|\\\])", rest, re.DOTALL)
        said = displayed[1].strip() if displayed else _first_sentence(rest)
        if said:
            return _only_maths(said)
    return None


def final_answer(text: str) -> str:
    r"""The final answer of a text: marked, else stated, else its last formula, else its last line.

    Examples
    --------
    >>> final_answer("Adding up, we find $x = 5$.\n\n**Final answer:** 5 apples")
    '5 apples'
    >>> final_answer(r"so \[ x = \frac{1}{2}. \]")
    'x = \\frac{1}{2}.'
    """
    text = end_of(before_run_on(after_reasoning(text)))
    found = marked(text)
    if found is None:
        found = stated(text)
    if found is None:
        last = next((part for part in reversed(re.split(r"\n\s*\n", without_emphasis(text))) if part.strip()), "")
        formulas = [next(part for part in one if part) for one in _MATHS.findall(last)]
        found = formulas[-1] if formulas else last.strip().split("\n")[-1]
    return found.strip()


_SYMBOLS = {
    "\u2212": "-", "\u2013": "-", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u00f7": "/",
    "\u2215": "/", "\u2044": "/", "\u03c0": r"\pi ", "\u221e": r"\infty ", "\u222a": r"\cup ", "\u2229": r"\cap ",
    "\u2264": r"\le ", "\u2265": r"\ge ", "\u2260": r"\ne ", "\u00b1": r"\pm ", "\u00b0": r"^\circ ", "\u2208": r"\in ",
    "\u03b1": r"\alpha ", "\u03b2": r"\beta ", "\u03b8": r"\theta ", "\u2205": r"\emptyset ", "\u211d": r"\mathbb{R}",
    "\u2248": r"\approx ", "\u202f": " ", "\u2009": " ", "\u00a0": " ", "\u3000": " ", "\u200b": "",
    "\u00bd": r"\frac{1}{2}", "\u2153": r"\frac{1}{3}", "\u2154": r"\frac{2}{3}", "\u00bc": r"\frac{1}{4}",
    "\u00be": r"\frac{3}{4}",
}  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ⁿ", "0123456789-+n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))


def plain_latex(text: str) -> str:
    r"""A formula with its symbols in LaTeX's ASCII, and without marks that mean nothing.

    Examples
    --------
    >>> plain_latex("3π × 10²")
    '3\\pi \\times 10^{2}'
    """
    for signs, command in ((_RAISED, "^"), (_LOWERED, "_")):
        pattern = "[" + "".join(signs) + "]+"
        text = re.sub(pattern, lambda m, s=signs, c=command: f"{c}{{{''.join(s[x] for x in m[0])}}}", text)  # type: ignore[misc]
    for sign, command in _SYMBOLS.items():
        text = text.replace(sign, command)
    text = re.sub("\u221a\\s*(\\d+(?:\\.\\d+)?|[a-z]|(?=\\())", lambda m: rf"\sqrt{{{m[1]}}}" if m[1] else "sqrt", text)
    return text.translate({full: chr(full - 0xFEE0) for full in range(0xFF01, 0xFF5F)})
