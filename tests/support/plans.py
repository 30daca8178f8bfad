"""What the planner's tests share: a law, a budget, and how results are judged."""

import numpy as np
from tests.oracles import laws, planning

import t2fast as t2

PYTHIA = t2.load_law("pythia-gsm8k")
PAIR = t2.Budget(train_flops=1e20, inference_flops=1.4e11)


def value(design):
    return design.loss if design.pass_at_k is None else design.pass_at_k


def exact(law, design, unique=None):
    return float(laws.value(law, design.n_params, design.n_tokens, design.k, unique))


def close(a, b, scale=1e-11):
    return abs(a - b) <= scale * max(1.0, abs(b))


def meets(budget, design):
    return bool(planning.affordable(budget, np.float64(design.n_params), design.n_tokens, design.k))


def better_by(law, a, b):
    """How much better a is than b."""
    return planning.sign(law) * (b - a)
