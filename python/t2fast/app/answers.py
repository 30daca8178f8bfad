"""What the page is told: results of the package's functions as JSON data, with the texts that the page shows."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from t2fast import choosing, fitting, planning
from t2fast.app.question import USE, Question
from t2fast.cli.compare import design as design_of
from t2fast.costs import Budget
from t2fast.errors import T2Error
from t2fast.laws import Law, as_law, presets
from t2fast.planning.design import Design, value_of
from t2fast.planning.evidence import intervals
from t2fast.quantity import parse_axis, parse_quantity

__all__ = [
    "choice_answer",
    "compare_answer",
    "curve_answer",
    "frontier_answer",
    "laws_answer",
    "plan_answer",
    "regret_answer",
]

#: Points of the curve over N.
_POINTS = 65
#: How far the curve goes beyond the designs that it shows, as a factor of N.
_MARGIN = 6.0
_NAMES = ("n_params", "n_tokens", "k")


@lru_cache(maxsize=64)
def _law(name: str, _changed: float) -> Law:
    return as_law(name)


def law_of(question: Question) -> Law:
    """The law of a question; one that was read is kept until its file changes."""
    name = question.law
    return _law(name, os.stat(name).st_mtime if os.path.isfile(name) else 0.0)


def laws_answer() -> list[dict[str, Any]]:
    """The presets by name, with what they predict and how far their data reach."""
    found = []
    for name in presets():
        law = _law(name, 0.0)
        data = law.data_range
        reach = None if data is None else {part: list(getattr(data, part)) for part in _NAMES}
        found.append({"name": name, "title": law.title, "predicts_pass": law.predicts_pass, "data": reach})
    return found


def plan_answer(question: Question) -> dict[str, Any]:
    """The plan, its designs with their intervals, and the same question as a command and as Python."""
    found = planning.plan(law_of(question), question.budget, **question.rule)
    rows = [
        {"design": name, "result": value_of(one), "interval": found.intervals[name]} | _design(found.law, one)
        for name, one in found.designs.items()
    ]
    return {
        "plan": found.brief(),
        "designs": rows,
        "headline": found.headline(),
        "summary": found.summary(),
        "command": question.command,
        "python": question.python,
        "predicts_pass": found.law.predicts_pass,
        "quantity": _quantity(found),
        "measured": _measured(found.law, found.design.k) if found.rule is None else [],
    }


def curve_answer(question: Question) -> dict[str, Any]:
    """The best design at each size around those of the plan, with its interval and what lies beyond the data."""
    found = planning.plan(law_of(question), question.budget, **question.rule)
    sizes = [one.n_params for one in found.designs.values()]
    designs = found.curve(np.geomspace(min(sizes) / _MARGIN, max(sizes) * _MARGIN, _POINTS))
    ends = intervals(found.law, found.budget, designs)
    return {
        "curve": [
            {"result": value_of(one), "interval": end} | _design(found.law, one)
            for one, end in zip(designs, ends, strict=True)
        ]
    }


def frontier_answer(question: Question, low: str, high: str, count: str) -> dict[str, Any]:
    """Plans along a sweep of the question's first budget, training before inference before both together."""
    base = question.budget
    swept = next(
        (name for name in ("train_flops", "total_flops", "train_dollars", "total_dollars") if getattr(base, name)), None
    )
    if swept is None:
        raise T2Error("no budget to sweep: give --train-flops, --total-flops, --train-dollars or --total-dollars")
    axis = parse_axis(f"{low}:{high}:{count}", f"--{swept.replace('_', '-')}")
    if len(axis) > 200:
        raise T2Error(f"count = {count}: at most 200 budgets")
    found = planning.frontier(law_of(question), base.sweep(**{swept: axis}), **question.rule)
    rows = []
    for one in found.plans:
        row = {"budget": getattr(one.budget, swept), "result": one.result, "interval": one.interval}
        rows.append(row | _design(found.law, one.design))
    flag = swept.replace("_", "-")
    return {
        "swept": swept,
        "rows": rows,
        "failures": [why for _, why in found.failures],
        "summary": found.summary(),
        "command": question.as_command("frontier", **{flag: f"{low}:{high}:{count}"}),
    }


def compare_answer(question: Question, designs: str) -> dict[str, Any]:
    """Designs written ``N:D:k=K``, separated by spaces or commas, side by side."""
    points = [design_of(text) for text in designs.replace(",", " ").split()]
    if not points:
        raise T2Error("designs: give at least one, for example 410M:200B:k=64")
    budget: Budget = question.budget
    found = planning.compare(law_of(question), points, budget.workload, budget.hardware, **question.rule)
    command = question.as_command("compare", *designs.replace(",", " ").split(), names=USE)
    return found.to_dict() | {"summary": found.summary(), "command": command}


def regret_answer(table: Path, unit: Sequence[str] = ()) -> dict[str, Any]:
    """What the advice of each law would have cost on a table of checkpoints."""
    from t2fast.cli.tables import read

    found = fitting.regret(read(table, None, list(unit), None, None))
    words = [word for one in unit for word in ("--unit", one)]
    return found.to_dict() | {
        "summary": found.summary(),
        "command": shlex.join(["t2fast", "regret", table.name, *words]),
    }


def choice_answer(files: Sequence[Path], prices: Path, dollars: str) -> dict[str, Any]:
    """Which of the models in these logs, and how many samples, for dollars per question."""
    counts = choosing.read_models(files)
    paid = choosing.prices_of(counts, prices)
    found = choosing.choose(
        counts,
        paid,
        choosing.one_budget(paid, dollars=parse_quantity(dollars, "--dollars-per-question"), flops=None),
    )
    words = [*(one.name for one in files), "--prices", prices.name, "--dollars-per-question", dollars]
    return found.to_dict() | {"summary": found.summary(), "command": shlex.join(["t2fast", "choose", *words])}


def _design(law: Law, one: Design) -> dict[str, Any]:
    beyond = one.extrapolation(law)
    outside = {} if beyond is None else {name: getattr(beyond, name) for name in _NAMES if getattr(beyond, name) != 1.0}
    return {
        "n_params": one.n_params,
        "n_tokens": one.n_tokens,
        "k": one.k,
        "tokens_per_param": one.tokens_per_param,
        "pass_at_k": one.pass_at_k,
        "loss": one.loss,
        "beyond": outside,
    }


def _quantity(found: planning.Plan) -> str:
    """What the result is, in words."""
    if found.rule is not None:
        return "share answered right"
    return "pass@k" if found.law.predicts_pass else "loss"


def _measured(law: Law, k: float) -> list[dict[str, Any]]:
    """All measured checkpoints behind a law, at k or at the most samples that they were measured at."""
    table = law.pass_law.checkpoints
    if table is None:
        return []
    rows = []
    for place, (n, d) in enumerate(zip(table.n_params, table.n_tokens, strict=True)):
        at = min(max(k, 1.0), table.most_samples(place))
        seen = table.at(place, at)
        if seen is not None:
            rows.append({"n_params": n, "n_tokens": d, "k": at, "result": seen[0], "interval": list(seen[1:])})
    return rows
