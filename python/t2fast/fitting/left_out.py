"""How several forms of law do on training budgets that they have not seen, and weights that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2fast.data import Table
from t2fast.errors import T2Error
from t2fast.fitting.forms import FORMS, fit_forms
from t2fast.fitting.rows import FloatArray, IntArray, Labels
from t2fast.fitting.suite import Setting, Suite
from t2fast.laws import Law
from t2fast.laws.logits import expit, logit

__all__ = ["LeftOut", "Tested", "left_out"]

#: The k at which errors are measured, as far as the samples go.
_KS = (1, 4, 16, 64)
#: Rates are kept this far from 0 and 1 before their log-odds are averaged.
_EDGE = 1e-15
#: A mean squared error below this is as good as none: weights stay finite.
_LEAST = 1e-12


@dataclass(frozen=True)
class LeftOut:
    """How a law did on training budgets that it had not seen, each left out in turn.

    Attributes
    ----------
    error
        Mean absolute error of pass@1, 4, 16 and 64, as far as the samples go.
    regret
        Mean of the best measured pass@k on offer minus that of the checkpoint which the law picks.

    Examples
    --------
    >>> LeftOut(error=0.014, regret=0.038).regret
    0.038
    """

    error: float
    regret: float


@dataclass(frozen=True, eq=False)
class Tested:
    """Scores by form, and of means with ``"equal"`` and with ``"lobo"`` weights; and these weights in order of FORMS.

    In the scores each budget's own error has no part in its weights.
    """

    weights: tuple[float, ...]
    scores: Mapping[str, LeftOut]


@dataclass(frozen=True, eq=False)
class _Menu:
    """One budget left out: predictions of every form, in rows, beside what was measured."""

    predicted: FloatArray
    measured: FloatArray
    choices: tuple[tuple[FloatArray, FloatArray], ...]


def left_out(
    n_params: ArrayLike, n_tokens: ArrayLike, n_samples: ArrayLike, n_correct: ArrayLike, problem: Labels
) -> Tested | None:
    """Leave out each training budget in turn; None where fewer than two offer a choice."""
    columns = {"n_params": n_params, "n_tokens": n_tokens, "n_samples": n_samples, "n_correct": n_correct}
    table = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    suite = Suite.of(Table({**table, "problem": np.asarray([str(one) for one in problem])}, "counts"))
    by_budget: dict[float, list[Setting]] = {}
    for one in suite.settings(suite.budgets(), suite.inference_budgets()):
        by_budget.setdefault(one.train_flops, []).append(one)
    menus = [found for settings in by_budget.values() if (found := _menu(suite, settings)) is not None]
    if len(menus) < 2:
        return None
    wrong = np.array([((one.predicted - one.measured) ** 2).sum(axis=1) for one in menus])
    sizes = np.array([one.measured.size for one in menus])

    def weights(without: int | None = None) -> FloatArray:
        kept = np.arange(len(menus)) != without
        inverse = 1 / np.maximum(wrong[kept].sum(axis=0) / sizes[kept].sum(), _LEAST)
        return np.asarray(inverse / inverse.sum())

    equal = np.full(len(FORMS), 1 / len(FORMS))
    scores = {form: _score(menus, lambda values, _, i=i: values[i]) for i, form in enumerate(FORMS)}  # type: ignore[misc]
    scores["equal"] = _score(menus, lambda values, _: _mean(values, equal))
    scores["lobo"] = _score(menus, lambda values, menu: _mean(values, weights(menu)))
    return Tested(tuple(weights().tolist()), scores)


def _menu(suite: Suite, settings: list[Setting]) -> _Menu | None:
    """Fit the forms without one budget's checkpoints; None where the others do not determine them."""
    menu = settings[0].menu
    seen = np.ones(len(suite), dtype=np.bool_)
    seen[menu] = False
    rows = suite.rows(seen)
    n, d, samples, correct = (rows.number(name) for name in ("n_params", "n_tokens", "n_samples", "n_correct"))
    try:
        laws = fit_forms(n, d, samples, correct, rows["problem"]).laws
    except T2Error:
        return None
    ks = [one for one in _KS if one <= int(suite.fewest[menu].min())]
    at: IntArray = np.repeat(menu, len(ks))
    k: IntArray = np.tile(np.array(ks, dtype=np.int64), len(menu))
    choices = tuple((_values(suite, laws, s.candidates, s.k), _truth(suite, s.candidates, s.k)) for s in settings)
    return _Menu(_values(suite, laws, at, k), _truth(suite, at, k), choices)


def _values(suite: Suite, laws: Mapping[str, Law], places: IntArray, k: IntArray) -> FloatArray:
    """pass@k of checkpoints by each form, of shape (forms, checkpoints)."""
    at = suite.n_params[places], suite.n_tokens[places], k.astype(np.float64)
    return np.stack([np.asarray(laws[form].value(*at)) for form in FORMS])


def _truth(suite: Suite, places: IntArray, k: IntArray) -> FloatArray:
    return np.array([suite.measured(*one) for one in zip(places.tolist(), k.tolist(), strict=True)])


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray(expit(weights @ logit(np.clip(values, _EDGE, 1 - _EDGE))))


def _score(menus: list[_Menu], merged: Callable[[FloatArray, int], FloatArray]) -> LeftOut:
    errors, regrets = [], []
    for place, menu in enumerate(menus):
        errors.append(np.abs(merged(menu.predicted, place) - menu.measured))
        for values, truth in menu.choices:
            found = merged(values, place)
            regrets.append(float(truth.max() - truth[found == found.max()].mean()))
    return LeftOut(float(np.concatenate(errors).mean()), float(np.mean(regrets)))
