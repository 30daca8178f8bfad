"""Strategies that pick a checkpoint from a menu: laws fitted to others, and what one would do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2fast.data import Table
from t2fast.fitting.fits import fit_chinchilla, fit_t2_pass
from t2fast.fitting.forms import fit_forms
from t2fast.fitting.rows import FloatArray, IntArray, checkpoints
from t2fast.fitting.selection import PASS_AT_K, Selection
from t2fast.fitting.suite import Setting
from t2fast.laws import Law, LawAverage, load_law

__all__ = ["Advice", "Strategy", "by_law", "by_size", "least_loss", "strategies"]


@dataclass(frozen=True, eq=False)
class Advice:
    """What a strategy says of the candidates of a setting: it picks the highest score, and draws so many samples."""

    score: FloatArray
    k: IntArray


#: From a setting, and (N, D) of its candidates, to advice.
Advise = Callable[[Setting, FloatArray, FloatArray], Advice]
#: From the rows that may be seen, and how answers are chosen, to what advises.
Strategy = Callable[[Table, Selection], Advise]

#: Tokens per parameter of the rule of thumb (Hoffmann et al. 2022).
_RATIO = 20.0
#: More samples than any checkpoint has.
_MOST_K = 1e9


def strategies(table: Table, selection: Selection) -> Mapping[str, Strategy]:
    """The strategies that a table allows, by name; with a rule also what planning by pass@k all the same would do."""
    found: dict[str, Strategy] = {}
    if "n_correct" in table:
        found["t2"] = lambda rows, selection: by_law(selection.under(_t2(rows)))
        found["t2 at k = 1"] = lambda rows, _: _at_one(_t2(rows))
        if "problem" in table:
            # Fitted once for all strategies that take them.
            cache: list[tuple[Table, dict[str, Law]]] = []
            found["average"] = lambda rows, selection: by_law(
                selection.under(LawAverage(tuple(_forms(rows, cache).values())))
            )
            for form in ("overtraining", "item-response", "beta-ability"):
                found[form] = lambda rows, selection, form=form: by_law(  # type: ignore[misc]
                    selection.under(_forms(rows, cache)[form])
                )
        if not selection.any_correct:
            for name in [name for name in ("t2", "average") if name in found]:
                found[f"{name} by pass@k"] = lambda rows, _, name=name: found[name](rows, PASS_AT_K)  # type: ignore[misc]
    found["chinchilla"] = _chinchilla if "loss" in table else lambda *_: least_loss(load_law("besiroglu"))
    found["20 tokens per parameter"] = lambda *_: by_size(lambda n, d: -np.abs(np.log(d / n / _RATIO)))
    found["most tokens"] = lambda *_: by_size(lambda n, d: d)  # noqa: ARG005
    found["largest model"] = lambda *_: by_size(lambda n, d: n)  # noqa: ARG005
    found["random"] = lambda *_: by_size(lambda n, d: np.zeros_like(n))  # noqa: ARG005
    return found


def _columns(rows: Table) -> dict[str, Any]:
    return {name: rows.number(name) for name in ("n_params", "n_tokens", "n_samples", "n_correct")}


def _t2(rows: Table) -> Law:
    return fit_t2_pass(**_columns(rows)).law


def _forms(rows: Table, cache: list[tuple[Table, dict[str, Law]]]) -> dict[str, Law]:
    # The table itself is kept: a later one may lie where it lay.
    if not cache or cache[0][0] is not rows:
        cache[:] = [(rows, fit_forms(**_columns(rows), problem=rows["problem"]).laws)]
    return cache[0][1]


def by_law(law: Law) -> Advise:
    """What a law predicts at the k that it chooses: of those paid for, and no more than the samples measured."""

    def advise(setting: Setting, n: FloatArray, d: FloatArray) -> Advice:
        k = np.minimum(law.chosen_k(n, d, setting.paid, _MOST_K), setting.k)
        score = np.where(k > 0, np.asarray(law.value(n, d, np.maximum(k, 1.0))), 0.0)
        return Advice(score, k.astype(np.int64))

    return advise


def by_size(score: Callable[[FloatArray, FloatArray], FloatArray]) -> Advise:
    """What says nothing of k draws as many samples as are paid for."""
    return lambda setting, n, d: Advice(score(n, d), setting.k)


def _at_one(law: Law) -> Advise:
    return by_size(lambda n, d: np.asarray(law.value(n, d, 1)))


def least_loss(law: Law) -> Advise:
    """The least loss that a law predicts at the k that is paid for."""
    return lambda setting, n, d: Advice(-np.asarray(law.value(n, d, setting.k)), setting.k)


def _chinchilla(rows: Table, selection: Selection) -> Advise:  # noqa: ARG001
    n, d, loss = (rows.number(name) for name in ("n_params", "n_tokens", "loss"))
    _, first = np.unique(checkpoints(n, d, loss), return_index=True)
    return least_loss(fit_chinchilla(n[first], d[first], loss[first]).law)
