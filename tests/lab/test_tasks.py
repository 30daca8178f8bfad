"""The world: what is asked, what is told, and that the two don't meet."""

import numpy as np
import pytest

from t2fast.errors import T2Error
from t2fast.lab.tasks import FAMILIES, PAD, World, WorldSize


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSize(), seed=3, held_out=24)


def random(key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[key, 7]))


def texts(world: World, count: int = 4000) -> list[str]:
    return [world.words(row) for row in world.text(random(1), count)]


def test_the_same_seed_gives_the_same_world_and_text(world):
    twin = World(WorldSize(), seed=3, held_out=24)
    assert twin.problems() == world.problems()
    assert texts(twin, 50) == texts(world, 50)
    assert World(WorldSize(), seed=4, held_out=24).problems() != world.problems()


def test_problems_are_distinct_and_of_all_families(world):
    problems = world.problems()
    assert [sum(one.family == family for one in problems) for family in FAMILIES] == [24] * 4
    assert len({one.prompt for one in problems}) == len(problems)
    assert len({one.id for one in problems}) == len(problems)


def test_no_text_asks_a_held_out_problem(world):
    prompts = [one.prompt + " " for one in world.problems()]
    assert not [text for text in texts(world) for prompt in prompts if text.startswith(prompt)]


def test_arithmetic_is_right(world):
    """The answers again, by plain Python."""
    seen = 0
    lines = [*texts(world), *(f"{one.prompt} {one.answer}" for one in world.problems())]
    for text in lines:
        if not text.startswith("calc "):
            continue
        operations, _, rest = text.removeprefix("calc ").partition(" from ")
        value, *steps = (int(word) for word in rest.split())
        wanted = []
        for operation in operations.split():
            digit = int(operation[1:])
            value = {"+": value + digit, "-": value - digit, "*": value * digit}[operation[0]] % 10
            wanted.append(value)
        assert steps == wanted
        seen += 1
    assert seen > 500


def test_knowledge_and_map_are_told_before_they_are_asked(world):
    """Every held-out answer of these families follows from sentences of the text."""
    lives, lies = {}, {}
    for text in texts(world, 250_000):
        words = text.split()
        if words[2:4] == ["lives", "in"]:  # FIRST LAST lives in TOWN QUARTER
            lives[" ".join(words[:2])] = " ".join(words[4:])
        if words[1:3] == ["lies", "in"]:
            lies[words[0]] = words[3]
    for one in world.problems():
        words = one.prompt.split()
        if one.family == "knowledge":
            assert lives[" ".join(words[2:4])] == one.answer
        if one.family == "spatial":
            place, chain = words[1], []
            while (place := lies.get(place)) is not None:
                chain.append(place)
            assert " ".join(chain) == one.answer


def test_commonsense_follows_from_what_happens_to_like_things(world):
    """Two things of one stuff suffer the same under one event."""
    stuff = {}
    effects: dict[tuple[str, str], set[str]] = {}
    sentences = [text.split() for text in texts(world, 20_000)]
    for words in sentences:
        if words[1:3] == ["made", "of"]:
            stuff[words[0]] = words[3]
    for words in sentences:
        if words[0] == "if":
            effects.setdefault((stuff[words[1]], words[2]), set()).add(words[4])
    assert all(len(found) == 1 for found in effects.values())
    for one in world.problems():
        if one.family == "commonsense":
            _, thing, event, _ = one.prompt.split()
            assert effects[stuff[thing], event] == {one.answer.split()[0]}


def test_lessons_are_problems_with_answers_but_not_those_held_out(world):
    prompts, answers = world.lessons(random(2), 400)
    assert prompts.shape[0] == answers.shape[0] == 400
    asked = {world.words(row) for row in prompts}
    assert not asked & {one.prompt for one in world.problems()}
    assert (answers[:, 0] != PAD).all()


def test_worlds_that_cannot_be_are_refused():
    with pytest.raises(T2Error, match=r"steps = \(3, 2\): must be two rising"):
        WorldSize(steps=(3, 2))
    with pytest.raises(T2Error, match="places = "):
        WorldSize(places=(3,))
    with pytest.raises(T2Error, match="held_out = 400: at most a quarter"):
        World(held_out=400)
