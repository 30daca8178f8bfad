"""A laboratory whose models follow a law to the letter: what the claims must say is known."""

import dataclasses

import numpy as np

from t2fast.data import Tallies
from t2fast.datasets import Checkpoint, Lab
from t2fast.lab.answers import Answers
from t2fast.lab.preset import LessonSettings, Preset, VerdictSettings, load_preset
from t2fast.laws import ChinchillaLaw, T2PassLaw

PASS = T2PassLaw(
    E=0.0, A=1.2e4, B=2.4e4, alpha=1.0, beta=0.75, theta0=0.5, theta1=1.0, theta2=0.95, theta3=0.5, theta4=0.3
)
LOSS = ChinchillaLaw(E=0.8, A=120.0, B=60.0, alpha=0.7, beta=0.4)


def preset() -> Preset:
    return dataclasses.replace(load_preset("tiny"), n_resamples=60)


def advised(problems: int = 120, seed: int = 1) -> tuple[Lab, Preset, Answers]:
    """A table of two seeds per design with answers, fine-tuned models and a preset that asks for a verdict."""
    random = np.random.default_rng(seed)
    first = preset()
    given = dataclasses.replace(
        first,
        duel=dataclasses.replace(first.duel, inference_flops=1e6),
        train_flops=tuple(2.5e9 * 4.0**i for i in range(5)),
        n_samples=64,
        n_resamples=10,
        lessons=LessonSettings("arithmetic"),
        verdict=VerdictSettings((1e5, 4e5), (0.05,)),
    )
    families = ("knowledge", "arithmetic") * (problems // 2)
    lesson = np.array([one == "arithmetic" for one in families])
    rows, right, wrong = [], [], []

    def run(name: str, stage: str, n: float, d: float, asked: int, kept: bool) -> None:
        loss = PASS.loss(n, d)
        mean, spread = PASS.value(n, d, 1), np.exp(PASS.theta3 + PASS.theta4 * loss)
        # Sorted: what is hard for one model is hard for all.
        p = np.clip(np.sort(random.beta(mean * spread, (1 - mean) * spread, asked)), 1e-9, 1.0)
        correct = random.binomial(given.n_samples, p)
        trained = None if stage == "tuned" else LOSS.value(n, d) * (1 + 0.002 * random.standard_normal())
        rows.append(Checkpoint(name, stage, stage == "tuned", int(n), int(d), 0, trained, -np.log(p), correct))
        if kept:
            for c in correct.tolist():
                tail = random.multinomial(given.n_samples - c, np.array([0.5, 0.3, 0.2]))
                right.append(c)
                wrong.append(sorted(tail[tail > 0].tolist(), reverse=True))

    for flops in given.train_flops:
        for n in np.geomspace(4e3, 1.6e5, 6):
            d = flops / (6 * n)
            if 1 <= d / n <= 1000:
                for repeat in range(2):
                    name = f"{flops:g}-{n:.0f}-{repeat}"
                    run(name, "grid", n, d, problems, kept=True)
                    run(f"{name}-tuned", "tuned", n, d, int(lesson.sum()), kept=False)
    for stage, n in (("planned", 1.1e4), ("voted", 2e4), ("chinchilla", 4e4)):
        for repeat in range(2):
            run(f"{stage}-{repeat}", stage, n, given.duel.train_flops / (6 * n), problems, kept=True)
    names = tuple(f"q{i}" for i in range(problems))
    lab = Lab(tuple(rows), names, families, given.n_samples, {"preset": given.to_dict(), "versions": {"torch": "0"}})
    tallies = Tallies.of(right, wrong)
    labels = tuple(word for one in wrong for word in ("no", "never", "not ever")[: len(one)])
    return lab, given, Answers(names, tuple(one.run for one in rows if one.stage != "tuned"), tallies, labels)


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
