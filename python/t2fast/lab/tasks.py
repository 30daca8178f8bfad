"""Four families of questions about a made-up world, after those of Roberts et al. 2026 (arXiv 2604.01411).

Every question has one right answer of a few words, so that samples are judged exactly and the likelihood of the right
answer is the chance that a sample is right. Difficulty differs by question: facts are told more or less often, chains
are longer or shorter. Held-out questions are never asked in the training text; other questions of their kind are, and
what must be known is told in other words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast.errors import T2Error
from t2fast.lab.questions import END, PAD, Problem, Tasks, Tokens, joined, left, made_up_words, mixed, zipf

__all__ = ["FAMILIES", "PAD", "Problem", "World", "WorldSize"]

FAMILIES = ("knowledge", "arithmetic", "commonsense", "spatial")
_PLAIN = (END, "where", "lives", "lies", "?", "in", "calc", "from", "if", "then", "made", "of", "path", ":")


@dataclass(frozen=True)
class WorldSize:
    """How much there is to know, and how long chains get; a preset chooses it to suit its models.

    Parameters
    ----------
    first_names, last_names
        People are pairs of names; each lives somewhere.
    towns, quarters
        A home is a pair of these.
    exceptions
        Share of people who live elsewhere than their last name says: facts that must be learnt by heart.
    steps
        Fewest and most operations in a calculation to be solved; the training text has shorter ones too.
    things, stuffs, uses, events, effects
        Things have a stuff and a use, which decide what an event does to them.
    places
        Places, from the innermost level of the map to the outermost; each lies in one of the next level.
    zipf
        How unequally often people, operations, things, events and places are spoken of: frequency falls as rank to
        this power. Questions held out are about all of them alike, so that some are hard.
    """

    first_names: int = 24
    last_names: int = 24
    towns: int = 16
    quarters: int = 16
    exceptions: float = 0.5
    steps: tuple[int, int] = (2, 4)
    things: int = 48
    stuffs: int = 6
    uses: int = 6
    events: int = 12
    effects: int = 12
    places: tuple[int, ...] = (128, 32, 8, 4)
    zipf: float = 1.0

    def __post_init__(self) -> None:
        low, high = self.steps
        if not 1 <= low <= high <= 9:
            raise T2Error(f"steps = {self.steps}: must be two rising numbers from 1 to 9")
        if len(self.places) < 2 or min(self.places) < 1:
            raise T2Error(f"places = {self.places}: must be at least two levels, none of them empty")


@dataclass(frozen=True)
class World(Tasks):
    """The facts and rules that follow from a seed, and text about them.

    Parameters
    ----------
    size
        How much there is to know.
    seed
        Key of the random numbers.
    held_out
        Questions per family that the training text must not ask.
    """

    families: ClassVar[tuple[str, ...]] = FAMILIES

    size: WorldSize = field(default_factory=WorldSize)
    seed: int = 0
    held_out: int = 48

    def __post_init__(self) -> None:
        s = self.size
        random = np.random.Generator(np.random.Philox(key=[self.seed, 0]))
        words = made_up_words(random)
        groups = {
            "first": s.first_names, "last": s.last_names, "town": s.towns, "quarter": s.quarters, "thing": s.things,
            "stuff": s.stuffs, "event": s.events, "effect": s.effects, "response": s.effects, "place": sum(s.places),
        }  # fmt: skip
        vocabulary = [*_PLAIN, *"0123456789", *(f"{op}{digit}" for op in "+-*" for digit in range(10))]
        start: dict[str, int] = {"digit": len(_PLAIN), "operation": len(_PLAIN) + 10}
        for name, count in groups.items():
            start[name] = len(vocabulary)
            vocabulary += [next(words) for _ in range(count)]
        people, pairs = s.first_names * s.last_names, s.things * s.events
        if max(people, pairs) < 4 * self.held_out:
            raise T2Error(f"held_out = {self.held_out}: at most a quarter of {people} people and {pairs} pairs")
        # Most people of one last name live in one place; the exceptions must be learnt by heart.
        usual = random.integers(s.towns * s.quarters, size=s.last_names)
        other = random.integers(s.towns * s.quarters, size=people)
        home = np.where(random.random(people) < s.exceptions, other, usual[np.arange(people) % s.last_names])
        stuff, use = random.integers(s.stuffs, size=s.things), random.integers(s.uses, size=s.things)
        effect = random.integers(s.effects, size=(s.stuffs, s.events))[stuff]
        response = random.integers(s.effects, size=(s.uses, s.events))[use]
        ends = np.cumsum(s.places)
        inside = [random.integers(a, b, size=n) for a, b, n in zip(ends[:-1], ends[1:], s.places[:-1], strict=True)]
        state: dict[str, Any] = {
            "vocabulary": tuple(vocabulary),
            "_start": start,
            "_number": {word: i for i, word in enumerate(vocabulary)},
            "_home": home,
            "_stuff": stuff,
            "_outcome": np.stack([effect, response], axis=-1),
            "_inside": np.concatenate([*inside, np.full(s.places[-1], PAD)]),
            "_often": {
                "people": zipf(random, people, s.zipf),
                "places": zipf(random, int(ends[-2]), s.zipf),
                "events": zipf(random, s.events, s.zipf),
                "things": zipf(random, s.things, s.zipf),
                "operations": zipf(random, 30, s.zipf),
            },
        }
        # Frozen for everybody else: all of this follows from the fields.
        self.__dict__.update(state)
        self.__dict__["_secret"] = {family: self._choose(family, random) for family in FAMILIES}

    _home: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _stuff: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _outcome: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _inside: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def text(self, random: np.random.Generator, n_texts: int) -> Tokens:
        """Texts for training, one per row, all families in equal parts and random order.

        Rows hold the prompt, its answer and the end mark; none asks a held-out question.
        """
        share = -(-2 * n_texts // (2 * len(FAMILIES) + 5))
        asked = [left(np.concatenate(self._ask(family, random, share), axis=1)) for family in FAMILIES]
        return mixed(random, [*self._tell(random, share), *asked], n_texts)

    def _make(self, family: str, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        made: tuple[Tokens, Tokens] = getattr(self, f"_{family}")(random, count, False)
        return made

    def _choose(self, family: str, random: np.random.Generator) -> tuple[Tokens, Tokens, NDArray[np.int64]]:
        """Distinct questions to hold out."""
        prompt, answer = getattr(self, f"_{family}")(random, 40 * self.held_out, True)
        _, first = np.unique(prompt, axis=0, return_index=True)
        first = np.sort(first)[: self.held_out]
        if len(first) < self.held_out:
            raise T2Error(f"held_out = {self.held_out}: family {family} has fewer questions; use a larger world")
        return prompt[first], answer[first], np.zeros(self.held_out, dtype=np.int64)

    def _tell(self, random: np.random.Generator, count: int) -> list[Tokens]:
        """Facts in other words than the questions': who lives where, what things are made of, what lies in what."""
        n, at = self._number, self._start
        who = random.choice(len(self._home), size=count, p=self._often["people"])
        what = random.choice(self.size.things, size=count // 2, p=self._often["things"])
        place = random.choice(len(self._often["places"]), size=count, p=self._often["places"])
        return [
            joined(count, self._name_words(who), n["lives"], n["in"], self._home_words(who)),
            joined(count // 2, at["thing"] + what, n["made"], n["of"], at["stuff"] + self._stuff[what]),
            joined(count, at["place"] + place, n["lies"], n["in"], at["place"] + self._inside[place]),
        ]

    def _name_words(self, who: NDArray[np.int64]) -> NDArray[np.int64]:
        first, last = np.divmod(who, self.size.last_names)
        return np.stack([self._start["first"] + first, self._start["last"] + last], axis=1)

    def _home_words(self, who: NDArray[np.int64]) -> NDArray[np.int64]:
        town, quarter = np.divmod(self._home[who], self.size.quarters)
        return np.stack([self._start["town"] + town, self._start["quarter"] + quarter], axis=1)

    def _knowledge(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """Where somebody lives: ``where lives FIRST LAST ?`` -> ``TOWN QUARTER``."""
        n = self._number
        who = random.choice(len(self._home), size=count, p=None if held_out else self._often["people"])
        return joined(count, n["where"], n["lives"], self._name_words(who), n["?"]), joined(
            count, self._home_words(who)
        )

    def _arithmetic(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """Calculations modulo ten with all steps: ``calc +5 -3 *2 from 7`` -> ``2 9 8``."""
        low, high = self.size.steps
        length = random.integers(low if held_out else 1, high + 1, size=count)
        operation = random.choice(30, size=(count, high), p=None if held_out else self._often["operations"])
        value = random.integers(10, size=count)
        used = np.arange(high) < length[:, None]
        operations = np.where(used, self._start["operation"] + operation, PAD)
        prompt = joined(count, self._number["calc"], operations, self._number["from"], self._start["digit"] + value)
        steps = np.empty((count, high), dtype=np.int64)
        for j in range(high):
            kind, digit = np.divmod(operation[:, j], 10)
            value = np.choose(kind, [value + digit, value - digit, value * digit]) % 10
            steps[:, j] = self._start["digit"] + value
        return left(prompt), np.where(used, steps, PAD).astype(np.int32)

    def _commonsense(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """What happens to a thing: ``if THING EVENT then`` -> ``EFFECT RESPONSE``, by its stuff and its use."""
        n, at = self._number, self._start
        what = random.choice(self.size.things, size=count, p=None if held_out else self._often["things"])
        event = random.choice(self.size.events, size=count, p=None if held_out else self._often["events"])
        prompt = joined(count, n["if"], at["thing"] + what, at["event"] + event, n["then"])
        outcome = self._outcome[what, event]
        return prompt, joined(count, at["effect"] + outcome[:, 0], at["response"] + outcome[:, 1])

    def _spatial(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """What contains a place: ``path PLACE :`` -> ``PARENT GRANDPARENT``, from the inside out."""
        place = random.choice(len(self._often["places"]), size=count, p=None if held_out else self._often["places"])
        around = np.full((count, len(self.size.places)), PAD, dtype=np.int64)
        inner = place
        for level in range(len(self.size.places)):
            outer = np.where(inner >= 0, self._inside[inner], PAD)
            around[:, level] = np.where(outer >= 0, self._start["place"] + outer, PAD)
            inner = outer
        prompt = joined(count, self._number["path"], self._start["place"] + place, self._number[":"])
        return prompt, around[:, :-1].astype(np.int32)
