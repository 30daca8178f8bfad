"""Reading tables of checkpoints."""

from __future__ import annotations

from t2fast.data.expressions import evaluate
from t2fast.data.tables import Table, read_table

__all__ = ["Table", "evaluate", "read_table"]
