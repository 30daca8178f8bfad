"""Fits the presets of task losses: ``python bench/presets/make_ladder.py DATA OUT``.

DATA holds olmo_ladder.csv: final evaluations of the OLMo ladder (Bhagia et al. 2024, arXiv 2412.04403; allenai/OLMo, branch
ladder-1xC), bits per byte of the right answer and accuracy by task. A Chinchilla law of the bits and a sigmoid from bits to
accuracy are fitted to the 25 runs from 190M to 3B parameters; the 7B and 13B models, which they have not seen, say how well
they predict. The data themselves are not part of t2fast.
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
STEPS = (
    "t2fast: {first}, then least squares of a sigmoid from these bits to accuracy among given answers, 25 runs of the OLMo "
    "ladder from 190M to 3B parameters (Bhagia et al. 2024, arXiv 2412.04403)"
)
BITS, POINTS = "bits per byte of a task's right answer: plan N and D", "accuracy on a task: predict a model"
WARNING = "A law of bits per byte of the right answer, not of accuracy or of a loss per token; one family of models."


def label(task: str) -> str:
    """A task as people write it."""
    words = re.match(r"(.*)_(val|test)_rc_5shot_bpb", task)
    assert words is not None
    name = NAMES.get(words[1], words[1].replace("mmlu_", "MMLU ").replace("_", " "))
    return f"{name}, {'validation' if words[2] == 'val' else 'test'} questions"


def main(data: Path, out: Path) -> None:
    rows = list(csv.DictReader((data / "olmo_ladder.csv").open(encoding="utf-8")))
    number = lambda name: np.array([float(row[name]) for row in rows])  # noqa: E731
    target = np.array([row["chinchilla_multiple"] == "target" for row in rows])
    n, d = number("n_params"), number("n_tokens")
    errors, holds, second, second_holds = [], [], [], []
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
        both = fitting.fit_accuracy(n[~target], d[~target], bits[~target], scores[~target], n_resamples=SHIPPED)
        points = np.asarray(both.law.value(size, tokens)) - scores[target][order]
        low, high = np.quantile(both.law.predictive(size, tokens), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
        second.append(np.abs(points))
        second_holds.append((low <= scores[target][order]) & (scores[target][order] <= high))
        replace(
            both.law,
            name=f"{name}-accuracy",
            title=f"accuracy in two steps, {label(task)}",
            source=STEPS.format(
                first="Huber losses (delta 1e-3) of log residuals on bits per byte of the right answer"
            ),
            params_counted="total",
            purpose=POINTS,
            held_out="7B {:+.1f}, 13B {:+.1f} points".format(*(100 * points)),
            warnings=(
                "Accuracy of ranking given answers, five examples in the prompt; one family of models.",
                *both.warnings,
            ),
        ).save(out / f"{name}-accuracy.json")
        draws = {coefficient: values[:SHIPPED] for coefficient, values in law.uncertainty["draws"].items()}
        replace(
            law,
            name=name,
            title=f"bits per byte of the right answer, {label(task)}",
            source=SOURCE.format(first=miss[0], second=miss[1], held=int(held.sum())),
            params_counted="total",
            purpose=BITS,
            held_out="7B {:+.1%}, 13B {:+.1%}".format(*miss),
            uncertainty=dict(law.uncertainty) | {"draws": draws},
            warnings=(WARNING, *fit.warnings),
        ).save(out / f"{name}.json")
        print(
            f"{name:<34}{fit.residual:>7.2%}{miss[0]:>+8.1%}{miss[1]:>+8.1%}  held {int(held.sum())}  accuracy off by "
            f"{points[0]:+.3f} {points[1]:+.3f}  held {int(second_holds[-1].sum())}  {'; '.join(w[:50] for w in fit.warnings)}"
        )
    print(
        f"median {np.median(errors, 0)}, worst {np.max(errors):.1%}; intervals hold {np.mean(holds):.0%}; accuracy "
        f"median {np.median(second, 0)}, of both {np.median(second):.3f}, worst {np.max(second):.3f}; intervals hold "
        f"{np.mean(second_holds):.0%}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
