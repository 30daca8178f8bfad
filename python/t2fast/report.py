"""How results print themselves: aligned columns and wrapped warnings, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

__all__ = ["columns", "warning_lines"]

WIDTH = 80


def columns(rows: Sequence[Sequence[str]], left: Iterable[int] = (0,)) -> list[str]:
    """Align rows of text into columns, right-justified except those in ``left``."""
    left = frozenset(left)
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = (
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    return lines


def warning_lines(warnings: Iterable[str]) -> list[str]:
    """Mark and wrap warnings."""
    return [line for text in warnings for line in textwrap.wrap(f"! {text}", WIDTH, subsequent_indent="  ")]
