"""Samples from a server, faults and all: nothing lost, nothing twice."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from tests.support.faulty_server import FaultyServer, serving

from t2fast.data import read_counts
from t2fast.errors import T2Error
from t2fast.sampling import Endpoint, EndpointError, Prompt, SamplingParams, read_samples, sample_to_file
from t2fast.sampling.endpoint.messages import seed_of

PROMPTS = [Prompt(f"q{i}", f"question {i}", answer=str(i % 5)) for i in range(12)]
PARAMS = SamplingParams(k=8, temperature=0.7, max_new_tokens=20)
FAULTS = ("429", "503", "500", "drop", "half", "garbage", "unfinished")


def endpoint(server, **options):
    made = Endpoint(server.url, "toy", **{"retries": 60, **options})
    object.__setattr__(made.server, "pause", 0.001)
    return made


def lines(path):
    return sorted(Path(path).read_bytes().splitlines())


def test_every_sample_once_whatever_fails(tmp_path):
    with serving() as calm:
        run = sample_to_file(endpoint(calm), PROMPTS, PARAMS, tmp_path / "calm.jsonl", verifier="numeric", seed=3)
    assert (run.n_samples, run.cost["completion_tokens"], run.tokens) == (96, 4 * 96, 4 * 96)
    assert sorted(body["seed"] for body in calm.bodies) == sorted(
        seed_of(3, f"q{i}", j) for i in range(12) for j in range(8)
    )
    with serving(FAULTS, rate=0.4) as faulty:
        sample_to_file(endpoint(faulty), PROMPTS, PARAMS, tmp_path / "faulty.jsonl", verifier="numeric", seed=3)
    assert set(faulty.counted) == {*FAULTS, "whole"}
    assert lines(tmp_path / "faulty.jsonl") == lines(tmp_path / "calm.jsonl")
    assert len({(s.prompt_id, s.sample) for s in read_samples(tmp_path / "faulty.jsonl")}) == 96
    assert read_counts(tmp_path / "calm.jsonl").n_samples.sum() == 96
    model = json.loads((tmp_path / "calm.jsonl.manifest.json").read_text())["model"]
    assert model["reproducible"] == "sample by sample, where the server honours seeds"


def test_a_killed_server_and_resume(tmp_path):
    path = tmp_path / "s.jsonl"
    with serving() as calm:
        sample_to_file(endpoint(calm), PROMPTS, PARAMS, tmp_path / "whole.jsonl")
    with serving() as server:
        port, url = server.server_address[1], server.url

        def kill(_):
            if len(list(read_samples(path))) == 30:
                server.shutdown()
                server.server_close()

        one = endpoint(server, retries=3)
        with pytest.raises(EndpointError, match="failed 4 times, at last with: .*[Cc]onnection"):
            sample_to_file(one, PROMPTS, PARAMS, path, on_sample=kill)
    assert 30 <= len(lines(path)) < 96
    with FaultyServer(port=port) as again:
        threading.Thread(target=again.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        assert again.url == url
        sample_to_file(endpoint(again), PROMPTS, PARAMS, path, resume=True)
        again.shutdown()
    whole = [json.loads(line) for line in lines(tmp_path / "whole.jsonl")]
    assert [json.loads(line) for line in lines(path)] == whole


@pytest.mark.parametrize("most_n", [None, 1, 3])
def test_several_samples_of_a_request(tmp_path, most_n):
    """A server may give fewer than n."""
    with serving(most_n=most_n) as server:
        sample_to_file(endpoint(server, per_request=5), PROMPTS, PARAMS, tmp_path / "s.jsonl")
    found = list(read_samples(tmp_path / "s.jsonl"))
    assert len({(s.prompt_id, s.sample) for s in found}) == len(found) == 96
    assert len(server.bodies) == {None: 24, 1: 96, 3: 36}[most_n]


@pytest.mark.parametrize("concurrency", [1, 32])
def test_a_prompt_ends_with_its_first_success_by_number(tmp_path, concurrency):
    params = PARAMS.override({"stop_on_success": True, "k": 40})
    path = tmp_path / "s.jsonl"
    with serving(FAULTS, rate=0.3) as server:
        run = sample_to_file(endpoint(server, concurrency=concurrency), PROMPTS, params, path, verifier="numeric")
        every = {
            (s.prompt_id, s.sample): s
            for s in endpoint(server).sample(PROMPTS, PARAMS.override({"k": 40}), verifier=_right)
        }
    by_prompt = {}
    for sample in read_samples(path):
        by_prompt.setdefault(sample.prompt_id, []).append(sample)
    for prompt in PROMPTS:
        verdicts = [every[prompt.id, j].correct for j in range(40)]
        end = verdicts.index(True) + 1 if True in verdicts else 40
        assert [s.sample for s in by_prompt[prompt.id]] == list(range(end))
        assert [s.correct for s in by_prompt[prompt.id]] == verdicts[:end]
    assert run.n_samples == sum(map(len, by_prompt.values()))


def _right(prompt, text):
    return text.endswith(prompt.answer)


def test_chats_settings_and_the_key(monkeypatch):
    monkeypatch.setenv("MY_KEY", "s3cret")
    chat = Prompt(
        "c",
        messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "we"}],
        tools=[{"type": "function"}],
        chat_template_kwargs={"enable_thinking": False},
    )
    params = SamplingParams(
        k=2, temperature=0.5, top_k=7, min_p=0.1, stop="\n", logprobs=True, logit_bias={5: -1.0}, max_new_tokens=9
    )
    with serving() as server:
        one = endpoint(server, api_key_env="MY_KEY", seeds=False)
        samples = list(one.sample([chat, Prompt("t", token_ids=(4, 5))], params))
    assert "s3cret" not in repr(one.server) + json.dumps(one.identity()) + repr(vars(one))
    assert one.identity()["reproducible"] == "no: no seeds were sent"
    assert all(head["Authorization"] == "Bearer s3cret" for head in server.headers)
    assert all(len(s.logprobs) == 2 for s in samples)
    bodies = {"messages" in body: body for body in server.bodies}
    common = {
        "model": "toy", "n": 1, "max_tokens": 9, "temperature": 0.5, "top_k": 7, "min_p": 0.1, "stop": ["\n"],
        "logit_bias": {"5": -1.0},
    }  # fmt: skip
    assert bodies[False] == common | {"prompt": [4, 5], "logprobs": 1}
    assert bodies[True] == common | {
        "messages": list(chat.messages), "logprobs": True, "tools": [{"type": "function"}],
        "chat_template_kwargs": {"enable_thinking": False}, "continue_final_message": True,
        "add_generation_prompt": False,
    }  # fmt: skip


def test_a_server_that_says_no(monkeypatch):
    with serving() as server:
        monkeypatch.setattr("tests.support.faulty_server.Handler.answer", lambda *_: 1 / 0)
        with pytest.raises(EndpointError, match="/v1/completions: failed 3 times"):
            list(endpoint(server, retries=2).sample(PROMPTS[:1], PARAMS))
        with pytest.raises(EndpointError, match="404 .*address of an OpenAI-compatible API"):
            Endpoint(server.url + "/wrong").model  # noqa: B018
        monkeypatch.setattr(
            "tests.support.faulty_server.Handler.do_POST",
            lambda self: self.say(401, {"error": {"message": "bad\nkey"}}),
        )
        with pytest.raises(EndpointError, match=r"prompt 'q0': .*: 401 bad key \(the key comes from the environment"):
            list(endpoint(server).sample(PROMPTS[:1], PARAMS))
        assert Endpoint(server.url).model == "toy"


def test_a_server_that_hangs(monkeypatch):
    with serving() as server:
        over = threading.Event()
        monkeypatch.setattr("tests.support.faulty_server.Handler.answer", lambda *_: over.wait(30))
        begun = time.monotonic()
        with pytest.raises(EndpointError, match="failed 2 times, at last with: timed out"):
            list(endpoint(server, retries=1, timeout=0.2).sample(PROMPTS[:1], PARAMS))
        assert time.monotonic() - begun < 10
        over.set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:8000",), "endpoint = 'localhost:8000': must be an address"),
        (("http://me:pw@host/v1",), "must not hold a key"),
        (("http://host/v1?key=1",), "must not hold a key"),
    ],
)
def test_bad_addresses(arguments, message):
    with pytest.raises(T2Error, match=message):
        Endpoint(*arguments)


def test_max_completion_tokens(monkeypatch):
    """What OpenAI's newer models call max_tokens."""
    from tests.support.faulty_server import Handler

    whole = Handler.do_POST

    def picky(self):
        body = json.loads(self.rfile.peek(int(self.headers["Content-Length"])))
        if "max_tokens" in body:
            self.close_connection = True
            return self.say(400, {"error": {"message": "use 'max_completion_tokens' instead"}})
        return whole(self)

    monkeypatch.setattr(Handler, "do_POST", picky)
    with serving() as server:
        assert len(list(endpoint(server, concurrency=1).sample(PROMPTS[:2], PARAMS))) == 16


@pytest.mark.parametrize(
    "change",
    [{"top_logprobs": 2}, {"prompt_logprobs": True}, {"max_thinking_tokens": 5}, {"bad_token_ids": [[1, 2]]}],
)
def test_what_a_server_cannot_be_asked_for(change):
    endpoint = Endpoint("http://127.0.0.1:9/v1", "model")
    with pytest.raises(T2Error, match=f"prompt 'q': {next(iter(change))} = .*a server cannot be asked for that"):
        endpoint.sample([Prompt("q", "2 + 2 =")], SamplingParams().override(change))
