"""Tables of checkpoints and their results, from any dataframe, CSV, Parquet or JSON Lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.costs import train_flops
from t2fast.data.cells import MISSING, number
from t2fast.data.table_files import read_columns
from t2fast.errors import DataError, T2Error

__all__ = ["ROLES", "Table", "read_table"]

#: What a column can be, with the names it usually goes by. A single letter counts in its own case only: N is a model's
#: size, n a number of samples.
ROLES: Mapping[str, tuple[str, ...]] = {
    "n_params": ("n_params", "N", "params", "parameters", "num_params", "num_parameters", "n_parameters", "model_size"),
    "n_tokens": ("n_tokens", "D", "d_tokens", "tokens", "num_tokens", "train_tokens", "training_tokens"),
    "loss": ("loss", "L", "val_loss", "validation_loss", "eval_loss", "test_loss", "nll", "task_nll"),
    "k": ("k",),
    "accuracy": ("accuracy", "acc"),
    "pass_at_k": ("pass_at_k", "pass@k", "mean_pass_at_k"),
    "n_samples": ("n_samples", "n", "num_samples"),
    "n_correct": ("n_correct", "c", "num_correct", "correct"),
    "probability": ("probability", "p", "prob", "p_correct"),
    "problem": ("problem", "problem_id", "question", "question_id", "task_id"),
    "group": ("group", "run", "run_id"),
    "unique_tokens": ("unique_tokens", "U", "n_unique_tokens"),
    "weight": ("weight", "weights", "w"),
    "train_flops": ("train_flops",),
}
#: Names that training FLOP go by elsewhere: tokens follow from them only where the caller says so.
_FLOPS = ("C", "flops", "compute", "training_flops", "total_flops", "train_compute", "training_compute")
_LABELS = ("problem", "group")


@dataclass(frozen=True)
class Table:
    """Columns of equal length, under the names of :data:`ROLES`, and under their own where they have no role.

    Parameters
    ----------
    columns
        Arrays of float64 for numbers, of text for labels and for whatever is not a number.
    origin
        Where the table comes from, for messages.
    found
        For each role the name of the column that fills it.
    warnings
        What looks odd about the units.

    Examples
    --------
    >>> table = read_table({"n_params": [1e8, 1e9], "n_tokens": [2e9, 2e10], "loss": [3.1, 2.6]})
    >>> len(table), table["loss"].tolist()
    (2, [3.1, 2.6])
    """

    columns: Mapping[str, NDArray[Any]]
    origin: str = "table"
    found: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column.

        Raises
        ------
        DataError
            When the table lacks it; the message lists what would have been recognised.
        """
        if name not in self.columns:
            usual = f" (usually called {', '.join(ROLES[name])})" if name in ROLES else ""
            flops = [one for one in self.columns if _plain(one) in _FLOPS]
            if name == "n_tokens" and flops:
                raise DataError(
                    f"{self.origin}: no column n_tokens{usual}; if {flops[0]} is training FLOP, D = C / 6N follows "
                    f"from columns={{'train_flops': '{flops[0]}'}}"
                )
            raise DataError(
                f"{self.origin}: no column {name}{usual}; it has {', '.join(self.columns)}. "
                f"Name it with columns={{'{name}': '...'}}"
            )
        return self.columns[name]

    def number(self, name: str) -> NDArray[np.float64]:
        """One column of numbers, none of them missing.

        Raises
        ------
        DataError
            When it is absent, is not numeric, or has a gap (the message names the row).
        """
        column = self[name]
        if column.dtype != np.float64:
            row = _no_number(column)
            raise DataError(
                f"{self.origin}: column {self.found.get(name, name)} holds text such as {str(column[row])!r} in row "
                f"{row + 1}, not numbers"
            )
        missing = np.flatnonzero(np.isnan(column))
        if missing.size:
            raise DataError(
                f"{self.origin}: column {self.found.get(name, name)} has no value in row {missing[0] + 1} "
                f"({missing.size} such rows): fill them in or remove those rows"
            )
        return column

    def optional(self, name: str) -> NDArray[np.float64] | None:
        """One column of numbers, or ``None`` when the table lacks it."""
        return self.number(name) if name in self.columns else None

    def select(self, rows: NDArray[np.bool_]) -> Table:
        """The rows where ``rows`` is true."""
        chosen = {name: column[rows] for name, column in self.columns.items()}
        return Table(chosen, self.origin, self.found, self.warnings)


def read_table(
    source: Any, columns: Mapping[str, str] | None = None, units: Mapping[str, float] | None = None
) -> Table:
    """Read a table and find its columns.

    Parameters
    ----------
    source
        A file (CSV, JSON, JSON Lines or Parquet, compressed or not; ``"-"`` is standard input); a pandas, polars or
        pyarrow table; or a mapping of columns. A row per checkpoint, per checkpoint and k, or per checkpoint and
        problem. Numbers may be written ``20M`` or ``20,000,000``.
    columns
        Role to column name, for columns that don't go by a usual name (see :data:`ROLES`).
    units
        Role to factor: ``{"n_tokens": 1e9}`` for tokens counted in billions. A unit given is believed: 1 takes numbers
        that look too small as they stand.

    Raises
    ------
    DataError
        When the file cannot be read, a column named does not exist, two columns could fill one role, or the numbers
        cannot be in the units they should have.
    MissingExtraError
        When Parquet is asked for and pyarrow is not installed.

    Examples
    --------
    >>> read_table({"N": [1e8], "D": [2e9], "loss": [3.1]})["n_params"].tolist()
    [100000000.0]
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        origin = path.name
        raw: Mapping[str, Any] = read_columns(path)
    else:
        origin = "table"
        raw = _from_frame(source)
    if not raw or not len(next(iter(raw.values()))):
        raise DataError(f"{origin}: no rows")
    lengths = {name: len(column) for name, column in raw.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{origin}: columns differ in length: {lengths}")
    found = _assign(list(raw), dict(columns or {}), origin)
    out: dict[str, NDArray[Any]] = {}
    for role, name in found.items():
        out[role] = _text(raw[name]) if role in _LABELS else _array(raw[name])
    for name, column in raw.items():
        if name not in found.values() and name not in out:
            out[name] = _array(column)
    if "train_flops" in out and "n_tokens" not in out and "n_params" in out:
        held = Table(out, origin, found)
        out["n_tokens"] = held.number("train_flops") / train_flops(1.0, 1.0) / held.number("n_params")
    for role, factor in (units or {}).items():
        if role not in out or out[role].dtype != np.float64:
            raise DataError(f"units: {role!r} is no numeric column of {origin}")
        if not (factor > 0 and np.isfinite(factor)):
            raise DataError(f"units: {role} = {factor}: must be positive and finite")
        out[role] = out[role] * factor
    return Table(out, origin, found, _check_units(out, origin, frozenset(units or ())))


def _from_frame(source: Any) -> Mapping[str, Sequence[Any] | NDArray[Any]]:
    # pyarrow names its columns in column_names, pandas and polars in columns; a mapping by its keys.
    names: Iterable[Any] | None = getattr(source, "column_names", None)
    if names is None:
        names = source.keys() if isinstance(source, Mapping) else getattr(source, "columns", None)
    if names is None:
        raise DataError(f"a table must be a path, a dataframe or a mapping of columns, not {type(source).__name__}")
    out: dict[str, Sequence[Any] | NDArray[Any]] = {}
    for name in names:
        column = source[name]
        convert = getattr(column, "to_numpy", None)
        out[str(name)] = np.asarray(convert() if convert else column)
    return out


def _plain(name: str) -> str:
    # Single letters keep their case.
    return name if len(name) == 1 else name.lower().replace(" ", "_").replace("-", "_")


def _assign(names: list[str], wanted: dict[str, str], origin: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for role, name in wanted.items():
        if role not in ROLES:
            raise DataError(f"columns: {role!r} is no role; roles are {', '.join(ROLES)}")
        if name not in names:
            raise DataError(f"columns: {origin} has no column {name!r} for {role}; it has {', '.join(names)}")
        found[role] = name
    for role, usual in ROLES.items():
        if role in found:
            continue
        candidates = [name for name in names if _plain(name) in usual and name not in found.values()]
        exact = [name for name in candidates if name == role]
        if exact:
            found[role] = exact[0]
        elif len(candidates) == 1:
            found[role] = candidates[0]
        elif candidates:
            raise DataError(
                f"{origin}: columns {' and '.join(candidates)} could both be {role}; say which with "
                f"columns={{'{role}': '{candidates[0]}'}}"
            )
    return found


def _text(column: Any) -> NDArray[Any]:
    return np.asarray([str(value) for value in column], dtype=np.str_)


def _array(column: Any) -> NDArray[Any]:
    """Numbers as float64, gaps as NaN; anything else as text."""
    try:
        values = np.asarray(column)
    except ValueError:  # lists of different lengths
        return _text(column)
    if values.ndim != 1:
        return _text(column)
    if values.dtype.kind in "fiub":
        return np.ascontiguousarray(values, dtype=np.float64)
    try:
        return np.asarray([_cell(value) for value in values.tolist()], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return _text(values.tolist())


def _cell(value: Any) -> float:
    """A number as a table holds it, NaN for a gap."""
    if value is None or (isinstance(value, str) and value.strip().lower() in MISSING):
        return np.nan
    return number(value) if isinstance(value, str) else float(value)


def _no_number(column: NDArray[Any]) -> int:
    """The first row of a column of text that holds no number."""
    for row, value in enumerate(column.tolist()):
        try:
            _cell(value)
        except (T2Error, TypeError, ValueError):
            return row
    return 0


def _check_units(columns: Mapping[str, NDArray[Any]], origin: str, given: frozenset[str]) -> tuple[str, ...]:
    warnings: list[str] = []

    def number(name: str) -> NDArray[np.float64] | None:
        column = columns.get(name)
        return column if column is not None and column.dtype == np.float64 else None

    n, d = number("n_params"), number("n_tokens")
    for name, column in (("n_params", n), ("n_tokens", d)):
        if column is None or name in given or not np.any(column > 0):
            continue
        middle = float(np.median(column[column > 0]))
        if middle < 2e4:
            # A model of 12 "parameters" has 12 million or billion of them; the data can't say which, the user can.
            raise DataError(
                f"{origin}: {name} is {middle:g} in the middle of the table: probably millions or billions; "
                f"give the unit with units={{'{name}': 1e9}} (1 if they are as they stand)"
            )
    for name, column, most, likely in (("n_params", n, 1e14, "FLOP or bytes"), ("n_tokens", d, 1e18, "FLOP")):
        if column is not None and np.any(column > most):
            raise DataError(
                f"{origin}: {name} reaches {np.nanmax(column):g}: no model has so many; is it {likely}, or a unit "
                "given twice?"
            )
    if n is not None and d is not None:
        short = int(np.count_nonzero(d < n))
        if short > 0.5 * len(n):
            warnings.append(
                f"n_tokens is below n_params in {short} of {len(n)} rows: are tokens counted in another unit? "
                "If so, give it, for example units={'n_tokens': 1e9}"
            )
    rate = number("pass_at_k")
    if rate is not None and np.any(rate > 1):
        raise DataError(
            f"{origin}: pass_at_k reaches {np.nanmax(rate):g}: must lie in [0, 1]; "
            f"for percents units={{'pass_at_k': 0.01}}"
        )
    loss = number("loss")
    if loss is not None and np.any(loss > 20):
        warnings.append(f"loss reaches {np.nanmax(loss):g} nats per token: is it a perplexity, or a sum over tokens?")
    return tuple(warnings)
