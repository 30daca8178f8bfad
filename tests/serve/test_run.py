"""The command from start to end: keys, runs of ``t2fast sample --endpoint``, and an end in good order."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import queue
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.support import server, tiny
from tests.support.commands import PROGRAM, line_with, t2fast

from t2fast import T2Error
from t2fast.sampling import Endpoint, Prompt, Sampler, SamplingParams, read_samples
from t2fast.sampling.endpoint.messages import seed_of
from t2fast.serve import Limits, prompt_id, serve

TEXTS = ["The quick brown fox", "The quick brown dog", "def add(a, b):"]


@pytest.fixture(scope="module")
def sampler():
    return Sampler(tiny.model(), tiny.tokenizer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    tiny.model().save_pretrained(path)
    tiny.tokenizer().save_pretrained(path)
    return path


@contextlib.contextmanager
def started(folder, *arguments, env=None):
    """The command in a process of its own, with its port."""
    command = [*PROGRAM, "serve", "--model", folder, "--port", "0", "--kv-memory", "16M", *arguments]
    process = subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | (env or {})
    )
    try:
        line = line_with(process, "serving tiny at")
        yield process, int(re.search(r"serving tiny at http://127\.0\.0\.1:(\d+)/v1", line)[1]), line
    finally:
        process.kill()
        process.communicate()


def wait_for_rows(port, headers=()):
    """Wait until choices are being drawn."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=dict(headers))
        with urllib.request.urlopen(request, timeout=30) as answer:
            if re.search(r"^t2fast_rows_running [1-9]", answer.read().decode(), re.MULTILINE):
                return
        time.sleep(0.02)
    pytest.fail("nothing is drawn")


def direct(sampler, prompt, params, seed):
    """The texts that a run from an endpoint must have: a request of its own for each sample."""
    ids = tuple(tiny.tokenizer()(prompt.text)["input_ids"])
    one = SamplingParams(**{**params, "k": 1})
    return [
        next(sampler.sample([Prompt(prompt_id(ids), token_ids=ids)], one, seed=seed_of(seed, prompt.id, j))).text
        for j in range(params["k"])
    ]


def test_a_run_from_the_server_draws_what_the_sampler_draws(sampler):
    prompts = [Prompt(f"q{i}", text=text) for i, text in enumerate(TEXTS)]
    params = {"k": 5, "temperature": 0.9, "max_new_tokens": 15, "stop": ("e",), "logprobs": True}
    with server.serving() as serving:
        endpoint = Endpoint(serving.url, concurrency=8)
        found = {(s.prompt_id, s.sample): s for s in endpoint.sample(prompts, SamplingParams(**params), seed=4)}
        assert len(found) == 15
        for prompt in prompts:
            theirs = direct(sampler, prompt, params, 4)
            assert [found[prompt.id, j].text for j in range(5)] == theirs
            assert all(len(found[prompt.id, j].logprobs) == found[prompt.id, j].n_answer_tokens for j in range(5))
        # Fifteen requests, three prompts.
        tokens = sum(len(tiny.tokenizer()(text)["input_ids"]) - 1 for text in TEXTS)
        assert serving.count("prefilled_tokens") <= tokens
        serving.settle()


def test_the_command_serves_a_run_and_ends_in_good_order(folder, tmp_path, sampler):
    key = tmp_path / "key"
    key.write_text("s3cret\n")
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("".join(json.dumps({"id": f"q{i}", "prompt": text}) + "\n" for i, text in enumerate(TEXTS)))
    with started(folder, "--api-key-file", key, "--max-batch", "4", "--grace", "20") as (process, port, line):
        assert "with a key" in line
        assert "s3cret" not in line
        run = ("sample", "--endpoint", f"http://127.0.0.1:{port}/v1", "--prompts", prompts, "-k", "3", "--max-new-tokens", "12",
               "--out", tmp_path / "s.jsonl")  # fmt: skip
        done = t2fast(*run, "--api-key-env", "NO_SUCH_VARIABLE")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "401 the API key is missing or wrong" in done.stderr
        os.environ["TEST_SERVE_KEY"] = "s3cret"
        try:
            done = t2fast(*run, "--api-key-env", "TEST_SERVE_KEY")
        finally:
            del os.environ["TEST_SERVE_KEY"]
        assert done.returncode == 0, done.stderr
        found = {(s.prompt_id, s.sample): s.text for s in read_samples(tmp_path / "s.jsonl")}
        for i, text in enumerate(TEXTS):
            theirs = direct(sampler, Prompt(f"q{i}", text=text), {"k": 3, "max_new_tokens": 12}, 0)
            assert [found[f"q{i}", j] for j in range(3)] == theirs
        # What is under way is finished; what comes now is refused.
        headers = {"Content-Type": "application/json", "Authorization": "Bearer s3cret"}
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = {"prompt": "x", "n": 4, "max_tokens": 200, "ignore_eos": True, "seed": 1}
        connection.request("POST", "/v1/completions", json.dumps(body), headers)
        wait_for_rows(port, headers)
        process.send_signal(signal.SIGTERM)
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(json.loads(answer.read())["choices"]) == 4
        connection.close()
        assert process.wait(30) == 0
        assert process.stderr.read() == "t2fast: ended\n"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5)


def test_grace_ends(folder):
    with started(folder, "--grace", "0.5") as (process, port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        body = {"prompt": "x", "n": 256, "max_tokens": 500, "ignore_eos": True}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        wait_for_rows(port)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (503, "shutting_down")
        connection.close()
        assert process.wait(20) == 0
        assert time.monotonic() - begun < 15


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "set a key"),
        (("--api-key-env", "NO_SUCH_VARIABLE"), "not set"),
        (("--api-key-file", "nowhere"), "cannot be read"),
        (("--api-key-file", "nowhere", "--api-key-env", "X"), "exclude each other"),
        (("--max-choices", "0"), "choices = 0"),
        (("--max-body", "much"), "--max-body"),
        (("--grace", "-1"), "grace"),
    ],
)
def test_what_cannot_be_served_is_refused_before_a_model_is_loaded(arguments, words, monkeypatch, capsys):
    import sys

    from t2fast.cli import main

    monkeypatch.delenv("T2FAST_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["t2fast", "serve", "--model", "no/such/model", *arguments])
    with pytest.raises(SystemExit) as found:
        main()
    error = capsys.readouterr().err
    assert (found.value.code, error.count("\n")) == (2, 1)
    assert words in error


def test_addresses_that_cannot_be_listened_on(sampler):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(T2Error, match=f"port {port}: Address already in use"):
            serve(sampler, "tiny", port=port)
    with pytest.raises(T2Error, match="no such address"):
        serve(sampler, "tiny", host="no.such.name.invalid")
    with pytest.raises(T2Error, match="key is empty"):
        serve(sampler, "tiny", key=" ")


def test_another_thread_ends_it(sampler):
    address, stop = queue.Queue(), threading.Event()
    options = {"port": 0, "ready": address.put, "stop": stop}
    thread = threading.Thread(target=serve, args=(sampler, "tiny"), kwargs=options, daemon=True)
    thread.start()
    port = int(re.search(r":(\d+)/v1$", address.get(timeout=60))[1])
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_batch_that_cannot_begin_anew_ends_the_server(capfd):
    own = Sampler(tiny.model(), tiny.tokenizer())
    address, failed, lives, begin = [], [], [], own.live

    def kept(**options):
        lives.append(begin(**options))
        return lives[-1]

    own.live = kept

    def run():
        try:
            serve(own, "tiny", port=0, limits=Limits(grace=0.1), ready=address.append)
        except T2Error as error:
            failed.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not address:
        assert thread.is_alive(), failed
        time.sleep(0.01)

    def nothing(**_):
        raise MemoryError("no memory at all")

    own.live = nothing
    port = int(re.search(r":(\d+)/", address[0])[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    lives[0].runner.step = nothing
    connection.request("POST", "/v1/completions", json.dumps({"prompt": "x"}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 503
    assert "no memory at all" in json.loads(answer.read())["error"]["message"]
    connection.close()
    thread.join(20)
    assert failed == ["nothing can be drawn any more: see above"]
    assert "no memory at all" in capfd.readouterr().err
