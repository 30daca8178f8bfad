"""What laws are fitted to, made from what tables hold: means of -log pass@k, mean pass@k, weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.arguments import integers
from t2fast.errors import T2Error
from t2fast.fitting.refit import Observed, ProblemMeans
from t2fast.fitting.rows import FloatArray, IntArray, Labels, checkpoints, column, columns, labels

__all__ = ["Cells", "isoflop_weights", "mean_pass_at_k", "neg_log_pass_at_k"]

#: Largest k at which counts are shown as mean pass@k.
_MOST_K = 1024.0


def neg_log_pass_at_k(
    n_params: ArrayLike, n_tokens: ArrayLike, probability: ArrayLike, k: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean over problems of -log pass@k, from each problem's probability of success: Approach 1's target.

    Parameters
    ----------
    n_params, n_tokens, probability
        A row per checkpoint and problem; ``probability = exp(-NLL)`` of the right answer, say, in (0, 1].
    k
        The numbers of samples to tabulate.

    Returns
    -------
    n_params, n_tokens, k, value
        A row per checkpoint and k: ``mean_i -log(1 - (1 - p_i)^k)``, nats.

    Raises
    ------
    T2Error
        When a probability is zero: the mean would be infinite.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d, k, value = fitting.neg_log_pass_at_k([1e8, 1e8], [1e9, 1e9], [0.5, 0.5], [1, 2])
    >>> value.round(3).tolist()
    [0.693, 0.288]
    """
    n, d, p = columns(n_params=n_params, n_tokens=n_tokens, probability=probability)
    samples = column("k", k)
    wrong = np.flatnonzero(~((p > 0) & (p <= 1)))
    if wrong.size:
        raise T2Error(
            f"probability[{wrong[0]}] = {p[wrong[0]]:g} ({wrong.size} such rows): must lie in (0, 1], since -log "
            "pass@k is infinite for a problem that is never solved; fit counts (n_samples and "
            "n_correct) by law t2-pass, or -log of the mean pass@k and say so"
        )
    checkpoint = checkpoints(n, d)
    count = np.bincount(checkpoint)
    _, first = np.unique(checkpoint, return_index=True)
    failure = np.where(p < 1, np.log1p(-np.minimum(p, 1 - 1e-16)), -np.inf)
    values = [np.bincount(checkpoint, weights=-np.log(-np.expm1(one * failure))) / count for one in samples.tolist()]
    repeat = len(samples)
    return (
        np.repeat(n[first], repeat),
        np.repeat(d[first], repeat),
        np.tile(samples, len(first)),
        np.stack(values, 1).reshape(-1),
    )


def isoflop_weights(n_params: ArrayLike, n_tokens: ArrayLike, loss: ArrayLike, per_decade: int = 10) -> FloatArray:
    """Inverse variances of the loss within groups of equal training compute, as Approach 2's first stage weights them.

    Parameters
    ----------
    n_params, n_tokens, loss
        One value per checkpoint.
    per_decade
        Groups are checkpoints whose ``log10(6 N D)`` agrees to 1 / ``per_decade``.

    Returns
    -------
    array of shape (checkpoints,)
        Weights with mean one; a group without variance gets the median weight.

    Raises
    ------
    T2Error
        For columns of different lengths, or none.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e8, 2e8, 1e9, 2e9], [4e9, 2e9, 4e10, 2e10]
    >>> fitting.isoflop_weights(n, d, [3.0, 3.1, 2.5, 2.7]).round(2).tolist()
    [1.6, 1.6, 0.4, 0.4]
    """
    n, d, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    budget = np.unique(np.round(np.log10(6 * n * d) * per_decade), return_inverse=True)[1]
    count = np.bincount(budget)
    mean = np.bincount(budget, weights=y) / count
    variance = np.bincount(budget, weights=(y - mean[budget]) ** 2) / count
    usable = (count > 1) & (variance > 0)
    if not usable.any():
        return np.ones_like(y)
    inverse = np.where(usable, 1 / np.where(usable, variance, 1), np.median(1 / variance[usable]))
    weights = inverse[budget]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def mean_pass_at_k(
    n: FloatArray, d: FloatArray, checkpoint: IntArray, drawn: FloatArray, right: FloatArray
) -> Observed:
    """Unbiased pass@k by checkpoint at powers of four, as far as every problem's samples reach."""
    most = min(float(np.min(drawn)), _MOST_K)
    ks = 4 ** np.arange(0, int(np.floor(np.log2(most) / 2)) + 1)
    table = _core.estimate("pass_at_k", integers("n_samples", drawn), integers("n_correct", right), ks)
    _, first = np.unique(checkpoint, return_index=True)
    count = np.bincount(checkpoint)
    values = np.stack([np.bincount(checkpoint, weights=column) / count for column in table.T], axis=1)
    shape = (len(first), len(ks))
    return Observed(
        np.repeat(n[first], len(ks)),
        np.repeat(d[first], len(ks)),
        np.broadcast_to(ks.astype(np.float64), shape).reshape(-1),
        values.reshape(-1),
        "pass@k",
    )


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows per checkpoint, k and problem, gathered to a row per checkpoint and k with the mean over problems."""

    n_params: FloatArray
    n_tokens: FloatArray
    k: FloatArray
    mean: FloatArray
    loss: FloatArray | None
    group: NDArray[np.str_] | None
    weights: FloatArray | None
    means: ProblemMeans

    @classmethod
    def gather(
        cls,
        rows: tuple[FloatArray, FloatArray, FloatArray, FloatArray],
        problem: Labels,
        group: Labels | None,
        weights: ArrayLike | None,
        loss: FloatArray | None = None,
    ) -> Cells:
        """Gather rows (N, D, k, value); what is one per checkpoint is taken from the first row of each."""
        n, d, k, value = rows
        if not np.isfinite(value).all():
            row = int(np.flatnonzero(~np.isfinite(value))[0])
            raise T2Error(f"row {row} has the value {value[row]}: values per problem must be finite")
        cell = checkpoints(n, d, k)
        _, first = np.unique(cell, return_index=True)
        mean = np.bincount(cell, weights=value) / np.bincount(cell)
        return cls(
            n[first],
            d[first],
            k[first],
            mean,
            None if loss is None else loss[first],
            None if group is None else np.asarray([str(one) for one in group])[first],
            None if weights is None else columns(n_params=n, weights=weights)[1][first],
            ProblemMeans(cell, labels(problem, len(n), "problem"), value),
        )
