"""Train-to-Test scaling laws: choose model size N, training tokens D and samples per question k together.

The names here are the public ones; each verb has its module (:mod:`t2fast.planning`, ...) and its command.
"""

from __future__ import annotations

from t2fast import datasets, fitting, passk
from t2fast.costs import Attention, Budget, Workload, inference_flops, train_flops
from t2fast.errors import DataError, InfeasibleError, LawError, MissingExtraError, T2Error
from t2fast.laws import ChinchillaLaw, DataRange, Law, LawAverage, T2LossLaw, T2PassLaw, load_law, presets
from t2fast.planning import cheapest, compare, frontier, grid_search, isoflop, plan

__all__ = [
    "Attention",
    "Budget",
    "ChinchillaLaw",
    "DataError",
    "DataRange",
    "InfeasibleError",
    "Law",
    "LawAverage",
    "LawError",
    "MissingExtraError",
    "T2Error",
    "T2LossLaw",
    "T2PassLaw",
    "Workload",
    "cheapest",
    "compare",
    "datasets",
    "fitting",
    "frontier",
    "grid_search",
    "inference_flops",
    "isoflop",
    "load_law",
    "passk",
    "plan",
    "presets",
    "train_flops",
]
__version__ = "0.1.0"
