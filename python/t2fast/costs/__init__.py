"""What training and sampling cost."""

from __future__ import annotations

from t2fast.costs.flops import Attention, Budget, Workload, as_budget, inference_flops, train_flops

__all__ = ["Attention", "Budget", "Workload", "as_budget", "inference_flops", "train_flops"]
