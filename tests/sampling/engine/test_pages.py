"""Pages of memory."""

import pytest

from t2fast.sampling.engine.pages import Pages, pages_for


def test_pages():
    pages = Pages(3)
    taken = pages.take(2)
    assert pages.free == 1
    pages.give_back(taken)
    assert pages.free == 3
    with pytest.raises(AssertionError):
        pages.take(4)


def test_pages_for():
    assert [pages_for(n, 4) for n in (0, 1, 4, 5)] == [0, 1, 1, 2]
