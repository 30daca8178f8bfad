"""Fits to whole tables, and back-tests: fitted on part of a table, measured on the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from t2fast.data import Table, evaluate, read_table
from t2fast.errors import DataError, T2Error
from t2fast.fitting.laws import fit_chinchilla, fit_t2_loss, fit_t2_pass, mean_pass, neg_log_pass_at_k
from t2fast.fitting.results import FitResult, Observed, wrapped
from t2fast.fitting.rows import FloatArray, checkpoints
from t2fast.fitting.solve import LAWS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Backtest", "backtest", "fit_table"]


def fit_table(
    source: Any,
    law: str,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    **options: Any,
) -> FitResult:
    """Fit a law to a table, taking whatever the table has for it.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`.
    law
        ``"chinchilla"``, ``"t2-loss"`` or ``"t2-pass"``.
    options
        Passed on to :func:`fit_chinchilla`, :func:`fit_t2_loss` or :func:`fit_t2_pass`.

    Raises
    ------
    DataError
        When the table lacks what the law needs.
    T2Error
        As the function for the law.
    """
    table = read_table(source, columns, units)
    if "benchmark" in table:
        benchmarks = sorted({str(name) for name in table["benchmark"]})
        if len(benchmarks) > 1:
            raise DataError(
                f"{table.origin}: column benchmark holds {len(benchmarks)} values, {', '.join(benchmarks[:4])}: a law "
                f"describes one; choose with --where \"benchmark == '{benchmarks[0]}'\", or select the rows beforehand"
            )
    n, d = table.number("n_params"), table.number("n_tokens")
    if "group" in table:
        options.setdefault("group", table["group"])
    if law == "chinchilla":
        if "unique_tokens" in table:
            options.setdefault("unique_tokens", table.number("unique_tokens"))
        if "weight" in table:
            options.setdefault("weights", table.number("weight"))
        if "group" in options:
            options["group"] = np.asarray(options["group"])
        fit = fit_chinchilla(n, d, table.number("loss"), **options)
    elif law == "t2-loss":
        if "k" in table and "loss" in table:
            if "question" in table:
                options.setdefault("question", table["question"])
            fit = fit_t2_loss(n, d, table.number("k"), table.number("loss"), **options)
        elif "probability" in table:
            options.pop("group", None)
            k = np.asarray(options.pop("k", 2.0 ** np.arange(0, 14)))
            if "question" in table:
                fit = fit_t2_loss(
                    *_per_question(n, d, table.number("probability"), k),
                    **options,
                    question=np.repeat(table["question"], len(k)),
                )
            else:
                fit = fit_t2_loss(*neg_log_pass_at_k(n, d, table.number("probability"), k), **options)
        elif "num_correct" in table:
            none = np.count_nonzero(table.number("num_correct") == 0)
            raise DataError(
                f"{table.origin}: {none} of {len(table)} questions have no success, where -log pass@k is infinite: "
                "Approach 1 needs probabilities of right answers (column probability) or values per k (columns k and "
                "loss); fit counts with law 't2-pass'"
            )
        else:
            raise DataError(
                f"{table.origin}: law 't2-loss' needs columns k and loss, or probability; it has "
                f"{', '.join(table.columns)}"
            )
    elif law == "t2-pass":
        given: dict[str, Any] = {
            role: table.number(role)
            for role in ("k", "pass_at_k", "num_samples", "num_correct", "loss")
            if role in table
        }
        if "num_correct" in given:
            given = {role: given[role] for role in ("num_samples", "num_correct", "loss") if role in given}
        if "question" in table:
            options.setdefault("question", table["question"])
        if "loss_law" in options:
            given.pop("loss", None)
        fit = fit_t2_pass(n, d, **given, **options)
    else:
        raise T2Error(f"law = {law!r}: must be one of {', '.join(LAWS)}")
    if not table.warnings:
        return fit
    warnings = (*table.warnings, *fit.warnings)
    return replace(fit, warnings=warnings, law=replace(fit.law, warnings=warnings))


@dataclass(frozen=True)
class Backtest:
    """Errors on rows held out.

    Parameters
    ----------
    holdout
        The expression that chose them.
    n_fitted, n_held_out
        Rows on either side.
    errors
        By law: mean absolute relative error on the rows held out, and within the rows fitted; ``None`` for a law that
        could not be fitted. Rows where nothing was solved have no relative error and don't count.
    absolute
        By law: mean absolute error on the rows held out, which small success rates don't dominate.
    failures
        By law: why it could not be fitted.
    bias
        By law: mean relative error with its sign, positive where the law predicts too much.
    fits
        The fits to the rest, by law.
    observed, predicted
        By law: what was held out, and the prediction of it.
    """

    holdout: str
    n_fitted: int
    n_held_out: int
    errors: Mapping[str, tuple[float, float] | None]
    failures: Mapping[str, str]
    absolute: Mapping[str, float]
    bias: Mapping[str, float]
    fits: Mapping[str, FitResult] = field(repr=False)
    observed: Mapping[str, Observed] = field(repr=False)
    predicted: Mapping[str, FloatArray] = field(repr=False)

    def summary(self) -> str:
        """The errors as a table of at most 80 columns."""
        lines = [
            f"held out: {self.holdout} ({self.n_held_out} rows; fitted on the other {self.n_fitted})",
            f"  {'law':<12}{'predicts':<21}{'error':>9}{'bias':>9}{'abs. error':>12}{'error fitted':>14}",
        ]
        for name, pair in self.errors.items():
            if pair is None:
                lines += wrapped((f"{name}: {self.failures[name]}",), "  ")
                continue
            quantity = self.observed[name].quantity
            there = f"{pair[0]:>9.1%}{self.bias[name]:>+9.1%}{self.absolute[name]:>12.3g}"
            lines.append(f"  {name:<12}{quantity:<21}{there}{pair[1]:>14.1%}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """The errors as JSON data."""
        return {
            "holdout": self.holdout,
            "n_fitted": self.n_fitted,
            "n_held_out": self.n_held_out,
            "laws": {
                name: {"failure": self.failures[name]}
                if pair is None
                else {
                    "quantity": self.observed[name].quantity,
                    "relative_error": pair[0],
                    "absolute_error": self.absolute[name],
                    "bias": self.bias[name],
                    "relative_error_fitted": pair[1],
                    "coefficients": self.fits[name].law.coefficients,
                }
                for name, pair in self.errors.items()
            },
        }

    def plot(self, path: str | Path | None = None) -> Figure:
        """Prediction against observation, fitted and held out; needs matplotlib."""
        from t2fast.plots.fitting import plot_backtest

        return plot_backtest(self, path)


def backtest(
    source: Any,
    holdout: str,
    laws: Sequence[str] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Backtest:
    """Fit on part of a table and report the relative error on the rest, for several laws side by side.

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
            raise DataError(f"{table.origin}: needs a column loss, k with pass_at_k, or num_samples with num_correct")
    errors: dict[str, tuple[float, float] | None] = {}
    failures: dict[str, str] = {}
    absolute: dict[str, float] = {}
    bias: dict[str, float] = {}
    fits: dict[str, FitResult] = {}
    observed: dict[str, Observed] = {}
    predicted: dict[str, FloatArray] = {}
    for law in laws:
        try:
            fit = fit_table(rest, law, **dict((options or {}).get(law, {})))
            seen = _observe(kept, law)
        except T2Error as error:
            errors[law], failures[law] = None, str(error)
            continue
        prediction = np.asarray(fit.law.value(seen.n_params, seen.n_tokens, seen.k))
        inside = np.asarray(fit.law.value(fit.observed.n_params, fit.observed.n_tokens, fit.observed.k))
        relative = _relative(prediction, seen)
        fitted = _relative(inside, fit.observed)
        errors[law] = (float(np.mean(np.abs(relative))), float(np.mean(np.abs(fitted))))
        absolute[law] = float(np.mean(np.abs(prediction - seen.value)))
        bias[law] = float(np.mean(relative))
        fits[law], observed[law], predicted[law] = fit, seen, prediction
    if not fits:
        raise T2Error("; ".join(f"{law}: {why}" for law, why in failures.items()))
    counts = int(np.count_nonzero(~held)), int(np.count_nonzero(held))
    return Backtest(holdout, *counts, errors, failures, absolute, bias, fits, observed, predicted)


def _relative(predicted: FloatArray, observed: Observed) -> FloatArray:
    """Relative errors; where nothing was solved there is none."""
    solved = observed.value > 0
    return predicted[solved] / observed.value[solved] - 1


def _possible(table: Table) -> dict[str, bool]:
    counts = "num_samples" in table and "num_correct" in table
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
            rows = neg_log_pass_at_k(n, d, table.number("probability"), 2.0 ** np.arange(0, 14))
            return Observed(*rows, "negative log pass@k")
        return Observed(n, d, table.number("k"), table.number("loss"), "negative log pass@k")
    if "num_correct" in table:
        return mean_pass(n, d, checkpoints(n, d), table.number("num_samples"), table.number("num_correct"))
    return Observed(n, d, table.number("k"), table.number("pass_at_k"), "pass@k")


def _per_question(
    n: FloatArray, d: FloatArray, probability: FloatArray, k: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """-log pass@k of every question, a row per checkpoint, question and k."""
    # A "checkpoint" of one question each has that question's value for its mean.
    order = np.arange(len(n), dtype=np.float64) + 1
    *_, value = neg_log_pass_at_k(order, order, probability, k)
    return np.repeat(n, len(k)), np.repeat(d, len(k)), np.tile(k, len(n)), value
