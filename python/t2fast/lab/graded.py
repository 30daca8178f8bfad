"""Graded questions: many small skills, met with very unequal frequencies, so that ability rises slowly.

The worlds of :mod:`t2fast.lab.tasks` are learnt in jumps: a model can follow calculations or it cannot. Here every
family is a table of facts of which some are met a thousand times as often as others, and problems come in grades: by
how often their fact is told, how long their chain is, how large their numbers are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.lab.questions import END, PAD, Tasks, Tokens, joined, left, made_up_words, mixed, widened, zipf

__all__ = ["GRADED_FAMILIES", "GradedSize", "GradedWorld"]

GRADED_FAMILIES = ("recall", "classes", "chains", "sums")
#: Grades of every family, from easy to hard.
GRADES = 4
_PLAIN = (END, "who", "is", "if", "then", "go", "from", "to", "add", "and", "=")


@dataclass(frozen=True)
class GradedSize:
    """How much there is to know; a preset chooses it to suit its models.

    Parameters
    ----------
    words
        Words of which names, values, states and digits are made: few, so that small models spend little on them.
    people
        Pairs of words, each with a pair of words to recall; the n-th is spoken of as often as ``1 / n^zipf``.
    classes, events
        Every word has two hidden classes, which decide by a pair of words what an event does to it.
    operations, states, longest
        Functions from states to states, and how many of them the longest chain applies one after the other.
    base
        Two numbers of two digits to this base are added; the sum has two digits, the lower first.
    zipf
        How unequally often people, words, events and operations are spoken of.
    kind
        ``"graded"``: which world this is, in files.
    """

    words: int = 32
    people: int = 1024
    classes: int = 8
    events: int = 24
    operations: int = 16
    states: int = 24
    longest: int = 5
    base: int = 20
    zipf: float = 1.0
    kind: str = "graded"

    def __post_init__(self) -> None:
        for name in ("words", "people", "classes", "events", "operations", "states", "base"):
            arguments.whole(name, getattr(self, name), least=2)
        arguments.whole("longest", self.longest, least=GRADES + 1, most=9)
        if self.people > self.words**2:
            raise T2Error(f"people = {self.people}: at most {self.words**2} pairs of {self.words} words")
        for name in ("states", "base"):
            arguments.whole(name, getattr(self, name), least=2, most=self.words)
        if self.kind != "graded":
            raise T2Error(f"kind = {self.kind!r}: must be 'graded'")


@dataclass(frozen=True)
class GradedWorld(Tasks):
    """The tables that follow from a seed, and text about them.

    Parameters
    ----------
    size
        How much there is to know.
    seed
        Key of the random numbers.
    held_out
        Questions per family that the training text must not ask, an equal share of every grade.
    """

    families: ClassVar[tuple[str, ...]] = GRADED_FAMILIES

    size: GradedSize = field(default_factory=GradedSize)
    seed: int = 0
    held_out: int = 48

    def __post_init__(self) -> None:
        s = self.size
        random = np.random.Generator(np.random.Philox(key=[self.seed, 0]))
        made = made_up_words(random)
        groups = {"word": s.words, "event": s.events, "operation": s.operations}
        vocabulary, start = list(_PLAIN), {}
        for name, count in groups.items():
            start[name] = len(vocabulary)
            vocabulary += [next(made) for _ in range(count)]
        if self.held_out % GRADES:
            raise T2Error(f"held_out = {self.held_out}: must be a multiple of {GRADES}, the number of grades")
        most = min(s.people, s.words * s.events) // 4
        if self.held_out > most:
            raise T2Error(f"held_out = {self.held_out}: at most {most}, a quarter of the questions of a family")
        kind = random.integers(s.classes, size=(2, s.words))
        does = random.integers(s.words, size=(2, s.classes, s.events))
        state: dict[str, Any] = {
            "vocabulary": tuple(vocabulary),
            "_start": start,
            "_number": {word: i for i, word in enumerate(vocabulary)},
            # Person n, the n-th most spoken of, is a random pair of words.
            "_name": random.permutation(s.words**2)[: s.people],
            "_value": random.integers(s.words**2, size=s.people),
            "_outcome": np.stack([does[i][kind[i]] for i in range(2)], axis=-1),
            "_table": np.stack([random.permutation(s.states) for _ in range(s.operations)]),
            "_often": {
                "people": np.sort(zipf(random, s.people, s.zipf))[::-1],
                "words": np.sort(zipf(random, s.words, s.zipf))[::-1],
                "events": np.sort(zipf(random, s.events, s.zipf))[::-1],
                "operations": np.sort(zipf(random, s.operations, s.zipf))[::-1],
            },
        }
        # Frozen for everybody else: all of this follows from the fields.
        self.__dict__.update(state)
        self.__dict__["_secret"] = {family: self._choose(family, random) for family in self.families}

    _name: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _value: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _outcome: NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _table: NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def text(self, random: np.random.Generator, n_texts: int) -> Tokens:
        """Texts for training, one per row, a fifth people told, a fifth of each family, in random order.

        Rows hold the prompt, its answer and the end mark; none asks a held-out question.
        """
        share = -(-3 * n_texts // 10)
        asked = [left(np.concatenate(self._ask(family, random, share), axis=1)) for family in self.families]
        who = random.choice(self.size.people, size=share, p=self._often["people"])
        told = joined(share, self._person(who), self._number["is"], self._pair(self._value[who]))
        return mixed(random, [part[: -(-n_texts // 5)] for part in (told, *asked)], n_texts)

    def _make(self, family: str, random: np.random.Generator, count: int) -> tuple[Tokens, Tokens]:
        made: tuple[Tokens, Tokens] = getattr(self, f"_{family}")(random, count, None)
        return made

    def _choose(self, family: str, random: np.random.Generator) -> tuple[Tokens, Tokens, NDArray[np.int64]]:
        """Distinct questions to hold out, as many of every grade."""
        each = self.held_out // GRADES
        seen: set[bytes] = set()
        prompts, answers = [], []
        for grade in range(GRADES):
            prompt, answer = getattr(self, f"_{family}")(random, 60 * each, grade)
            width = 3 + self.size.longest
            chosen: list[int] = []
            for i, row in enumerate(widened(prompt, max(width, prompt.shape[1]))):
                if len(chosen) < each and row.tobytes() not in seen:
                    seen.add(row.tobytes())
                    chosen.append(i)
            if len(chosen) < each:
                raise T2Error(f"held_out = {self.held_out}: family {family} has fewer questions; use a larger world")
            prompts.append(prompt[chosen])
            answers.append(answer[chosen])
        grades = np.repeat(np.arange(GRADES), each)
        return np.concatenate(prompts), np.concatenate(answers), grades

    def _word(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._start["word"] + place

    def _pair(self, place: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._word(np.stack(np.divmod(place, self.size.words), axis=1))

    def _person(self, who: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._pair(self._name[who])

    def _recall(self, random: np.random.Generator, count: int, grade: int | None) -> tuple[Tokens, Tokens]:
        """What a person is: ``who WORD WORD is`` -> ``WORD WORD``; graded by how often it is told."""
        people = self.size.people
        if grade is None:
            who = random.choice(people, size=count, p=self._often["people"])
        else:
            # Bands of ranks, each twice as wide as the one before.
            ends = [0, *(max(1, people >> (GRADES - 1 - g)) for g in range(GRADES))]
            who = random.integers(ends[grade], ends[grade + 1], size=count)
        n = self._number
        return joined(count, n["who"], self._person(who), n["is"]), joined(count, self._pair(self._value[who]))

    def _classes(self, random: np.random.Generator, count: int, grade: int | None) -> tuple[Tokens, Tokens]:
        """What an event does to a word: ``if WORD EVENT then`` -> ``WORD WORD``, by the word's two hidden classes.

        Graded by how often word and event are met: held-out pairs must be inferred from others of their classes.
        """
        words, events = self.size.words, self.size.events
        if grade is None:
            what = random.choice(words, size=count, p=self._often["words"])
            event = random.choice(events, size=count, p=self._often["events"])
        else:
            rank = np.argsort(-np.outer(self._often["words"], self._often["events"]).ravel(), kind="stable")
            band = np.array_split(rank, GRADES)[grade]
            what, event = np.divmod(random.choice(band, size=count), events)
        n = self._number
        prompt = joined(count, n["if"], self._word(what), self._start["event"] + event, n["then"])
        return prompt, joined(count, self._word(self._outcome[what, event]))

    def _chains(self, random: np.random.Generator, count: int, grade: int | None) -> tuple[Tokens, Tokens]:
        """Functions in turn: ``go OP OP from WORD to`` -> every state on the way; graded by the chain's length."""
        s = self.size
        if grade is None:
            length = random.integers(1, s.longest + 1, size=count)
            operation = random.choice(s.operations, size=(count, s.longest), p=self._often["operations"])
        else:
            length = np.full(count, s.longest - GRADES + 1 + grade)
            operation = random.choice(s.operations, size=(count, s.longest), p=self._often["operations"])
        value = random.integers(s.states, size=count)
        used = np.arange(s.longest) < length[:, None]
        n = self._number
        operations = np.where(used, self._start["operation"] + operation, PAD)
        prompt = joined(count, n["go"], operations, n["from"], self._word(value), n["to"])
        steps = np.empty((count, s.longest), dtype=np.int64)
        for j in range(s.longest):
            value = self._table[operation[:, j], value]
            steps[:, j] = self._word(value)
        return left(prompt), np.where(used, steps, PAD).astype(np.int32)

    def _sums(self, random: np.random.Generator, count: int, grade: int | None) -> tuple[Tokens, Tokens]:
        """Sums: ``add WORD WORD and WORD WORD =`` -> ``WORD WORD``, the low digit first, a third one left out.

        Graded by the size of the numbers.
        """
        base = self.size.base
        bands = np.linspace(1, base, GRADES).round().astype(np.int64) * base
        band = random.integers(GRADES, size=count) if grade is None else np.full(count, grade)
        low = np.where(band > 0, bands[np.maximum(band - 1, 0)], 0) if grade is not None else np.zeros(count, np.int64)
        one = random.integers(low, bands[band])
        two = random.integers(0, bands[band])
        swap = random.random(count) < 0.5
        one, two = np.where(swap, two, one), np.where(swap, one, two)
        total = one + two
        n = self._number
        digits = [np.stack(np.divmod(value, base), axis=1)[:, ::-1] for value in (one, two, total % base**2)]
        a, b, answer = (self._word(np.ascontiguousarray(each)) for each in digits)
        return joined(count, n["add"], a, n["and"], b, n["="]), joined(count, answer)
