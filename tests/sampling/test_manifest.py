"""What may change when a file of samples is continued, and what may not."""

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import SamplingParams
from t2fast.sampling.manifest import changes, described_model

OLD = {"params": SamplingParams(k=8).to_dict(), "seed": 0, "begun": "then"}


def test_k_may_grow_and_nothing_else():
    assert changes(OLD, OLD | {"params": SamplingParams(k=9).to_dict(), "begun": "now"}) == []
    fewer = OLD | {"params": SamplingParams(k=7).to_dict()}
    assert changes(OLD, fewer) == ["params.k changed from 8 to 7"]
    assert changes(OLD, OLD | {"seed": 1}) == ["seed changed from 0 to 1"]


def test_manifests_of_earlier_versions_lack_later_settings():
    first = ("k", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty",
             "frequency_penalty", "max_new_tokens", "stop", "stop_token_ids", "logprobs", "stop_on_success")  # fmt: skip
    old = OLD | {"params": {name: OLD["params"][name] for name in first}}
    assert changes(old, OLD) == []
    ignoring = OLD | {"params": SamplingParams(k=8, ignore_eos=True).to_dict()}
    assert changes(old, ignoring) == ["params.ignore_eos changed from false to true"]


def test_a_model_is_named_and_sized(tmp_path):
    assert described_model({"name": str(tmp_path)}, None, None, None)["name"] == tmp_path.name
    assert described_model({"name": "a", "n_params": 5}, "b", None, 7.0) == {
        "name": "b",
        "n_params": 5,
        "n_tokens": 7.0,
    }
    with pytest.raises(T2Error, match="n_tokens = 0: must be above 0"):
        described_model({}, None, None, 0)
