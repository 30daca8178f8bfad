"""Scaling laws: what a model of N parameters, trained on D tokens and sampled k times per question, achieves.

Three are functions of the Chinchilla loss ``E + A N^-alpha + B D^-beta`` and of k, and an :class:`AccuracyLaw` is a
sigmoid of it; two let ability bend freely in (ln N, ln D); a :class:`LawAverage` is the mean of several, and a
:class:`RuledLaw` says what a rule makes of the samples. They are frozen, carry where they come from and which data
stand behind them, and travel as JSON files; :func:`presets` lists those that come with t2fast.
"""

from t2fast.laws.ability import BetaAbilityLaw, ItemResponseLaw
from t2fast.laws.accuracy import AccuracyLaw
from t2fast.laws.average import LawAverage
from t2fast.laws.checkpoints import Checkpoints, Observation
from t2fast.laws.data_range import DataRange
from t2fast.laws.law import Law
from t2fast.laws.power import ChinchillaLaw, Gradient, PowerLaw, T2LossLaw, T2PassLaw
from t2fast.laws.presets import DEFAULT_LAW, Fitted, as_law, load_law, presets
from t2fast.laws.ruled import RuledLaw, under_rule

__all__ = [
    "DEFAULT_LAW",
    "AccuracyLaw",
    "BetaAbilityLaw",
    "Checkpoints",
    "ChinchillaLaw",
    "DataRange",
    "Fitted",
    "Gradient",
    "ItemResponseLaw",
    "Law",
    "LawAverage",
    "Observation",
    "PowerLaw",
    "RuledLaw",
    "T2LossLaw",
    "T2PassLaw",
    "as_law",
    "load_law",
    "presets",
    "under_rule",
]
