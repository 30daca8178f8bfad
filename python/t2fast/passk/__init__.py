"""pass@k and its relatives from counted samples: exact estimates, honest intervals, and beyond the samples drawn.

Of n samples of each problem, c are correct. Functions of (n, c, k) broadcast n and c over problems and put k last:
``pass_at_k(n, c, [1, 10])`` has shape (problems, 2). Where k > n an estimate does not exist, and NaN says so.
"""

from __future__ import annotations

from t2fast.passk.allocate import Allocation, Enough, allocate, enough
from t2fast.passk.backtest import PassBacktest, backtest
from t2fast.passk.compare import PassComparison, compare
from t2fast.passk.curve import PassCurve, curve
from t2fast.passk.estimate import (
    Histogram,
    ProblemCounts,
    counts_from_matrix,
    estimate_pass_at_k,
    g_pass_at_k,
    histogram,
    log_failure,
    mean_pass_at_k,
    pass_at_k,
    pass_hat_k,
)
from t2fast.passk.extrapolate import (
    BetaBinomial,
    Extrapolation,
    extrapolate,
    fit_beta_binomial,
)
from t2fast.passk.metric_report import MetricReport, measure
from t2fast.passk.metrics import METRICS, Metrics
from t2fast.passk.report import PassReport, report
from t2fast.passk.versus import Versus, versus
from t2fast.passk.vote import VoteEstimate, best_of_k, maj_at_k, maj_of_tallies, max_at_k

__all__ = [
    "METRICS",
    "Allocation",
    "BetaBinomial",
    "Enough",
    "Extrapolation",
    "Histogram",
    "MetricReport",
    "Metrics",
    "PassBacktest",
    "PassComparison",
    "PassCurve",
    "PassReport",
    "ProblemCounts",
    "Versus",
    "VoteEstimate",
    "allocate",
    "backtest",
    "best_of_k",
    "compare",
    "counts_from_matrix",
    "curve",
    "enough",
    "estimate_pass_at_k",
    "extrapolate",
    "fit_beta_binomial",
    "g_pass_at_k",
    "histogram",
    "log_failure",
    "maj_at_k",
    "maj_of_tallies",
    "max_at_k",
    "mean_pass_at_k",
    "measure",
    "pass_at_k",
    "pass_hat_k",
    "report",
    "versus",
]
