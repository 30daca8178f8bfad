"""IsoFLOP minima: where the loss is least at each training budget, and how that point moves with the budget.

Approach 2 of Hoffmann et al. 2022 (arXiv 2203.15556), a second opinion beside the law of the loss: at each budget a
parabola in log N, then power laws through the minima. It needs no form of the loss, and is biased even without noise:
the loss is no parabola, so that wide, off-centre or drifting samples of sizes move the vertex (Czech et al. 2026, arXiv
2603.22339). :attr:`IsoFlopMinima.expected` measures that bias on the user's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.fitting.isoflop_budgets import enough_sizes, grouped, named
from t2fast.fitting.isoflop_parabola import Parabola, line
from t2fast.fitting.isoflop_result import Interval, IsoFlopBudget, IsoFlopLaw, IsoFlopMinima
from t2fast.fitting.rows import FloatArray, IntArray, columns

__all__ = ["isoflop_minima"]


def isoflop_minima(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    flops: ArrayLike | None = None,
    budgets: Sequence[float] | None = None,
    tolerance: float = 0.1,
    confidence_level: float = 0.9,
    n_resamples: int = 1000,
    seed: int = 0,
) -> IsoFlopMinima:
    """Find the best N and D at each training budget by parabolas, and power laws through them.

    Parameters
    ----------
    n_params, n_tokens, loss
        One value per checkpoint, all positive. Checkpoints in mid-schedule bias the minima like any other fit.
    flops
        Training FLOP per checkpoint, where they are not ``6 N D``.
    budgets
        Budgets to use; checkpoints further than ``tolerance`` from all of them are left out, and counted in a warning.
        By default the budgets are what the checkpoints fall into.
    tolerance
        How far, as a share, the FLOP of neighbours at one budget may differ.
    confidence_level, n_resamples, seed
        Of the intervals. Residuals, scaled by their leverage, are drawn with replacement over all budgets.

    Raises
    ------
    T2Error
        For fewer than two budgets with a minimum, fewer than three sizes at a budget, and checkpoints that fall into no
        budgets.

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e8, 2e8, 4e8] * 2, [4e9, 2e9, 1e9, 16e9, 8e9, 4e9]
    >>> found = fitting.isoflop_minima(n, d, [3.3, 3.2, 3.3, 3.0, 2.9, 2.8], tolerance=0.01)
    Traceback (most recent call last):
    t2fast.errors.T2Error: only 1 of 2 budgets has a minimum within its model sizes...
    """
    n, d, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    c = 6 * n * d if flops is None else columns(n_params=n, flops=flops)[1]
    for name, values in (("n_params", n), ("n_tokens", d), ("loss", y), ("flops", c)):
        if not np.all((values > 0) & np.isfinite(values)):
            wrong = int(np.argmin((values > 0) & np.isfinite(values)))
            raise T2Error(f"{name} = {values[wrong]:g} in row {wrong + 1}: must be positive and finite")
    width = arguments.number("tolerance", tolerance, low=0, high=1)
    level = arguments.confidence_level(confidence_level)
    total = arguments.whole("n_resamples", n_resamples, least=2)
    warnings: list[str] = []
    of, centres = grouped(c, width) if budgets is None else named(c, budgets, width, warnings)
    kept = of >= 0
    of, n, d, y = of[kept], n[kept], d[kept], y[kept]
    enough_sizes([len(np.unique(n[of == one])) for one in range(len(centres))], centres, width)
    fits = [Parabola(n[of == one], d[of == one]) for one in range(len(centres))]
    observed = np.stack([centres[of], n, d, y])

    rows = [np.flatnonzero(of == one) for one in range(len(centres))]
    log_c, found = np.log(centres), [fit.vertex(y[row]) for fit, row in zip(fits, rows, strict=True)]
    used = np.array([fit.inside(one[0]) for fit, one in zip(fits, found, strict=True)])
    if used.sum() < 2:
        raise T2Error(
            f"only {used.sum()} of {len(used)} budgets {'has' if used.sum() == 1 else 'have'} a minimum within "
            "its model sizes: power laws need two; train sizes on both sides of the best one"
        )
    _warn(found, used, warnings)
    draws, residual = _bootstrap(fits, rows, y, total, arguments.seed(seed))
    laws = []
    for place in (0, 1):
        exponent, start = line(log_c[used], np.array([one[place] for one in found])[used])
        drawn = None if draws is None else line(log_c[used], draws[place][:, used])[0]
        laws.append(IsoFlopLaw(float(np.exp(start)), float(exponent), _interval(drawn, level)))
    budgets_found = tuple(
        IsoFlopBudget(
            train_flops=float(centres[one]),
            n_rows=len(rows[one]),
            n_sizes=fits[one].n_sizes,
            sizes=fits[one].sizes,
            parabola=(fits[one].centre, *fits[one].coefficients(y[rows[one]])),
            n_params=float(np.exp(found[one][0])),
            n_tokens=float(np.exp(found[one][1])),
            loss=float(found[one][2]),
            interval=None if draws is None else _exp(_interval(draws[0][:, one], level)),
            inside=bool(used[one]),
        )
        for one in range(len(centres))
    )
    if draws is None:
        warnings.append("every budget has three checkpoints: parabolas pass through all, and no interval can be had")
    return IsoFlopMinima(
        budgets_found, laws[0], laws[1], None, None, residual, level, total, int(seed), tuple(warnings), observed
    )


def _warn(found: list[tuple[Any, Any, Any]], used: NDArray[np.bool_], warnings: list[str]) -> None:
    none = sum(bool(np.isnan(one[0])) for one in found)
    outside = int(np.count_nonzero(~used)) - none
    for count, what in ((none, "have no minimum"), (outside, "have their minimum outside the sizes sampled")):
        if count:
            warnings.append(f"{count} of {len(found)} budgets {what}: the power laws go through the others")
    if used.sum() == 2:
        warnings.append("two minima alone make each power law: nothing says whether the minima follow one")


def _bootstrap(
    fits: list[Parabola], rows: list[IntArray], y: FloatArray, total: int, seed: int
) -> tuple[tuple[FloatArray, FloatArray] | None, float]:
    """Log N and log D of each minimum by replicate, and the parabolas' residual; None where they miss nothing.

    Residuals are drawn over all budgets: each has too few checkpoints to resample those.
    """
    fitted, scaled, freedom, squares = [], [], 0, 0.0
    for fit, row in zip(fits, rows, strict=True):
        hat = fit.design @ fit.solve
        fitted.append(hat @ y[row])
        left = y[row] - fitted[-1]
        free = 1 - np.diag(hat) > 1e-9
        freedom += len(row) - 3
        squares += float(left @ left)
        scaled.append(left[free] / np.sqrt(1 - np.diag(hat)[free]))
    if freedom == 0:
        return None, float("nan")
    pool = np.concatenate(scaled)
    pool = pool - pool.mean()
    random = np.random.Generator(np.random.Philox(key=[seed, 0]))
    found = []
    for fit, mean in zip(fits, fitted, strict=True):
        found.append(fit.vertex(mean + pool[random.integers(len(pool), size=(total, len(mean)))])[:2])
    log_n, log_d = (np.stack([one[place] for one in found], axis=1) for place in (0, 1))
    return (log_n, log_d), float(np.sqrt(squares / len(y)))


def _interval(draws: FloatArray | None, level: float) -> Interval | None:
    """Percentiles; None where replicates without a minimum reach into the tails."""
    if draws is None:
        return None
    tail, known = 0.5 * (1 - level), np.isfinite(draws)
    if np.count_nonzero(~known) > tail * len(draws):
        return None
    low, high = np.quantile(draws[known], [tail, 1 - tail])
    return float(low), float(high)


def _exp(interval: Interval | None) -> Interval | None:
    return None if interval is None else (float(np.exp(interval[0])), float(np.exp(interval[1])))
