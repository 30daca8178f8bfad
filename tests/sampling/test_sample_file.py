"""Runs: the same file whatever happens on the way, and one that passk and fit take as it is."""

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.stand_in import StandIn, answer

from t2fast import fitting, passk
from t2fast.data import read_counts
from t2fast.errors import DataError, T2Error
from t2fast.sampling import Prompt, SamplingParams, StoreError, read_samples, sample_to_file, write_parquet

PROMPTS = [Prompt(f"q{i}", "x", answer=str(i % 5), overrides={"k": 5} if i == 3 else {}) for i in range(12)]
PARAMS = SamplingParams(k=8, max_new_tokens=20)


def test_every_sample_once(tmp_path):
    path = tmp_path / "s.jsonl"
    seen, far = [], []
    run = sample_to_file(
        StandIn(), PROMPTS, PARAMS, path, verifier="numeric", on_sample=seen.append, progress=far.append
    )
    found = {(sample.prompt_id, sample.sample): sample for sample in read_samples(path)}
    assert list(read_samples(path)) == seen
    assert len(seen) == len(found) == run.n_samples == run.n_drawn == 11 * 8 + 5
    judge = lambda prompt, text: text.split("\n")[0].endswith(prompt.answer)  # noqa: E731
    for prompt in PROMPTS:
        for j in range(prompt.params(PARAMS).k):
            assert found[prompt.id, j] == answer(prompt, j, PARAMS, 0, judge)
    assert run.tokens == sum(len(sample.token_ids) for sample in seen)
    assert run.n_accepted == sum(sample.correct for sample in seen)
    assert run.n_solved == len({sample.prompt_id for sample in seen if sample.correct})
    assert sum(run.finish_reasons.values()) == 93
    assert [one.done for one in far] == sorted(one.done for one in far)
    assert far[-1].done == far[-1].total == far[-1].n_drawn == 93
    assert far[-1].tokens == run.tokens
    assert far[-1].memory > 1e6
    assert max(map(len, run.summary().splitlines())) <= 80
    assert json.loads(json.dumps(run.to_dict()))["tokens"] == run.tokens
    manifest = json.loads((tmp_path / "s.jsonl.manifest.json").read_text())
    assert manifest["model"]["name"] == "stand-in"
    assert manifest["model"]["n_params"] == 123_000
    assert manifest["params"] == PARAMS.to_dict()
    assert manifest["verifier"] == "numeric"
    assert manifest["versions"]["t2fast"]


def test_what_follows_the_reasoning_is_judged(tmp_path):
    """The stand-in never ends its reasoning, so none of its answers counts; and a file keeps to one way of judging."""
    path = tmp_path / "s.jsonl"
    run = sample_to_file(StandIn(), PROMPTS, PARAMS, path, verifier="numeric", reasoning_end="</think>")
    assert run.n_accepted == 0
    assert all(sample.correct is False for sample in read_samples(path))
    assert json.loads((tmp_path / "s.jsonl.manifest.json").read_text())["verifier"] == "numeric after </think>"
    with pytest.raises(T2Error, match="verifier changed from"):
        sample_to_file(StandIn(), PROMPTS, PARAMS, path, verifier="numeric", resume=True)


def _sorted(path):
    return sorted(Path(path).read_bytes().splitlines(keepends=True))


@pytest.mark.parametrize("stop", [False, True])
def test_the_order_in_which_samples_finish_changes_nothing(tmp_path, stop):
    params = PARAMS.override({"stop_on_success": stop, "k": 20})
    files = []
    for order in range(5):
        path = tmp_path / f"{order}.jsonl"
        sample_to_file(StandIn(order=order), PROMPTS, params, path, verifier="numeric")
        files.append(_sorted(path))
    assert all(file == files[0] for file in files)


def test_stopping_at_the_first_success_by_number(tmp_path):
    path = tmp_path / "s.jsonl"
    params = PARAMS.override({"stop_on_success": True, "k": 20})
    far = []
    run = sample_to_file(StandIn(order=1), PROMPTS, params, path, verifier="numeric", progress=far.append)
    judged = {}
    for sample in read_samples(path):
        judged.setdefault(sample.prompt_id, {})[sample.sample] = sample.correct
    for prompt in PROMPTS:
        every = [
            answer(prompt, j, params, 0, lambda p, t: t.split("\n")[0].endswith(p.answer)).correct
            for j in range(prompt.params(params).k)
        ]
        end = every.index(True) + 1 if True in every else len(every)
        assert judged[prompt.id] == dict(enumerate(every[:end]))
    assert far[0].total >= far[-1].total == run.n_samples < 11 * 20 + 5
    again = sample_to_file(StandIn(order=2), PROMPTS, params, path, verifier="numeric", resume=True)
    assert again.n_drawn == 0
    assert again.n_solved == run.n_solved


def test_passk_knows_that_sampling_stopped(tmp_path):
    path = tmp_path / "s.jsonl"
    prompts = [Prompt(f"q{i}", "x", answer=str(i % 5)) for i in range(300)]
    sample_to_file(
        StandIn(), prompts, PARAMS.override({"stop_on_success": True, "k": 16}), path,
        verifier="numeric", benchmark="toy", n_tokens=2e9,
    )  # fmt: skip
    counts = read_counts(path)
    assert counts.stopped is not None
    assert counts.stopped.all()
    assert set(counts.model) == {"stand-in"}
    assert set(counts.benchmark) == {"toy"}
    assert set(counts.n_params) == {123_000}
    assert set(counts.n_tokens) == {2e9}
    found = passk.report(counts, [1, 4])
    # One of five texts is right.
    assert found.curves[0].pass_at_k == pytest.approx([0.2, 1 - 0.8**4], abs=0.07)
    assert counts.n_correct.sum() / counts.n_samples.sum() == pytest.approx(0.2, abs=0.05)
    assert (counts.n_correct / counts.n_samples).mean() > 0.35  # what a reader who does not know would say
    assert passk.report(counts, [1, 4], batch=1).curves[0].pass_at_k.tolist() == found.curves[0].pass_at_k.tolist()
    assert "sampling stopped at the first success" in " ".join(found.summary().split())
    # Without its manifest, as Parquet, and as a table of counts.
    (tmp_path / "alone.jsonl").write_bytes(path.read_bytes())
    counts.write_csv(tmp_path / "counts.csv")
    files = ["alone.jsonl", "counts.csv"]
    if _has("pyarrow"):
        write_parquet(path, tmp_path / "s.parquet")
        files.append("s.parquet")
    for file in files:
        other = passk.report(read_counts(tmp_path / file), [1, 4])
        assert other.curves[0].pass_at_k.tolist() == found.curves[0].pass_at_k.tolist()


def _has(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_passk_reads_a_file_of_samples(tmp_path):
    path = tmp_path / "s.jsonl"
    run = sample_to_file(StandIn(), PROMPTS, PARAMS, path, verifier="numeric", name="mine")
    counts = read_counts(path)
    assert counts.stopped is None
    assert counts.n_samples.sum() == run.n_samples
    assert counts.n_correct.sum() == run.n_accepted
    assert set(counts.model) == {"mine"}
    assert passk.report(counts, [1, 5]).curves[0].n_problems == 12


def test_prompts_that_stop_beside_prompts_that_don_t(tmp_path):
    path = tmp_path / "s.jsonl"
    prompts = [*PROMPTS, Prompt("stops", "x", answer="1", overrides={"stop_on_success": True})]
    sample_to_file(StandIn(), prompts, PARAMS, path, verifier="numeric")
    counts = read_counts(path)
    assert counts.stopped.sum() == 1
    with pytest.raises(DataError, match="stopped at the first success for some"):
        passk.report(counts, [1])


class Checkpoint(StandIn):
    """Is right as often as a law says, which is more for some prompts than for others."""

    def __init__(self, n_params, n_tokens):
        super().__init__(name=f"{n_params:g}-{n_tokens:g}")
        self.rate = math.exp(-(0.2 + 40 * n_params**-0.25 + 90 * n_tokens**-0.25))

    def sample(self, prompts, params, **more):
        for sample in super().sample(prompts, params, **more):
            draw = random.Random(f"{self.name} {sample.prompt_id} {sample.sample}").random()
            easy = 1 + 0.8 * math.sin(int(sample.prompt_id[1:]))
            yield dataclasses.replace(sample, correct=draw < self.rate * easy)


def test_fit_reads_what_passk_makes_of_several_checkpoints(tmp_path):
    prompts = [Prompt(f"q{i}", "x", answer="1") for i in range(40)]
    files = []
    for n_params in (1e8, 4e8, 1.6e9, 6.4e9):
        for n_tokens in (2e9, 2e10, 2e11):
            files.append(tmp_path / f"{len(files)}.jsonl")
            sample_to_file(
                Checkpoint(n_params, n_tokens), prompts, SamplingParams(k=16, max_new_tokens=3), files[-1],
                verifier="numeric", benchmark="toy", n_params=n_params, n_tokens=n_tokens,
            )  # fmt: skip
    read_counts(files).write_csv(tmp_path / "counts.csv")
    fit = fitting.fit_table(tmp_path / "counts.csv", "t2-pass")
    assert fit.n_rows == 12 * 40
    assert fit.n_checkpoints == 12
    assert fit.success
    for size in ((1e8, 2e9), (6.4e9, 2e11)):
        assert fit.law.value(*size) == pytest.approx(Checkpoint(*size).rate, abs=0.07)


def test_two_checkpoints_under_one_name(tmp_path):
    for tokens in (1e9, 2e9):
        sample_to_file(
            StandIn(), PROMPTS, PARAMS, tmp_path / f"{tokens}.jsonl", verifier="numeric", n_tokens=tokens,
            seed=int(tokens / 1e9),
        )  # fmt: skip
    with pytest.raises(DataError, match="'stand-in' has two sizes|occurs twice with different content"):
        read_counts([tmp_path / "1000000000.0.jsonl", tmp_path / "2000000000.0.jsonl"])


def test_settings_that_cannot_be(tmp_path):
    path = tmp_path / "s.jsonl"
    for prompts, params, verifier, message in [
        ([*PROMPTS, PROMPTS[0]], PARAMS, None, "two prompts have the id 'q0'"),
        (PROMPTS, PARAMS.override({"stop_on_success": True}), None, "needs a verifier"),
        ([*PROMPTS, Prompt("z", "x")], PARAMS, "numeric", "prompt 'z' has no answer"),
        (PROMPTS, PARAMS, "guess", "verifier 'guess'"),
    ]:
        with pytest.raises(T2Error, match=message):
            sample_to_file(StandIn(), prompts, params, path, verifier=verifier)
    assert not path.exists()


def test_a_changed_run_does_not_go_on(tmp_path):
    path = tmp_path / "s.jsonl"
    sample_to_file(StandIn(), PROMPTS, PARAMS, path)
    for change, message in [
        ({"seed": 1}, "seed changed from 0 to 1"),
        ({"verifier": "numeric"}, 'verifier changed from "" to "numeric"'),
        ({"prompts": PROMPTS[1:]}, "prompts.count changed from 12 to 11"),
        ({"params": PARAMS.override({"top_p": 0.5})}, "params.top_p changed from 1.0 to 0.5"),
        ({"sampler": StandIn(name="other")}, 'model.name changed from "stand-in" to "other"'),
    ]:
        arguments = {"sampler": StandIn(), "prompts": PROMPTS, "params": PARAMS, "out": path} | change
        with pytest.raises(StoreError) as error:
            sample_to_file(**arguments, resume=True)
        assert message in str(error.value)
    with pytest.raises(StoreError, match="exists"):
        sample_to_file(StandIn(), PROMPTS, PARAMS, path)


def test_verifiers_that_fail_lose_no_sample(tmp_path):
    def bad(prompt, _):
        if prompt.id == "q1":
            raise RuntimeError("out of order")
        return True

    path = tmp_path / "s.jsonl"
    run = sample_to_file(StandIn(), PROMPTS, PARAMS, path, verifier=bad)
    assert run.n_samples == 93
    assert run.n_accepted == 85
    assert "8 samples have no verdict" in run.warnings[0]
    assert "out of order" in run.warnings[0]
    with pytest.raises(DataError, match="missing="):
        read_counts(path)
    assert read_counts(path, missing="fail").n_correct.sum() == 85


class Breaks(StandIn):
    """Ends in some way after some samples."""

    def __init__(self, after, how, **more):
        super().__init__(**more)
        self.after, self.how = after, how

    def sample(self, *arguments, **more):
        for count, sample in enumerate(super().sample(*arguments, **more)):
            if count == self.after:
                if self.how is None:
                    return
                raise self.how
            yield sample


@settings(max_examples=40)
@given(st.lists(st.integers(0, 93), max_size=5), st.booleans())
def test_runs_that_break_off_and_go_on(tmp_path_factory, breaks, stop):
    folder = tmp_path_factory.mktemp("run")
    params = PARAMS.override({"stop_on_success": stop})
    sample_to_file(StandIn(), PROMPTS, params, folder / "whole.jsonl", verifier="numeric")
    path = folder / "s.jsonl"
    for order, after in enumerate(breaks):
        try:
            sample_to_file(
                Breaks(after, KeyboardInterrupt(), order=order), PROMPTS, params, path, verifier="numeric", resume=True
            )
        except KeyboardInterrupt:
            continue
    run = sample_to_file(StandIn(order=9), PROMPTS, params, path, verifier="numeric", resume=True)
    assert _sorted(path) == _sorted(folder / "whole.jsonl")
    assert run.n_samples == len(_sorted(path))


class Hasty(StandIn):
    """Gives the samples of prompts that stop as they come."""

    def sample(self, prompts, params, **more):
        yield from list(super().sample(prompts, params, **more))[::-1]


def test_a_sampler_that_stops_out_of_turn_is_found_out(tmp_path):
    params = PARAMS.override({"stop_on_success": True})
    with pytest.raises(T2Error, match=r"gave sample \d of '\w+' out of turn"):
        sample_to_file(Hasty(), PROMPTS, params, tmp_path / "s.jsonl", verifier="numeric")


def test_a_sampler_that_leaves_samples_out_is_found_out(tmp_path):
    with pytest.raises(T2Error, match=r"the sampler ended with 50 of 93 samples; prompt '\w+' lacks some"):
        sample_to_file(Breaks(50, None), PROMPTS, PARAMS, tmp_path / "s.jsonl")


VICTIM = """
import sys
from t2fast.sampling import Prompt, SamplingParams, sample_to_file
sys.path.insert(0, {root!r})
from tests.support.stand_in import StandIn
prompts = [Prompt(f"q{{i}}", "x", answer=str(i % 5)) for i in range(40)]
params = SamplingParams(k=25, max_new_tokens=200, logprobs=True, stop_on_success={stop})
sample_to_file(StandIn(pause={pause}, order=int(sys.argv[2])), prompts, params, sys.argv[1], verifier="numeric", resume=True)
"""


@pytest.mark.parametrize("stop", [False, True])
def test_killed_at_random_moments(tmp_path, stop):
    """A run that SIGKILL ends again and again yields the same bytes, sorted, as an undisturbed one.

    T2FAST_KILLS sets how often it is killed.
    """
    kills = int(os.environ.get("T2FAST_KILLS", "5"))
    root = str(Path(__file__).parents[2])
    script = tmp_path / "victim.py"
    script.write_text(VICTIM.format(root=root, stop=stop, pause=0.001))
    whole, path = tmp_path / "whole.jsonl", tmp_path / "s.jsonl"
    subprocess.run([sys.executable, script, whole, "0"], check=True)
    chance = random.Random(5)
    killed = 0
    for order in range(1, kills + 1):
        # Moments are sizes of the file, so that all kills hit a run that is writing, on a slow machine too.
        size = path.stat().st_size if path.exists() else 0
        size += chance.uniform(0, 0.8 / kills) * whole.stat().st_size
        process = subprocess.Popen([sys.executable, script, path, str(order)])
        while process.poll() is None and not (path.exists() and path.stat().st_size > size):
            time.sleep(0.0005)
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    assert killed >= kills // 2
    subprocess.run([sys.executable, script, path, "1000"], check=True)
    assert _sorted(path) == _sorted(whole)
