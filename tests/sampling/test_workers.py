"""Ray workers on a cluster of several processes on this machine: together they write what one sampler writes."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from tests.support.cluster import cluster
from tests.support.stand_in import StandIn

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, RayWorkers, SamplingParams, load_verifier, read_samples, sample_to_file
from t2fast.sampling.workers import _cpus_each

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
# Ray's own use of what Python and the system deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning", "ignore::DeprecationWarning")

PROMPTS = [Prompt(f"q{i}", "x", answer=str(i % 5)) for i in range(40)]
PARAMS = SamplingParams(k=6, max_new_tokens=20, logprobs=True)


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    with cluster():
        yield


def _sorted(path):
    return sorted(Path(path).read_bytes().splitlines(keepends=True))


@pytest.mark.parametrize("stop", [False, True])
def test_many_write_what_one_writes(tmp_path, stop):
    params = PARAMS.override({"stop_on_success": stop})
    sample_to_file(StandIn(), PROMPTS, params, tmp_path / "one.jsonl", verifier="numeric")
    with RayWorkers(partial(StandIn, pause=0.002), workers=3) as workers:
        assert len(workers) == 3
        assert workers.identity() == StandIn().identity()
        run = sample_to_file(workers, PROMPTS, params, tmp_path / "many.jsonl", verifier="numeric")
    assert _sorted(tmp_path / "many.jsonl") == _sorted(tmp_path / "one.jsonl")
    assert run.n_drawn == run.n_samples == len(_sorted(tmp_path / "one.jsonl"))
    assert run.memory > 1e6


@pytest.mark.parametrize("stop", [False, True])
def test_a_worker_killed_by_itself(tmp_path, stop):
    params = PARAMS.override({"stop_on_success": stop})
    sample_to_file(StandIn(), PROMPTS, params, tmp_path / "one.jsonl", verifier="numeric")
    died = tmp_path / "died"
    with RayWorkers(partial(StandIn, pause=0.01, dies_after=9, died=str(died)), workers=2) as workers:
        sample_to_file(workers, PROMPTS, params, tmp_path / "many.jsonl", verifier="numeric")
    assert died.exists()
    assert _sorted(tmp_path / "many.jsonl") == _sorted(tmp_path / "one.jsonl")


class Named(StandIn):
    """Says which process it is."""

    def sample(self, *arguments, **more):
        Path(self.died, str(os.getpid())).touch()
        yield from super().sample(*arguments, **more)


def test_workers_killed_at_random_moments(tmp_path):
    sample_to_file(StandIn(), PROMPTS, PARAMS, tmp_path / "one.jsonl", verifier="numeric")
    folder = tmp_path / "workers"
    folder.mkdir()
    killed = []

    def kill():
        # One fewer than end a run, were all to die over the same prompts on a slow machine.
        while len(killed) < 2:
            time.sleep(0.6)
            for process in folder.iterdir():
                process.unlink()
                try:
                    os.kill(int(process.name), signal.SIGKILL)
                except ProcessLookupError:
                    continue
                killed.append(process.name)
                break

    thread = threading.Thread(target=kill, daemon=True)
    with RayWorkers(partial(Named, pause=0.02, died=str(folder)), workers=2) as workers:
        thread.start()
        sample_to_file(workers, PROMPTS, PARAMS, tmp_path / "many.jsonl", verifier="numeric")
    assert killed
    assert _sorted(tmp_path / "many.jsonl") == _sorted(tmp_path / "one.jsonl")


def test_prompts_that_kill_every_worker(tmp_path):
    path = tmp_path / "s.jsonl"
    with (
        RayWorkers(partial(StandIn, dies_after=3), workers=1) as workers,
        pytest.raises(T2Error, match="3 workers died over the prompts from 'q0' to 'q19'; what arrived is kept"),
    ):
        sample_to_file(workers, PROMPTS, PARAMS, path)
    run = sample_to_file(StandIn(), PROMPTS, PARAMS, path, resume=True)
    assert run.n_samples == 240


class DiesWhileItStarts(StandIn):
    """Loads once, and never again."""

    def identity(self):
        if self.dies_after is not None and os.path.exists(self.died):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().identity()


def test_a_worker_that_cannot_be_replaced(tmp_path):
    died = str(tmp_path / "died")
    load = partial(DiesWhileItStarts, dies_after=3, died=died)
    with RayWorkers(load, workers=1) as workers, pytest.raises(T2Error, match="3 workers died while they started"):
        sample_to_file(workers, PROMPTS, PARAMS, tmp_path / "s.jsonl")


def test_cpus_of_machines():
    for machines, workers, each in [([8], 1, 8), ([8], 3, 2), ([4, 12], 2, 6), ([3, 0], 3, 1), ([5, 5], 3, 2)]:
        assert _cpus_each(machines, workers) == each


def _cannot_load():
    raise T2Error("config.json: no such file")


def _differs():
    return StandIn(name=str(os.getpid()))


class Refuses(StandIn):
    def sample(self, *_, **__):
        raise T2Error("prompt 'q7' has 5000 tokens, the model's context is 4096")
        yield


def test_what_workers_raise_arrives(tmp_path):
    with pytest.raises(T2Error, match=r"^config\.json: no such file$"):
        RayWorkers(_cannot_load, workers=1)
    with pytest.raises(T2Error, match="the workers' models differ"):
        RayWorkers(_differs, workers=2)
    with pytest.raises(T2Error, match="workers = 4: must lie between 1 and what the cluster has, 3 CPUs"):
        RayWorkers(StandIn, workers=4)
    with RayWorkers(Refuses, workers=1) as workers, pytest.raises(T2Error, match="^prompt 'q7' has 5000 tokens"):
        sample_to_file(workers, PROMPTS, PARAMS, tmp_path / "s.jsonl")


def test_verifiers_travel(tmp_path):
    (tmp_path / "check.py").write_text("def even(prompt, text):\n    return int(text[14]) % 2 == 0\n")
    names = ("regex:is [024]", f"{tmp_path}/check.py:even", "command:true")
    with RayWorkers(StandIn, workers=1) as workers:
        for name in names:
            found = list(workers.sample(PROMPTS[:5], PARAMS, verifier=load_verifier(name)))
            assert len(found) == 30
            for sample in found:
                if name != "command:true":
                    assert sample.correct is (sample.text[14] in "024")
                else:
                    assert "printed b''" in sample.verifier_error


def test_interrupted(tmp_path):
    path = tmp_path / "s.jsonl"

    stored = []

    def interrupt(sample):
        stored.append(sample)
        if len(stored) == 20:
            raise KeyboardInterrupt

    with RayWorkers(partial(StandIn, pause=0.005), workers=2) as workers:
        with pytest.raises(KeyboardInterrupt):
            sample_to_file(workers, PROMPTS, PARAMS, path, on_sample=interrupt)
        assert len(list(read_samples(path))) == 20
    with RayWorkers(StandIn, workers=2) as workers:
        assert sample_to_file(workers, PROMPTS, PARAMS, path, resume=True).n_drawn == 220
    sample_to_file(StandIn(), PROMPTS, PARAMS, tmp_path / "one.jsonl")
    assert _sorted(path) == _sorted(tmp_path / "one.jsonl")
