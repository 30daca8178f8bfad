"""What the page asks: options of the command line by name, as the page's address holds them."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any

from t2fast.cli import options as o
from t2fast.cli.rule import rule as rule_of
from t2fast.costs import Attention, Budget, Hardware, Workload
from t2fast.errors import T2Error
from t2fast.laws import DEFAULT_LAW
from t2fast.rules import AnyCorrect, BestOf, Verifier
from t2fast.text import near

__all__ = ["OPTIONS", "USE", "Question"]

_BUDGET = inspect.signature(o.budget).parameters
_RULE = inspect.signature(rule_of).parameters
#: The options of a plan, as its command line and the page's address spell them.
OPTIONS = tuple(name.replace("_", "-").replace("rule-file", "rule") for name in ("law", *_BUDGET, *_RULE))
#: Those of them that ``compare`` has: no budget is spent there.
USE = (
    "law",
    *(name.replace("_", "-") for name in inspect.signature(o.use).parameters),
    *(name.replace("_", "-").replace("rule-file", "rule") for name in _RULE),
)
#: Those that are switches: in the address they are ``on``.
_SWITCHES = {name for name, one in (_BUDGET | _RULE).items() if isinstance(one.default, bool)}


@dataclass(frozen=True)
class Question:
    """A plan that is asked for.

    Parameters
    ----------
    given
        Options by name, without dashes in front: ``{"train-flops": "1e22", "select": "verifier"}``; a switch is
        ``"on"``.

    Raises
    ------
    T2Error
        For an option that ``t2fast plan`` does not have.

    Examples
    --------
    >>> asked = Question({"law": "hoffmann", "train-flops": "1e21"})
    >>> asked.command
    't2fast plan --law hoffmann --train-flops 1e21'
    >>> asked.budget.train_flops
    1e+21
    """

    given: Mapping[str, str]

    def __post_init__(self) -> None:
        for name in self.given:
            if name not in OPTIONS:
                raise T2Error(f"{name}: {near(name, OPTIONS)}")

    @property
    def law(self) -> str:
        """The law's name or file."""
        return self.given.get("law", DEFAULT_LAW)

    @cached_property
    def budget(self) -> Budget:
        """What may be spent."""
        made: Budget = self._made(o.budget, _BUDGET)
        return made

    @cached_property
    def rule(self) -> dict[str, Any]:
        """How answers are chosen: ``rule``, ``wrong_cost`` and ``stop_on_success``, as ``plan`` takes them."""
        made: dict[str, Any] = self._made(rule_of, _RULE)
        return made

    def _made(self, make: Any, parameters: Mapping[str, inspect.Parameter]) -> Any:
        values = {name: self._value(name, one) for name, one in parameters.items()}
        with o.asked({f"--{name}": text for name, text in self.given.items()}):
            return make(**values)

    def _value(self, name: str, parameter: inspect.Parameter) -> Any:
        text = self.given.get(_spelled(name))
        if text is None:
            return parameter.default
        return text == "on" if name in _SWITCHES else text

    @property
    def command(self) -> str:
        """The same question as a command."""
        return self.as_command("plan")

    def as_command(self, verb: str, *words: str, names: Collection[str] = OPTIONS, **changed: str) -> str:
        """The options of this question, or those of some names, as the command of another verb; some may be changed."""
        said = ["t2fast", verb, *words]
        for name, text in (dict(self.given) | changed).items():
            if name in names:
                said += [f"--{name}"] if name.replace("-", "_") in _SWITCHES else [f"--{name}", text]
        return shlex.join(said)

    @property
    def python(self) -> str:
        """The same question as Python."""
        words = [repr(self.law), _written(self.budget)]
        if self.rule["rule"] is not None:
            file = self.given.get("rule", self.given.get("answers"))
            words.append(f"rule={_written(self.rule['rule']) if file is None else repr(file)}")
        words += [f"{name}={self.rule[name]!r}" for name in ("wrong_cost", "stop_on_success") if self.rule[name]]
        return f"import t2fast as t2\n\nprint(t2.plan({', '.join(words)}))\n"


def _spelled(name: str) -> str:
    return "rule" if name == "rule_file" else name.replace("_", "-")


#: Where the classes of a question are found.
_PLACES: dict[type, str] = {
    Budget: "t2.Budget",
    Workload: "t2.Workload",
    Attention: "t2.Attention",
    Hardware: "t2.costs.Hardware",
    AnyCorrect: "t2.AnyCorrect",
    Verifier: "t2.Verifier",
    BestOf: "t2.BestOf",
}


def _written(value: Any) -> str:
    """A value as Python, without what is as it is by default."""
    place = _PLACES.get(type(value))
    if place is None:
        return f"{value:.12g}" if isinstance(value, float) else repr(value)
    parts = []
    for item in fields(value):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        one = getattr(value, item.name)
        if one != default:
            parts.append(f"{item.name}={_written(one)}")
    return f"{place}({', '.join(parts)})"
