"""A back-test of methods that go beyond the samples: each predicts what the counts at hand show, from fewer samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Histogram, histogram
from t2fast.passk.interval import table
from t2fast.results import Report, Result, counted

__all__ = ["METHODS", "METHOD_NAMES", "Method", "PassBacktest", "backtest", "measured", "named_method"]

Method = Literal["power_law", "beta_binomial", "zero_inflated", "plug_in"]

#: Methods that :func:`backtest` compares, the first winning ties.
METHODS: tuple[Method, ...] = ("power_law", "beta_binomial", "zero_inflated")

METHOD_NAMES = {
    "power_law": "power law",
    "beta_binomial": "beta-binomial",
    "zero_inflated": "zero-inflated beta-binomial",
    "plug_in": "plug-in",
}


@dataclass(frozen=True, repr=False)
class PassBacktest(Result):
    """How well each method predicts pass@n from fewer samples; :func:`backtest` makes it.

    Examples
    --------
    >>> found = backtest(40, [0, 2, 5, 9, 30, 1], 400, n_resamples=5)
    >>> found.best in found.errors()
    True
    """

    #: One row per method and size of subsample: the method.
    method: tuple[Method, ...]
    #: Samples per problem that it saw.
    seen: tuple[int, ...]
    #: Its mean absolute error in predicting pass@n.
    error: tuple[float, ...]
    #: Its mean error, positive where it predicts too much.
    bias: tuple[float, ...]
    #: n, the k that was predicted.
    predicted: int
    #: Subsamples per size; 0 where sampling stopped at successes, and was made to stop earlier.
    n_resamples: int

    def errors(self) -> dict[Method, float]:
        """Mean absolute error of each method over all sizes."""
        names = dict.fromkeys(self.method)
        return {
            m: float(np.mean([e for e, name in zip(self.error, self.method, strict=True) if name == m])) for m in names
        }

    @property
    def factor(self) -> float:
        """How many times the fewest samples seen the predicted k is: as far as the back-test reaches."""
        return self.predicted / min(self.seen)

    def furthest(self, method: Method) -> float:
        """Mean absolute error of a method over the largest factor, from the fewest samples."""
        columns = zip(self.method, self.seen, self.error, strict=True)
        return min((seen, error) for name, seen, error in columns if name == method)[1]

    @property
    def best(self) -> Method:
        """The method with the smallest error."""
        errors = self.errors()
        return min(errors, key=lambda method: errors[method])

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        rows = (
            (METHOD_NAMES[m], str(s), f"{e:.4f}", f"{b:+.4f}")
            for m, s, e, b in zip(self.method, self.seen, self.error, self.bias, strict=True)
        )
        how = f"{self.n_resamples} subsamples each" if self.n_resamples else "stopping earlier"
        head = f"predicting pass@{self.predicted} from fewer samples, {how}"
        best = f"best on these counts: {METHOD_NAMES[self.best]}"
        return "\n".join([head, *table(("method", "samples seen", "mean error", "bias"), rows), best])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()} | {
            "best": self.best,
            "factor": self.factor,
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per method and number of samples seen: method, seen, error, bias."""
        columns = zip(self.method, self.seen, self.error, self.bias, strict=True)
        return [dict(zip(("method", "seen", "error", "bias"), row, strict=True)) for row in columns]


def backtest(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: float,
    *,
    methods: Sequence[Method] = METHODS,
    n_resamples: int = 20,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Report | None = None,
) -> PassBacktest:
    """Let each method predict pass@n from fewer samples, as far below n as k lies above it.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems; at least 4 samples each.
    k
        The k that is really wanted; it decides how many samples are hidden, as far as n allows (down to 3 seen).
    methods
        ``"power_law"``, ``"beta_binomial"``, ``"zero_inflated"`` and the baseline ``"plug_in"``.
    n_resamples, seed
        Subsamples at each of up to three sizes.
    batch
        The size of batches where sampling stopped at the first success. Nothing is drawn then: sampling stops earlier,
        after b samples, and problems that took longer count as b samples without a correct one.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, an unknown method, or fewer than 4 samples (of stopped sampling: fewer than 4
        batches of the problems that took longest).

    Examples
    --------
    >>> found = backtest(40, [0, 2, 5, 9, 30, 1], 400, n_resamples=5)
    >>> found.predicted, sorted(set(found.seen))
    (40, [4, 7, 13])
    """
    counts = histogram(n, c)
    if batch is not None:
        return stopped_earlier(counts, k, methods, batch)
    return measured(counts, k, methods, n_resamples, seed, threads, progress)


def measured(
    counts: Histogram,
    k: float,
    methods: Sequence[Method],
    n_resamples: int = 20,
    seed: int = 0,
    threads: int | None = None,
    progress: Report | None = None,
) -> PassBacktest:
    """The back-test of counts."""
    names: list[str] = [named_method(m) for m in methods]
    if not names:
        raise T2Error("methods is empty: name at least one, for example 'power_law'")
    k = arguments.number("k", k, low=1)
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=1), arguments.seed(seed)
    with counted(progress, 3 * n_resamples, "subsamples") as report:
        trials = counts.backtest(names, k, n_resamples, seed, arguments.threads(threads), report)
    return PassBacktest(
        tuple(named_method(one.method) for one in trials),
        tuple(one.seen for one in trials),
        tuple(one.error for one in trials),
        tuple(one.bias for one in trials),
        counts.fewest_samples,
        n_resamples,
    )


def stopped_earlier(counts: Histogram, k: float, methods: Sequence[Method], batch: int) -> PassBacktest:
    """The back-test of counts whose sampling stopped at the first success, by stopping it earlier."""
    chosen = [named_method(m) for m in methods]
    if not chosen:
        raise T2Error("methods is empty: name at least one, for example 'power_law'")
    k, batch = arguments.number("k", k, low=1), arguments.whole("batch", batch, least=1)
    n, c, problems = counts.pairs()
    unsolved = n[c == 0]
    most = int(unsolved.min()) if len(unsolved) else int(n.max())
    if most < 4 * batch:
        raise T2Error(f"n = {most}: a back-test of stopped sampling needs at least 4 batches, {4 * batch} samples")
    truth = counts.means("stopped", np.array([most]), float(batch))[0]
    high = most / 3
    low = min(max(most * most / k, 2.0 * batch), high)
    sizes = sorted({max(1, round(size / batch)) * batch for size in (low, (low * high) ** 0.5, high)})
    rows: list[tuple[Method, int, float]] = []
    for size in sizes:
        late = n > size
        earlier = histogram(np.repeat(np.where(late, size, n), problems), np.repeat(np.where(late, 0, c), problems))
        for method in chosen:
            value = earlier.extrapolate(method, np.array([float(most)]), 0, 0, batch).values[0]
            rows.append((method, size, float(value - truth)))
    names, seen, errors = zip(*rows, strict=True)
    return PassBacktest(names, seen, tuple(map(abs, errors)), errors, most, 0)


def named_method(name: str) -> Method:
    """The method of a name."""
    for method in (*METHODS, "plug_in"):
        if method == name:
            return method
    raise T2Error(f"method = {name!r}: must be one of auto, {', '.join(METHODS)}, plug_in")
