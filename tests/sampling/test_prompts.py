"""Settings, prompts and samples: what is refused, and what goes through JSON unchanged."""

import json

import numpy as np
import pytest

from t2fast.errors import DataError, T2Error
from t2fast.sampling import Prompt, SamplingParams, read_prompts
from t2fast.sampling.prompts import digest


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
        ({"id": "a", "text": 3}, "text must be a text, not 3"),
        ({"id": "a", "messages": ({"role": "user"},)}, "has no content"),
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
        ('{"id": "b", "prompt": "x", "params": {"kk": 4}}', "line 5: prompt 'b': 'kk' is not a sampling parameter"),
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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"max_tokens": 3}, 'max_tokens has no effect here: give {"params": {"max_new_tokens": ...}}'),
        ({"n": 3}, 'give {"params": {"k": ...}}'),
        ({"stop_sequences": ["a"]}, 'give {"params": {"stop": ...}}'),
        ({"seed": 3}, "the seed is one for the whole run"),
        ({"enable_thinking": False}, "give it under chat_template_kwargs"),
        ({"response_format": {}}, "t2fast has no such setting"),
        ({"max_new_token": 3}, '{"params": {"max_new_tokens": ...}} sets max_new_tokens'),
        ({"params": {"max_tokens": 3}}, "'max_tokens' is not a sampling parameter: give"),
        ({"tools": [{}]}, "tools has no effect without messages"),
        ({"continue_final_message": True}, "continue_final_message has no effect without messages"),
    ],
)
def test_settings_are_never_swallowed(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "a", "prompt": "x"} | line))
    with pytest.raises(DataError) as error:
        read_prompts(path)
    assert message in str(error.value)


def test_what_is_data_stays_data(tmp_path):
    path = tmp_path / "p.jsonl"
    line = {"id": "a", "prompt": "x", "subject": "algebra", "answers": [1], "metadata": {"n": 3}}
    path.write_text(json.dumps(line))
    assert read_prompts(path)[0].metadata == {"subject": "algebra", "answers": [1], "n": 3}


def test_chats_from_a_file(tmp_path):
    path = tmp_path / "p.jsonl"
    line = {
        "id": "a", "messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function"}],
        "chat_template_kwargs": {"enable_thinking": False}, "continue_final_message": False,
    }  # fmt: skip
    path.write_text(json.dumps(line))
    [prompt] = read_prompts(path)
    assert prompt.to_dict() == line
    assert prompt.chat_template_kwargs == {"enable_thinking": False}


def test_token_ids_of_numpy_and_long_numbers(tmp_path):
    assert Prompt("x", token_ids=np.array([5, 6])).token_ids == (5, 6)
    with pytest.raises(T2Error, match="found 5.5"):
        Prompt("x", token_ids=np.array([5.5]))
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "a", "prompt": "x", "answer": ' + "9" * 5000 + "}")
    with pytest.raises(DataError, match="line 1: Exceeds the limit"):
        read_prompts(path)
