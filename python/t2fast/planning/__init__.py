"""Which N, D and k? The best design for a law and a budget, found three ways, with what is needed to judge it.

* :func:`plan`: the exact optimum, beside it the best design within the data behind the law, and the Chinchilla-style;
* :func:`cheapest`: the smallest budget that reaches a target;
* :func:`grid_search`: brute force over your own axes;
* :func:`frontier`, :func:`isoflop`: optima along sweeps of budgets, and curves of constant training cost;
* :func:`compare`: given designs side by side.

Predictions far from the data behind a law are extrapolations. Every design says how far it lies outside
(:class:`Extrapolation`), and every result carries warnings in words.
"""

from __future__ import annotations

from t2fast.planning.comparison import BreakEven, Comparison, compare
from t2fast.planning.design import Design, Extrapolation
from t2fast.planning.grid import Grid, Progress, grid_search
from t2fast.planning.optimum import Plan, cheapest, plan
from t2fast.planning.sweep import Frontier, IsoFlop, frontier, isoflop
from t2fast.planning.uncertain import UncertainPlan, plan_uncertain

__all__ = [
    "BreakEven",
    "Comparison",
    "Design",
    "Extrapolation",
    "Frontier",
    "Grid",
    "IsoFlop",
    "Plan",
    "Progress",
    "UncertainPlan",
    "cheapest",
    "compare",
    "frontier",
    "grid_search",
    "isoflop",
    "plan",
    "plan_uncertain",
]
