"""Scaling laws: what a model of N parameters, trained on D tokens and sampled k times per question, achieves.

Three laws, all functions of the Chinchilla loss ``E + A N^-alpha + B D^-beta`` and of k. They are frozen, carry where
they come from and which data stand behind them, and travel as JSON files; :func:`presets` lists those that come with
t2fast.
"""

from t2fast.laws.checkpoints import Checkpoints, Observation
from t2fast.laws.data_range import DataRange
from t2fast.laws.law import ChinchillaLaw, Gradient, Law, T2LossLaw, T2PassLaw
from t2fast.laws.presets import DEFAULT_LAW, Fitted, as_law, load_law, presets

__all__ = [
    "DEFAULT_LAW",
    "Checkpoints",
    "ChinchillaLaw",
    "DataRange",
    "Fitted",
    "Gradient",
    "Law",
    "Observation",
    "T2LossLaw",
    "T2PassLaw",
    "as_law",
    "load_law",
    "presets",
]
