"""Columns that say how answers were chosen: pass@k, votes and best scores are not one quantity, and are not mixed."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from t2fast.data.tables import Table
from t2fast.errors import DataError

__all__ = ["NAMES", "OneRule", "is_named", "one_rule", "rule_of"]

#: What such columns are called, in lower case and with underscores.
NAMES = ("metric", "metric_name", "rule", "select", "selected_by", "selection", "aggregation", "estimator")

#: Words that name a way to choose an answer, without their k, as letters alone.
_WORDS = {
    "pass": "pass@k", "any": "pass@k", "anycorrect": "pass@k", "coverage": "pass@k",
    "maj": "a vote", "majority": "a vote", "majorityvote": "a vote", "vote": "a vote", "plurality": "a vote",
    "cons": "a vote", "consensus": "a vote", "selfconsistency": "a vote",
    "bestof": "the best score", "bon": "the best score", "bestscore": "the best score",
    "verifier": "a verifier", "passhat": "pass^k", "gpass": "G-pass@k", "max": "the highest score",
}  # fmt: skip
_K = re.compile(r"(?:[@^_ =-]*(?:\d+|[kn]))?$")


def is_named(name: str) -> bool:
    """Whether a column goes by one of :data:`NAMES`."""
    return re.sub(r"[^0-9a-z]+", "_", name.strip().lower()).strip("_") in NAMES


def rule_of(value: Any) -> str | None:
    """What a cell says of how answers were chosen, such as ``"pass@k"`` or ``"a vote"``; ``None`` where nothing.

    Examples
    --------
    >>> rule_of("Maj@8"), rule_of("pass^4"), rule_of("exact_match")
    ('a vote', 'pass^k', None)
    """
    text = str(value).strip().lower()
    if re.fullmatch(r"pass\^(\d+|k)", text):
        return "pass^k"
    return _WORDS.get(re.sub(r"[^a-z]", "", _K.sub("", text))) or _WORDS.get(re.sub(r"[^a-z]", "", text))


class OneRule:
    """Watches the cells of such columns go by, and refuses a second rule.

    Examples
    --------
    >>> watch = OneRule("keep one")
    >>> watch.see("metric", "pass@8", 2)
    >>> watch.see("metric", "maj@8", 3)
    Traceback (most recent call last):
    t2fast.errors.DataError: column metric mixes pass@k ('pass@8' in row 2) and a vote ('maj@8' in row 3): keep one
    """

    def __init__(self, remedy: str, origin: str = "") -> None:
        self.remedy, self.origin = remedy, origin
        #: For each column the rule, the cell and the row that were first.
        self.first: dict[str, tuple[str, str, int]] = {}

    def see(self, column: str, value: Any, row: int) -> None:
        """Look at a cell.

        Raises
        ------
        DataError
            When it names another rule than a row before; the message names both rows.
        """
        rule = rule_of(value)
        if rule is None:
            return
        known, cell, at = self.first.setdefault(column, (rule, str(value), row))
        if rule != known:
            raise DataError(
                f"{self.origin}column {column} mixes {known} ({cell!r} in row {at}) and {rule} ({str(value)!r} in row "
                f"{row}): {self.remedy}"
            )


def one_rule(table: Table, wants_pass: bool) -> None:
    """Make sure that the rows of a table are of one rule, and where a law of pass@k is fitted, of that.

    Raises
    ------
    DataError
        When a column such as ``metric`` or ``rule`` names two rules, or only another than pass@k where that is wanted.

    Examples
    --------
    >>> from t2fast.data import read_table
    >>> one_rule(read_table({"metric": ["pass@1", "pass@8"], "k": [1, 8], "pass_at_k": [0.1, 0.3]}), True)
    """
    for name, column in table.columns.items():
        if not is_named(name) or column.dtype.kind != "U":
            continue
        values, first = np.unique(column, return_index=True)
        order = np.argsort(first).tolist()
        pass_rows = [str(value) for value in values if rule_of(value) == "pass@k"]
        chosen = pass_rows[0] if pass_rows else str(values[order[0]])
        watch = OneRule(
            f"choose with --where \"{name} == '{chosen}'\", or select the rows beforehand", f"{table.origin}: "
        )
        for place in order:
            watch.see(name, values[place], int(first[place]) + 1)
        if wants_pass and name in watch.first and watch.first[name][0] != "pass@k":
            rule, cell, row = watch.first[name]
            raise DataError(
                f"{table.origin}: column {name} says {cell!r} (row {row}): results of {rule}, and a law of success "
                "rates is fitted to pass@k or to counts of right samples; fit it to those, and plan by the rule with "
                "--select"
            )
