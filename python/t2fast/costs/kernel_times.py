"""Times of single kernels, as ``python -m bench.kernels --csv FILE`` writes them: what of its peaks a card reaches."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike

from t2fast.arguments import number
from t2fast.arguments import path as checked_path
from t2fast.costs.constants import Constants
from t2fast.costs.hardware import Card, load_card
from t2fast.costs.measurements import Measurement, from_rows, read_rows
from t2fast.costs.shapes import Architecture
from t2fast.errors import T2Error

__all__ = ["KernelTime", "read_results"]

#: Columns by which such a file is known.
COLUMNS = ("kind", "shape", "method", "cache", "status", "bytes", "flops", "median_us", "matrix_flops")


@dataclass(frozen=True)
class KernelTime:
    """How long a kernel took that moves so many bytes and does so many operations.

    Parameters
    ----------
    card
        What it ran on.
    bytes, flops
        What it must read and write, and multiply and add.
    seconds
        Its time.
    label
        What it was.

    Examples
    --------
    >>> half = KernelTime(load_card("h100"), bytes=3.35e9, flops=0.0, seconds=2e-3, label="a copy")
    >>> half.predict(Constants(memory=0.5))[0] * half.seconds
    1.0
    """

    card: Card
    bytes: float
    flops: float
    seconds: float
    label: str

    @property
    def speed(self) -> float:
        """Runs per second."""
        return 1.0 / self.seconds

    def predict(self, constants: Constants) -> tuple[float, float | None]:
        """Runs per second with given constants: bytes and operations each at their share of the peak, overlapped."""
        read = self.bytes / (self.card.memory_bytes_per_second * constants.memory)
        return 1.0 / max(read, self.flops / (self.card.peak("bf16") * constants.compute)), None


def read_results(
    path: str | PathLike[str], gpu: Card | str | None = None, model: str | Architecture | None = None
) -> list[Measurement] | list[KernelTime]:
    r"""Read measurements of either kind: tokens per second, or times of kernels.

    Parameters
    ----------
    path
        A table as :func:`read_measurements` takes (``python -m bench.sampling --csv`` writes one), or what
        ``python -m bench.kernels --csv`` writes. Of that, the matrix product and the project's own kernels count,
        with cold caches where both were timed.
    gpu, model
        As for :func:`read_measurements`; kernels need the card.

    Raises
    ------
    T2Error
        For files of neither kind, and for kernel times without a card or without a single row that ran.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("kernels.csv").write_text(
    ...     "kind,shape,method,cache,status,bytes,flops,median_us,matrix_flops\n"
    ...     "attention,1x64,t2fast,cold,ok,3350000000,0,1250,7e14\n"
    ... )
    >>> [one.label for one in read_results("kernels.csv", "h100")]
    ['h100 matrix product', 'h100 attention 1x64 t2fast']
    """
    file = checked_path("calibrate", path)
    names, table = read_rows(file)
    if not set(COLUMNS) <= set(names):
        return from_rows(file, names, table, gpu, model)
    if gpu is None:
        raise T2Error(f"{file}: times of kernels name no data sheet: name the card (--gpu)")
    card = load_card(gpu)
    products: dict[str, KernelTime] = {}
    kernels: dict[tuple[str, ...], KernelTime] = {}
    for line, row in enumerate(table, 2):
        if row["status"] != "ok" or not row["method"].startswith("t2fast"):
            continue
        try:
            numbers = {name: _positive(name, row[name]) for name in ("bytes", "median_us", "matrix_flops")}
            flops = _positive("flops", row["flops"], zero=True)
        except T2Error as error:
            raise T2Error(f"{file}, line {line}: {error}") from None
        rate = numbers["matrix_flops"]
        products.setdefault(row["matrix_flops"], KernelTime(card, 0.0, rate, 1.0, f"{card.name} matrix product"))
        what = tuple(row.get(name) or "" for name in ("kind", "shape", "detail", "method"))
        if row["cache"] == "cold" or what not in kernels:
            label = " ".join((card.name, row["kind"], row["shape"], row["method"]))
            kernels[what] = KernelTime(card, numbers["bytes"], flops, numbers["median_us"] * 1e-6, label)
    if not kernels:
        raise T2Error(f"{file}: no kernel of t2fast ran (status ok): run python -m bench.kernels --csv on the card")
    return [*products.values(), *kernels.values()]


def _positive(name: str, text: str, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        raise T2Error(f"{name} = {text!r}: must be a number") from None
    return number(name, value, low=0, low_open=not zero)
