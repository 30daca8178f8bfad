"""The training text: the same whoever makes it, and searched for problems."""

import numpy as np
import pytest

from t2fast.lab.corpus import find_leaks, open_corpus, write_corpus
from t2fast.lab.tasks import World, WorldSize


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSize(), seed=3, held_out=24)


def test_the_search_finds_a_planted_problem(world, tmp_path):
    _, leaks = write_corpus(world, tmp_path / "text.bin", 50_000)
    assert leaks == []
    text = np.array(open_corpus(tmp_path / "text.bin"))
    prompts = world.prompts()
    for place in (0, 30, 60, 95):
        planted = text.copy()
        planted[1000 : 1000 + len(prompts[place])] = prompts[place]
        assert find_leaks(planted, prompts) == [place]


def test_the_text_does_not_depend_on_how_many_make_it(world, tmp_path):
    said = []
    one, _ = write_corpus(world, tmp_path / "one.bin", 900_000, workers=1, progress=said.append)
    assert (said[-1].done, said[-1].total, said[-1].unit) == (900_000, 900_000, "tokens")
    two, _ = write_corpus(world, tmp_path / "two.bin", 900_000, workers=2)
    assert one == two
    assert len(open_corpus(tmp_path / "one.bin")) == 900_000
