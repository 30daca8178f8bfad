"""Samples drawn and correct samples of each problem, and what they come from."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.files import replacing
from t2fast.results import Result
from t2fast.text import columns, warning_lines

__all__ = ["Counts"]

Integers = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, repr=False, eq=False)
class Counts(Result):
    """Samples drawn and correct samples of each problem; :func:`read_counts` or :meth:`Counts.of` make it.

    Examples
    --------
    >>> counts = Counts.of(10, [0, 3, 10], model="m", benchmark="b")
    >>> print(counts)
    model  benchmark  problems  samples  correct
    m      b                 3       10   0.4333
    """

    #: Model of each row; empty text where nothing says.
    model: tuple[str, ...]
    #: Benchmark of each row; empty text where nothing says.
    benchmark: tuple[str, ...]
    #: Problem of each row, unique within model and benchmark.
    problem_id: tuple[str, ...]
    #: Samples drawn, shape (rows,).
    n_samples: Integers
    #: Correct samples, shape (rows,).
    n_correct: Integers
    #: Parameters of the model, shape (rows,), or None where nothing says.
    n_params: Array | None = None
    #: Training tokens of the model, shape (rows,), or None where nothing says.
    n_tokens: Array | None = None
    #: Whether sampling ended at the first success, shape (rows,), or None where it ended nowhere.
    stopped: npt.NDArray[np.bool_] | None = None
    #: Copies of trials that were left out, shape (rows,), or None where there were none.
    n_duplicates: Integers | None = None
    #: The files read.
    files: tuple[str, ...] = ()
    #: For each row the places in ``files`` of those that hold its trials.
    sources: tuple[tuple[int, ...], ...] = ()
    #: What the files were taken for.
    formats: tuple[str, ...] = ()
    #: Malformed lines left out because the caller asked for it.
    skipped: int = 0
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        n: npt.ArrayLike,
        c: npt.ArrayLike,
        *,
        model: str = "",
        benchmark: str = "",
        n_params: float | None = None,
        n_tokens: float | None = None,
    ) -> Counts:
        """Counts of one model on one benchmark, problems numbered from 0.

        Parameters
        ----------
        n, c
            Samples drawn and correct samples, broadcast over problems.
        model, benchmark
            Their names.
        n_params, n_tokens
            The model's parameters and training tokens, where known.

        Raises
        ------
        T2Error
            Unless 0 <= c <= n and n >= 1.

        Examples
        --------
        >>> Counts.of([4, 8], [1, 2]).n_samples
        array([4, 8])
        """
        try:
            ns, cs = np.broadcast_arrays(arguments.integers("n", n), arguments.integers("c", c))
        except ValueError:
            raise T2Error("n and c: must broadcast over problems") from None
        ns, cs = ns.reshape(-1).copy(), cs.reshape(-1).copy()
        wrong = np.flatnonzero((ns < 1) | (cs < 0) | (cs > ns))
        if wrong.size:
            at = wrong[0]
            raise T2Error(f"n[{at}] = {ns[at]}, c[{at}] = {cs[at]}: must satisfy 0 <= c <= n and n >= 1")

        def size(name: str, value: float | None) -> Array | None:
            return None if value is None else np.full(len(cs), arguments.number(name, value, low=0, low_open=True))

        names, size_n, size_d = tuple(map(str, range(len(cs)))), size("n_params", n_params), size("n_tokens", n_tokens)
        return cls((model,) * len(cs), (benchmark,) * len(cs), names, ns, cs, size_n, size_d)

    @cached_property
    def _groups(self) -> dict[tuple[str, str], Integers]:
        rows: dict[tuple[str, str], list[int]] = {}
        for i, key in enumerate(zip(self.model, self.benchmark, strict=True)):
            rows.setdefault(key, []).append(i)
        return {key: np.asarray(value, np.int64) for key, value in rows.items()}

    def groups(self) -> dict[tuple[str, str], Integers]:
        """The rows of each (model, benchmark), in order of appearance.

        Examples
        --------
        >>> Counts.of(10, [0, 3], model="m", benchmark="b").groups()
        {('m', 'b'): array([0, 1])}
        """
        return self._groups

    def contents(self, rows: Integers) -> str:
        """What went into some rows, in words: problems, samples, files, copies left out.

        Examples
        --------
        >>> counts = Counts.of([4, 8], [1, 2])
        >>> counts.contents(counts.groups()["", ""])
        '2 problems, 4 to 8 samples each'
        """
        n = self.n_samples[rows]
        low, high = int(n.min()), int(n.max())
        each = _many(high, "sample") if low == high else f"{low} to {high} samples"
        text = f"{_many(len(rows), 'problem')}, {each} each"
        found = self.provenance(rows)
        if len(found.get("files", ())) > 1:
            text += f", from {len(found['files'])} files"
        if found.get("n_duplicates"):
            text += f"; {_many(found['n_duplicates'], 'copy', 'copies')} left out"
        return text

    def provenance(self, rows: Integers) -> dict[str, Any]:
        """Files, trials and copies left out of some rows, as JSON data; ``files`` only where files were read.

        Examples
        --------
        >>> counts = Counts.of([4, 8], [1, 2])
        >>> counts.provenance(counts.groups()["", ""])
        {'n_trials': 12, 'n_duplicates': 0}
        """
        found: dict[str, Any] = {"n_trials": int(self.n_samples[rows].sum())}
        found["n_duplicates"] = 0 if self.n_duplicates is None else int(self.n_duplicates[rows].sum())
        if self.sources:
            places = sorted({place for row in rows.tolist() for place in self.sources[row]})
            found["files"] = [self.files[place] for place in places]
        return found

    def write_csv(self, path: str | Path) -> None:
        """Write model, benchmark, problem_id, n_samples, n_correct (n_params, n_tokens): what ``t2fast fit`` reads.

        Raises
        ------
        T2Error
            When the file cannot be written.

        Examples
        --------
        >>> Counts.of(10, [0, 3], model="m").write_csv("counts.csv")
        """
        with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            table = self._columns()
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))

    def _columns(self) -> dict[str, Sequence[Any]]:
        table: dict[str, Sequence[Any]] = {
            "model": self.model,
            "benchmark": self.benchmark,
            "problem_id": self.problem_id,
            "n_samples": self.n_samples.tolist(),
            "n_correct": self.n_correct.tolist(),
        }
        for name, column in (("n_params", self.n_params), ("n_tokens", self.n_tokens)):
            if column is not None:
                table[name] = [f"{x:.17g}" if math.isfinite(x) else "" for x in column]
        if self.stopped is not None:
            table["stop_on_success"] = self.stopped.astype(np.int64).tolist()
        return table

    def rows(self) -> list[dict[str, Any]]:
        """One row per problem, as :meth:`write_csv` writes them."""
        table = self._columns()
        return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]

    def summary(self) -> str:
        """What was read as a table of at most 80 columns."""
        rows = [("model", "benchmark", "problems", "samples", "correct")]
        for (model, benchmark), at in self.groups().items():
            n = self.n_samples[at]
            each = str(n.min()) if n.min() == n.max() else f"{n.min()}-{n.max()}"
            share = self.n_correct[at].sum() / n.sum()
            rows.append((model[:30] or "-", benchmark[:22] or "-", str(len(at)), each, f"{share:.4f}"))
        return "\n".join([*columns(rows, left=(0, 1)), *warning_lines(self.warnings)])

    def headline(self) -> str:
        """What matters most, in one line: the body of the ``repr``."""
        rows = np.arange(len(self.n_samples))
        return f"{self.contents(rows)}, {int(self.n_correct.sum())} of {int(self.n_samples.sum())} correct"

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON data."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: [None if isinstance(x, float) and math.isnan(x) else x for x in value.tolist()]
            if isinstance(value, np.ndarray)
            else [list(one) if isinstance(one, tuple) else one for one in value]
            if isinstance(value, tuple)
            else value
            for name, value in fields.items()
        }


def _many(number: int, one: str, several: str | None = None) -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"
