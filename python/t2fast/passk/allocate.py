"""Where further samples help most, and how many are enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Histogram, Integers, flat_counts
from t2fast.passk.interval import table
from t2fast.results import Result

__all__ = ["Allocation", "Enough", "allocate", "enough"]


@dataclass(frozen=True, repr=False, eq=False)
class Allocation(Result):
    """Where further samples help most; :func:`allocate` makes it.

    Examples
    --------
    >>> allocate(10, [0, 3, 10], k=2, budget=6).n_samples
    array([0, 6, 0])
    """

    #: Further samples per problem, in the order of the counts.
    n_samples: Integers
    #: Standard error of mean pass@k under new samples of the same problems, now.
    error_before: float
    #: The same once the samples are drawn.
    error_after: float
    #: The same, had the samples been spread evenly.
    error_even: float
    #: The k of pass@k.
    k: int

    def summary(self) -> str:
        """The result in a few lines."""
        most = np.argsort(-self.n_samples, kind="stable")[:10]
        rows = ((str(i), str(self.n_samples[i])) for i in most if self.n_samples[i])
        lines = [
            f"{int(self.n_samples.sum())} further samples for pass@{self.k} over {len(self.n_samples)} problems, "
            f"{int((self.n_samples > 0).sum())} of them sampled",
            f"standard error {self.error_before:.4g} -> {self.error_after:.4g} (spread evenly: {self.error_even:.4g})",
            *table(("problem", "samples"), rows),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {"n_samples": self.n_samples.tolist()}

    def rows(self) -> list[dict[str, Any]]:
        """One row per problem: its place in the counts, and its further samples."""
        return [{"problem": i, "n_samples": further} for i, further in enumerate(self.n_samples.tolist())]


def _spread(counts: Histogram) -> tuple[float, float, float]:
    """How success rates are distributed over problems, for judging what more samples would show."""
    fit = counts.beta_binomial(True)
    # Where the samples of every problem agree, the fit takes rates for exactly 0 or 1, and no sample would seem to tell
    # anything. The arcsine distribution stands in, which leaves every rate possible.
    return (0.5, 0.5, 0.0) if fit.outcome in ("constant", "all_or_nothing") else (fit.a, fit.b, fit.zero)


def allocate(n: npt.ArrayLike, c: npt.ArrayLike, k: int, budget: int) -> Allocation:
    """Divide further samples over problems so that the interval of mean pass@k shrinks most.

    The estimate's variance is ``k^2 p (1-p)^(2k-1) / n`` per problem to first order; p is averaged over what
    the problem's counts and a beta-binomial fit to all counts leave possible. Problems with fewer than k
    samples are brought there first, when k is at most the largest n (beyond, the extrapolation is what gets
    sharper).

    Parameters
    ----------
    n, c
        Samples drawn and correct samples so far, broadcast over problems.
    k
        The k of pass@k.
    budget
        Further samples in all.

    Raises
    ------
    T2Error
        For impossible counts, or a budget that leaves a problem short of k samples.

    Examples
    --------
    >>> found = allocate(10, [0, 3, 10], k=2, budget=6)
    >>> found.error_after < found.error_even < found.error_before
    True
    """
    ns, cs, _ = flat_counts(n, c)
    ns = np.ascontiguousarray(np.broadcast_to(ns, cs.shape))
    budget, k = arguments.whole("budget", budget, most=2**50), arguments.whole("k", k, least=1, most=2**50)
    model = _spread(Histogram(ns, cs))
    least = k if k <= int(ns.max()) else 0
    further, before, after = _core.allocate(ns, cs, k, model, budget, least)
    even = ns + budget // len(cs) + (np.arange(len(cs)) < budget % len(cs))
    squares = _core.sensitivities(ns, cs, k, model)
    error_even = float(np.sqrt(np.sum(squares / even)) / len(cs))
    return Allocation(further, before, after, error_even, k)


@dataclass(frozen=True, repr=False)
class Enough(Result):
    """Whether the samples drawn suffice; :func:`enough` makes it.

    Examples
    --------
    >>> found = enough(20, [0, 1, 4, 9, 15], 5, half_width=0.2)
    >>> found.enough, found.further_samples
    (True, 0)
    """

    #: Whether the interval is narrow enough.
    enough: bool
    #: Its half-width now, for new samples of the same problems.
    half_width: float
    #: The half-width asked for.
    target: float
    #: Fewest further samples, placed by :func:`allocate`, that reach it; 0 where it is reached.
    further_samples: int
    #: Half-width for new problems, which more samples don't shrink below the spread between problems.
    half_width_problems: float
    #: Problems needed for that to reach the target, at the samples per problem drawn so far.
    problems_needed: int
    #: The k of pass@k.
    k: int
    #: Confidence level of the intervals.
    confidence_level: float

    def summary(self) -> str:
        """The result in a few lines."""
        verdict = "enough" if self.enough else f"draw {self.further_samples} more"
        return (
            f"pass@{self.k} is known to +-{self.half_width:.4g} for these problems; "
            f"asked: +-{self.target:.4g}; {verdict}\n"
            f"for new problems of the kind: +-{self.half_width_problems:.4g}; +-{self.target:.4g} takes "
            f"{self.problems_needed} problems"
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def enough(
    n: npt.ArrayLike, c: npt.ArrayLike, k: int, half_width: float = 0.01, *, confidence_level: float = 0.95
) -> Enough:
    """Decide whether mean pass@k is known well enough, and if not, what it takes.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples so far, broadcast over problems.
    k
        The k of pass@k, at most the smallest n.
    half_width
        Wanted half-width of the interval, in units of pass@k: 0.01 is one point.
    confidence_level
        Of the interval, between 0 and 1.

    Raises
    ------
    T2Error
        For impossible counts, k > n, or a half-width that is not positive.

    Examples
    --------
    >>> print(enough(20, [0, 1, 4, 9, 15], 5, half_width=0.05))
    pass@5 is known to +-0.1188 for these problems; asked: +-0.05; draw 337 more
    for new problems of the kind: +-0.3902; +-0.05 takes 305 problems
    """
    confidence_level = arguments.confidence_level(confidence_level)
    half_width = arguments.number("half_width", half_width, low=0, low_open=True)
    ns, cs, _ = flat_counts(n, c)
    ns = np.ascontiguousarray(np.broadcast_to(ns, cs.shape))
    counts = Histogram(ns, cs)
    k = arguments.whole("k", k)
    if not 1 <= k <= counts.fewest_samples:
        raise T2Error(f"k = {k}: must lie between 1 and the fewest samples of a problem, {counts.fewest_samples}")
    model = _spread(counts)
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence_level)
    needed, error = _core.samples_needed(ns, cs, k, model, half_width / z)
    spread = counts.problems_variance("pass_at_k", k)
    half_problems = z * math.sqrt(spread) if spread >= 0 else math.nan
    problems = math.ceil(len(cs) * spread * (z / half_width) ** 2) if spread >= 0 else 0
    return Enough(needed == 0, z * error, half_width, needed, half_problems, max(problems, 1), k, confidence_level)
