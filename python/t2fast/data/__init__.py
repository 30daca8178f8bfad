"""Reading what people bring: tables of checkpoints, and evaluation logs."""

from __future__ import annotations

from t2fast.data.counts import Counts
from t2fast.data.expressions import evaluate
from t2fast.data.reading import read_counts
from t2fast.data.tables import Table, read_table
from t2fast.data.trials import Tallies, Trials, read_trials

__all__ = ["Counts", "Table", "Tallies", "Trials", "evaluate", "read_counts", "read_table", "read_trials"]
