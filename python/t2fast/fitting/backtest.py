"""Back-tests of predictions: laws fitted on part of a table, measured on the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from t2fast.data import Table, evaluate, read_table
from t2fast.errors import DataError, T2Error
from t2fast.fitting.refit import Observed
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import FloatArray, checkpoints
from t2fast.fitting.table import POWERS, fit_table
from t2fast.fitting.targets import mean_pass_at_k, neg_log_pass_at_k
from t2fast.results import Result
from t2fast.text import columns as aligned
from t2fast.text import warning_lines

__all__ = ["HeldOutRows", "LawBacktest", "backtest"]


@dataclass(frozen=True)
class HeldOutRows:
    """What one law, fitted to the other rows, says of the rows held out.

    Attributes
    ----------
    fit
        The fit to the other rows.
    observed, predicted
        The rows held out, and the law's prediction of them.
    relative_error, relative_error_fitted
        Mean absolute relative error, there and on the rows fitted. Rows where nothing was solved have none and don't
        count.
    absolute_error
        Mean absolute error, which small success rates don't dominate.
    bias
        Mean relative error with its sign, positive where the law predicts too much.

    Examples
    --------
    >>> [name for name in HeldOutRows.__dataclass_fields__ if name.endswith("error")]
    ['relative_error', 'absolute_error']
    """

    fit: FitResult
    observed: Observed = field(repr=False, compare=False)
    predicted: FloatArray = field(repr=False, compare=False)
    relative_error: float
    relative_error_fitted: float
    absolute_error: float
    bias: float


@dataclass(frozen=True, repr=False)
class LawBacktest(Result):
    """Errors of laws on rows that they were not fitted to; :func:`backtest` makes one.

    Attributes
    ----------
    holdout
        The expression that chose them.
    n_fitted, n_held_out
        Rows on either side.
    laws
        What each law says of the rows held out.
    failures
        By law: why it could not be fitted.

    Examples
    --------
    >>> LawBacktest("tokens_per_param > 100", 40, 14, {}, {}).headline()
    'held out: tokens_per_param > 100 (14 rows; fitted on the other 40)'
    """

    holdout: str
    n_fitted: int
    n_held_out: int
    laws: Mapping[str, HeldOutRows]
    failures: Mapping[str, str]

    figure: ClassVar[str] = "fitting:plot_backtest"
    __hash__ = None  # type: ignore[assignment]

    def headline(self) -> str:
        """What was held out."""
        return f"held out: {self.holdout} ({self.n_held_out} rows; fitted on the other {self.n_fitted})"

    def summary(self) -> str:
        """The errors as a table of at most 80 columns."""
        table = [["  law", "predicts", "error", "bias", "abs. error", "error fitted"]]
        table += [
            [
                f"  {name}",
                law.observed.quantity,
                f"{law.relative_error:.1%}",
                f"{law.bias:+.1%}",
                f"{law.absolute_error:.3g}",
                f"{law.relative_error_fitted:.1%}",
            ]
            for name, law in self.laws.items()
        ]
        lost = warning_lines((f"{name}: {why}" for name, why in self.failures.items()), "  ")
        return "\n".join([self.headline(), *aligned(table, left=(0, 1)), *lost])

    def rows(self) -> list[dict[str, Any]]:
        """A row per law that could be fitted."""
        return [{"law": name, **_errors(law)} for name, law in self.laws.items()]

    def to_dict(self) -> dict[str, Any]:
        """The errors as JSON data."""
        found = {name: {**_errors(law), "coefficients": law.fit.law.coefficients} for name, law in self.laws.items()}
        return {
            "holdout": self.holdout,
            "n_fitted": self.n_fitted,
            "n_held_out": self.n_held_out,
            "laws": found | {name: {"failure": why} for name, why in self.failures.items()},
        }


def _errors(law: HeldOutRows) -> dict[str, Any]:
    return {
        "quantity": law.observed.quantity,
        "relative_error": law.relative_error,
        "absolute_error": law.absolute_error,
        "bias": law.bias,
        "relative_error_fitted": law.relative_error_fitted,
    }


def backtest(
    source: Any,
    holdout: str,
    laws: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> LawBacktest:
    """Fit on part of a table and report the errors on the rest, for several laws side by side.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`.
    holdout
        Which rows to hold out, as a plain comparison of columns: ``"tokens_per_param > 100"``,
        ``"n_params >= 2.8e9 and benchmark == 'gsm8k'"``. Besides the table's columns there are ``N``, ``D``,
        ``tokens_per_param`` and ``flops`` (6 N D). Nothing in it is executed.
    laws
        Which laws; by default all that the table has columns for.
    options
        By law: options of its fit.

    Raises
    ------
    T2Error
        For an expression that is not of this form, names an unknown column, or holds out no row or all of them; and
        when no law can be fitted.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e7, 1e7, 1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e9, 1e11, 1e10, 1e11, 1e10, 1e12]
    >>> loss = [4.49, 3.92, 3.54, 2.74, 2.56, 2.32, 2.37, 2.03]
    >>> found = fitting.backtest({"N": n, "D": d, "loss": loss}, "D > 5e11")
    >>> found.n_held_out, found.laws["chinchilla"].relative_error < 0.1
    (1, True)
    """
    table = read_table(source, columns, units)
    held = evaluate(holdout, table)
    if held.all() or not held.any():
        which = "every row" if held.all() else "no row"
        raise T2Error(f"holdout = {holdout!r}: holds out {which} of {len(table)}")
    rest, kept = table.select(~held), table.select(held)
    if laws is None:
        laws = [law for law, possible in _possible(table).items() if possible]
        if not laws:
            raise DataError(f"{table.origin}: needs a column loss, k with pass_at_k, or n_samples with n_correct")
    found: dict[str, HeldOutRows] = {}
    failures: dict[str, str] = {}
    for law in laws:
        try:
            fit = fit_table(rest, law, **dict((options or {}).get(law, {})))
            found[law] = _compare(fit, _observe(kept, law))
        except T2Error as error:
            failures[law] = str(error)
    if not found:
        raise T2Error("; ".join(f"{law}: {why}" for law, why in failures.items()))
    return LawBacktest(holdout, int(np.count_nonzero(~held)), int(np.count_nonzero(held)), found, failures)


def _compare(fit: FitResult, observed: Observed) -> HeldOutRows:
    predicted = np.asarray(fit.law.value(observed.n_params, observed.n_tokens, observed.k))
    inside = np.asarray(fit.law.value(fit.observed.n_params, fit.observed.n_tokens, fit.observed.k))
    relative = _relative(predicted, observed)
    return HeldOutRows(
        fit=fit,
        observed=observed,
        predicted=predicted,
        relative_error=float(np.mean(np.abs(relative))),
        relative_error_fitted=float(np.mean(np.abs(_relative(inside, fit.observed)))),
        absolute_error=float(np.mean(np.abs(predicted - observed.value))),
        bias=float(np.mean(relative)),
    )


def _relative(predicted: FloatArray, observed: Observed) -> FloatArray:
    """Relative errors; where nothing was solved there is none."""
    solved = observed.value > 0
    return predicted[solved] / observed.value[solved] - 1


def _possible(table: Table) -> dict[str, bool]:
    counts = "n_samples" in table and "n_correct" in table
    return {
        "chinchilla": "loss" in table and "k" not in table,
        "t2-loss": ("loss" in table and "k" in table and "pass_at_k" not in table) or "probability" in table,
        "t2-pass": counts or ("k" in table and "pass_at_k" in table and "loss" in table),
    }


def _observe(table: Table, law: str) -> Observed:
    """What the law would have to predict for a table's rows."""
    n, d = table.number("n_params"), table.number("n_tokens")
    if law == "chinchilla":
        return Observed(n, d, np.ones_like(n), table.number("loss"), "loss")
    if law == "t2-loss":
        if "probability" in table:
            return Observed(*neg_log_pass_at_k(n, d, table.number("probability"), POWERS), "negative log pass@k")
        return Observed(n, d, table.number("k"), table.number("loss"), "negative log pass@k")
    if "n_correct" in table:
        return mean_pass_at_k(n, d, checkpoints(n, d), table.number("n_samples"), table.number("n_correct"))
    return Observed(n, d, table.number("k"), table.number("pass_at_k"), "pass@k")
