"""The laws fitted to the grid of a laboratory, and the designs that they propose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import fitting, passk
from t2fast.costs import Budget
from t2fast.datasets import Checkpoint, Lab
from t2fast.errors import T2Error
from t2fast.fitting import FitResult
from t2fast.lab.answers import Answers
from t2fast.lab.preset import Preset
from t2fast.laws import Law
from t2fast.planning import Design, Plan, plan
from t2fast.planning.surroundings import surroundings
from t2fast.quantity import format_flops
from t2fast.rules import Majority

__all__ = ["LabFits", "advised", "fit_laws", "optima", "propose"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class LabFits:
    """The laws fitted to a grid: of the loss, Approach 1, Approach 2 and the likelihood of counts."""

    loss: FitResult
    approach_1: FitResult
    approach_2: FitResult
    counts: FitResult
    n_resamples: int = field(default=400, repr=False)

    @cached_property
    def bootstrap(self) -> fitting.Bootstrap:
        """Refits of the counts likelihood to runs drawn with replacement."""
        return self.counts.bootstrap(self.n_resamples)

    @cached_property
    def loss_bootstrap(self) -> fitting.Bootstrap:
        """Refits of the loss law to runs drawn with replacement."""
        return self.loss.bootstrap(self.n_resamples)


def _powers(most: int) -> FloatArray:
    return np.asarray(2.0 ** np.arange(int(np.log2(most)) + 1), dtype=np.float64)


def _curves(lab: Lab, rows: Sequence[Checkpoint]) -> dict[str, FloatArray]:
    """What Approach 2 of the paper is fitted to: pass@k at powers of two, and the loss of the right answers."""
    ks = _powers(lab.n_samples)
    values = [passk.mean_pass_at_k(lab.n_samples, one.n_correct, ks.astype(int)) for one in rows]
    each = len(ks)
    return {
        "n_params": np.repeat([float(one.n_params) for one in rows], each),
        "n_tokens": np.repeat([float(one.n_tokens) for one in rows], each),
        "k": np.tile(ks, len(rows)),
        "pass_at_k": np.concatenate(values),
        "loss": np.repeat([float(one.answer_nll.mean()) for one in rows], each),
    }


def fit_laws(lab: Lab, rows: Sequence[Checkpoint] | None = None, n_resamples: int = 400, name: str = "") -> LabFits:
    """Fit all laws to the grid of a table, or to some of its checkpoints."""
    rows = lab.grid if rows is None else rows
    some = Lab(tuple(rows), lab.problem_ids, lab.families, lab.n_samples, lab.manifest)
    options: dict[str, Any] = {"name": name, "params_counted": "total"}
    counts = some.table(rows)
    curves: dict[str, Any] = _curves(lab, rows)
    return LabFits(
        fitting.fit_table(some.losses, "chinchilla", **options),
        fitting.fit_table(counts, "t2-loss", k=_powers(lab.n_samples), **options),
        fitting.fit_t2_pass(curves.pop("n_params"), curves.pop("n_tokens"), **curves, **options),
        fitting.fit_table(counts, "t2-pass", **options),
        n_resamples,
    )


def propose(fits: LabFits, preset: Preset) -> tuple[Design, Design, Plan]:
    """The two designs of the duel: the planned one, within the data, and the Chinchilla-style one of least loss."""
    duel = preset.duel
    budget = Budget(
        train_flops=duel.train_flops, inference_flops=duel.inference_flops, max_tokens=float(preset.longest_run)
    )
    found = plan(fits.counts.law, budget)
    beyond = found.unlimited.extrapolation(found.law)
    planned = found.unlimited if beyond is not None and beyond.inside else found.inside_data
    if planned is None:
        raise T2Error(f"train_flops = {format_flops(duel.train_flops)}: pays for no design within the data")
    return planned, plan(fits.loss.law, Budget(train_flops=duel.train_flops)).design, found


def advised(lab: Lab, preset: Preset, answers: Answers | None) -> dict[str, Design]:
    """The designs of the second study's duel by stage: those that the mean of forms recommends, and Chinchilla's.

    ``planned`` is for pass@k, ``voted``, where answers are given, for the vote among them; both have support and may
    leave part of the training budget unspent. ``chinchilla`` has the least loss by the law refitted.
    """
    duel = preset.duel
    budget = Budget(
        train_flops=duel.train_flops, inference_flops=duel.inference_flops, max_tokens=float(preset.longest_run)
    )
    law = fitting.average_table(lab.counts).law
    found = {"planned": plan(law, budget).design}
    if answers is not None:
        tail = fitting.fit_tail(answers.of([one.run for one in lab.grid]), n_resamples=2).rule.tail
        found["voted"] = plan(law, budget, rule=Majority(tail)).design
    loss = fitting.fit_table(lab.losses, "chinchilla").law
    return found | {"chinchilla": plan(loss, Budget(train_flops=duel.train_flops)).design}


def optima(laws: Iterable[Law], preset: Preset) -> FloatArray:
    """For each law N and D of the best design with one sample, and of the best with as many as can be paid for."""
    rows = []
    for law in laws:
        try:
            one = surroundings(law, Budget(train_flops=preset.duel.train_flops, max_k=1)).unlimited
            both = surroundings(
                law, Budget(train_flops=preset.duel.train_flops, inference_flops=preset.duel.inference_flops)
            ).unlimited
        except T2Error:
            continue
        rows.append([one.n_params, one.n_tokens, both.n_params, both.n_tokens])
    return np.array(rows)
