"""Rules that pick a checkpoint from a menu: laws fitted to other checkpoints, and what one would do without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from t2fast.data import Table
from t2fast.fitting.fits import fit_chinchilla, fit_t2_pass
from t2fast.fitting.forms import fit_forms
from t2fast.fitting.rows import FloatArray, IntArray, checkpoints
from t2fast.laws import Law, LawAverage, load_law

__all__ = ["Score", "rules"]

#: What a rule thinks of candidates (N, D, k): it picks the highest.
Score = Callable[[FloatArray, FloatArray, IntArray], FloatArray]
#: From the rows that may be seen to a score.
Rule = Callable[[Table], Score]

#: Tokens per parameter of the rule of thumb (Hoffmann et al. 2022).
_RATIO = 20.0


def rules(table: Table) -> Mapping[str, Rule]:
    """The rules that a table allows, by name."""
    found: dict[str, Rule] = {}
    if "n_correct" in table:
        found["t2"] = lambda rows: _by_law(_t2(rows))
        found["t2 at k = 1"] = lambda rows: _at_one(_t2(rows))
        if "problem" in table:
            # Fitted once for all rules that take them.
            cache: dict[int, dict[str, Law]] = {}
            found["average"] = lambda rows: _by_law(LawAverage(tuple(_forms(rows, cache).values())))
            for form in ("overtraining", "item-response", "beta-ability"):
                found[form] = lambda rows, form=form: _by_law(_forms(rows, cache)[form])  # type: ignore[misc]
    found["chinchilla"] = _chinchilla if "loss" in table else lambda _: _least_loss(load_law("besiroglu"))
    found["20 tokens per parameter"] = lambda _: lambda n, d, k: -np.abs(np.log(d / n / _RATIO))  # noqa: ARG005
    found["most tokens"] = lambda _: lambda n, d, k: d  # noqa: ARG005
    found["largest model"] = lambda _: lambda n, d, k: n  # noqa: ARG005
    found["random"] = lambda _: lambda n, d, k: np.zeros_like(n)  # noqa: ARG005
    return found


def _columns(rows: Table) -> dict[str, Any]:
    return {name: rows.number(name) for name in ("n_params", "n_tokens", "n_samples", "n_correct")}


def _t2(rows: Table) -> Law:
    return fit_t2_pass(**_columns(rows)).law


def _forms(rows: Table, cache: dict[int, dict[str, Law]]) -> dict[str, Law]:
    if id(rows) not in cache:
        # A table lives as long as its menu is asked about.
        cache.clear()
        cache[id(rows)] = fit_forms(**_columns(rows), problem=rows["problem"]).laws
    return cache[id(rows)]


def _by_law(law: Law) -> Score:
    return lambda n, d, k: np.asarray(law.value(n, d, k.astype(np.float64)))


def _at_one(law: Law) -> Score:
    return lambda n, d, _: np.asarray(law.value(n, d, 1))


def _least_loss(law: Law) -> Score:
    return lambda n, d, _: -np.asarray(law.value(n, d))


def _chinchilla(rows: Table) -> Score:
    n, d, loss = (rows.number(name) for name in ("n_params", "n_tokens", "loss"))
    _, first = np.unique(checkpoints(n, d, loss), return_index=True)
    return _least_loss(fit_chinchilla(n[first], d[first], loss[first]).law)
