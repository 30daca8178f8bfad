"""Fitting: from checkpoints and their results to a law, with its uncertainty.

Every fit returns a :class:`FitResult`: the law, how the optimum was found and how far to trust it. Uncertainty comes as
robust standard errors (from the curvature), as profile intervals, and as a bootstrap over checkpoints, training runs or
problems. :func:`backtest` fits on part of a table and reports the error on the rest. Rules, by which one of k samples
becomes the answer, are fitted to single samples: :func:`fit_verifier`, :func:`fit_tail`, :func:`fit_scores`.
"""

from t2fast.fitting.accuracy import AccuracyFit, accuracy_table, fit_accuracy
from t2fast.fitting.average import AverageFit, fit_average
from t2fast.fitting.backtest import HeldOutRows, LawBacktest, backtest
from t2fast.fitting.bootstrap import Bootstrap
from t2fast.fitting.fits import fit_chinchilla, fit_t2_loss, fit_t2_pass
from t2fast.fitting.forms import FORMS
from t2fast.fitting.isoflop import isoflop_minima
from t2fast.fitting.isoflop_result import IsoFlopBudget, IsoFlopLaw, IsoFlopMinima
from t2fast.fitting.left_out import LeftOut
from t2fast.fitting.recipes import OBJECTIVES
from t2fast.fitting.refit import Observed
from t2fast.fitting.regret import DecisionBacktest, Protocol, StrategyRegret, regret
from t2fast.fitting.result import FitResult
from t2fast.fitting.scores import ScoreFit, fit_scores
from t2fast.fitting.table import average_table, fit_table, isoflop_table
from t2fast.fitting.tail import TailFit, fit_tail
from t2fast.fitting.targets import isoflop_weights, neg_log_pass_at_k
from t2fast.fitting.verifier import VerifierFit, false_positives_of, fit_verifier

__all__ = [
    "FORMS",
    "OBJECTIVES",
    "AccuracyFit",
    "AverageFit",
    "Bootstrap",
    "DecisionBacktest",
    "FitResult",
    "HeldOutRows",
    "IsoFlopBudget",
    "IsoFlopLaw",
    "IsoFlopMinima",
    "LawBacktest",
    "LeftOut",
    "Observed",
    "Protocol",
    "ScoreFit",
    "StrategyRegret",
    "TailFit",
    "VerifierFit",
    "accuracy_table",
    "average_table",
    "backtest",
    "false_positives_of",
    "fit_accuracy",
    "fit_average",
    "fit_chinchilla",
    "fit_scores",
    "fit_t2_loss",
    "fit_t2_pass",
    "fit_table",
    "fit_tail",
    "fit_verifier",
    "isoflop_minima",
    "isoflop_table",
    "isoflop_weights",
    "neg_log_pass_at_k",
    "regret",
]
