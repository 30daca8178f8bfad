"""Fitting: from checkpoints and their results to a law, with its uncertainty.

Every fit returns a :class:`FitResult`: the law, how the optimum was found and how far to trust it. Uncertainty comes as
robust standard errors (from the curvature), as profile intervals, and as a bootstrap over checkpoints, training runs or
questions. :func:`backtest` fits on part of a table and reports the error on the rest.
"""

from t2fast.fitting.laws import fit_chinchilla, fit_t2_loss, fit_t2_pass, isoflop_weights, neg_log_pass_at_k
from t2fast.fitting.results import Bootstrap, FitResult
from t2fast.fitting.solve import OBJECTIVES
from t2fast.fitting.tables import Backtest, backtest, fit_table

__all__ = [
    "OBJECTIVES",
    "Backtest",
    "Bootstrap",
    "FitResult",
    "backtest",
    "fit_chinchilla",
    "fit_t2_loss",
    "fit_t2_pass",
    "fit_table",
    "isoflop_weights",
    "neg_log_pass_at_k",
]
