"""``t2fast sample`` as a user meets it, on a small random model made on the spot."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import tiny
from tests.support.faulty_server import serving

from t2fast.sampling import read_samples

TEXTS = [f"Question: what is {i} + 4? Answer:" for i in range(6)]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [{"id": f"q{i}", "prompt": text, "answer": str(i % 3)} for i, text in enumerate(TEXTS)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def sample(model, *more):
    return (
        "sample", "--model", model, "--prompts", "prompts.jsonl", "-k", 8, "--temperature", 0.8,
        "--max-new-tokens", 12, "--out", "samples.jsonl", *more,
    )  # fmt: skip


def _sorted(path):
    return sorted(Path(path).read_bytes().splitlines(keepends=True))


def test_sample_then_passk(model, place, run):
    code, out, err = run(*sample(model, "--n-tokens", "2B", "--benchmark", "sums", "--parquet", "samples.parquet"))
    assert (code, err) == (0, "")
    assert "48" in out
    assert "by numeric" in out
    assert max(map(len, out.splitlines())) <= 80
    found = list(read_samples("samples.jsonl"))
    assert {(one.prompt_id, one.sample) for one in found} == {(f"q{i}", j) for i in range(6) for j in range(8)}
    assert len({one.token_ids for one in found}) > 40
    code, out, err = run("passk", "samples.jsonl", "-k", "1,8", "--out", "counts.csv", "--json")
    assert (code, err) == (0, "")
    first = json.loads(out)["results"][0]
    assert (first["model"], first["benchmark"]) == ("my-model", "sums")
    assert first["pass_at_k"][0] == pytest.approx(sum(one.correct for one in found) / 48)
    rows = (place / "counts.csv").read_text().splitlines()
    assert rows[0] == "model,benchmark,problem_id,n_samples,n_correct,n_params,n_tokens"
    n_params = sum(p.numel() for p in tiny.model("llama").parameters())
    assert rows[1].startswith("my-model,sums,q")
    assert rows[1].endswith(f",{n_params},2000000000")
    assert run("passk", "samples.parquet", "-k", "1,8")[0] == 0


def test_json_and_controls(model, place, run):
    arguments = sample(
        model, "--json", "--seed", 3, "--top-k", 50, "--top-p", 0.9, "--min-p", 0.01, "--repetition-penalty", 1.1,
        "--presence-penalty", 0.1, "--frequency-penalty", 0.1, "--stop", "e", "--stop-token", 5, "--logprobs", 3,
        "--verifier", "regex:[aeiou]", "--dtype", "float32", "--device", "cpu", "--kv-memory", "64M", "--max-batch", 5,
    )  # fmt: skip
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["n_samples"] == report["n_drawn"] == 48
    assert report["verifier"] == "regex:[aeiou]"
    found = list(read_samples("samples.jsonl"))
    assert report["tokens"] == sum(len(one.token_ids) for one in found)
    for one in found:
        assert "e" not in one.text
        assert len(one.logprobs) == len(one.token_ids)
        assert one.correct is any(letter in one.text for letter in "aeiou")
    params = json.loads((place / "samples.jsonl.manifest.json").read_text())["params"]
    assert params == {
        "k": 8, "temperature": 0.8, "top_k": 50, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1,
        "presence_penalty": 0.1, "frequency_penalty": 0.1, "max_new_tokens": 12, "stop": ["e"], "stop_token_ids": [5],
        "logprobs": True, "stop_on_success": False, "min_new_tokens": 0, "skip_special_tokens": True,
        "ignore_eos": False, "add_special_tokens": None, "logit_bias": {}, "allowed_token_ids": None,
        "bad_words": [], "bad_token_ids": [], "top_logprobs": 3, "prompt_logprobs": False,
        "max_thinking_tokens": None, "thinking_end": "</think>",
    }  # fmt: skip


def test_a_prompt_ends_with_its_first_success(model, place, run):
    assert run(*sample(model, "--verifier", "none"))[0] == 0
    code, out, _ = run(*sample(model, "--stop-on-success", "--verifier", "regex:[aeiou]")[:-6], *sample(model)[-2:])
    assert code == 2  # the file of another run is there
    (place / "samples.jsonl").rename("all.jsonl")
    code, out, err = run(*sample(model, "--stop-on-success", "--verifier", "regex:[aeiou]{2}"))
    assert (code, err) == (0, "")
    every = {(one.prompt_id, one.sample): one for one in read_samples("all.jsonl")}
    kept = {(one.prompt_id, one.sample): one for one in read_samples("samples.jsonl")}
    for i in range(6):
        right = [re.search("[aeiou]{2}", every[f"q{i}", j].text) is not None for j in range(8)]
        end = right.index(True) + 1 if any(right) else 8
        assert [kept[f"q{i}", j].token_ids for j in range(end)] == [every[f"q{i}", j].token_ids for j in range(end)]
        assert (f"q{i}", end) not in kept
    code, out, _ = run("passk", "samples.jsonl", "-k", "1,8")
    assert code == 0
    assert "sampling stopped at the first success" in " ".join(out.split())


def test_resume(model, place, run):
    assert run(*sample(model))[0] == 0
    whole = _sorted("samples.jsonl")
    content = (place / "samples.jsonl").read_bytes()
    (place / "samples.jsonl").write_bytes(content[: len(content) // 2])
    code, out, err = run(*sample(model, "--resume"))
    assert (code, err) == (0, "")
    assert "the last line was incomplete" in out
    assert "of them drawn now" in out
    assert _sorted("samples.jsonl") == whole
    code, out, err = run(*sample(model, "--resume", "--temperature", "0.7"))
    assert (code, out) == (2, "")
    assert "params.temperature changed from 0.8 to 0.7" in err
    code, out, err = run(*sample(model))
    assert "samples.jsonl: exists already (--resume continues it" in err
    assert _sorted("samples.jsonl") == whole


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("-k", "0"), "k = 0: must be a whole number, between 1"),
        (("--temperature", "-1"), "temperature = -1: must be at least 0"),
        (("--model", "./nowhere"), "./nowhere: no such folder"),
        (("--prompts", "none.jsonl"), "none.jsonl: cannot be read"),
        (("--prompts", "broken.jsonl"), "broken.jsonl, line 2: not JSON"),
        (("--prompts", "twice.jsonl"), "twice.jsonl, line 2: id 'a' was used in line 1"),
        (("--prompts", "long.jsonl"), "prompt 'long': has "),
        (("--verifier", "oracle"), "verifier 'oracle': there are exact"),
        (("--verifier", "choice"), "not one of its choices"),
        (("--workers", "many"), "--workers many: must be local, ray or ray:NUMBER"),
        (("--out", "no/such/folder.jsonl"), "no/such/folder.jsonl: cannot be written"),
        (("--dtype", "float7"), "dtype = 'float7'"),
        (("--kv-memory", "lots"), "--kv-memory = 'lots': not a number"),
        (("--kv-memory", "1k"), "kv_memory"),
        (("--n-tokens", "0"), "n_tokens = 0: must be above 0"),
        (("--stop-on-success", "--verifier", "none"), "needs a verifier"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model, place, run, more, message):
    good = '{"id": "a", "prompt": "x", "answer": "1"}\n'
    (place / "broken.jsonl").write_text(good + "{")
    (place / "twice.jsonl").write_text(good + good)
    (place / "long.jsonl").write_text(json.dumps({"id": "long", "prompt": "word " * 2000, "answer": "1"}))
    code, out, err = run(*sample(model), *more)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (place / "samples.jsonl").exists() or not (place / "samples.jsonl").stat().st_size


def _start(model, *more):
    command = [sys.executable, "-m", "t2fast", *map(str, sample(model, *more))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_size(process, size):
    path = Path("samples.jsonl")
    while process.poll() is None and not (path.exists() and path.stat().st_size > size):
        time.sleep(0.001)


@pytest.mark.usefixtures("place")
def test_interrupt(model):
    more = ("-k", 500)
    process = _start(model, *more)
    _wait_for_size(process, 1000)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    kept = len(_sorted("samples.jsonl"))
    assert process.returncode == 130
    assert out == ""
    assert err == f"samples.jsonl keeps {kept} of 3000 samples; --resume continues\nt2fast: interrupted\n"
    assert 0 < kept < 3000


@pytest.mark.usefixtures("place")
def test_killed_again_and_again(model, run):
    """T2FAST_KILLS sets how often; the file must be as if nothing had happened."""
    kills = int(os.environ.get("T2FAST_KILLS", "2"))
    assert run(*sample(model, "-k", 60, "--out", "whole.jsonl"))[0] == 0
    chance = random.Random(1)
    killed = 0
    for _ in range(kills):
        size = Path("samples.jsonl").stat().st_size if Path("samples.jsonl").exists() else 0
        process = _start(model, "-k", 60, "--resume")
        _wait_for_size(process, size + chance.uniform(0, 0.5 / kills) * Path("whole.jsonl").stat().st_size)
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed
    code, _, err = run(*sample(model, "-k", 60, "--resume"))
    assert (code, err) == (0, "")
    assert _sorted("samples.jsonl") == _sorted("whole.jsonl")


@pytest.mark.usefixtures("place")
def test_endpoint(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    with serving(("429", "drop"), rate=0.2) as server:
        command = ("sample", "--endpoint", server.url, "--model", "toy", "--prompts", "prompts.jsonl", "-k", 4)
        code, out, err = run(*command, "--out", "e.jsonl", "--verifier", "none")
        assert (code, err) == (0, "")
        assert "completion_tokens" in out
        assert len(_sorted("e.jsonl")) == 24
        assert b"s3cret" not in Path("e.jsonl.manifest.json").read_bytes()
        code, out, err = run(*command[:-2], "-k", 6, "--out", "e.jsonl", "--verifier", "none", "--resume")
        assert (code, err) == (0, "")
        assert len(_sorted("e.jsonl")) == 36
    code, out, err = run("sample", "--prompts", "prompts.jsonl", "--out", "f.jsonl")
    assert (code, out) == (2, "")
    assert err.startswith("t2fast: --model: missing")


@pytest.mark.usefixtures("place")
def test_stdin_and_stdout(model):
    command = [sys.executable, "-m", "t2fast", "sample", "--model", str(model), "--max-new-tokens", "3", "-k", "2"]
    given = b'{"id": "a", "prompt": "The answer is", "answer": "e"}\n'
    before = set(os.listdir())
    for out in ("-", "/dev/stdout"):
        done = subprocess.run([*command, "--prompts", "-", "--out", out], input=given, capture_output=True)
        assert done.returncode == 0
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [(line["problem_id"], line["sample"]) for line in lines] == [("a", 0), ("a", 1)]
        assert b"problems" in done.stderr
    assert set(os.listdir()) == before
    done = subprocess.run([*command, "--prompts", "-", "--out", "-", "--resume"], input=given, capture_output=True)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"t2fast: -: not a file, so it cannot be resumed (leave out --resume)\n"


def test_a_verifier_that_always_fails(model, place, run):
    (place / "bad.py").write_text("def check(prompt, text):\n    raise RuntimeError('broken')\n")
    code, _, err = run(*sample(model, "--verifier", "bad.py:check"))
    assert code == 2
    assert "the verifier failed on all 48 samples" in err


def test_ray_workers_write_what_one_sampler_writes(model, place, run):
    pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
    assert run(*sample(model, "--out", "one.jsonl"))[0] == 0
    process = _start(model, "--workers", "ray:2")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert _errors(err) == []
    assert "48" in out
    assert _sorted("samples.jsonl") == _sorted("one.jsonl")
    process = _start(model, "--workers", "ray:1", "--resume", "--model", "./nowhere")
    out, err = process.communicate()
    assert (process.returncode, out) == (2, "")
    (line,) = _errors(err)
    assert line.startswith("t2fast: ./nowhere: no such folder")
    assert (place / "samples.jsonl.manifest.json").exists()


def _errors(err):
    """Lines of standard error, but for what is said where workers take seconds to start."""
    return [line for line in err.splitlines() if not line.startswith("no worker is at work")]
