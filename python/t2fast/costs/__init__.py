"""What training and sampling cost: operations, and seconds, money and energy on a card."""

from __future__ import annotations

from t2fast.costs.calibration import Calibration, calibrate
from t2fast.costs.constants import Constants, default_constants
from t2fast.costs.estimate import CostEstimate, QuestionCost, cost
from t2fast.costs.flops import PROMPTS, Attention, Budget, Workload, as_budget, inference_flops, train_flops
from t2fast.costs.hardware import Card, cards, load_card
from t2fast.costs.kernel_times import KernelTime, read_results
from t2fast.costs.measurements import Measurement, read_measurements
from t2fast.costs.money import Hardware
from t2fast.costs.shapes import Architecture, Family, architectures, families, load_architecture, load_family

__all__ = [
    "PROMPTS",
    "Architecture",
    "Attention",
    "Budget",
    "Calibration",
    "Card",
    "Constants",
    "CostEstimate",
    "Family",
    "Hardware",
    "KernelTime",
    "Measurement",
    "QuestionCost",
    "Workload",
    "architectures",
    "as_budget",
    "calibrate",
    "cards",
    "cost",
    "default_constants",
    "families",
    "inference_flops",
    "load_architecture",
    "load_card",
    "load_family",
    "read_measurements",
    "read_results",
    "train_flops",
]
