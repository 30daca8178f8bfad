"""Fits to whole tables: the columns that a law needs are found by their roles."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from t2fast.arguments import choice
from t2fast.data import Table, read_table
from t2fast.data.deciding import one_rule
from t2fast.errors import DataError
from t2fast.fitting.average import AverageFit, fit_average
from t2fast.fitting.diagnose import LAWS
from t2fast.fitting.fits import fit_chinchilla, fit_t2_loss, fit_t2_pass
from t2fast.fitting.isoflop import isoflop_minima
from t2fast.fitting.isoflop_result import IsoFlopMinima
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import FloatArray, checkpoints
from t2fast.fitting.targets import neg_log_pass_at_k

__all__ = ["POWERS", "average_table", "fit_table", "isoflop_table", "one_benchmark"]

Fit = TypeVar("Fit", FitResult, AverageFit)

#: Columns that tell populations of models apart.
_POPULATIONS = ("family", "model_family", "corpus", "train_set", "dataset", "tokenizer")

#: Values of k at which probabilities are tabulated for Approach 1.
POWERS = 2.0 ** np.arange(0, 14)


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
        When the table lacks what the law needs, or holds several benchmarks.
    T2Error
        As the function for the law.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e7, 1e7, 1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e9, 1e11, 1e10, 1e11, 1e10, 1e12]
    >>> loss = [4.49, 3.92, 3.54, 2.74, 2.56, 2.32, 2.37, 2.03]
    >>> fitting.fit_table({"params": n, "tokens": d, "val_loss": loss}, "chinchilla").n_rows
    8
    """
    choice("law", law, LAWS)
    table = read_table(source, columns, units)
    one_benchmark(table)
    one_rule(table, law == "t2-pass")
    if "group" in table:
        options.setdefault("group", table["group"])
    fit = {"chinchilla": _chinchilla, "t2-loss": _t2_loss, "t2-pass": _t2_pass}[law](table, options)
    return _warned(fit, table)


def average_table(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    **options: Any,
) -> AverageFit:
    """Fit the mean of several forms to a table of counts.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`: a row per checkpoint and problem, with samples and successes.
    options
        Passed on to :func:`fit_average`.

    Raises
    ------
    DataError
        When the table lacks counts by problem, or holds several benchmarks.
    T2Error
        As :func:`fit_average`.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import datasets, fitting
    >>> fit = fitting.average_table(datasets.load_lab().counts, n_resamples=0)
    >>> fit.n_checkpoints, fit.errors["average"] < 0.1
    (42, True)
    """
    table = read_table(source, columns, units)
    one_benchmark(table)
    one_rule(table, wants_pass=True)
    if "group" in table:
        options.setdefault("group", table["group"])
    counts: dict[str, Any] = {role: table.number(role) for role in ("n_samples", "n_correct")}
    fit = fit_average(table.number("n_params"), table.number("n_tokens"), **counts, problem=table["problem"], **options)
    return _warned(fit, table)


def isoflop_table(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    **options: Any,
) -> IsoFlopMinima:
    """Find the minima of the loss at equal training compute in a table.

    Parameters
    ----------
    source, columns, units
        As in :func:`t2fast.data.read_table`: a row per checkpoint, with its loss. A column ``train_flops`` holds the
        budgets; without one they are ``6 N D``.
    options
        Passed on to :func:`isoflop_minima`.

    Raises
    ------
    DataError
        When the table lacks sizes, tokens or losses, or holds several benchmarks.
    T2Error
        As :func:`isoflop_minima`.

    Examples
    --------
    >>> from t2fast import fitting, load_law
    >>> law, n = load_law("besiroglu"), [2e8, 4e8, 8e8, 6e8, 12e8, 24e8]
    >>> d = [c / 6 / one for c, one in zip([1e19] * 3 + [1e20] * 3, n)]
    >>> found = fitting.isoflop_table({"N": n, "D": d, "loss": law.value(n, d)})
    >>> [one.n_sizes for one in found.budgets]
    [3, 3]
    """
    table = read_table(source, columns, units)
    one_benchmark(table)
    options.setdefault("flops", table.optional("train_flops"))
    found = isoflop_minima(table.number("n_params"), table.number("n_tokens"), table.number("loss"), **options)
    return replace(found, warnings=(*table.warnings, *_pooled(table), *found.warnings))


def _warned(fit: Fit, table: Table) -> Fit:
    """The fit with what is odd about its table said first."""
    odd: tuple[str, ...] = (*table.warnings, *_pooled(table))
    if not odd:
        return fit
    warnings = (*odd, *fit.warnings)
    return replace(fit, warnings=warnings, law=replace(fit.law, warnings=warnings))


def _pooled(table: Table) -> list[str]:
    """Columns by which the table's checkpoints fall into populations, each of which may have a law of its own."""
    out = []
    checkpoint = checkpoints(table.number("n_params"), table.number("n_tokens"))
    for name in _POPULATIONS:
        if name in table and table[name].dtype != np.float64:
            values, kind = np.unique(table[name], return_inverse=True)
            # What differs within checkpoints describes their problems.
            within = np.unique(np.stack([checkpoint, kind]), axis=1).shape[1] > int(checkpoint.max()) + 1
            if len(values) > 1 and not within:
                out.append(
                    f"column {name} holds {len(values)} values ({', '.join(values[:3].tolist())}"
                    f"{', ...' if len(values) > 3 else ''}): populations pooled in one table may have laws of "
                    f"their own; fit each, with --where \"{name} == '{values[0]}'\""
                )
    return out


def one_benchmark(table: Table) -> None:
    """Make sure that a table is of one benchmark, as far as it says.

    Raises
    ------
    DataError
        When column benchmark holds several values.
    """
    if "benchmark" in table:
        benchmarks = sorted({str(name) for name in table["benchmark"]})
        if len(benchmarks) > 1:
            raise DataError(
                f"{table.origin}: column benchmark holds {len(benchmarks)} values, {', '.join(benchmarks[:4])}: a law "
                f"describes one; choose with --where \"benchmark == '{benchmarks[0]}'\", or select the rows beforehand"
            )
    _one_population(table)


#: Losses of one model and one number of tokens that differ by more than this share are not of one population.
_APART = 0.05


def _one_population(table: Table) -> None:
    """Refuse checkpoints that stand in the table several times with losses far apart, a column telling them apart."""
    if not all(name in table and table[name].dtype == np.float64 for name in ("n_params", "n_tokens", "loss")):
        return
    of = [table[name] for name in ("n_params", "n_tokens", "k") if name in table and table[name].dtype == np.float64]
    _, group = np.unique(np.stack(of), axis=1, return_inverse=True)
    group, loss = group.reshape(-1), table["loss"]
    for name, column in table.columns.items():
        if name in table.found or column.dtype.kind not in "U":
            continue
        values, kind = np.unique(column, return_inverse=True)
        if not 1 < len(values) <= 20:
            continue
        # Mean loss of each checkpoint and value, where the table has it.
        sums, counts = (np.zeros((group.max() + 1, len(values))) for _ in range(2))
        np.add.at(sums, (group, kind), loss)
        np.add.at(counts, (group, kind), 1.0)
        both = (counts > 0).sum(axis=1) > 1
        if both.sum() < 2:
            continue
        with np.errstate(invalid="ignore"):
            means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[both]
        apart = np.nanmax(means, axis=1) / np.nanmin(means, axis=1) - 1
        if np.median(apart) > _APART:
            raise DataError(
                f"{table.origin}: {int(both.sum())} checkpoints stand in the table with several values of column "
                f"{name} ({', '.join(values[:4])}) and losses {np.median(apart):.0%} apart: a law describes one; "
                f"choose with --where \"{name} == '{values[0]}'\", or select the rows beforehand"
            )


def _chinchilla(table: Table, options: dict[str, Any]) -> FitResult:
    if "unique_tokens" in table:
        options.setdefault("unique_tokens", table.number("unique_tokens"))
    if "weight" in table:
        options.setdefault("weights", table.number("weight"))
    return fit_chinchilla(table.number("n_params"), table.number("n_tokens"), table.number("loss"), **options)


def _t2_loss(table: Table, options: dict[str, Any]) -> FitResult:
    n, d = table.number("n_params"), table.number("n_tokens")
    if "k" in table and "loss" in table:
        if "problem" in table:
            options.setdefault("problem", table["problem"])
        return fit_t2_loss(n, d, table.number("k"), table.number("loss"), **options)
    if "probability" in table:
        # A mean over problems is one row: labels of runs would have to follow the checkpoints.
        options.pop("group", None)
        k = np.asarray(options.pop("k", POWERS))
        if "problem" in table:
            rows = _per_problem(n, d, table.number("probability"), k)
            return fit_t2_loss(*rows, **options, problem=np.repeat(table["problem"], len(k)))
        return fit_t2_loss(*neg_log_pass_at_k(n, d, table.number("probability"), k), **options)
    if "n_correct" in table:
        none = np.count_nonzero(table.number("n_correct") == 0)
        raise DataError(
            f"{table.origin}: {none} of {len(table)} problems have no success, where -log pass@k is infinite: "
            "Approach 1 needs probabilities of right answers (column probability) or values per k (columns k and "
            "loss); fit counts with law 't2-pass'"
        )
    raise DataError(
        f"{table.origin}: law 't2-loss' needs columns k and loss, or probability; it has {', '.join(table.columns)}"
    )


def _long(table: Table) -> Table:
    """A row per checkpoint and k of a table with a column for each k: ``pass@1``, ``pass@8`` and so on."""
    found = {name: re.fullmatch(r"pass(?:@|_at_)(\d+)", name.strip().lower()) for name in table.columns}
    wide = {name: float(match[1]) for name, match in found.items() if match}
    if not wide or any(role in table for role in ("pass_at_k", "k", "n_correct")):
        return table
    ks, rates = np.asarray(list(wide.values())), np.stack([table.number(name) for name in wide], axis=1)
    if np.any((rates < 0) | (rates > 1)):
        raise DataError(f"{table.origin}: {', '.join(wide)} reach {rates.max():g}: must lie in [0, 1]; divide percents")
    if "n_samples" in table and np.any(ks.max() > table.number("n_samples")):
        raise DataError(f"{table.origin}: pass@{ks.max():g} needs n_samples of at least {ks.max():g} in every row")
    kept = {name: np.repeat(one, len(ks)) for name, one in table.columns.items() if name not in (*wide, "n_samples")}
    kept |= {"k": np.tile(ks, len(table)), "pass_at_k": rates.reshape(-1)}
    return Table(kept, table.origin, table.found, table.warnings)


def _t2_pass(table: Table, options: dict[str, Any]) -> FitResult:
    rows, table = len(table), _long(table)
    if "group" in table and len(table) > rows:
        options["group"] = table["group"]
    roles = ("n_samples", "n_correct", "loss") if "n_correct" in table else ("k", "pass_at_k", "n_samples", "loss")
    given: dict[str, Any] = {role: table.number(role) for role in roles if role in table}
    if "problem" in table:
        options.setdefault("problem", table["problem"])
    if "loss_law" in options:
        given.pop("loss", None)
    return fit_t2_pass(table.number("n_params"), table.number("n_tokens"), **given, **options)


def _per_problem(
    n: FloatArray, d: FloatArray, probability: FloatArray, k: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """-log pass@k of every problem, a row per checkpoint, problem and k."""
    # A "checkpoint" of one problem each has that problem's value for its mean.
    order = np.arange(len(n), dtype=np.float64) + 1
    *_, value = neg_log_pass_at_k(order, order, probability, k)
    return np.repeat(n, len(k)), np.repeat(d, len(k)), np.tile(k, len(n)), value
