"""Reading evaluation logs."""

from __future__ import annotations

from t2fast.data.logs import Counts, read_counts

__all__ = ["Counts", "read_counts"]
