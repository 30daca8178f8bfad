"""What checkpoints were measured to do, for a law to carry: pass@k at powers of two with intervals over problems."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from t2fast import _core
from t2fast.arguments import integers
from t2fast.fitting.rows import FloatArray, checkpoints
from t2fast.laws import Checkpoints

__all__ = ["measured"]

#: Largest k tabulated.
_MOST_K = 8192.0


def measured(n_params: FloatArray, n_tokens: FloatArray, n_samples: FloatArray, n_correct: FloatArray) -> Checkpoints:
    """Mean pass@k of every checkpoint, as far as the samples of all its problems reach.

    Intervals are 90%, normal, over problems as a sample of such problems, and end at 0 and 1.
    """
    place = checkpoints(n_params, n_tokens)
    _, first = np.unique(place, return_index=True)
    n, c = integers("n_samples", n_samples), integers("n_correct", n_correct)
    fewest = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(fewest, place, n)
    ks = 2 ** np.arange(int(np.floor(np.log2(min(float(fewest.max()), _MOST_K)))) + 1)
    reach = NormalDist().inv_cdf(0.95)
    table: dict[str, list[tuple[float | None, ...]]] = {"observed": [], "low": [], "high": []}
    for i, most in enumerate(fewest.tolist()):
        rows = place == i
        able = ks <= most
        each = _core.estimate("pass_at_k", n[rows], c[rows], ks[able])
        mean = each.mean(0)
        error = each.std(0, ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.ones_like(mean)
        beyond = (None,) * int(np.count_nonzero(~able))
        for name, values in (
            ("observed", mean),
            ("low", np.maximum(mean - reach * error, 0)),
            ("high", np.minimum(mean + reach * error, 1)),
        ):
            table[name].append((*(float(f"{value:.4g}") for value in values.tolist()), *beyond))
    return Checkpoints(
        tuple(n_params[first].tolist()),
        tuple(n_tokens[first].tolist()),
        tuple(float(k) for k in ks.tolist()),
        tuple(table["observed"]),
        tuple(table["low"]),
        tuple(table["high"]),
    )
