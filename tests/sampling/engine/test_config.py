"""How a sampler uses the machine."""

import pytest

pytest.importorskip("torch")

from t2fast.errors import T2Error
from t2fast.sampling.engine.config import Config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"page_size": 0}, "page_size = 0"),
        ({"max_batch": 1.5}, "max_batch = 1.5"),
        ({"graphs": "fast"}, "graphs = 'fast'"),
        ({"ahead": 2}, "ahead = 2"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(T2Error, match=message):
        Config(**changes)
