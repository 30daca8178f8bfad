"""What the page may ask: views by name, each from the options of an address to an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from t2fast.app import answers
from t2fast.app.question import Question
from t2fast.errors import MissingExtraError, T2Error

__all__ = ["VIEWS", "told"]

#: Options by name, each with all values that an address gives it.
Asked = Mapping[str, Sequence[str]]


def _taken(asked: Asked, *names: str) -> tuple[Question, dict[str, str]]:
    """The question of an address, and what a view asks beside it."""
    one = {name: values[-1] for name, values in asked.items() if name != "view"}
    beside = {name: one.pop(name) for name in names if name in one}
    return Question(one), beside


def _plan(make: Callable[[Question], Any], asked: Asked) -> Any:
    return make(_taken(asked)[0])


def _frontier(asked: Asked) -> Any:
    question, beside = _taken(asked, "low", "high", "count")
    return answers.frontier_answer(question, beside.get("low", ""), beside.get("high", ""), beside.get("count", "13"))


def _compare(asked: Asked) -> Any:
    question, beside = _taken(asked, "designs")
    return answers.compare_answer(question, beside.get("designs", ""))


def _regret(asked: Asked) -> Any:
    if "table" not in asked:
        raise T2Error("table: choose a file of checkpoints first")
    return answers.regret_answer(Path(asked["table"][-1]), asked.get("unit", ()))


def _choose(asked: Asked) -> Any:
    files = [Path(one) for one in asked.get("file", ())]
    if not files or "prices" not in asked:
        raise T2Error("files: choose the samples of each model, and a CSV of prices, first")
    return answers.choice_answer(files, Path(asked["prices"][-1]), asked.get("dollars", [""])[-1])


VIEWS: dict[str, Callable[[Asked], Any]] = {
    "laws": lambda _: answers.laws_answer(),
    "plan": partial(_plan, answers.plan_answer),
    "curve": partial(_plan, answers.curve_answer),
    "frontier": _frontier,
    "compare": _compare,
    "regret": _regret,
    "choose": _choose,
}


def told(view: str, asked: Asked) -> Any:
    """The answer of a view, or ``{"error": message}``."""
    try:
        return VIEWS[view](asked)
    except (T2Error, MissingExtraError) as error:
        return {"error": str(error)}
