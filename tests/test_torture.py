"""Killed at random moments, on full disks, with renames that fail: nothing is lost, nothing is there twice or by half.

T2FAST_KILLS sets how often each is killed; `make torture` kills hundreds of times. How samples survive kills stands in
tests/sampling/test_sample_file.py and tests/cli/test_cli_sample.py, which the same variable steers.
"""

import errno
import json
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support import nano_lab
from tests.support.commands import PROGRAM, line_with, t2fast

from t2fast import T2Error, files

KILLS = int(os.environ.get("T2FAST_KILLS", "3"))
ROOT = Path(__file__).parents[1]

WRITER = """
import sys
from t2fast.files import write_text
for letter in sys.stdin.read() * 1000:
    write_text(sys.argv[1], letter * 2_000_000)
"""


def environment():
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def test_a_file_is_the_old_one_or_the_new_one(tmp_path):
    """Whenever its writer is killed, a file is whole."""
    target, chance, killed = tmp_path / "out.txt", random.Random(3), 0
    target.write_text("z" * 2_000_000)
    for _ in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, target], stdin=subprocess.PIPE, text=True, env=environment()
        )
        process.stdin.write("abcdefg")
        process.stdin.close()
        before = target.stat().st_mtime_ns
        while process.poll() is None and target.stat().st_mtime_ns == before:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        text = target.read_text()
        assert len(text) == 2_000_000
        assert len(set(text)) == 1
    assert killed


@pytest.mark.slow
def test_a_laboratory_killed_again_and_again_ends_in_the_same_table(tmp_path):
    """What a killed run has done counts; the table is that of a run that nobody disturbed."""
    preset = tmp_path / "nano.json"
    preset.write_text(json.dumps(nano_lab.preset().to_dict()))

    def run(name, seconds=None):
        command = [*PROGRAM, "lab", "run", "--preset", preset, "--out", tmp_path / name, "--workers", "1"]
        more = ["--device", "cpu", "--report", tmp_path / f"{name}-report"]
        # One that takes longer is ended by SIGKILL.
        done = subprocess.run(
            [*map(str, command), *map(str, more)], capture_output=True, text=True, check=False, env=environment(),
            timeout=seconds,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    started = time.monotonic()
    run("whole")
    took, chance = time.monotonic() - started, random.Random(4)
    for _ in range(KILLS):
        with pytest.raises(subprocess.TimeoutExpired):
            run("disturbed", 3 + chance.uniform(0, (took - 3) / KILLS))
    run("disturbed")
    tables = [(tmp_path / name / "table.json").read_text() for name in ("whole", "disturbed")]
    made, again = (json.loads(table) for table in tables)
    assert made["checkpoints"] == again["checkpoints"]


@pytest.mark.slow
def test_a_run_whose_server_is_killed_again_and_again_loses_and_repeats_nothing(tmp_path):
    """Each sample of the file is there once, and is the one that a run whom nobody disturbed has."""
    pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
    from tests.support import tiny

    tiny.model().save_pretrained(tmp_path / "tiny")
    tiny.tokenizer().save_pretrained(tmp_path / "tiny")
    prompts = tmp_path / "p.jsonl"
    texts = ("The quick brown fox", "The quick brown dog", "def add(a, b):")
    prompts.write_text("".join(json.dumps({"id": f"q{i}", "prompt": text}) + "\n" for i, text in enumerate(texts)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def serve():
        command = [
            *PROGRAM,
            "serve",
            "--model",
            tmp_path / "tiny",
            "--port",
            port,
            "--kv-memory",
            "16M",
            "--max-batch",
            4,
        ]
        process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=environment())
        line_with(process, "serving tiny")
        return process

    def run(name, retries):
        command = [*PROGRAM, "sample", "--endpoint", f"http://127.0.0.1:{port}/v1", "--prompts", prompts, "-k", 100,
                   "--max-new-tokens", 60, "--seed", 3, "--out", tmp_path / name, "--resume", "--retries", retries]  # fmt: skip
        return subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True, env=environment())

    def finish(one):
        _, error = one.communicate(timeout=300)
        assert one.returncode == 0, error

    def lines(name):
        return (tmp_path / name).read_bytes().splitlines() if (tmp_path / name).exists() else []

    server, chance, kills = serve(), random.Random(5), max(2, KILLS // 10)
    client = run("whole.jsonl", 8)
    try:
        finish(client)
        assert len(lines("whole.jsonl")) == 300
        client, before = run("disturbed.jsonl", 0), 0
        for i in range(kills):
            # In the middle of the run: when a part of what is left has arrived.
            wanted = before + chance.randint(5, max(6, 300 // (kills + 1)))
            while len(lines("disturbed.jsonl")) < wanted and client.poll() is None:
                time.sleep(0.005)
            server.kill()
            assert server.wait() == -signal.SIGKILL
            server.stderr.close()
            if i % 2:  # the run has retries, and waits for the next server
                server = serve()
            else:
                if i:  # both are killed
                    client.kill()
                    client.communicate()
                else:  # without retries it ends with one line
                    _, error = client.communicate(timeout=60)
                    assert (client.returncode, error.count("\n")) == (2, 1), error
                server = serve()
                client = run("disturbed.jsonl", 30)
            before = len(lines("disturbed.jsonl"))
            assert before < 300, "the server was killed when all was done"
        finish(client)
        assert sorted(lines("disturbed.jsonl")) == sorted(lines("whole.jsonl"))
    finally:
        server.kill()
        server.wait()
        server.stderr.close()
        client.kill()
        client.wait()


@pytest.fixture
def counts(tmp_path):
    path = tmp_path / "checkpoints.csv"
    rows = [
        f"{n:g},{d:g},{1.7 + 400 * n**-0.34 + 410 * d**-0.28}"
        for n in (1e7, 3e7, 1e8, 3e8)
        for d in (1e9, 4e9, 2e10, 6e10)
    ]
    path.write_text("\n".join(["n_params,n_tokens,loss", *rows]) + "\n")
    return path


def full_after(n_bytes):
    """Make every file of this process end there, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize("n_bytes", [0, 1, 100, 600])
def test_a_disk_that_is_full_costs_no_older_file(tmp_path, counts, n_bytes):
    law = tmp_path / "law.json"
    fit = ["fit", str(counts), "--law", "chinchilla", "--out", str(law)]
    assert t2fast(*fit).returncode == 0
    before = law.read_bytes()
    assert len(before) > 600
    done = subprocess.run(
        [*PROGRAM, *fit], capture_output=True, text=True, check=False, env=environment(),
        preexec_fn=lambda: full_after(n_bytes),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written: File too large" in done.stderr
    assert law.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["checkpoints.csv", "law.json"]


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EACCES, errno.EIO, errno.ENOSPC])
def test_a_rename_that_fails_costs_no_older_file(tmp_path, monkeypatch, error):
    target = tmp_path / "law.json"
    target.write_text("old")

    def fail(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(T2Error, match=rf"law\.json': cannot be written: {os.strerror(error)}"):
        files.write_text(target, "new", "out")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a file system needs root")
def test_samples_on_a_file_system_that_fills_up(tmp_path):
    """A real file system of 64 KiB: what fits is kept, the message says so, and the run goes on when there is room."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this system does not let us mount")
    script = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.support.stand_in import StandIn
from t2fast.sampling import Prompt, SamplingParams, sample_to_file
prompts = [Prompt(f"q{{i}}", "x", answer="1") for i in range(20)]
sample_to_file(StandIn(), prompts, SamplingParams(k=20, max_new_tokens=50), sys.argv[1], verifier="numeric", resume=True)
"""
    path = place / "s.jsonl"
    try:
        whole = tmp_path / "whole.jsonl"
        subprocess.run([sys.executable, "-c", script, whole], check=True, env=environment())
        assert whole.stat().st_size > 1 << 16
        broken = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, env=environment()
        )
        assert broken.returncode
        assert "No space left on device" in broken.stderr
        kept = path.read_bytes()
        assert kept.endswith(b"\n")
        assert len(kept) > 1 << 14
        subprocess.run(["mount", "-o", "remount,size=4m", place], check=True)
        subprocess.run([sys.executable, "-c", script, path], check=True, env=environment())
        assert path.read_bytes().startswith(kept)
        assert sorted(path.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())
    finally:
        subprocess.run(["umount", place], check=False)
