"""One prompt can be cancelled while others go on, whatever draws: the same words, the same promises.

That the engine's pages are free before the next step is seen in engine/test_call.py.
"""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from tests.support.cluster import cluster
from tests.support.faulty_server import Handler, serving
from tests.support.stand_in import StandIn

from t2fast.sampling import Endpoint, Prompt, RayWorkers, SamplingParams, read_samples, sample_to_file

# Ray's own use of what Python and the system deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning", "ignore::DeprecationWarning")

PROMPTS = [Prompt(name, "The quick brown fox jumps over the lazy dog. " * 2 + name) for name in ("a", "b", "c")]
PARAMS = SamplingParams(k=6, max_new_tokens=20, ignore_eos=True)


def texts(samples):
    return {(s.prompt_id, s.sample): s.text for s in samples}


def never(prompt, text):  # noqa: ARG001
    return False


@pytest.fixture
def server():
    with serving() as one:
        yield one


@pytest.fixture(scope="module")
def _cluster():
    pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
    with cluster():
        yield


@pytest.fixture(params=["sampler", "generate", "endpoint", "workers"])
def sampler(request):
    """Each way to draw, slow enough that something is left to cancel."""
    if request.param == "endpoint":
        yield Endpoint(request.getfixturevalue("server").url, "toy", concurrency=2)
    elif request.param == "workers":
        request.getfixturevalue("_cluster")
        with RayWorkers(partial(StandIn, pause=0.02), workers=1) as workers:
            yield workers
    else:
        tiny = pytest.importorskip("tests.support.tiny")
        from t2fast.sampling import GenerateSampler, Sampler

        kind = {"sampler": Sampler, "generate": GenerateSampler}[request.param]
        yield kind(tiny.model(), tiny.tokenizer(), max_batch=2)


def test_what_is_finished_stays_and_the_rest_is_dropped(sampler):
    whole = texts(sampler.sample(PROMPTS, PARAMS))
    assert len(whole) == 18
    assert not sampler.cancelled
    found = []
    for sample in sampler.sample(PROMPTS, PARAMS):
        found.append(sample)
        if sample.prompt_id == "b" and not any(s.prompt_id == "b" for s in found[:-1]):
            thread = threading.Thread(target=lambda: found.append(sampler.cancel("b")))
            thread.start()
            thread.join()
            assert found.pop() is True
    got = texts(found)
    assert got == {key: whole[key] for key in got}
    n_b = sum(name == "b" for name, _ in got)
    assert 1 <= n_b < 6
    assert len(got) == 12 + n_b
    assert set(sampler.cancelled) == {"b"}
    assert not sampler.cancel("b")  # nothing is under way
    if hasattr(sampler, "stats"):
        assert sampler.stats.cancelled == 6 - n_b
        assert sampler.stats.total == len(got)


def test_before_anything_is_drawn(sampler):
    samples = sampler.sample(PROMPTS, PARAMS)
    assert sampler.cancel("a")
    assert not sampler.cancel("z")
    assert {name for name, _ in texts(samples)} == {"b", "c"}
    assert set(sampler.cancelled) == {"a"}


def test_a_prompt_that_stops_at_its_first_success(sampler):
    params = PARAMS.override({"stop_on_success": True, "k": 40})
    found = []
    for sample in sampler.sample(PROMPTS, params, verifier=never):
        found.append(sample)
        if (sample.prompt_id, sample.sample) == ("a", 1):
            sampler.cancel("a")
    numbers = [s.sample for s in found if s.prompt_id == "a"]
    assert numbers == list(range(len(numbers)))
    assert 2 <= len(numbers) < 40
    assert len(found) == 80 + len(numbers)


def test_a_file_says_what_was_cancelled_and_resumes(sampler, tmp_path):
    whole, out = texts(sampler.sample(PROMPTS, PARAMS)), tmp_path / "samples.jsonl"
    run = sample_to_file(sampler, PROMPTS, PARAMS, out, on_sample=lambda _: sampler.cancel("c"))
    assert "1 prompts were cancelled, such as 'c'" in run.summary().replace("\n  ", " ")
    assert run.n_samples < 18
    run = sample_to_file(sampler, PROMPTS, PARAMS, out, resume=True)
    assert not any("cancelled" in warning for warning in run.warnings)
    assert texts(read_samples(out)) == whole


def test_generate_ends_in_the_middle_of_a_batch():
    tiny = pytest.importorskip("tests.support.tiny")
    from t2fast.sampling import GenerateSampler

    one = GenerateSampler(tiny.model(), tiny.tokenizer(), max_batch=6)
    whole = texts(one.sample(PROMPTS, PARAMS))
    longest = dict.fromkeys("abc", 0)

    def seen(prompt, _, ids):
        longest[prompt.id] = max(longest[prompt.id], len(ids))
        if prompt.id == "a" and len(ids) == 10:
            assert one.cancel("a")

    taken = []
    found = texts(one.sample(PROMPTS, PARAMS, on_tokens=seen, on_sample=taken.append))
    assert texts(taken) == found == {key: value for key, value in whole.items() if key[0] != "a"}
    assert longest == {"a": 10, "b": 20, "c": 20}
    assert (one.stats.cancelled, one.stats.total, one.stats.samples) == (6, 12, 12)


def test_requests_under_way_are_broken_off(server, monkeypatch):
    """Nobody waits for a server that hangs; and it sees that its client has left."""
    left, answer = threading.Event(), Handler.answer

    def slow(self, body):
        if body["prompt"].endswith("a"):
            self.connection.settimeout(30)
            if not self.connection.recv(1):
                left.set()
        return answer(self, body)

    monkeypatch.setattr(Handler, "answer", slow)
    one = Endpoint(server.url, "toy", concurrency=2, timeout=60)
    begun = time.monotonic()
    samples = one.sample(PROMPTS, PARAMS)
    timer = threading.Timer(0.3, one.cancel, ["a"])
    timer.start()
    found = texts(samples)
    timer.join()
    assert {name for name, _ in found} == {"b", "c"}
    assert left.wait(10)
    assert time.monotonic() - begun < 20


def test_a_call_that_is_left_breaks_off_its_requests(server, monkeypatch):
    left, answer = threading.Event(), Handler.answer

    def slow(self, body):
        if not body["prompt"].endswith("a"):
            self.connection.settimeout(30)
            if not self.connection.recv(1):
                left.set()
        return answer(self, body)

    monkeypatch.setattr(Handler, "answer", slow)
    samples = Endpoint(server.url, "toy", concurrency=8, timeout=60).sample(PROMPTS, PARAMS)
    next(samples)
    samples.close()
    assert left.wait(10)
