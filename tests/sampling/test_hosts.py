"""Ray on several hosts, which die, are cut off, join and change their address in mid-run: the same file at the end.

Each prints what was lost, what is there twice, and how long it took until work went on (pytest -s). Times are looked at
by people; what is asserted is that there are as many as there should be and the same.
"""

import importlib
import json
import os
import sys
import time
from collections import Counter

import pytest
from tests.support.hosts import Hosts, missing
from tests.support.stand_in import StandIn

from t2fast.sampling import Prompt, SamplingParams, read_samples, sample_to_file

pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
pytestmark = pytest.mark.slow
LIMIT = 300

PROMPTS = [Prompt(f"q{i}", "x", answer=str(i % 5)) for i in range(60)]
PARAMS = SamplingParams(k=10, max_new_tokens=20, logprobs=True)


class Located(StandIn):
    """Notes when and where it draws which prompt."""

    def sample(self, *arguments, **more):
        here = importlib.import_module("ray").util.get_node_ip_address()
        for sample in super().sample(*arguments, **more):
            yield sample
            with open(f"{self.died}/{here}.txt", "a") as file:
                file.write(json.dumps([time.time(), sample.prompt_id, sample.sample]) + "\n")


class Heavy(Located):
    """Gives so much at once that a sample stays with its host until it is fetched."""

    def sample(self, *arguments, **more):
        import dataclasses

        for sample in super().sample(*arguments, **more):
            yield dataclasses.replace(sample, text=sample.text + "x" * 200_000)


DRIVER = """
import sys
from functools import partial
from tests.sampling.test_hosts import PARAMS, PROMPTS, Heavy, Located
from t2fast import T2Error
from t2fast.sampling import RayWorkers, sample_to_file
out, notes, pause, kind = sys.argv[1:]
try:
    with RayWorkers(partial(Heavy if kind == "heavy" else Located, pause=float(pause), died=notes)) as workers:
        sample_to_file(workers, PROMPTS, PARAMS, out, verifier="numeric", resume=True)
except T2Error as error:
    print(error)
    sys.exit(2)
"""


@pytest.fixture
def hosts():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Hosts() as made:
        yield made


class Run:
    """A run of the driver on a host, looked at from outside."""

    def __init__(self, hosts, folder, pause=0.15, kind="light"):
        self.hosts, self.out, self.notes, self.pause, self.kind = (
            hosts,
            folder / "s.jsonl",
            folder / "notes",
            pause,
            kind,
        )
        self.notes.mkdir(exist_ok=True)

    def begin(self, host, head):
        words = [sys.executable, "-c", DRIVER, self.out, self.notes, self.pause, self.kind]
        self.process = self.hosts.begin(host, words, environment={"RAY_ADDRESS": head})
        return self

    def until(self, wanted):
        """Wait until what is stored or noted satisfies this."""
        end = time.monotonic() + LIMIT
        while not wanted(self):
            assert self.process.poll() is None, self.process.communicate()[0]
            if time.monotonic() > end:  # pragma: no cover
                self.process.kill()
                pytest.fail(self.process.communicate()[0])
            time.sleep(0.1)

    def end(self):
        said, _ = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, said

    @property
    def stored(self):
        return self.out.read_bytes().count(b'"sample"') if self.out.exists() else 0

    def drawn(self, hosts, *numbers):
        """What these hosts drew: time, prompt, number."""
        found = []
        for number in numbers:
            path = self.notes / f"{hosts.address(number)}.txt"
            lines = path.read_text().splitlines() if path.exists() else []
            # A host may die amid a line.
            found += [json.loads(line) for line in lines if line.endswith("]")]
        return sorted(found)

    def judged(self, folder, say, **times):
        """Compare with what one process writes."""
        sample = Heavy(died=os.devnull) if self.kind == "heavy" else StandIn()
        keys = [(one.prompt_id, one.sample) for one in read_samples(self.out)]
        one = folder / "one.jsonl"
        if self.kind == "heavy":
            wanted = {(p.id, j) for p in PROMPTS for j in range(PARAMS.k)}
        else:
            sample_to_file(sample, PROMPTS, PARAMS, one, verifier="numeric")
            wanted = {(s.prompt_id, s.sample) for s in read_samples(one)}
            assert sorted(self.out.read_bytes().splitlines()) == sorted(one.read_bytes().splitlines())
        lost, repeated = len(wanted - set(keys)), sum(count - 1 for count in Counter(keys).values())
        shown = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in times.items())
        print(f"\n{say}: {len(wanted)} samples, {lost} lost, {repeated} repeated; {shown}")
        assert (lost, repeated) == (0, 0)


def _again(run, hosts, dead, at):
    """Seconds from a host's death until a prompt that it had in hand is drawn elsewhere."""
    had = {prompt for _, prompt, _ in run.drawn(hosts, dead)[-1:]}
    others = [number for number in (1, 2, 3, 4) if number != dead]
    later = [when for when, prompt, _ in run.drawn(hosts, *others) if when > at and prompt in had]
    return min(later) - at if later else float("nan")


# All processes of a host die; its cable is cut, of which nobody hears until it has been silent for long.
@pytest.mark.parametrize(("how", "kind"), [("kill", "light"), ("kill", "heavy"), ("unplug", "light")])
def test_a_host_dies_and_another_joins(hosts, tmp_path, how, kind):
    head = hosts.head(1)
    hosts.join(head, 2, 3)
    run = Run(hosts, tmp_path, kind=kind).begin(1, head)
    run.until(lambda one: one.stored > 60 and one.drawn(hosts, 2))
    at = getattr(hosts, how)(2)
    asked = time.time()
    hosts.join(head, 4)
    joined = time.time()
    code, said = run.end()
    assert code == 0, said
    ended = time.time()
    new = run.drawn(hosts, 4)
    assert new, "the host that joined drew nothing"
    run.judged(
        tmp_path, f"{how}, {kind}", redrawn_after=_again(run, hosts, 2, at), ray_start=joined - asked,
        first_sample_of_the_new_host=new[0][0] - joined, end=ended - at,
    )  # fmt: skip


def test_the_only_worker_dies_and_a_host_joins_later(hosts, tmp_path):
    head = hosts.head(1, cpus=0)
    hosts.join(head, 2)
    run = Run(hosts, tmp_path, pause=0.03).begin(1, head)
    run.until(lambda one: one.stored > 60)
    at = hosts.kill(2)
    time.sleep(13)
    hosts.join(head, 3)
    joined = time.time()
    code, said = run.end()
    assert code == 0, said
    assert "waiting for a machine to join" in said
    run.judged(tmp_path, "no host left", goes_on=run.drawn(hosts, 3)[0][0] - joined, end=time.time() - at)


def test_the_head_moves_to_another_address(hosts, tmp_path):
    head = hosts.head(1)
    hosts.join(head, 2, 3)
    run = Run(hosts, tmp_path).begin(2, head)
    run.until(lambda one: one.stored > 60)
    at = hosts.kill(1)
    code, said = run.end()
    ended = time.time()
    assert code == 2, said
    assert "the head of the Ray cluster at 10.77.0.1:6399 does not answer" in said
    kept = run.stored
    assert 60 < kept < 600
    for host in (2, 3):
        hosts.kill(host)
    head = hosts.head(4)
    hosts.join(head, 2, 3)
    begun = time.time()
    run.begin(2, head)
    run.until(lambda one: one.stored > kept)
    on = time.time()
    code, said = run.end()
    assert code == 0, said
    run.judged(tmp_path, f"head moved, {kept} kept", said_after=ended - at, goes_on=on - begun)
