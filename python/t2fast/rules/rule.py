"""What all rules have in common: files, draws of their parameters, and the rule of pass@k itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar

from t2fast.arguments import shown
from t2fast.errors import T2Error
from t2fast.files import read_object, write_text
from t2fast.results import Result
from t2fast.text import near

__all__ = ["SCHEMA", "AnyCorrect", "Rule", "as_rule", "load_rule"]

#: Written into every file of a rule; a reader refuses what it does not know.
SCHEMA = "t2fast.rule/1"

#: Fields of every rule that are no parameters.
_ABOUT = ("draws", "source")


@dataclass(frozen=True, repr=False)
class Rule(Result):
    """The base of all rules: how one answer is chosen from k samples.

    Parameters
    ----------
    draws
        Draws from the posterior of the rule's parameters: for some of them, by name, a list with one value per draw.
        They make the intervals of plans carry how well the rule itself is known.
    source
        Where the parameters come from.

    Raises
    ------
    T2Error
        For parameters out of their ranges, and draws that are not columns of one length.

    Examples
    --------
    >>> from t2fast.rules import Verifier
    >>> rule = Verifier(false_positive=0.01, recall=0.9)
    >>> isinstance(rule, Rule), Rule.from_dict(rule.to_dict()) == rule
    (True, True)
    """

    _: KW_ONLY
    draws: Mapping[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""

    #: The rule's name in files and on the command line.
    kind: ClassVar[str] = ""
    _kinds: ClassVar[dict[str, type[Rule]]] = {}

    def __init_subclass__(cls) -> None:
        if cls.kind:
            cls._kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        if not self.kind:
            kinds = ", ".join(f"a {rule.__name__}" for rule in self._kinds.values())
            raise T2Error(f"Rule is a base of rules: make one of {kinds}")
        if not isinstance(self.source, str):
            raise T2Error(f"source = {shown(self.source)}: must be text")
        object.__setattr__(self, "draws", self._checked_draws(self.draws))

    def _checked_draws(self, draws: object) -> dict[str, tuple[Any, ...]]:
        if not isinstance(draws, Mapping):
            raise T2Error(f"draws = {shown(draws)}: must hold a list of values for each parameter drawn")
        found: dict[str, tuple[Any, ...]] = {}
        for name, column in draws.items():
            if name not in self.drawable:
                raise T2Error(f"draws: unknown parameter {name!r}: {near(str(name), self.drawable)}")
            if isinstance(column, str) or not hasattr(column, "__len__") or not len(column):
                raise T2Error(f"draws: {name} = {shown(column)}: must be a list with one value per draw")
            found[name] = tuple(_plain(value) for value in column)
        if len({len(column) for column in found.values()}) > 1:
            raise T2Error("draws: every parameter needs as many draws as the others")
        return found

    @property
    def drawable(self) -> tuple[str, ...]:
        """Names of the parameters that :attr:`draws` may hold."""
        return tuple(self.parameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """The rule's own parameters as JSON data."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in _ABOUT}

    @property
    def has_draws(self) -> bool:
        """Whether the rule carries draws of its parameters."""
        return bool(self.draws)

    @property
    def n_draws(self) -> int:
        """How many draws it carries."""
        return len(next(iter(self.draws.values()), ()))

    def drawn(self, row: Mapping[str, Any]) -> Rule:
        """The rule with other values of some parameters, and without draws."""
        return replace(self, draws={}, **row)

    def resampled(self) -> Iterator[Rule]:
        """The rule at each draw of its parameters; the rule itself, once, where it carries none."""
        if not self.draws:
            yield self
            return
        for row in zip(*self.draws.values(), strict=True):
            yield self.drawn(dict(zip(self.draws, row, strict=True)))

    def with_fewer_draws(self, most: int) -> Rule:
        """The rule with its first draws only."""
        return replace(self, draws={name: column[:most] for name, column in self.draws.items()})

    def to_dict(self) -> dict[str, Any]:
        """The rule as JSON data; :meth:`from_dict` reads it back."""
        data: dict[str, Any] = {"schema": SCHEMA, "kind": self.kind, **self.parameters}
        if self.source:
            data["source"] = self.source
        if self.draws:
            data["draws"] = {name: _lists(column) for name, column in self.draws.items()}
        return data

    def brief(self) -> dict[str, Any]:
        """As :meth:`to_dict`, without draws."""
        return {name: value for name, value in self.to_dict().items() if name != "draws"}

    def save(self, path: str | Path) -> None:
        """Write the rule as a JSON file that :func:`load_rule` reads."""
        write_text(path, json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def _from_parameters(cls, given: dict[str, Any], origin: str) -> dict[str, Any]:  # noqa: ARG003
        """The arguments that a file's parameters stand for."""
        return given

    @staticmethod
    def from_dict(data: Mapping[str, Any], origin: str = "rule") -> Rule:
        """Build a rule from JSON data; ``origin`` names it in error messages.

        Raises
        ------
        T2Error
            For a missing, unknown or malformed key, by name.
        """
        if not isinstance(data, Mapping):
            raise T2Error(f"{origin}: a rule is a JSON object, not {type(data).__name__}")
        if data.get("schema") != SCHEMA:
            raise T2Error(f"{origin}: schema = {data.get('schema')!r}: this version reads {SCHEMA}")
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in Rule._kinds:
            raise T2Error(f"{origin}: kind = {kind!r}: {near(str(kind), Rule._kinds)}")
        rule = Rule._kinds[kind]
        allowed = [item.name for item in fields(rule)]
        given = {name: value for name, value in data.items() if name not in ("schema", "kind")}
        for name in given:
            if name not in allowed:
                raise T2Error(f"{origin}: unknown key {name!r}: {near(name, allowed)}")
        try:
            return rule(**rule._from_parameters(given, origin))
        except TypeError:
            needed = ", ".join(name for name in allowed if name not in _ABOUT)
            raise T2Error(f"{origin}: a rule of kind {kind} needs {needed}") from None
        except T2Error as error:
            raise T2Error(f"{origin}: {str(error).removeprefix(f'{origin}: ')}") from None

    def summary(self) -> str:
        """The rule, its parameters and their intervals."""
        lines = [self.headline()]
        if self.source:
            lines.append(f"  from {self.source}")
        if self.draws:
            lines.append(f"  with {self.n_draws} draws of {', '.join(self.draws)}")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    """A draw as Python's own numbers and tuples."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return tuple(_plain(inner) for inner in value) if isinstance(value, list | tuple) else value


def _lists(value: Any) -> Any:
    """The same as the json module makes it."""
    return [_lists(inner) for inner in value] if isinstance(value, tuple) else value


@dataclass(frozen=True, repr=False)
class AnyCorrect(Rule):
    """Somebody recognises the right answer for nothing: a question is solved if any of its samples is. This is pass@k.

    Examples
    --------
    >>> AnyCorrect().kind
    'any-correct'
    """

    kind: ClassVar[str] = "any-correct"

    def headline(self) -> str:
        """The rule in words."""
        return "any right answer counts (pass@k)"


def load_rule(path: str | Path) -> Rule:
    """Load a rule from a JSON file.

    Raises
    ------
    T2Error
        When there is no such file, or it is malformed (the message names the key).

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     AnyCorrect().save(f"{folder}/rule.json")
    ...     load_rule(f"{folder}/rule.json").kind
    'any-correct'
    """
    try:
        held = read_object(path)
    except T2Error as error:
        if "not JSON: Extra data" not in str(error):
            raise
        raise T2Error(
            f"{path}: no rule, but several JSON values, such as samples: fit the rule to them first "
            f"(t2fast fit {path} --rule NAME --out rule.json)"
        ) from None
    return Rule.from_dict(held, str(path))


def as_rule(rule: Rule | str | Path | None) -> Rule:
    """The rule that a caller means: a rule itself, the path of a rule's file, or :class:`AnyCorrect` for ``None``.

    Raises
    ------
    T2Error
        As :func:`load_rule`; or when ``rule`` is none of these.

    Examples
    --------
    >>> as_rule(None).kind
    'any-correct'
    """
    if rule is None:
        return AnyCorrect()
    if isinstance(rule, Rule):
        return rule
    if isinstance(rule, str | Path):
        return load_rule(rule)
    raise T2Error(f"rule = {shown(rule)}: must be a rule such as t2.Verifier(0.01), or the path of a rule's file")
