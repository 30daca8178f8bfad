"""Four families of questions about a made-up world, after those of Roberts et al. 2026 (arXiv 2604.01411).

Every question has one right answer of a few words, so that samples are judged exactly and the likelihood of the right
answer is the chance that a sample is right. Difficulty differs by question: facts are told more or less often, chains
are longer or shorter. Held-out questions are never asked in the training text; other questions of their kind are, and
what must be known is told in other words.

Texts are rows of token numbers, padded with :data:`PAD`: a corpus of millions of sentences is made by a few array
operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.errors import T2Error

__all__ = ["FAMILIES", "PAD", "Problem", "World", "WorldSize"]

Tokens = NDArray[np.int32]

FAMILIES = ("knowledge", "arithmetic", "commonsense", "spatial")
#: Fills rows of token numbers up to equal length; no token.
PAD = -1
#: Ends every text and starts every prompt.
END = "<end>"
_PLAIN = (END, "where", "lives", "lies", "?", "in", "calc", "from", "if", "then", "made", "of", "path", ":")
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


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
class Problem:
    """A problem held out from the training text: prompt and answer as words, and the family it belongs to."""

    id: str
    family: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class World:
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

    size: WorldSize = field(default_factory=WorldSize)
    seed: int = 0
    held_out: int = 48

    def __post_init__(self) -> None:
        s = self.size
        random = np.random.Generator(np.random.Philox(key=[self.seed, 0]))
        words = _made_up_words(random)
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
            "_often_people": _zipf(random, people, s.zipf),
            "_inside": np.concatenate([*inside, np.full(s.places[-1], PAD)]),
            "_often_places": _zipf(random, int(ends[-2]), s.zipf),
            "_often_events": _zipf(random, s.events, s.zipf),
            "_often_things": _zipf(random, s.things, s.zipf),
            "_often_operations": _zipf(random, 30, s.zipf),
        }
        # Frozen for everybody else: all of this follows from the fields.
        self.__dict__.update(state)
        self.__dict__["_secret"] = {family: self._choose(family, random) for family in FAMILIES}

    vocabulary: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _start: dict[str, int] = field(init=False, repr=False, compare=False)
    _number: dict[str, int] = field(init=False, repr=False, compare=False)
    _home: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _stuff: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _outcome: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _often_people: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _inside: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _often_places: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _often_events: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _often_things: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _often_operations: NDArray[np.float64] = field(init=False, repr=False, compare=False)
    _secret: dict[str, tuple[Tokens, Tokens]] = field(init=False, repr=False, compare=False)

    def problems(self) -> list[Problem]:
        """The held-out problems, family by family."""
        return [
            Problem(f"{family}/{i}", family, self.words(prompt), self.words(answer))
            for family in FAMILIES
            for i, (prompt, answer) in enumerate(zip(*self._secret[family], strict=True))
        ]

    def prompts(self) -> list[Tokens]:
        """The prompts of the held-out problems as token numbers, in the order of :meth:`problems`."""
        return [row[row != PAD] for family in FAMILIES for row in self._secret[family][0]]

    def words(self, tokens: Sequence[int] | Tokens) -> str:
        """Token numbers as words, without padding and end marks."""
        return " ".join(self.vocabulary[i] for i in tokens if i not in (PAD, 0))

    def text(self, random: np.random.Generator, n_texts: int) -> Tokens:
        """Texts for training, one per row, all families in equal parts and random order.

        Rows hold the prompt, its answer and the end mark; none asks a held-out question.
        """
        share = -(-2 * n_texts // (2 * len(FAMILIES) + 5))
        asked = [_left(np.concatenate(self._ask(family, random, share), axis=1)) for family in FAMILIES]
        told = [*self._tell(random, share), *asked]
        width = max(rows.shape[1] for rows in told) + 1
        rows = np.concatenate([_widen(part, width) for part in told])
        return rows[random.permutation(len(rows))[:n_texts]]

    def lessons(self, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        """Questions and their answers, all families in equal parts and random order, none of those held out."""
        # Twice as many as needed, since some are held out.
        parts = [self._ask(family, random, -(-2 * count // len(FAMILIES))) for family in FAMILIES]
        order = random.permutation(sum(len(prompt) for prompt, _ in parts))[:count]
        prompts, answers = (
            np.concatenate([_widen(part[i], max(one[i].shape[1] for one in parts)) for part in parts])[order]
            for i in range(2)
        )
        return prompts, answers

    def _ask(self, family: str, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        """Questions with their answers, those held out left out."""
        prompt, answer = getattr(self, f"_{family}")(random, count, False)
        known = {row.tobytes() for row in _widen(self._secret[family][0], prompt.shape[1])}
        allowed = np.array([row.tobytes() not in known for row in prompt], dtype=bool)
        return prompt[allowed], answer[allowed]

    def _choose(self, family: str, random: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Distinct questions to hold out."""
        prompt, answer = getattr(self, f"_{family}")(random, 40 * self.held_out, True)
        _, first = np.unique(prompt, axis=0, return_index=True)
        first = np.sort(first)[: self.held_out]
        if len(first) < self.held_out:
            raise T2Error(f"held_out = {self.held_out}: family {family} has fewer questions; use a larger world")
        return prompt[first], answer[first]

    def _tell(self, random: np.random.Generator, count: int) -> list[Tokens]:
        """Facts in other words than the questions': who lives where, what things are made of, what lies in what."""
        n, at = self._number, self._start
        who = random.choice(len(self._home), size=count, p=self._often_people)
        what = random.choice(self.size.things, size=count // 2, p=self._often_things)
        place = random.choice(len(self._often_places), size=count, p=self._often_places)
        return [
            _rows(count, self._name_words(who), n["lives"], n["in"], self._home_words(who)),
            _rows(count // 2, at["thing"] + what, n["made"], n["of"], at["stuff"] + self._stuff[what]),
            _rows(count, at["place"] + place, n["lies"], n["in"], at["place"] + self._inside[place]),
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
        who = random.choice(len(self._home), size=count, p=None if held_out else self._often_people)
        return _rows(count, n["where"], n["lives"], self._name_words(who), n["?"]), _rows(count, self._home_words(who))

    def _arithmetic(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """Calculations modulo ten with all steps: ``calc +5 -3 *2 from 7`` -> ``2 9 8``."""
        low, high = self.size.steps
        length = random.integers(low if held_out else 1, high + 1, size=count)
        operation = random.choice(30, size=(count, high), p=None if held_out else self._often_operations)
        value = random.integers(10, size=count)
        used = np.arange(high) < length[:, None]
        operations = np.where(used, self._start["operation"] + operation, PAD)
        prompt = _rows(count, self._number["calc"], operations, self._number["from"], self._start["digit"] + value)
        steps = np.empty((count, high), dtype=np.int64)
        for j in range(high):
            kind, digit = np.divmod(operation[:, j], 10)
            value = np.choose(kind, [value + digit, value - digit, value * digit]) % 10
            steps[:, j] = self._start["digit"] + value
        return _left(prompt), np.where(used, steps, PAD).astype(np.int32)

    def _commonsense(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """What happens to a thing: ``if THING EVENT then`` -> ``EFFECT RESPONSE``, by its stuff and its use."""
        n, at = self._number, self._start
        what = random.choice(self.size.things, size=count, p=None if held_out else self._often_things)
        event = random.choice(self.size.events, size=count, p=None if held_out else self._often_events)
        prompt = _rows(count, n["if"], at["thing"] + what, at["event"] + event, n["then"])
        outcome = self._outcome[what, event]
        return prompt, _rows(count, at["effect"] + outcome[:, 0], at["response"] + outcome[:, 1])

    def _spatial(self, random: np.random.Generator, count: int, held_out: bool) -> tuple[Tokens, Tokens]:
        """What contains a place: ``path PLACE :`` -> ``PARENT GRANDPARENT``, from the inside out."""
        place = random.choice(len(self._often_places), size=count, p=None if held_out else self._often_places)
        around = np.full((count, len(self.size.places)), PAD, dtype=np.int64)
        inner = place
        for level in range(len(self.size.places)):
            outer = np.where(inner >= 0, self._inside[inner], PAD)
            around[:, level] = np.where(outer >= 0, self._start["place"] + outer, PAD)
            inner = outer
        prompt = _rows(count, self._number["path"], self._start["place"] + place, self._number[":"])
        return prompt, around[:, :-1].astype(np.int32)


def _made_up_words(random: np.random.Generator) -> Any:
    """Words of two or three syllables, each once, in random order."""
    syllables = [c + v for c in _CONSONANTS for v in _VOWELS]
    pairs = [a + b for a in syllables for b in syllables]
    for i in random.permutation(len(pairs)):
        yield pairs[i]


def _zipf(random: np.random.Generator, count: int, power: float) -> NDArray[np.float64]:
    weight = np.arange(1, count + 1) ** -power
    return np.asarray(random.permutation(weight / weight.sum()))


def _rows(count: int, *parts: int | NDArray[Any]) -> Tokens:
    """Words side by side: single numbers repeat in every row."""
    columns = [np.broadcast_to(np.asarray(part).reshape(-1, 1) if np.ndim(part) < 2 else part,
                               (count, np.shape(part)[1] if np.ndim(part) == 2 else 1)) for part in parts]  # fmt: skip
    return np.concatenate(columns, axis=1).astype(np.int32)


def _left(rows: Tokens) -> Tokens:
    """Move padding to the end of every row."""
    return np.take_along_axis(rows, np.argsort(rows == PAD, axis=1, kind="stable"), axis=1)


def _widen(rows: Tokens, width: int) -> Tokens:
    wide = np.full((len(rows), width), PAD, dtype=np.int32)
    wide[:, : rows.shape[1]] = rows
    return wide
