"""The server as its clients see it: the openai client, plain HTTP, errors, keys and limits."""

from __future__ import annotations

import http.client
import json
import socket
import time
import urllib.request

import numpy as np
import pytest

openai = pytest.importorskip("openai", reason="needs the openai client")

from tests.support import server, tiny  # noqa: E402

from t2fast.sampling import Prompt, Sampler, SamplingParams  # noqa: E402
from t2fast.serve import Limits, prompt_id  # noqa: E402

TEXT = "The quick brown fox jumps over"
HI = [{"role": "user", "content": "what is 3 + 4?"}]


@pytest.fixture(scope="module")
def serving():
    with server.serving() as one:
        yield one


@pytest.fixture(scope="module")
def client(serving):
    with openai.OpenAI(base_url=serving.url, api_key="any", max_retries=0) as one:
        yield one


@pytest.fixture(scope="module")
def sampler():
    return Sampler(tiny.model(), tiny.tokenizer())


def ask(serving, path, body=None, method=None, headers=()):
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=20)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    given = {"Content-Type": "application/json", **dict(headers)}
    connection.request(method or ("GET" if data is None else "POST"), path, data, given)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, answer.headers, text


def drawn(sampler, ids, params, seed):
    """What the sampler draws for a request."""
    prompt = Prompt(prompt_id(ids), token_ids=tuple(ids))
    return sorted(sampler.sample([prompt], params, seed=seed), key=lambda sample: sample.sample)


def test_completions_are_what_the_sampler_draws(client, sampler):
    ids = tiny.tokenizer()(TEXT)["input_ids"]
    answer = client.completions.create(
        model="tiny", prompt=TEXT, n=3, seed=11, max_tokens=12, temperature=0.8, top_p=0.95, stop=["e", "\n"], logprobs=2,
        extra_body={"return_token_ids": True},
    )  # fmt: skip
    params = SamplingParams(k=3, temperature=0.8, top_p=0.95, max_new_tokens=12, stop=("e", "\n"), top_logprobs=2)
    theirs = drawn(sampler, ids, params, 11)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice, sample in zip(answer.choices, theirs, strict=True):
        assert choice.text == sample.text
        assert tuple(choice.token_ids) == sample.token_ids
        assert choice.finish_reason == {"stop": "stop", "length": "length"}[sample.finish_reason]
        np.testing.assert_allclose(choice.logprobs.token_logprobs, sample.logprobs, atol=1e-4)
        assert all(2 <= len(one) <= 3 for one in choice.logprobs.top_logprobs)
        assert len(choice.logprobs.tokens) == len(choice.logprobs.text_offset) == len(sample.token_ids)
    assert answer.usage.prompt_tokens == len(ids)
    assert answer.usage.completion_tokens == sum(len(sample.token_ids) for sample in theirs)


def test_many_prompts_of_all_kinds(client):
    ids = tiny.tokenizer()(TEXT)["input_ids"]
    both = client.completions.create(model="tiny", prompt=[ids, ids[:3]], n=2, seed=3, max_tokens=5)
    alone = client.completions.create(model="tiny", prompt=ids, n=2, seed=3, max_tokens=5)
    assert [choice.text for choice in both.choices[:2]] == [choice.text for choice in alone.choices]
    assert len(both.choices) == 4
    same = client.completions.create(model="tiny", prompt=[TEXT, TEXT], n=1, max_tokens=20, temperature=2)
    assert same.choices[0].text != same.choices[1].text  # by chance, without a seed


def test_echo_tells_the_prompt_and_how_likely_it_is(client, sampler):
    ids = tiny.tokenizer()(TEXT)["input_ids"]
    answer = client.completions.create(model="tiny", prompt=TEXT, n=2, max_tokens=3, echo=True, logprobs=1, seed=1)
    again = client.completions.create(model="tiny", prompt=ids, max_tokens=0, echo=True, logprobs=1, seed=1)
    prompt = Prompt("q", token_ids=tuple(ids))
    params = SamplingParams(max_new_tokens=1, prompt_logprobs=True)
    [sample] = sampler.sample([prompt], params)
    for choice in (*answer.choices, *again.choices):
        assert choice.text.startswith(TEXT)
        assert choice.logprobs.tokens[: len(ids)] == [tiny.tokenizer().decode([i]) for i in ids]
        assert choice.logprobs.token_logprobs[0] is None
        np.testing.assert_allclose(choice.logprobs.token_logprobs[1 : len(ids)], sample.prompt_logprobs, atol=1e-4)
        assert "".join(choice.logprobs.tokens[: len(ids)]) == TEXT
    assert again.choices[0].text == TEXT
    assert len(again.choices[0].logprobs.tokens) == len(ids)
    assert again.usage.completion_tokens == 0


def test_chats(client, sampler):
    answer = client.chat.completions.create(
        model="tiny", messages=HI, n=2, seed=5, max_completion_tokens=10, logprobs=True, top_logprobs=3
    )
    ids = tiny.tokenizer().apply_chat_template(HI, add_generation_prompt=True, tokenize=True, return_dict=False)
    params = SamplingParams(k=2, max_new_tokens=10, top_logprobs=3)
    for choice, sample in zip(answer.choices, drawn(sampler, ids, params, 5), strict=True):
        assert choice.message.content == sample.text
        assert choice.message.role == "assistant"
        assert len(choice.logprobs.content) == len(sample.token_ids)
        for one, top, logprob in zip(choice.logprobs.content, sample.top_logprobs, sample.logprobs, strict=True):
            assert one.logprob == pytest.approx(logprob, abs=1e-4)
            assert [x.logprob for x in one.top_logprobs] == pytest.approx(top, abs=1e-4)
    assert answer.usage.prompt_tokens == len(ids)


@pytest.mark.parametrize("stop", [None, ["e", "qu"]])
def test_streams_are_the_same_in_pieces(client, stop):
    fields = {"model": "tiny", "prompt": TEXT, "n": 3, "seed": 2, "max_tokens": 40, "stop": stop, "logprobs": 1}
    whole = client.completions.create(**fields)
    texts, tokens, reasons, usage = ["", "", ""], [[], [], []], {}, None
    for chunk in client.completions.create(**fields, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            assert choice.index not in reasons
            texts[choice.index] += choice.text
            if choice.logprobs:
                tokens[choice.index] += choice.logprobs.token_logprobs
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
    assert texts == [choice.text for choice in whole.choices]
    assert [reasons[i] for i in range(3)] == [choice.finish_reason for choice in whole.choices]
    for mine, choice in zip(tokens, whole.choices, strict=True):
        assert mine == pytest.approx(choice.logprobs.token_logprobs, abs=1e-4)
    assert usage == whole.usage


def test_chats_stream_too(client):
    fields = {"model": "tiny", "messages": HI, "n": 2, "seed": 2, "max_tokens": 30, "logprobs": True}
    whole = client.chat.completions.create(**fields)
    texts, roles, tokens = ["", ""], [None, None], [0, 0]
    for chunk in client.chat.completions.create(**fields, stream=True):
        assert chunk.usage is None
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            roles[choice.index] = roles[choice.index] or choice.delta.role
            tokens[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
    assert texts == [choice.message.content for choice in whole.choices]
    assert roles == ["assistant"] * 2
    assert tokens == [len(choice.logprobs.content) for choice in whole.choices]


def test_errors_are_those_of_the_client(client):
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
        client.completions.create(model="other", prompt="x")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="tiny", prompt="x", temperature=-1)
    with pytest.raises(openai.BadRequestError, match="'best_off' is no field") as found:
        client.completions.create(model="tiny", prompt="x", extra_body={"best_off": 3})
    assert found.value.param == "best_off"
    with pytest.raises(openai.BadRequestError, match="600 tokens, and the context of 512") as found:
        client.completions.create(model="tiny", prompt=[5] * 600)
    assert found.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="token 100000 is not among the model's"):
        client.completions.create(model="tiny", prompt=[100_000])
    with pytest.raises(openai.BadRequestError, match="token 5000 is not among the model's 320"):
        client.completions.create(model="tiny", prompt="x", logit_bias={"5000": 1})
    with pytest.raises(openai.BadRequestError, match="leave no token"):
        client.completions.create(model="tiny", prompt="x", extra_body={"allowed_token_ids": [0], "min_tokens": 1})


def test_models_health_and_metrics(client, serving):
    [model] = client.models.list().data
    assert (model.id, client.models.retrieve("tiny").id) == ("tiny", "tiny")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    assert ask(serving, "/health")[0] == 200
    status, headers, text = ask(serving, "/metrics")
    assert (status, headers["content-type"].split(";")[0]) == (200, "text/plain")
    values = dict(line.rsplit(" ", 1) for line in text.decode().splitlines() if not line.startswith("#"))
    assert all(float(value) >= 0 for value in values.values())
    assert float(values['t2fast_requests_total{endpoint="models",status="200"}']) >= 1


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/", "GET", 404), ("/v1/nothing", "POST", 404), ("/v1/completions", "GET", 405), ("/health", "DELETE", 405)],
)
def test_other_paths_get_error_objects(serving, path, method, status):
    got, _, text = ask(serving, path, method=method)
    assert got == status
    assert set(json.loads(text)["error"]) == {"message", "type", "param", "code"}


def test_bodies_that_are_not_read(serving):
    assert ask(serving, "/v1/completions", b"x", headers={"Content-Type": "text/plain"})[0] == 415
    assert ask(serving, "/v1/completions", b"x", headers={"Content-Encoding": "gzip"})[0] == 415
    status, _, text = ask(serving, "/v1/completions", b"{")
    assert (status, json.loads(text)["error"]["code"]) == (400, "invalid_json")
    serving.settle()


def test_only_names_of_this_machine_are_its_own(serving):
    assert ask(serving, "/v1/models", headers={"Host": "evil.example"})[0] == 403
    for name in ("localhost", "localhost:80", "127.0.0.1:8000", "[::1]:8000", "a.localhost"):
        assert ask(serving, "/v1/models", headers={"Host": name})[0] == 200


def test_a_key_is_asked_for():
    with server.serving(key="secret") as serving:
        assert ask(serving, "/health")[0] == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
            for path in ("/v1/models", "/metrics", "/nothing"):
                status, given, text = ask(serving, path, headers=headers)
                assert status == 401
                assert given["WWW-Authenticate"] == "Bearer"
                assert "secret" not in text.decode()
        with openai.OpenAI(base_url=serving.url, api_key="secret", max_retries=0) as client:
            assert client.completions.create(model="tiny", prompt="x", max_tokens=2).choices
        with (
            openai.OpenAI(base_url=serving.url, api_key="no", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()


def test_limits():
    limits = Limits(body=2000, choices=4, tokens=30, context=64, waiting=1, body_seconds=0.5)
    with server.serving(limits=limits, max_batch=1) as serving:
        status, _, text = ask(serving, "/v1/completions", {"prompt": "x" * 3000})
        assert (status, json.loads(text)["error"]["code"]) == (413, "body_too_large")
        # Without a length the body is counted as it comes.
        with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as raw:
            raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n" + b"3e9\r\n"
                        + b"x" * 1001 + b"\r\n0\r\n\r\n")  # fmt: skip
            assert b" 413 " in raw.recv(1000)
        # One that does not come is not waited for.
        with socket.create_connection(("127.0.0.1", serving.port), timeout=10) as raw:
            raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: 100\r\n\r\n{")  # fmt: skip
            assert b" 408 " in raw.recv(1000)
        for fields in ({"n": 5}, {"max_tokens": 31}, {"prompt": [5] * 64}):
            assert ask(serving, "/v1/completions", {"prompt": "x", **fields})[0] == 400
        # One request has the only row, one waits: the next is told when to come back.
        held = []
        for _ in range(2):
            raw = socket.create_connection(("127.0.0.1", serving.port), timeout=10)
            data = json.dumps({"prompt": "x", "n": 4, "max_tokens": 30, "ignore_eos": True, "stream": True}).encode()
            raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                        b"Content-Length: %d\r\n\r\n%s" % (len(data), data))  # fmt: skip
            held.append(raw)
            until = time.monotonic() + 5
            while not (serving.batch._running if len(held) == 1 else serving.batch._n_waiting):
                assert time.monotonic() < until
                time.sleep(0.001)
        status, headers, text = ask(serving, "/v1/completions", {"prompt": "x"})
        assert (status, json.loads(text)["error"]["type"]) == (429, "rate_limit_error")
        assert int(headers["Retry-After"]) >= 1
        for raw in held:
            raw.close()
        serving.settle()
        assert ask(serving, "/v1/completions", {"prompt": "x"})[0] == 200


def test_the_models_own_settings_may_be_the_usual_ones():
    with server.serving(params=SamplingParams(temperature=0.0)) as serving:
        answers = [
            json.loads(urllib.request.urlopen(
                urllib.request.Request(serving.url + "/completions", json.dumps({"prompt": TEXT}).encode(),
                                       {"Content-Type": "application/json"})).read())["choices"][0]["text"]
            for _ in range(2)
        ]  # fmt: skip
        assert answers[0] == answers[1]
