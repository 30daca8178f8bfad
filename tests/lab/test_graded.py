"""Graded questions: answers that follow from the text, grades that say how hard a question is, and nothing leaked."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from t2fast.errors import T2Error
from t2fast.lab.corpus import find_leaks, write_corpus
from t2fast.lab.graded import GRADED_FAMILIES, GRADES, GradedSize, GradedWorld
from t2fast.lab.jobs import world_of
from t2fast.lab.preset import load_preset
from t2fast.lab.questions import PAD


@pytest.fixture(scope="module")
def world() -> GradedWorld:
    return GradedWorld(GradedSize(), seed=3, held_out=24)


def random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[key, 7]))


def texts(world: GradedWorld, count: int) -> list[list[str]]:
    return [world.words(row).split() for row in world.text(random(1), count)]


def test_the_same_seed_gives_the_same_world_and_text(world):
    twin = GradedWorld(GradedSize(), seed=3, held_out=24)
    assert twin.problems() == world.problems()
    assert texts(twin, 50) == texts(world, 50)
    assert GradedWorld(GradedSize(), seed=4, held_out=24).problems() != world.problems()


def test_problems_are_distinct_and_of_every_family_and_grade(world):
    problems = world.problems()
    assert len({one.prompt for one in problems}) == len(problems) == 96
    counted = Counter((one.family, one.grade) for one in problems)
    assert counted == {(family, grade): 6 for family in GRADED_FAMILIES for grade in range(GRADES)}


def test_no_text_holds_a_held_out_problem(world, tmp_path):
    _, leaks = write_corpus(world, tmp_path / "text.bin", 100_000)
    assert leaks == []
    text = np.fromfile(tmp_path / "text.bin", "<u2").copy()
    prompts = world.prompts()
    text[500 : 500 + len(prompts[70])] = prompts[70]
    assert find_leaks(text, prompts) == [70]


def test_what_must_be_recalled_is_told_and_the_often_told_are_easy(world):
    """The answers of the family, and its grades, follow from the sentences of the text."""
    told = [words for words in texts(world, 200_000) if words[2:3] == ["is"]]
    value = {tuple(words[:2]): words[3:] for words in told}
    often = Counter(tuple(words[:2]) for words in told)
    asked = [one for one in world.problems() if one.family == "recall"]
    for one in asked:
        name = tuple(one.prompt.split()[1:3])
        assert often[name] == 0 or value[name] == one.answer.split()
    rates = [sum(often[tuple(one.prompt.split()[1:3])] for one in asked if one.grade == g) for g in range(GRADES)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 3 * rates[1]


def test_classes_follow_from_what_happens_to_like_words(world):
    """What an event does to held-out words is what it does to others that share the outcomes of all other events."""
    seen: dict[str, dict[str, list[str]]] = {}
    for words in texts(world, 150_000):
        if words[0] == "if":
            seen.setdefault(words[1], {})[words[2]] = words[4:]
    for one in (one for one in world.problems() if one.family == "classes"):
        _, what, event, _ = one.prompt.split()
        for part in range(2):
            like = [
                outcome[event][part]
                for other, outcome in seen.items()
                if event in outcome and all(outcome[e][part] == seen[what][e][part] for e in outcome if e in seen[what])
            ]
            assert not like or set(like) == {one.answer.split()[part]}


def test_chains_take_every_step_and_sums_add_up(world):
    word = {name: i for i, name in enumerate(w for w in world.vocabulary[11 : 11 + world.size.words])}
    table: dict[tuple[str, str], str] = {}
    lines = [*texts(world, 20_000), *([*one.prompt.split(), *one.answer.split()] for one in world.problems())]
    chains = sums = 0
    for words in lines:
        if words[0] == "go":
            at = words.index("from")
            value, *states = words[at + 1], *words[at + 3 :]
            operations = words[1:at]
            assert len(states) == len(operations)
            for operation, state in zip(operations, states, strict=True):
                assert table.setdefault((operation, value), state) == state
                value = state
            chains += 1
        if words[0] == "add":
            base = world.size.base
            one, two, total = (word[words[i]] + base * word[words[i + 1]] for i in (1, 4, 7))
            assert total == (one + two) % base**2
            sums += 1
    assert min(chains, sums) > 1000
    lengths = {one.grade: len(one.answer.split()) for one in world.problems() if one.family == "chains"}
    assert lengths == {0: 2, 1: 3, 2: 4, 3: 5}


def test_lessons_are_of_one_family_when_asked(world):
    prompts, answers = world.lessons(random(2), 300, "sums")
    assert len(prompts) == len(answers) == 300
    assert {world.words(row).split()[0] for row in prompts} == {"add"}
    assert not {world.words(row) for row in prompts} & {one.prompt for one in world.problems()}
    assert (answers[:, 0] != PAD).all()


def test_worlds_that_cannot_be_are_refused():
    with pytest.raises(T2Error, match="held_out = 30: must be a multiple of 4"):
        GradedWorld(held_out=30)
    with pytest.raises(T2Error, match="held_out = 400: at most 192"):
        GradedWorld(held_out=400)
    with pytest.raises(T2Error, match="people = 2000: at most 1024 pairs of 32 words"):
        GradedSize(people=2000)
    with pytest.raises(T2Error, match="longest = 4"):
        GradedSize(longest=4)


def test_the_second_study_asks_at_least_400_problems():
    preset = load_preset("small")
    assert len(world_of(preset).problems()) >= 400
    with pytest.raises(T2Error, match="lessons: family = 'spatial': must be one of recall"):
        dataclasses.replace(preset, lessons=dataclasses.replace(preset.lessons, family="spatial"))
