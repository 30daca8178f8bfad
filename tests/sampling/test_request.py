"""Settings, prompts and samples: what is refused, and what goes through JSON unchanged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2fast.errors import DataError, T2Error
from t2fast.sampling import Prompt, Sample, SamplingParams, read_prompts
from t2fast.sampling.request import digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k = 0: must be a whole number, at least 1"),
        ({"k": 2.0}, "k = 2.0"),
        ({"k": True}, "k = True"),
        ({"temperature": -0.1}, "temperature = -0.1: must be a number, at least 0"),
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
        ({"temprature": 1}, "'temprature' is no sampling parameter; there are k, temperature"),
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


def test_a_prompts_own_settings():
    prompt = Prompt("a", "x", overrides={"k": 3, "stop": ["."]})
    assert prompt.params(SamplingParams(temperature=0.5)) == SamplingParams(k=3, temperature=0.5, stop=(".",))
    with pytest.raises(T2Error, match="prompt 'a': k = 0"):
        Prompt("a", "x", overrides={"k": 0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": ""}, "id = ''"),
        ({"id": "a\nb", "text": "x"}, "id = 'a\\nb': must be printable"),
        ({"id": "a"}, "exactly one of text, messages, token_ids; it has none of them"),
        ({"id": "a", "text": "x", "token_ids": (1,)}, "it has text and token_ids"),
        ({"id": "a", "text": ""}, "its text is empty"),
        ({"id": "a", "text": 3}, "text must be a text"),
        ({"id": "a", "messages": ({"role": "user"},)}, "needs role and content"),
        ({"id": "a", "token_ids": (1, -2)}, "found -2"),
        ({"id": "a", "text": "x", "answer": 3}, "answer must be a text"),
        ({"id": "a", "text": "x", "choices": ("a", "")}, "choices must be texts"),
    ],
)
def test_impossible_prompts(fields, message):
    with pytest.raises(T2Error) as error:
        Prompt(**fields)
    assert message in str(error.value)


LINES = [
    '{"id": "a", "prompt": "1 + 1 =", "answer": 2, "level": "easy"}',
    "",
    '{"id": 7, "messages": [{"role": "user", "content": "hello"}], "params": {"k": 2}}',
    '{"id": "c", "token_ids": [5, 6], "choices": ["yes", "no"], "answer": "B"}',
]


def test_file_of_prompts(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(LINES))
    one, two, three = read_prompts(path)
    assert one == Prompt("a", "1 + 1 =", answer="2", metadata={"level": "easy"})
    assert two == Prompt("7", messages=({"role": "user", "content": "hello"},), overrides={"k": 2})
    assert three == Prompt("c", token_ids=(5, 6), choices=("yes", "no"), answer="B")
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps(prompt.to_dict()) + "\n" for prompt in (one, two, three)))
    assert read_prompts(again) == [one, two, three]
    assert digest(read_prompts(again)) == digest([one, two, three]) != digest([two, one, three])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "prompt": "x"', "line 5: not JSON: Expecting ',' delimiter at column 26"),
        ('{"id": "a", "prompt": "x"}', "line 5: id 'a' was used in line 1 already"),
        ('{"id": "7", "prompt": "x"}', "line 5: id '7' was used in line 3 already"),
        ('{"prompt": "x"}', "line 5: has no id"),
        ('{"id": "b", "prompt": "x", "text": "x"}', "line 5: has both prompt and text"),
        ('{"id": "b", "prompt": "x", "k": 4}', 'line 5: k belongs into params: {"params": {"k": ...}}'),
        ('{"id": "b", "prompt": "x", "params": {"kk": 4}}', "line 5: prompt 'b': 'kk' is no sampling parameter"),
        ('{"id": "b", "prompt": "x", "params": 4}', "line 5: params must be an object"),
        ('{"id": "b", "prompt": "x", "choices": "AB"}', "line 5: choices must be a list"),
        ('{"id": true, "prompt": "x"}', "line 5: id = True"),
        ("[1]", "line 5: must be an object"),
        ("[" * 100_000, "line 5: "),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join([*LINES, line]))
    with pytest.raises(DataError) as error:
        read_prompts(path)
    assert str(error.value).startswith(f"{path}, {message}")
    assert len(str(error.value).splitlines()) == 1


def test_files_without_prompts(tmp_path):
    path = tmp_path / "p.jsonl"
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_prompts(path)
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no prompt"):
        read_prompts(path)
    path.write_bytes(b'{"id": "\xff"}')
    with pytest.raises(DataError, match="line 1: "):
        read_prompts(path)


@given(
    st.builds(
        Sample,
        st.text(min_size=1),
        st.integers(0, 10**6),
        st.text(),
        st.lists(st.integers(0, 2**31 - 1)).map(tuple),
        st.sampled_from(["stop", "length", "context"]),
        st.integers(1, 10**6),
        st.none() | st.lists(st.floats(-1e9, 0)).map(tuple),
        st.none() | st.booleans(),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.none() | st.text(),
    )
)
def test_samples_go_through_json(sample):
    assert Sample.from_dict(json.loads(json.dumps(sample.to_dict()))) == sample


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sample": -1}, "sample -1"),
        ({"finish_reason": "tired"}, "finish_reason 'tired'"),
        ({"token_ids": 3}, "no sample of t2fast"),
    ],
)
def test_impossible_samples(changes, message):
    line = Sample("a", 0, "x", (1,), "stop", 3).to_dict()
    with pytest.raises(DataError, match=message):
        Sample.from_dict(line | changes)
    with pytest.raises(DataError, match="no 'text' in this sample"):
        Sample.from_dict({key: value for key, value in line.items() if key != "text"})


def test_what_counts_as_accepted():
    def made(**verdict):
        return Sample("a", 0, "x", (1,), "stop", 3, **verdict).accepted

    assert made(correct=True)
    assert made(score=1.0)
    assert not made(correct=False)
    assert not made(score=0.99)
    assert not made()
    assert not made(verifier_error="crashed")
