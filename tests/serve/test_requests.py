"""Every field of a request is used or refused."""

from __future__ import annotations

import json

import pytest

from t2fast.sampling.params import SamplingParams
from t2fast.serve.limits import Limits
from t2fast.serve.refusals import Refusal
from t2fast.serve.requests import parse, read_json

HI = [{"role": "user", "content": "hi"}]


def completion(**fields):
    return parse({"prompt": "x", **fields}, chat=False, model="m", limits=Limits(), params=SamplingParams())


def chat(**fields):
    return parse({"messages": HI, **fields}, chat=True, model="m", limits=Limits(), params=SamplingParams())


def test_settings_arrive_under_our_names():
    request = completion(
        model="m", n=4, seed=7, temperature=0.5, top_p=0.9, stop="\n", max_tokens=9, presence_penalty=0.1,
        frequency_penalty=0.2, logit_bias={"5": -100}, top_k=3, min_p=0.05, repetition_penalty=1.1,
        stop_token_ids=[2], min_tokens=1, ignore_eos=True, skip_special_tokens=False, allowed_token_ids=[1, 5],
        bad_words=["no"], add_special_tokens=False, user="me", best_of=4,
    )  # fmt: skip
    assert request.params == SamplingParams(
        k=4, temperature=0.5, top_p=0.9, stop=("\n",), max_new_tokens=9, presence_penalty=0.1, frequency_penalty=0.2,
        logit_bias=((5, -100.0),), top_k=3, min_p=0.05, repetition_penalty=1.1, stop_token_ids=(2,), min_new_tokens=1,
        ignore_eos=True, skip_special_tokens=False, allowed_token_ids=(1, 5), bad_words=("no",),
        add_special_tokens=False,
    )  # fmt: skip
    assert request.seed == 7


def test_what_nobody_says():
    assert completion().params.max_new_tokens == 16
    assert chat().params.max_new_tokens == 2**31 - 1
    assert chat().seed is None
    assert completion(top_k=-1).params.top_k is None
    assert completion(temperature=None, stop=None, suffix=None).params == completion().params
    limits = Limits(tokens=100)
    assert (
        parse({"messages": HI}, chat=True, model="m", limits=limits, params=SamplingParams()).params.max_new_tokens
        == 100
    )
    base = SamplingParams(temperature=0.3, top_k=9)
    merged = parse({"prompt": "x", "top_k": 4}, chat=False, model="m", limits=limits, params=base).params
    assert (merged.temperature, merged.top_k) == (0.3, 4)


@pytest.mark.parametrize(
    ("prompt", "count"), [("x", 1), (["x", "y"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2), (["x", [3]], 2)]
)
def test_kinds_of_prompts(prompt, count):
    assert len(completion(prompt=prompt).prompts) == count


def test_log_probabilities():
    assert completion().logprobs is None
    assert completion(logprobs=0).params.logprobs
    assert completion(logprobs=3).params.top_logprobs == 3
    assert completion(logprobs=3, echo=True).params.prompt_logprobs
    assert chat(logprobs=True).logprobs == 0
    assert chat(logprobs=True, top_logprobs=5).params.top_logprobs == 5
    assert completion(echo=True, max_tokens=0).silent


def test_a_seed_may_be_negative_as_in_openai():
    assert completion(seed=-1).seed == 2**64 - 1


BAD = [
    ({"nonsense": 1}, "nonsense"),
    ({"temprature": 0.5}, "temperature"),
    ({"model": "other"}, "this server has"),
    ({"n": 0}, "n = 0"),
    ({"n": 1000}, "n = 1000"),
    ({"n": True}, "n = True"),
    ({"n": 1.0}, "n = 1.0"),
    ({"prompt": ["x"] * 100, "n": 3}, "100 prompts"),
    ({"prompt": None}, "missing"),
    ({"prompt": []}, "must be a text"),
    ({"prompt": ""}, "empty"),
    ({"prompt": {"a": 1}}, "must be a text"),
    ({"prompt": [[1, "x"]]}, "whole numbers"),
    ({"prompt": [-1]}, "at least 0"),
    ({"prompt": ["\ud800"]}, "half of a character"),
    ({"max_tokens": 0}, "max_tokens = 0"),
    ({"max_tokens": -5}, "max_tokens"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "give one"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"stop": [""]}, "stop"),
    ({"stop": ["x"] * 17}, "17 entries"),
    ({"min_tokens": 50}, "min_tokens"),
    ({"logit_bias": [1]}, "logit_bias"),
    ({"logprobs": 21}, "logprobs"),
    ({"logprobs": True}, "logprobs"),
    ({"stream": "yes"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"other": True}}, "stream_options"),
    ({"stream": True, "echo": True, "logprobs": 1}, "whole answers"),
    ({"best_of": 3}, "best_of"),
    ({"suffix": "end"}, "suffix"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"seed": 2**64}, "seed"),
    ({"seed": 1.5}, "seed"),
    ({"messages": HI}, "messages"),
]


@pytest.mark.parametrize(("fields", "words"), BAD, ids=[json.dumps(fields)[:40] for fields, _ in BAD])
def test_what_cannot_be_done_is_refused(fields, words):
    with pytest.raises(Refusal, match=words) as found:
        completion(**fields)
    assert found.value.status in (400, 404)
    assert found.value.body()["error"]["param"] in fields


BAD_CHATS = [
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"content": "hi"}]}, "role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, "image_url"),
    ({"top_logprobs": 3}, "logprobs"),
    ({"echo": True}, "echo"),
    ({"prompt": "x"}, "prompt"),
    ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template"),
    ({"add_generation_prompt": False}, "add_generation_prompt"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"functions": []}, "functions"),
]


@pytest.mark.parametrize(("fields", "words"), BAD_CHATS, ids=[json.dumps(fields)[:40] for fields, _ in BAD_CHATS])
def test_what_cannot_be_done_in_chats_is_refused(fields, words):
    with pytest.raises(Refusal, match=words):
        chat(**fields)


def test_a_chat_goes_on_only_where_it_is_told_to():
    last = [*HI, {"role": "assistant", "content": "I"}]
    assert not chat(messages=last).prompts[0].continues
    assert chat(messages=last, continue_final_message=True, add_generation_prompt=False).prompts[0].continues


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"null", b"{", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1, "a": 2}', b'{"a": "\xff"}',
        b"[" * 100_000, b'{"a":' * 100_000, b'{"n": ' + b"9" * 10_000 + b"}", b"\xef\xbb\xbf{}", b"\x00",
    ],
)  # fmt: skip
def test_bodies_that_are_no_json_objects(data):
    with pytest.raises(Refusal) as found:
        read_json(data)
    assert found.value.code == "invalid_json"
    assert len(str(found.value)) < 300
