"""Fits the presets of task losses: ``python bench/presets/make_ladder.py DATA OUT``.

DATA holds olmo_ladder.csv: final evaluations of the OLMo ladder (Bhagia et al. 2024, arXiv 2412.04403; allenai/OLMo, branch
ladder-1xC), bits per byte of the right answer by task. A Chinchilla law is fitted to the 25 runs from 190M to 3B parameters;
the 7B and 13B models, which it has not seen, say how well it predicts. The data themselves are not part of t2fast.
"""

from __future__ import annotations

import csv
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from t2fast import fitting

REPLICATES, SHIPPED, LEVEL = 1000, 200, 0.9
NAMES = {
    "arc_easy": "ARC-Easy",
    "boolq": "BoolQ",
    "openbookqa": "OpenBookQA",
    "piqa": "PIQA",
    "winogrande": "WinoGrande",
}
SOURCE = (
    "t2fast: sum of Huber losses (delta 1e-3) of log residuals on bits per byte of the right answer, 25 runs of the OLMo "
    "ladder from 190M to 3B parameters (Bhagia et al. 2024, arXiv 2412.04403). Held out: off by {first:+.1%} at 7B and 3.9T "
    "tokens, by {second:+.1%} at 13B and 5T; 90% intervals hold {held} of the two"
)
WARNING = "A law of bits per byte of the right answer, not of accuracy or of a loss per token; one family of models."


def label(task: str) -> str:
    """A task as people write it."""
    words = re.match(r"(.*)_(val|test)_rc_5shot_bpb", task)
    assert words is not None
    name = NAMES.get(words[1], words[1].replace("mmlu_", "MMLU ").replace("_", " "))
    return f"{name}, {'validation' if words[2] == 'val' else 'test'} questions"


def sigmoid(bits: np.ndarray, accuracy: np.ndarray) -> np.ndarray:
    """Least squares of ``low + (1 - low) / (1 + exp(slope (bits - middle)))``, by a grid of middles and slopes.

    The step from bits per byte to accuracy; an answer that costs no bits is chosen always.
    """
    best, found = np.inf, np.zeros(3)
    for middle in np.linspace(bits.min() - 1, bits.max() + 0.5, 120):
        for slope in np.geomspace(0.5, 30, 60):
            share = 1 / (1 + np.exp(slope * (bits - middle)))
            rest = 1 - share
            low = float(np.clip(rest @ (accuracy - share) / max(float(rest @ rest), 1e-12), 0, 1))
            cost = float(((low * rest + share - accuracy) ** 2).sum())
            if cost < best:
                best, found = cost, np.array([low, middle, slope])
    return found


def main(data: Path, out: Path) -> None:
    rows = list(csv.DictReader((data / "olmo_ladder.csv").open(encoding="utf-8")))
    number = lambda name: np.array([float(row[name]) for row in rows])  # noqa: E731
    target = np.array([row["chinchilla_multiple"] == "target" for row in rows])
    n, d = number("n_params"), number("n_tokens")
    errors, holds, second = [], [], []
    for column in (name for name in rows[0] if name.startswith("downstream_bpb__")):
        task = column.removeprefix("downstream_bpb__")
        bits = number(column)
        name = "olmo-" + task.removesuffix("_rc_5shot_bpb").replace("_", "-")
        fit = fitting.fit_chinchilla(n[~target], d[~target], bits[~target])
        law = fit.bootstrap(REPLICATES).law()
        order = np.argsort(n[target])
        size, tokens, truth = n[target][order], d[target][order], bits[target][order]
        miss = np.asarray(law.value(size, tokens)) / truth - 1
        low, high = np.quantile(law.predictive(size, tokens), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
        held = (low <= truth) & (truth <= high)
        errors.append(np.abs(miss))
        holds.append(held)
        base = task.removesuffix("_bpb")
        scores = number(next(c for c in rows[0] if c in (f"downstream__{base}_len_norm", f"downstream__{base}_acc")))
        floor, middle, slope = sigmoid(bits[~target], scores[~target])
        predicted = floor + (1 - floor) / (1 + np.exp(slope * (np.asarray(law.value(size, tokens)) - middle)))
        second.append(np.abs(predicted - scores[target][order]))
        draws = {coefficient: values[:SHIPPED] for coefficient, values in law.uncertainty["draws"].items()}
        replace(
            law,
            name=name,
            title=f"bits per byte of the right answer, {label(task)}",
            source=SOURCE.format(first=miss[0], second=miss[1], held=int(held.sum())),
            params_counted="total",
            uncertainty=dict(law.uncertainty) | {"draws": draws},
            warnings=(WARNING, *fit.warnings),
        ).save(out / f"{name}.json")
        print(
            f"{name:<34}{fit.residual:>7.2%}{miss[0]:>+8.1%}{miss[1]:>+8.1%}  held {int(held.sum())}  accuracy off by "
            f"{second[-1][0]:.3f} {second[-1][1]:.3f}  {'; '.join(w[:50] for w in fit.warnings)}"
        )
    print(
        f"median {np.median(errors, 0)}, worst {np.max(errors):.1%}; intervals hold {np.mean(holds):.0%}; accuracy "
        f"median {np.median(second, 0)}, of both {np.median(second):.3f}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
