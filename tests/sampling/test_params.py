"""Settings: what is refused, and what goes through JSON unchanged."""

import json

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import SamplingParams


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k = 0: must be a whole number, between 1 and 2147483647"),
        ({"k": 2.0}, "k = 2.0"),
        ({"k": True}, "k = True"),
        ({"temperature": -0.1}, "temperature = -0.1: must be at least 0"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": "hot"}, "temperature = 'hot'"),
        ({"top_k": 0}, "top_k = 0"),
        ({"top_p": 0}, "top_p = 0: must be above 0 and at most 1"),
        ({"min_p": 1.5}, "min_p = 1.5"),
        ({"repetition_penalty": 0}, "repetition_penalty = 0"),
        ({"frequency_penalty": float("inf")}, "frequency_penalty = inf"),
        ({"max_new_tokens": 0}, "max_new_tokens = 0"),
        ({"stop": ("",)}, "stop = ('',)"),
        ({"stop_token_ids": (-1,)}, "stop_token_ids = -1"),
        ({"logprobs": 1}, "logprobs = 1"),
        ({"temperature": 1e-38}, "temperature = 1e-38: must be at least 1e-06, or 0 for greedy decoding"),
        ({"top_k": 10**12}, "top_k = 1000000000000: must be a whole number, between 1 and 2147483647"),
        ({"min_new_tokens": 300}, "min_new_tokens = 300: must be a whole number, between 0 and 256"),
        ({"stop": ["\ud800"]}, "stop = '\\ud800': holds half of a character"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"allowed_token_ids": []}, "allowed_token_ids: must name at least one"),
        ({"max_tokens": 5}, "'max_tokens' is not a sampling parameter: give"),
        ({"temprature": 1}, "'temprature' is not a sampling parameter: did you mean temperature"),
    ],
)
def test_impossible_settings(changes, message):
    with pytest.raises(T2Error) as error:
        SamplingParams().override(changes)
    assert str(error.value).startswith(message)


def test_settings_take_what_json_gives():
    params = SamplingParams(stop=["\n\n", "Q:"], stop_token_ids=[3])
    assert params.stop == ("\n\n", "Q:")
    assert params.stop_token_ids == (3,)
    assert SamplingParams(stop="END").stop == ("END",)
    assert SamplingParams(**json.loads(json.dumps(params.to_dict()))) == params
