"""One batch for all: prompts computed once, clients that leave, failures."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
torch = pytest.importorskip("torch", reason="needs the extra 'sample'")

from tests.support import server, tiny  # noqa: E402

from t2fast.serve import Limits  # noqa: E402

LONG = "Question: what is 12 * 3? Answer: 36\n" * 20


@pytest.fixture(scope="module")
def serving():
    with server.serving() as one:
        yield one


def ask(serving, **body):
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=60)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = json.loads(answer.read())
    connection.close()
    return answer.status, found


def begin(serving, **body):
    """A connection on which a request was sent."""
    raw = socket.create_connection(("127.0.0.1", serving.port), timeout=20)
    data = json.dumps(body).encode()
    raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(data), data))  # fmt: skip
    return raw


def wait(what, seconds=20):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.002)


def test_many_choices_compute_a_long_prompt_once(serving):
    n = len(tiny.tokenizer()(LONG)["input_ids"])
    assert n > 200
    before = serving.count("prefilled_tokens")
    status, answer = ask(serving, prompt=LONG, n=64, max_tokens=4, seed=1)
    assert status == 200
    assert len(answer["choices"]) == 64
    assert serving.count("prefilled_tokens") - before == n - 1
    # So do 64 requests of 64 clients, now that it is there: nothing at all is computed.
    threads = [
        threading.Thread(target=ask, args=(serving,), kwargs={"prompt": LONG, "max_tokens": 3}) for _ in range(64)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert serving.count("prefilled_tokens") - before == n - 1
    assert serving.count("prompt_tokens") >= 65 * n
    serving.settle()


def test_requests_join_a_batch_that_runs(serving):
    steps = serving.count("steps")
    long = begin(serving, prompt="a", n=8, max_tokens=300, ignore_eos=True, stream=True)
    wait(lambda: serving.batch._running)
    status, _ = ask(serving, prompt="b", max_tokens=3)
    assert status == 200
    assert serving.batch._running  # the other goes on
    assert serving.count("steps") - steps < 250
    long.close()
    serving.settle()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_takes_its_choices_along(serving, stream):
    left, cancelled = serving.count("disconnects"), serving.count("cancelled_samples")
    raw = begin(serving, prompt=[LONG[:50], LONG[:70]], n=8, max_tokens=400, ignore_eos=True, stream=stream)
    wait(lambda: serving.service.metrics.gauges["pages_used"] > 0)
    raw.close()
    wait(lambda: serving.count("disconnects") == left + 1)
    wait(lambda: serving.count("cancelled_samples") == cancelled + 16)
    assert serving.service.metrics.gauges["pages_used"] == 0
    serving.settle()


def test_one_that_waits_leaves_too():
    with server.serving(max_batch=1) as serving:
        first = begin(serving, prompt="x", n=2, max_tokens=500, ignore_eos=True)
        wait(lambda: serving.batch._running)
        second = begin(serving, prompt="y", max_tokens=5)
        wait(lambda: serving.batch._n_waiting == 1)
        second.close()
        wait(lambda: serving.batch._n_waiting == 0)
        first.close()
        serving.settle()


def test_a_slow_reader_is_dropped_when_its_time_is_over():
    with server.serving(limits=Limits(send_seconds=0.3, choices=512), max_batch=64) as serving:
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", serving.port))
        data = json.dumps({"prompt": "x", "n": 512, "max_tokens": 60, "logprobs": 20, "stream": True}).encode()
        raw.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(data), data))  # fmt: skip
        wait(lambda: serving.count("disconnects") == 1)
        serving.settle()
        raw.close()


def test_a_failure_costs_those_in_the_batch_and_nobody_else(serving, capfd):
    expected = ask(serving, prompt="x", seed=1, max_tokens=5)[1]["choices"]
    live = serving.batch.live
    raw = begin(serving, prompt="x", n=4, max_tokens=400, ignore_eos=True)
    wait(lambda: serving.batch._running)

    def fail():
        raise RuntimeError("the device is on fire")

    live.runner.step = fail
    answer = b""
    while b"}}" not in answer:
        answer += raw.recv(10_000)
    assert b" 500 " in answer.partition(b"\r\n")[0]
    assert b"the device is on fire" in answer
    assert "the batch failed and is begun anew" in capfd.readouterr().err
    raw.close()
    status, answer = ask(serving, prompt="x", seed=1, max_tokens=5)
    assert (status, answer.get("choices")) == (200, expected), answer
    assert serving.batch.live is not live
    assert serving.count("restarts") == 1
    serving.settle()


def test_what_cannot_be_computed_fails_one_request_at_a_time():
    model = tiny.model(seed=77)
    with server.serving(model=model) as serving:
        with torch.no_grad():
            model.model.embed_tokens.weight[300] = float("nan")
        status, answer = ask(serving, prompt=[5, 6, 300])
        assert (status, answer["error"]["type"]) == (500, "server_error")
        assert "not finite" in answer["error"]["message"]
        for _ in range(3):  # in the same pages
            assert ask(serving, prompt=[5, 6, 7], logit_bias={"300": -100}, max_tokens=40)[0] == 200
        assert serving.count("restarts") == 0
        serving.settle()


def test_the_end_is_told_to_those_who_wait():
    with server.serving(max_batch=1) as serving:
        raws = [begin(serving, prompt="x", max_tokens=500, ignore_eos=True) for _ in range(3)]
        wait(lambda: serving.batch._n_waiting == 2)
        serving.service.close()
        for raw in raws:
            assert b" 503 " in raw.recv(10_000).partition(b"\r\n")[0]
            raw.close()
        assert ask(serving, prompt="x")[0] == 503
        connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 503
        connection.close()
