"""What k samples of a problem are worth, by each of the estimators: values per problem, and what each of them needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from t2fast import _core, arguments
from t2fast.data import Counts, Trials
from t2fast.errors import DataError, T2Error
from t2fast.passk.estimate import Array, Integers
from t2fast.passk.vote import Ties, best_of_k, maj_of_tallies, max_at_k

__all__ = ["METRICS", "Metrics"]

#: The estimators by their words, and how tables name them.
METRICS: Mapping[str, str] = {
    "pass": "pass@k",
    "pass-hat": "pass^k",
    "g-pass": "G-pass@k",
    "maj": "maj@k",
    "best-of": "best-of-k",
    "max": "max@k",
    "avg": "avg@n",
}
_TIES = {"random": "ties at random", "fail": "ties fail", "win": "ties win"}
#: What each needs of single samples; others need counts.
NEEDS: Mapping[str, tuple[str, ...]] = {"maj": ("answers",), "best-of": ("scores", "verdicts"), "max": ("scores",)}


@dataclass(frozen=True)
class Metrics:
    """Some estimators and their settings.

    Parameters
    ----------
    names
        Words of :data:`METRICS`.
    tau
        Share of the k samples that G-pass@k wants to be right, in [0, 1]; it needs one.
    ties, draws, seed
        Of maj@k, as in :func:`maj_at_k`.

    Raises
    ------
    T2Error
        For other words, tau without g-pass or missing, and settings out of their ranges.

    Examples
    --------
    >>> Metrics(("pass", "g-pass"), tau=0.5).label("g-pass")
    'G-pass@k, tau = 0.5'
    """

    names: tuple[str, ...] = ("pass",)
    tau: float | None = None
    ties: Ties = "random"
    draws: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        names = arguments.items("metric", (self.names,) if isinstance(self.names, str) else self.names, "metrics")
        for name in names:
            arguments.choice("metric", name, METRICS)
        if not names:
            raise T2Error(f"metric: name at least one of {', '.join(METRICS)}")
        object.__setattr__(self, "names", tuple(dict.fromkeys(names)))
        if "g-pass" in names and self.tau is None:
            raise T2Error(
                "metric = 'g-pass': needs tau, the share of the k samples that must be right, such as tau=0.5"
            )
        if self.tau is not None:
            if "g-pass" not in names:
                raise T2Error(f"tau = {self.tau}: has no effect without the metric g-pass")
            object.__setattr__(self, "tau", arguments.number("tau", self.tau, low=0, high=1))
        arguments.choice("ties", self.ties, _TIES)
        arguments.whole("draws", self.draws, least=2, most=2**32 - 1)
        arguments.seed(self.seed)

    def label(self, name: str) -> str:
        """How tables name a metric, its settings included."""
        if name == "g-pass":
            return f"{METRICS[name]}, tau = {self.tau:g}"
        return f"{METRICS[name]}, {_TIES[self.ties]}" if name == "maj" else METRICS[name]

    @property
    def wanted(self) -> tuple[str, ...]:
        """What is needed of single samples: what :func:`t2fast.data.read_trials` takes; empty where counts will do."""
        return tuple(dict.fromkeys(part for name in self.names for part in NEEDS.get(name, ())))

    def values(
        self, name: str, source: Counts | Trials, rows: Integers, ks: Integers, threads: int | None = None
    ) -> tuple[Array, Array]:
        """A metric of some rows at each k, shape (rows, ks), and the standard errors of drawing votes.

        Raises
        ------
        DataError
            When the source does not hold what the metric needs.
        """
        counts = source.counts if isinstance(source, Trials) else source
        n, c = counts.n_samples[rows], counts.n_correct[rows]
        if name == "avg":
            found = np.repeat((c / n)[:, None], len(ks), axis=1)
        elif name in ("pass", "pass-hat", "g-pass"):
            core = {"pass": "pass_at_k", "pass-hat": "pass_hat_k", "g-pass": "g_pass_at_k"}[name]
            found = _core.estimate(core, n, c, ks, self.tau if name == "g-pass" and self.tau is not None else 0.0)
        elif not isinstance(source, Trials) or (source.answers if name == "maj" else source.scores) is None:
            what = " and ".join(NEEDS[name])
            raise DataError(
                f"{METRICS[name]} needs {what} of single samples, not counts: read them with read_trials(..., "
                f"{list(NEEDS[name])})"
            )
        elif name == "maj":
            votes = maj_of_tallies(
                source.tallies(rows), ks, ties=self.ties, draws=self.draws, seed=self.seed, threads=threads
            )
            return votes.value, votes.standard_error
        else:
            assert source.scores is not None
            scores = [source.scores[source.row(row)] for row in rows.tolist()]
            if name == "max" and any(np.isinf(part).any() for part in scores):
                raise DataError("a sample that crashed has no score, so that max@k is not defined: missing='drop'")
            right = [source.correct[source.row(row)] for row in rows.tolist()]
            found = max_at_k(scores, ks) if name == "max" else best_of_k(scores, right, ks)
        return found, np.zeros_like(found)

    def samples_variances(self, name: str, n: Integers, c: Integers, ks: Integers) -> Array:
        """Unbiased variances of each problem's value under new samples, shape (problems, ks); NaN for 2k > n.

        The square of the mean is estimated from pairs of draws without a sample in common.

        Raises
        ------
        T2Error
            For metrics that have no such estimate.
        """
        if name not in ("pass", "pass-hat", "g-pass", "avg"):
            raise T2Error(
                f"scope = 'samples': has intervals for pass, pass-hat, g-pass and avg, not for {name}; use "
                "scope='problems'"
            )
        if name == "pass":
            failed = 1 - _core.estimate("pass_at_k", n, c, ks, 0.0)
            return np.asarray(failed**2 - (1 - _core.estimate("pass_at_k", n, c, 2 * ks, 0.0)))
        if name == "avg":
            both = _core.estimate("pass_hat_k", n, c, np.asarray([2]), 0.0)
            return np.repeat((c / n)[:, None] ** 2 - both, len(ks), axis=1)
        if name == "pass-hat":
            one, both = (_core.estimate("pass_hat_k", n, c, times * ks, 0.0) for times in (1, 2))
            return np.asarray(one**2 - both)
        return np.stack([self._g_pass_variance(n, c, int(k)) for k in ks], axis=1)

    def _g_pass_variance(self, n: Integers, c: Integers, k: int) -> Array:
        """Of G-pass@k: the chance that of 2k samples both halves hold enough right ones, half by half."""

        def tail(least: float, size: Integers, right: Integers) -> Array:
            # A share half a sample below cannot be rounded up.
            return _core.estimate("g_pass_at_k", size, right, np.asarray([k]), max(least - 0.5, 0.0) / k)[:, 0]

        assert self.tau is not None
        least = max(1, int(np.ceil(self.tau * k - 1e-9)))
        square, both = tail(least, n, c) ** 2, np.zeros(len(n))
        enough = 2 * k <= n
        for first in range(least, k + 1):
            possible = enough & (c >= first) & (n - c >= k - first)
            if not possible.any():
                continue
            m, right = n[possible], c[possible]
            chance = tail(first, m, right) - (tail(first + 1, m, right) if first < k else 0.0)
            both[possible] += chance * tail(least, m - k, right - first)
        return np.where(enough, square - both, np.nan)


def chosen(metric: str | Iterable[str]) -> tuple[str, ...]:
    """The metrics named, as a tuple: one word, several, or several in one text with commas between them."""
    if isinstance(metric, str):
        return tuple(part.strip() for part in metric.split(","))
    return tuple(metric)
