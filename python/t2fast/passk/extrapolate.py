"""pass@k beyond the samples drawn: methods, and a back-test that measures them on the counts at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Array, Histogram, histogram
from t2fast.passk.interval import json_list, shown, table, tails
from t2fast.results import Report, Result, counted
from t2fast.text import warning_lines

__all__ = [
    "METHOD_NAMES",
    "BetaBinomial",
    "Extrapolation",
    "Method",
    "PassBacktest",
    "backtest",
    "extrapolate",
    "fit_beta_binomial",
]

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
class BetaBinomial(Result):
    """Beta distributed success rates, a share never succeeding; :func:`fit_beta_binomial` makes it.

    Examples
    --------
    >>> found = fit_beta_binomial(20, [0, 1, 4, 9, 15])
    >>> print(f"{found.pass_at_k(100):.3f}")
    0.914
    """

    #: Parameters of the Beta distribution.
    a: float
    #: See ``a``.
    b: float
    #: Share of problems that never succeed, in [0, 1).
    zero: float
    #: Log-likelihood per problem in nats, without the binomial coefficients.
    log_likelihood: float
    #: Newton steps taken.
    n_iterations: int
    #: Whether the search ended at a maximum or at a limit of the family that is one.
    success: bool
    #: How the search ended.
    message: str

    def pass_at_k(self, k: npt.ArrayLike) -> Array:
        """pass@k of a new problem of the kind, of the shape of k (real, >= 0).

        ``(1 - zero) (1 - B(a, b+k) / B(a, b))``, within 1e-13 relative.

        Raises
        ------
        T2Error
            When a k is negative or not finite.
        """
        ks = arguments.numbers("k", k)
        if not (np.isfinite(ks) & (ks >= 0)).all():
            raise T2Error("k: must be finite and not negative")
        return _core.beta_pass_at_k(self.a, self.b, self.zero, ks.reshape(-1)).reshape(ks.shape)[()]

    def summary(self) -> str:
        """The fit in two lines."""
        zero = f", {self.zero:.4g} of problems never" if self.zero else ""
        return f"success rates: Beta(a = {self.a:.6g}, b = {self.b:.6g}){zero}\n{self.message}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}


_OUTCOMES = {
    "converged": "converged to a maximum of the likelihood",
    "constant": "no sample is correct, or all are: success rates of 0 or 1 fit best",
    "no_spread": "counts differ no more between problems than by chance: one success rate for all fits best",
    "all_or_nothing": "problems succeed always or never: success rates of 0 and 1 fit best",
    "stalled": "did not converge: the numbers are the best met",
    "power_law": "least squares on ln(-ln pass@k)",
    "rates": "c/n taken for the success rate",
}


def fit_beta_binomial(n: npt.ArrayLike, c: npt.ArrayLike, *, zero_inflated: bool = False) -> BetaBinomial:
    """Fit Beta distributed success rates to counts by maximum likelihood (Newton's method).

    Sampling that stopped at the first success does not bias the likelihood.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    zero_inflated
        Fit the share of problems that never succeed as well; it is 0 where that does not help.

    Raises
    ------
    T2Error
        For impossible counts.

    Examples
    --------
    >>> print(fit_beta_binomial(20, [0, 1, 4, 9, 15]))
    success rates: Beta(a = 0.55606, b = 1.43647)
    converged to a maximum of the likelihood
    """
    fit = histogram(n, c).beta_binomial(zero_inflated)
    return BetaBinomial(
        fit.a, fit.b, fit.zero, fit.log_likelihood, fit.steps, fit.outcome != "stalled", _OUTCOMES[fit.outcome]
    )


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
    #: Subsamples per size.
    n_resamples: int

    def errors(self) -> dict[Method, float]:
        """Mean absolute error of each method over all sizes."""
        names = dict.fromkeys(self.method)
        return {
            m: float(np.mean([e for e, name in zip(self.error, self.method, strict=True) if name == m])) for m in names
        }

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
        head = f"predicting pass@{self.predicted} from fewer samples, {self.n_resamples} subsamples each"
        best = f"best on these counts: {METHOD_NAMES[self.best]}"
        return "\n".join([head, *table(("method", "samples seen", "mean error", "bias"), rows), best])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()} | {
            "best": self.best
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
    threads: int | None = None,
    progress: Report | None = None,
) -> PassBacktest:
    """Let each method predict pass@n from fewer samples, as far below n as k lies above it.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems; at least 4 samples each, of sampling that did not
        stop at a success.
    k
        The k that is really wanted; it decides how many samples are hidden, as far as n allows (down to 3 seen).
    methods
        ``"power_law"``, ``"beta_binomial"``, ``"zero_inflated"`` and the baseline ``"plug_in"``.
    n_resamples, seed
        Subsamples at each of up to three sizes.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, an unknown method, or fewer than 4 samples.

    Examples
    --------
    >>> found = backtest(40, [0, 2, 5, 9, 30, 1], 400, n_resamples=5)
    >>> found.predicted, sorted(set(found.seen))
    (40, [4, 7, 13])
    """
    return measured(histogram(n, c), k, methods, n_resamples, seed, threads, progress)


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
    names: list[str] = [_method(m) for m in methods]
    if not names:
        raise T2Error("methods is empty: name at least one, for example 'power_law'")
    k = arguments.number("k", k, low=1)
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=1), arguments.seed(seed)
    with counted(progress, 3 * n_resamples, "subsamples") as report:
        trials = counts.backtest(names, k, n_resamples, seed, arguments.threads(threads), report)
    return PassBacktest(
        tuple(_method(one.method) for one in trials),
        tuple(one.seen for one in trials),
        tuple(one.error for one in trials),
        tuple(one.bias for one in trials),
        counts.fewest_samples,
        n_resamples,
    )


def _method(name: str) -> Method:
    for method in (*METHODS, "plug_in"):
        if method == name:
            return method
    raise T2Error(f"method = {name!r}: must be one of auto, {', '.join(METHODS)}, plug_in")


@dataclass(frozen=True, repr=False, eq=False)
class Extrapolation(Result):
    """pass@k beyond the samples drawn; :func:`extrapolate` makes it.

    Examples
    --------
    >>> found = extrapolate(40, [0, 2, 5, 9, 30, 1], [400], n_resamples=50)
    >>> found.extrapolation
    10.0
    """

    #: The k, shape (ks,).
    k: Array
    #: Predicted mean pass@k, shape (ks,).
    pass_at_k: Array
    #: Lower ends of the bootstrap intervals, shape (ks,).
    lower: Array
    #: Upper ends of the bootstrap intervals, shape (ks,).
    upper: Array
    #: Confidence level of the intervals, for new problems of the same kind, the method being right.
    confidence_level: float
    #: The method used.
    method: Method
    #: Its parameters: (ln A, gamma) of ``-ln pass@k = A k^-gamma``, or (a, b, zero) of the Beta distribution.
    parameters: tuple[float, ...]
    #: How the fit ended.
    message: str
    #: How many problems there are.
    n_problems: int
    #: The smallest number of samples of a problem.
    n_samples: int
    #: The back-test, or None where sampling stopped at the first success or samples were too few.
    backtest: PassBacktest | None
    #: What to know before using the numbers.
    warnings: tuple[str, ...] = ()

    figure: ClassVar[str | None] = "passk:extrapolation"

    @property
    def extrapolation(self) -> float:
        """How many times the samples drawn the largest k is."""
        return float(np.max(self.k)) / self.n_samples

    def summary(self) -> str:
        """The whole result as a table of at most 80 columns."""
        rows = (
            (f"{k:g}", shown(p), shown(low), shown(high))
            for k, p, low, high in zip(self.k, self.pass_at_k, self.lower, self.upper, strict=True)
        )
        lines = [
            f"mean pass@k of {self.n_problems} problems beyond {self.n_samples} samples: {METHOD_NAMES[self.method]}",
            f"{100 * self.confidence_level:.4g}% intervals for new problems, bootstrap with refit",
            *table(("k", "pass@k", "lower", "upper"), rows),
        ]
        if self.backtest is not None:
            seen = self.backtest.seen
            error = self.backtest.errors()[self.method]
            lines.append(
                f"measured error {error:.4f}: on these counts, pass@{self.backtest.predicted} "
                f"from {min(seen)} to {max(seen)} samples"
            )
        return "\n".join([*lines, *warning_lines(self.warnings)])

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        return {
            "k": self.k.tolist(),
            "pass_at_k": json_list(self.pass_at_k),
            "lower": json_list(self.lower),
            "upper": json_list(self.upper),
            "confidence_level": self.confidence_level,
            "method": self.method,
            "parameters": list(self.parameters),
            "message": self.message,
            "n_problems": self.n_problems,
            "n_samples": self.n_samples,
            "extrapolation": self.extrapolation,
            "backtest": None if self.backtest is None else self.backtest.to_dict(),
            "warnings": list(self.warnings),
        }

    def rows(self) -> list[dict[str, Any]]:
        """One row per k: k, pass_at_k, lower, upper."""
        columns = (self.k.tolist(), json_list(self.pass_at_k), json_list(self.lower), json_list(self.upper))
        return [dict(zip(("k", "pass_at_k", "lower", "upper"), row, strict=True)) for row in zip(*columns, strict=True)]


def extrapolate(
    n: npt.ArrayLike,
    c: npt.ArrayLike,
    k: npt.ArrayLike,
    *,
    method: Literal["auto"] | Method = "auto",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    threads: int | None = None,
    progress: Report | None = None,
) -> Extrapolation:
    """Predict mean pass@k for k beyond the samples drawn.

    Parameters
    ----------
    n, c
        Samples drawn and correct samples, broadcast over problems.
    k
        Values of k, at least 1; real numbers are allowed.
    method
        ``"power_law"``: ``-ln pass@k = A k^-gamma`` by least squares on its double logarithm.
        ``"beta_binomial"`` and ``"zero_inflated"``: Beta distributed success rates by maximum likelihood. None is best
        everywhere: ``"auto"`` takes what :func:`backtest` finds best on these counts. ``"plug_in"`` is the biased
        baseline.
    confidence_level, n_resamples, seed
        Intervals by the bootstrap over problems, with a new fit for each resample. They take the method for right; the
        back-test's error says how right it is.
    batch
        The size of batches where sampling stopped at the first success. The likelihood is unaffected by stopping; the
        power law then uses the curve that is unbiased under it. There is no back-test, and ``"auto"`` takes the
        beta-binomial.
    threads, progress
        As in :func:`curve`.

    Raises
    ------
    T2Error
        For impossible counts, k, confidence_level, or an unknown method.

    Examples
    --------
    >>> found = extrapolate(40, [0, 2, 5, 9, 30, 1], [100, 400], n_resamples=50, method="beta_binomial")
    >>> found.pass_at_k.round(3)
    array([0.845, 0.915])
    """
    return predicted(
        histogram(n, c), k, method, confidence_level, n_resamples, seed, batch, threads=threads, progress=progress
    )


def predicted(
    counts: Histogram,
    k: npt.ArrayLike,
    method: str = "auto",
    confidence_level: float = 0.95,
    n_resamples: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    *,
    threads: int | None = None,
    progress: Report | None = None,
) -> Extrapolation:
    """The extrapolation of counts."""
    confidence_level = arguments.confidence_level(confidence_level)
    ks = np.atleast_1d(arguments.numbers("k", k))
    if ks.ndim != 1 or not ks.size or not (np.isfinite(ks) & (ks >= 1)).all():
        raise T2Error("k: must be finite numbers of at least 1, in one dimension")
    n_resamples, seed = arguments.whole("n_resamples", n_resamples, least=2), arguments.seed(seed)
    threads = arguments.threads(threads)
    samples = counts.fewest_samples
    warnings: list[str] = []
    found: PassBacktest | None = None
    chosen: Method
    if batch is not None:
        arguments.whole("batch", batch, least=1)
    elif samples >= 4:
        methods: tuple[Method, ...] = METHODS if method == "auto" else (_method(method),)
        found = measured(counts, float(ks.max()), methods, seed=seed, threads=threads)
    if method != "auto":
        chosen = _method(method)
    elif found is not None:
        chosen = found.best
    else:
        chosen = "power_law" if batch is None else "beta_binomial"
        warnings.append(
            "no back-test chose the method: " + ("sampling stopped at successes" if batch else "too few samples")
        )
    with counted(progress, n_resamples, "resamples") as report:
        drawn = counts.extrapolate(chosen, ks, n_resamples, seed, batch, threads, report)
    lower, upper = np.quantile(drawn.resampled, tails(confidence_level), axis=0)
    if ks.max() > 100 * samples:
        warnings.append(
            f"k = {ks.max():g} is {ks.max() / samples:.3g} times the samples drawn: the method decides, not the data"
        )
    if drawn.outcome == "constant":
        warnings.append(_OUTCOMES["constant"] if chosen != "power_law" else "pass@k is the same at every k drawn")
    return Extrapolation(
        ks,
        drawn.values,
        lower,
        upper,
        confidence_level,
        chosen,
        tuple(drawn.parameters),
        _OUTCOMES.get(drawn.outcome, drawn.outcome),
        counts.problems,
        samples,
        found,
        tuple(warnings),
    )
