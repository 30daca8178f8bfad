"""vLLM itself, on the CPU: the same tokens and log-probabilities with its attention and with ours."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import entry_points
from itertools import pairwise
from pathlib import Path

import models
import pytest

pytest.importorskip("vllm.v1.attention.backends.registry", reason="vLLM is not installed")
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
BLOCK = 32
ENGINE = {"max_model_len": 1024, "max_num_seqs": 32, "block_size": BLOCK, "enforce_eager": True}
DRAW = random.Random(1)
PROMPT = [DRAW.randrange(5, models.VOCABULARY) for _ in range(500)]
#: One greedy sample; 16 drawn ones; 16 greedy ones, each of a prompt of its own below the shared one.
RUNS = [
    {"prompts": [PROMPT], "params": {"temperature": 0, "max_tokens": 12}},
    {"prompts": [PROMPT], "params": {"temperature": 1, "n": 16, "max_tokens": 12}},
    {
        "prompts": [[*PROMPT[:400], *DRAW.sample(range(5, 500), 3 + i)] for i in range(16)],
        "params": {"temperature": 0, "max_tokens": 10},
    },
]


@pytest.fixture(scope="session")
def model(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    models.write(request.param, folder)
    return folder


def environment(ours: bool) -> dict[str, str]:
    return os.environ | {"T2FAST_VLLM_CPU": str(int(ours)), "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}


def run(ours: bool, **asked) -> list[dict]:
    """What vLLM answers, in a process of its own."""
    done = subprocess.run(
        [sys.executable, HERE / "vllm_engine.py"],
        input=json.dumps(asked),
        env=environment(ours),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def agree(theirs: list[dict], ours: list[dict]) -> None:
    """The same tokens, and log-probabilities to 1e-4. Samples of a prompt may come in another order."""
    for a, b in zip(theirs, ours, strict=True):
        a, b = (sorted(each["samples"], key=lambda sample: sample["tokens"]) for each in (a, b))
        assert [sample["tokens"] for sample in a] == [sample["tokens"] for sample in b]
        for one, other in zip(a, b, strict=True):
            assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-4)


def test_vllm_finds_the_plug_in():
    assert "t2fast_kernels.vllm:register" in [point.value for point in entry_points(group="vllm.general_plugins")]


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_samples_are_vllms_and_the_prompt_is_read_once(model):
    asked = {"model": str(model), "dtype": "float32", "engine": ENGINE, "runs": RUNS}
    theirs, ours = run(False, **asked), run(True, **asked)
    agree(theirs, ours)
    for each, one, alike in zip(RUNS, ours, (0, 480, 384), strict=True):
        seen, steps = one["seen"], each["params"]["max_tokens"] - 1
        # The first token comes from the prefill; every later one is a call of each of the three layers.
        assert seen["decodes"] == 3 * steps
        assert seen["prefills"] == 3
        plans = seen["plans"]
        assert len(plans) == steps
        n_rows = len(one["samples"])
        for plan in plans:
            assert plan["rows"] == n_rows
            assert plan["shared"] == alike  # tokens of whole blocks, read once for all rows
            assert plan["own"] == plan["all"] - n_rows * alike
        # A step later each row is a token longer.
        assert all(b["all"] - a["all"] == n_rows for a, b in pairwise(plans))


@pytest.mark.parametrize("model", ["llama", "gemma"], indirect=True)
def test_mixed_steps_windows_and_caps(model):
    """Prompts arrive in pieces of 128 tokens while others decode; layers with windows have tables of their own."""
    engine = ENGINE | {"max_num_batched_tokens": 128, "enable_prefix_caching": False}
    prompts = [PROMPT[: 20 + 45 * i] for i in range(8)]
    asked = {"model": str(model), "dtype": "float32", "engine": engine}
    asked["runs"] = [{"prompts": prompts, "params": {"temperature": 0, "max_tokens": 24}}]
    theirs, ours = run(False, **asked), run(True, **asked)
    agree(theirs, ours)
    seen = ours[0]["seen"]
    assert seen["prefills"] >= 10 * 3
    assert max(plan["rows"] for plan in seen["plans"]) == 8
    assert len({plan["rows"] for plan in seen["plans"]}) >= 4  # some decoded while others were still being read


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_compiled_models_and_16_bits(model):
    """Under torch.compile, with a 16-bit cache: close to vLLM's own, which rounds elsewhere."""
    engine = ENGINE | {"enforce_eager": False}
    asked = {"model": str(model), "dtype": "bfloat16", "engine": engine}
    asked["runs"] = [RUNS[0] | {"params": {"temperature": 0, "max_tokens": 2}}]
    (theirs,), (ours,) = run(False, **asked), run(True, **asked)
    (a,), (b,) = theirs["samples"], ours["samples"]
    assert a["tokens"][0] == b["tokens"][0]
    assert a["logprobs"] == pytest.approx(b["logprobs"], abs=0.2)
    assert ours["seen"]["decodes"] == 3


@pytest.mark.parametrize("model", ["llama"], indirect=True)
def test_openai_server(model, tmp_path):
    """Through HTTP: 16 samples of one prompt, and a greedy one that is the engine's."""
    (expected,) = run(False, model=str(model), dtype="float32", engine=ENGINE, runs=RUNS[:1])
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--served-model-name", "tiny"]
    command += ["--max-model-len", "1024", "--block-size", str(BLOCK)]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment(True), stdout=log, stderr=log)
    try:
        base = f"http://127.0.0.1:{port}"
        # Minutes beside other work: what ends the wait is the server's end, or a limit that no start reaches.
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"{base}/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()[-4000:]
                time.sleep(1)
        else:
            pytest.fail(f"the server did not start: {(tmp_path / 'log').read_text()[-4000:]}")

        def complete(**asked) -> dict:
            body = json.dumps({"model": "tiny", "prompt": PROMPT, "max_tokens": 12, "ignore_eos": True, **asked})
            request = urllib.request.Request(
                f"{base}/v1/completions", body.encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)

        drawn = complete(n=16, temperature=1)
        assert len({choice["text"] for choice in drawn["choices"]}) == 16
        greedy = complete(temperature=0)["choices"][0]["text"]
        assert greedy.split() == [f"w{token}" for token in expected["samples"][0]["tokens"]]
        assert "SharedPrefixCPUBackend" in (tmp_path / "log").read_text()
    finally:
        server.terminate()
        server.wait(60)
