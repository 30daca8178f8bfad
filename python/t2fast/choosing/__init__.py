"""Choosing among models that exist: which one, and how many samples, for a price per question."""

from __future__ import annotations

from t2fast.choosing.cascade import Cascade
from t2fast.choosing.choice import Candidate, ModelChoice, Step
from t2fast.choosing.models import one_budget, prices_of, read_models
from t2fast.choosing.prices import Price, read_prices
from t2fast.choosing.request import choose
from t2fast.choosing.settling import Settling
from t2fast.choosing.votes import majority_tables

__all__ = [
    "Candidate",
    "Cascade",
    "ModelChoice",
    "Price",
    "Settling",
    "Step",
    "choose",
    "majority_tables",
    "one_budget",
    "prices_of",
    "read_models",
    "read_prices",
]
