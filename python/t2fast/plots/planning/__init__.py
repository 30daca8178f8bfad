"""Figures of plans, sweeps, isoFLOP curves and grids. What lies beyond the data behind a law is hatched or dotted.

Every function returns a :class:`matplotlib.figure.Figure` of its own and, given a path, saves it in the format that the
suffix names; a :class:`t2fast.T2Error` says when that is impossible.
"""

from t2fast.plots.planning.grid import grid
from t2fast.plots.planning.optimum import plan
from t2fast.plots.planning.sweep import frontier, isoflop
from t2fast.plots.planning.uncertain import optima

__all__ = ["frontier", "grid", "isoflop", "optima", "plan"]
