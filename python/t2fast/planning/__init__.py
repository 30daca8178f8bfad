"""Which N, D and k? The best design for a law and a budget, found three ways, with what is needed to judge it.

* :func:`plan`: the exact optimum, beside it the best design within the data behind the law, and the Chinchilla-style;
* :func:`cheapest`: the smallest budget that reaches a target;
* :func:`grid_search`: brute force over your own axes;
* :func:`frontier`, :func:`isoflop`: optima along sweeps of budgets, and curves of constant training cost;
* :func:`compare`: given designs side by side.

Every function takes a law as an object, a preset's name or the path of a law file. Predictions far from the data behind
a law are extrapolations. Every design says how far it lies outside (:class:`Extrapolation`), and every result carries
warnings in words.
"""

from __future__ import annotations

from t2fast.planning.bill import PromptMode
from t2fast.planning.comparison import BreakEven, DesignComparison, compare
from t2fast.planning.design import Design, Extrapolation, Interval, Point
from t2fast.planning.grid import Grid, Plane, grid_search
from t2fast.planning.optimum import Plan, plan
from t2fast.planning.sweep import Failure, Frontier, IsoFlop, frontier, isoflop
from t2fast.planning.target import cheapest
from t2fast.planning.uncertain import PlanUncertainty

__all__ = [
    "BreakEven",
    "Design",
    "DesignComparison",
    "Extrapolation",
    "Failure",
    "Frontier",
    "Grid",
    "Interval",
    "IsoFlop",
    "Plan",
    "PlanUncertainty",
    "Plane",
    "Point",
    "PromptMode",
    "cheapest",
    "compare",
    "frontier",
    "grid_search",
    "isoflop",
    "plan",
]
