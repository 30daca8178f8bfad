"""Who gives advice in the laboratory: laws fitted to what they may see, and rules of thumb, under any rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from t2fast.data import Table
from t2fast.fitting.fits import fit_chinchilla, fit_t2_pass
from t2fast.fitting.forms import fit_forms
from t2fast.fitting.rows import checkpoints
from t2fast.fitting.selection import PASS_AT_K, Selection
from t2fast.fitting.strategies import Strategy, by_law, by_size, least_loss
from t2fast.fitting.table import fit_table
from t2fast.fitting.tail import fit_tail
from t2fast.lab.answers import Answers
from t2fast.laws import Law, LawAverage
from t2fast.rules import Majority

__all__ = ["APPROACH_1", "AVERAGE", "CHINCHILLA", "RATIO", "T2", "Advisers"]

AVERAGE, T2, TERM, APPROACH_1 = "average", "T2", "T2 with term", "Approach 1"
CHINCHILLA, RATIO, TOKENS, RANDOM = "Chinchilla refitted", "20 tokens per parameter", "most tokens", "random"
#: Tokens per parameter of the rule of thumb (Hoffmann et al. 2022).
_RATIO = 20.0


@dataclass(eq=False)
class Advisers:
    """The contestants; a law is fitted once to the same runs, however many rules ask for it.

    Parameters
    ----------
    answers
        Where the tails of wrong answers come from, for votes.
    """

    answers: Answers | None = None
    _known: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict)

    def contestants(self, selection: Selection) -> Mapping[str, Strategy]:
        """All contestants by name, under one way to choose answers."""
        vote = isinstance(selection.rule, Majority)

        def by(law: Callable[[Table], Law]) -> Strategy:
            def strategy(rows: Table, asked: Selection) -> Any:
                return by_law(self._vote(rows).under(law(rows)) if vote else asked.under(law(rows)))

            return strategy

        found: dict[str, Strategy] = {AVERAGE: by(self.average), T2: by(self.t2), TERM: by(self._term)}
        if selection == PASS_AT_K:
            found[APPROACH_1] = lambda rows, _: least_loss(self.approach_1(rows))
        found[CHINCHILLA] = lambda rows, _: least_loss(self.chinchilla(rows))
        found[RATIO] = lambda *_: by_size(lambda n, d: -np.abs(np.log(d / n / _RATIO)))
        found[TOKENS] = lambda *_: by_size(lambda n, d: d)  # noqa: ARG005
        found[RANDOM] = lambda *_: by_size(lambda n, d: np.zeros_like(n))  # noqa: ARG005
        return found

    def average(self, rows: Table) -> Law:
        """The mean of three forms, with equal weights."""
        return LawAverage(tuple(self._forms(rows).values()))

    def t2(self, rows: Table) -> Law:
        """The counts likelihood with a latent loss."""
        law: Law = self._once("t2", rows, lambda: fit_t2_pass(**_columns(rows)).law)
        return law

    def approach_1(self, rows: Table) -> Law:
        """The law of -log pass@k, fitted to the exact likelihoods of right answers."""

        def fit() -> Law:
            most = int(rows.number("n_samples").max())
            # Without problems and runs: means over both, a row per design and k.
            means = Table({name: rows.number(name) for name in ("n_params", "n_tokens", "probability")}, rows.origin)
            return fit_table(means, "t2-loss", k=2.0 ** np.arange(int(np.log2(most)) + 1)).law

        law: Law = self._once("approach 1", rows, fit)
        return law

    def chinchilla(self, rows: Table) -> Law:
        """The law of the loss, refitted: a row per run."""

        def fit() -> Law:
            n, d, loss = (rows.number(name) for name in ("n_params", "n_tokens", "loss"))
            _, first = np.unique(checkpoints(n, d, loss), return_index=True)
            return fit_chinchilla(n[first], d[first], loss[first]).law

        law: Law = self._once("chinchilla", rows, fit)
        return law

    def tail(self, rows: Table) -> Majority:
        """The vote, with the tail of the wrong answers that may be seen."""

        def fit() -> Majority:
            assert self.answers is not None
            return Majority(fit_tail(self.answers.of(_runs(rows)), n_resamples=2).rule.tail)

        rule: Majority = self._once("tail", rows, fit)
        return rule

    def _vote(self, rows: Table) -> Selection:
        return Selection(self.tail(rows))

    def _term(self, rows: Table) -> Law:
        return self._forms(rows)["overtraining"]

    def _forms(self, rows: Table) -> dict[str, Law]:
        laws: dict[str, Law] = self._once(
            "forms", rows, lambda: fit_forms(**_columns(rows), problem=rows["problem"]).laws
        )
        return laws

    def _once(self, name: str, rows: Table, fit: Callable[[], Any]) -> Any:
        key = (name, _runs(rows))
        if key not in self._known:
            self._known[key] = fit()
        return self._known[key]


def _runs(rows: Table) -> tuple[str, ...]:
    """The runs of a table, in its order."""
    names, first = np.unique(rows["group"], return_index=True)
    return tuple(names[np.argsort(first)].tolist())


def _columns(rows: Table) -> dict[str, Any]:
    return {name: rows.number(name) for name in ("n_params", "n_tokens", "n_samples", "n_correct")}
