"""A plurality vote among the answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from t2fast.arguments import shown
from t2fast.errors import T2Error
from t2fast.rules.rule import Rule
from t2fast.rules.tail import Tail

__all__ = ["Majority"]


@dataclass(frozen=True, repr=False)
class Majority(Rule):
    """The commonest of the k answers is the answer (self-consistency, Wang et al. 2022); ties are drawn at random.

    Parameters
    ----------
    tail
        How wrong answers are shared: a :class:`Tail`. Without one it is the vote among the answers at hand, which only
        what is given those can count: :func:`t2fast.choose` with ``votes=``.
    draws
        ``{"shares": [...]}``: for each draw the lists of shares that :attr:`Tail.shares` holds, at the same rates.

    Raises
    ------
    T2Error
        Unless ``tail`` is a tail or left out, and for draws without one.

    Examples
    --------
    >>> print(Majority(Tail.uniform(30)).headline())
    plurality vote; wrong answers uniform over 30
    """

    tail: Tail | None = None

    kind: ClassVar[str] = "majority"

    def __post_init__(self) -> None:
        if self.tail is not None and not isinstance(self.tail, Tail):
            raise T2Error(f"tail = {shown(self.tail)}: must be a Tail, for example Tail.uniform(30)")
        super().__post_init__()

    @property
    def drawable(self) -> tuple[str, ...]:
        """Names of the parameters that draws may hold."""
        return () if self.tail is None else ("shares",)

    @property
    def parameters(self) -> dict[str, Any]:
        """The tail as JSON data."""
        return {} if self.tail is None else {"tail": self.tail.to_dict()}

    def drawn(self, row: Mapping[str, Any]) -> Majority:
        """The rule with other shares."""
        assert self.tail is not None  # without one there are no draws
        return replace(self, tail=replace(self.tail, shares=row["shares"]), draws={})

    def _checked_draws(self, draws: object) -> dict[str, tuple[Any, ...]]:
        found = super()._checked_draws(draws)
        for shares in found.get("shares", ()):
            assert self.tail is not None
            replace(self.tail, shares=shares)
        return found

    @classmethod
    def _from_parameters(cls, given: dict[str, Any], origin: str) -> dict[str, Any]:
        return given | {"tail": Tail.from_dict(given["tail"], f"{origin}: tail")} if "tail" in given else given

    def headline(self) -> str:
        """The rule in words."""
        return "plurality vote" if self.tail is None else f"plurality vote; wrong answers {self.tail}"
