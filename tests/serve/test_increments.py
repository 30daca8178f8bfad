"""What was sent is never taken back, and all of it is the text."""

from __future__ import annotations

import random

import numpy as np
import pytest
from tests.support import tiny

from t2fast.sampling import SamplingParams
from t2fast.sampling.engine.endings import Endings
from t2fast.sampling.engine.text import Tokenizer
from t2fast.serve.increments import Increments


@pytest.mark.parametrize("stops", [(), ("e",), ("the", "th q", "\n"), ("東京",), ("ab<eos>",), ("<eos>x", "z")])
@pytest.mark.parametrize("visible", [True, False])
def test_pieces_make_the_text(stops, visible):
    tokenizer, chance = Tokenizer(tiny.tokenizer(), 320), random.Random(f"{stops}{visible}")
    endings = Endings(tokenizer, [SamplingParams(stop=stops, skip_special_tokens=visible)], (0,))
    words = tiny.tokenizer()("the naïve 東京 🙂 fox, the quick")["input_ids"]
    asked = np.array([5, 6, 7], np.int32)
    cut = 0
    for _ in range(60):
        n = chance.randint(1, 40)
        mixed = [chance.choice(words) if chance.random() < 0.7 else chance.randrange(1, 320) for _ in range(n)]
        tokens = np.array(words if chance.random() < 0.2 else mixed, np.int32)
        n = len(tokens)
        one, sent = Increments(tokenizer, asked, stops, visible), ""
        for i in range(1, n + 1):
            if i == n or endings.completed(0, asked, tokens[:i]):
                break  # the batch tells of tokens that end nothing
            sent += one.push(tokens[:i])
        text, by_text = endings.text(0, asked, tokens[:i])
        assert text.startswith(sent)
        assert sent + one.close(text) == text
        cut += by_text
    assert cut or not stops or stops[0] == "ab<eos>"
