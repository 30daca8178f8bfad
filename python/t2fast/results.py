"""What every result can do: print, show itself in a notebook, become data, be drawn, pickled and copied."""

from __future__ import annotations

import html
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Progress", "Report", "Result", "counted"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far long work has come.

    Whatever takes ``progress=`` calls it with one of these now and then, from the thread that called it, and once at
    the end with ``done == total``.

    Attributes
    ----------
    done, total
        Work done and work in all, in the same unit; ``total`` may change as more becomes known.
    unit
        What is counted, in the plural: ``"budgets"``, ``"replicates"``, ``"samples"``.
    note
        The part under way, in words; often empty.

    Examples
    --------
    >>> Progress(3, 8, "replicates")
    Progress(done=3, total=8, unit='replicates', note='')
    """

    done: float
    total: float
    unit: str = ""
    note: str = ""


#: What ``progress=`` takes.
Report = Callable[[Progress], object]


@contextmanager
def counted(progress: Report | None, total: int, unit: str, note: str = "") -> Iterator[Callable[[int], object] | None]:
    """What the compiled core reports to: it knows how much is done, and not of what; says so at the end as well.

    Examples
    --------
    >>> with counted(print, 8, "replicates") as report:
    ...     report(3)
    Progress(done=3, total=8, unit='replicates', note='')
    Progress(done=8, total=8, unit='replicates', note='')
    """
    if progress is None:
        yield None
        return
    yield lambda done: progress(Progress(min(done, total), total, unit, note))
    progress(Progress(total, total, unit, note))


class Result:
    """The base of all results: frozen dataclasses that say what was found and how.

    A result prints as a table (``print(result)``), has a ``repr`` of one short line, shows itself in notebooks, becomes
    JSON data (:meth:`to_dict`) or a table's rows (:meth:`rows`, which ``pandas.DataFrame`` takes), is drawn by
    :meth:`plot`, and pickles and copies.

    Examples
    --------
    >>> from t2fast import passk
    >>> found = passk.fit_beta_binomial(20, [0, 1, 4, 9, 15])
    >>> isinstance(found, Result), found.rows()[0]["success"]
    (True, True)
    """

    #: Where :meth:`plot` finds its figure: ``"module:function"`` in :mod:`t2fast.plots`.
    figure: ClassVar[str | None] = None

    def summary(self) -> str:
        """The result as text of at most 80 columns."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        raise NotImplementedError

    def rows(self) -> list[dict[str, Any]]:
        """The result as rows of a table: a list of dicts, as ``pandas.DataFrame`` takes it."""
        return [self.to_dict()]

    def headline(self) -> str:
        """What matters most, in one short line: the body of the ``repr``."""
        return next((line for line in self.summary().splitlines() if line), "")

    def plot(self, path: str | Path | None = None) -> Figure:
        """Draw the result, and write the figure to a file if a path is given; needs ``t2fast[plot]``.

        Raises
        ------
        T2Error
            For a result without a figure, a suffix that names no format, or a path that cannot be written.
        MissingExtraError
            Without matplotlib.
        """
        from t2fast.errors import T2Error

        if self.figure is None:
            raise T2Error(f"{type(self).__name__} has no figure: use rows() to draw your own")
        module, function = self.figure.split(":")
        figure: Figure = getattr(_plots(module), function)(self, path)
        return figure

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        head = self.headline()
        room = 190 - len(type(self).__name__)
        return f"<{type(self).__name__}: {head if len(head) <= room else head[: room - 1] + '…'}>"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.summary())}</pre>"

    def __eq__(self, other: object) -> bool:
        # For results that hold arrays (``@dataclass(eq=False)``): the others have what dataclasses make.
        if type(other) is not type(self):
            return NotImplemented
        names = [item.name for item in fields(self) if item.compare]  # type: ignore[arg-type]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    def __hash__(self) -> int:
        values = (getattr(self, item.name) for item in fields(self) if item.compare)  # type: ignore[arg-type]
        return hash((type(self), *(value for value in values if isinstance(value, int | float | str | None))))

    def __getstate__(self) -> dict[str, Any]:
        # Cached properties hold what the core can make again from the fields.
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def check_figure(path: str | Path | None, name: str = "path") -> Path | None:
    """Refuse a figure that could not be drawn, before the work whose result it is to show; ``None`` passes.

    Examples
    --------
    >>> check_figure("curve.svg").suffix
    '.svg'

    Raises
    ------
    T2Error
        For a suffix that names no format.
    MissingExtraError
        Without matplotlib.
    """
    if path is None:
        return None
    found: Path = _plots("canvas").format_of(path, name)[0]
    return found


def _plots(module: str) -> Any:
    """A module of figures, with a hint where matplotlib is missing."""
    from t2fast.errors import MissingExtraError

    try:
        return importlib.import_module(f"t2fast.plots.{module}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "matplotlib":
            raise
        raise MissingExtraError("plot needs matplotlib: pip install 't2fast[plot]'") from None


def _same(one: Any, other: Any) -> bool:
    """Equality that takes arrays as values, NaN equal to NaN in them."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        both = isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
        return both and one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, tuple | list) and type(one) is type(other):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)
