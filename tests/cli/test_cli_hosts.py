"""sample, fit and lab run with --workers ray on several hosts, as one process would have done it."""

import json
import random
import sys
import time

import pytest
from tests.support import nano_lab
from tests.support.commands import t2fast
from tests.support.hosts import Hosts, missing

pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
pytestmark = pytest.mark.slow


@pytest.fixture
def cluster():
    """Two hosts with a Ray node each: the hosts, and how to run a command on the first."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with Hosts() as hosts:
        head = hosts.head(1)
        hosts.join(head, 2)

        def begin(folder, *command):
            words = [sys.executable, "-m", "t2fast", *command]
            return hosts.begin(1, words, cwd=folder, environment={"RAY_ADDRESS": head, "NO_COLOR": "1"})

        yield hosts, begin


def _ended(process):
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said
    return said


def test_sample_with_relative_paths(cluster, model, tmp_path):
    _, begin = cluster
    (tmp_path / "my-model").symlink_to(model)
    lines = [{"id": f"q{i}", "prompt": f"what is {i} + 4?", "answer": str(i + 4)} for i in range(6)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["sample", "--model", "my-model", "--prompts", "prompts.jsonl", "-k", "4", "--max-new-tokens", "12"]
    one = t2fast(*words, "--device", "cpu", "--out", "one.jsonl", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    _ended(begin(tmp_path, *words, "--device", "cpu", "--out", "many.jsonl", "--workers", "ray"))
    one, many = (sorted((tmp_path / name).read_text().splitlines()) for name in ("one.jsonl", "many.jsonl"))
    assert len(one) == 24
    assert many == one


def test_a_bootstrap_while_a_host_dies(cluster, tmp_path):
    hosts, begin = cluster
    draw = random.Random(1)
    rows = [(n, d) for n in (1e7, 3e7, 1e8, 3e8, 1e9) for d in (1e9, 1e10, 1e11)]
    table = ["n_params,n_tokens,loss"]
    table += [f"{n},{d},{(1.7 + 400 / n**0.34 + 400 / d**0.28) * draw.uniform(0.99, 1.01)}" for n, d in rows]
    (tmp_path / "table.csv").write_text("\n".join(table) + "\n")
    words = ["fit", "table.csv", "--bootstrap", "100000", "--seed", "3", "--json"]
    one = t2fast(*words, "--out", "one.json", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    process = begin(tmp_path, *words, "--out", "many.json", "--workers", "ray")
    time.sleep(6)
    assert process.poll() is None, process.communicate()
    hosts.kill(2)
    many = _ended(process)
    assert json.loads(many[many.index("{") :]) == json.loads(one.stdout)
    assert (tmp_path / "many.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_a_laboratory_while_a_host_dies(cluster, tmp_path):
    hosts, begin = cluster
    preset = nano_lab.preset().to_dict()
    preset |= {"n_samples": 8, "duel": preset["duel"] | {"inference_flops": 6e4, "repeats": 1}}
    (tmp_path / "nano.json").write_text(json.dumps(preset))
    words = ["lab", "run", "--preset", "nano.json", "--device", "cpu", "--out"]
    process = begin(tmp_path, *words, "many", "--report", "r1", "--workers", "ray")
    while len(list((tmp_path / "many").glob("runs/*/manifest.json"))) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.2)
    at = hosts.kill(2)
    _ended(process)
    print(f"\nlab run, a host killed: ended {time.time() - at:.0f} s later")
    one = t2fast(*words, "one", "--report", "r2", "--workers", "2", cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    assert (tmp_path / "many" / "table.json").read_text() == (tmp_path / "one" / "table.json").read_text()
