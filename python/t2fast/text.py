"""Text that people read in a terminal: aligned columns, wrapped warnings, near names; 80 columns wide."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["WIDTH", "columns", "near", "printable", "warning_lines", "wrapped"]

WIDTH = 80


def columns(rows: Sequence[Sequence[str]], left: Iterable[int] = (0,)) -> list[str]:
    """Align rows of text into columns, right-justified except those in ``left``.

    Examples
    --------
    >>> columns([["", "k"], ["best", "8"], ["next", "16"]])
    ['       k', 'best   8', 'next  16']
    """
    left = frozenset(left)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    row = "  ".join(f"{{:{'<' if place in left else '>'}{width}}}" for place, width in enumerate(widths))
    return [row.format(*cells).rstrip() for cells in rows]


def wrapped(text: str, indent: str = "") -> list[str]:
    """Break a long line; what follows the first is indented by two more.

    Examples
    --------
    >>> wrapped("short")
    ['short']
    """
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")


def warning_lines(warnings: Iterable[str], indent: str = "") -> list[str]:
    """Mark each warning with an exclamation mark and wrap it.

    Examples
    --------
    >>> warning_lines(["the law does not know its data"])
    ['! the law does not know its data']
    """
    return [
        line
        for text in warnings
        for line in textwrap.wrap(text, WIDTH, initial_indent=f"{indent}! ", subsequent_indent=f"{indent}  ")
    ]


def printable(text: str) -> str:
    r"""A line without what would steer a terminal: control characters, as a file may hold, become their escapes.

    Examples
    --------
    >>> printable("model\x1b[2J")
    'model\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one == " " else ascii(one)[1:-1] for one in text)


def near(word: str, words: Iterable[str]) -> str:
    """End an error message about an unknown word: the nearest known ones, or all of them.

    Examples
    --------
    >>> near("pythia-gsm8", ["pythia-gsm8k", "hoffmann"])
    'did you mean pythia-gsm8k?'
    >>> near("?", ["a", "b"])
    'known: a, b'
    """
    words = list(words)
    found = difflib.get_close_matches(word, words, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(found)}?" if found else f"known: {', '.join(words)}"
