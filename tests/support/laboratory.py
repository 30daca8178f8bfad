"""A laboratory whose models follow a law to the letter: what the claims must say is known."""

import dataclasses

import numpy as np

from t2fast.datasets import Checkpoint, Lab
from t2fast.lab.preset import Preset, load_preset
from t2fast.laws import ChinchillaLaw, T2PassLaw

PASS = T2PassLaw(
    E=0.0, A=1.2e4, B=2.4e4, alpha=1.0, beta=0.75, theta0=0.5, theta1=1.0, theta2=0.95, theta3=0.5, theta4=0.3
)
LOSS = ChinchillaLaw(E=0.8, A=120.0, B=60.0, alpha=0.7, beta=0.4)


def preset() -> Preset:
    return dataclasses.replace(load_preset("tiny"), n_resamples=60)


def make(seed: int = 0, excess: float = 1.0) -> Lab:
    """A table; ``excess`` multiplies the chance that a sample is right, against what the likelihood says."""
    random = np.random.default_rng(seed)
    given = preset()
    problems = 1000

    def checkpoint(run: str, stage: str, tuned: bool, n: float, d: float) -> Checkpoint:
        loss = PASS.loss(n, d)
        mean, spread = PASS.value(n, d, 1), np.exp(PASS.theta3 + PASS.theta4 * loss)
        p = np.clip(random.beta(mean * spread, (1 - mean) * spread, problems), 1e-9, 1.0)
        correct = random.binomial(given.n_samples, np.minimum(1.0, excess * p))
        trained = None if tuned else LOSS.value(n, d)
        return Checkpoint(run, stage, tuned, int(n), int(d), 0, trained, -np.log(p), correct)

    rows = []
    for flops in given.train_flops:
        for n in np.geomspace(4e3, 2e5, 9):
            d = flops / (6 * n)
            if 1 <= d / n <= 1000:
                rows.append(checkpoint(f"{flops:g}-{n:.0f}", "grid", False, n, d))
    for tuned in (False, True):
        for stage, n in (("planned", 1.1e4), ("chinchilla", 4e4)):
            for repeat in range(2):
                d = given.duel.train_flops / (6 * n)
                rows.append(checkpoint(f"{stage}-{repeat}-{tuned}", stage, tuned, n, d))
    names = tuple(f"q{i}" for i in range(problems))
    return Lab(
        tuple(rows),
        names,
        ("knowledge",) * problems,
        given.n_samples,
        {"preset": given.to_dict(), "versions": {"torch": "0"}},
    )
