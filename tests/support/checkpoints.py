"""Tables of made-up checkpoints whose law is known, and the published ones where the data folder is present."""

import numpy as np
from tests.oracles import fitting as oracle
from tests.support.real_data import LAWS, needs

from t2fast.data import read_table

needs_data = needs(LAWS)

LAW = {"E": 1.7, "A": 450.0, "B": 1800.0, "alpha": 0.34, "beta": 0.36}
T2_LOSS = {**LAW, "G": 0.8, "gamma": 0.4}
THETA = {"theta0": 2.6, "theta1": 3.0, "theta2": 0.9, "theta3": -0.4, "theta4": 0.55}
PASS_BASE = {"E": 0.9, "A": 400.0, "B": 900.0, "alpha": 0.34, "beta": 0.3}


def design(checkpoints=60, seed=0):
    rng = np.random.default_rng(seed)
    n = np.geomspace(2e7, 5e9, 10)[np.arange(checkpoints) % 10]
    return n, n * 20 * 6.0 ** rng.uniform(-1, 1, checkpoints)


def losses(noise=0.0, checkpoints=60, seed=0, law=LAW):
    n, d = design(checkpoints, seed)
    clean = oracle.power_sum(law, n, d)
    return n, d, clean * np.exp(noise * np.random.default_rng(seed + 1).standard_normal(checkpoints))


def counts(checkpoints=40, questions=60, samples=50, seed=0):
    rng = np.random.default_rng(seed)
    n, d = design(checkpoints, seed)
    a, b = oracle.beta_shape({**PASS_BASE, **THETA}, n, d)
    p = rng.beta(a[:, None], b[:, None], (checkpoints, questions))
    correct = rng.binomial(samples, p).reshape(-1).astype(float)
    question = np.tile(np.arange(questions), checkpoints)
    n, d = np.repeat(n, questions), np.repeat(d, questions)
    return n, d, np.full(len(n), float(samples)), correct, question


def pythia():
    table = read_table(LAWS / "pythia_passk_counts.csv")
    return table.select((table["benchmark"] == "gsm8k") & (table["n_tokens"] >= 1e9))


def chinchilla_240():
    table = read_table(LAWS / "chinchilla_epoch245.csv")
    return table.select(table["kept_by_besiroglu"] == 1)
