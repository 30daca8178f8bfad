"""Many clients of every kind at once: right answers or clean refusals, no page lost, memory bounded."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.support import server, storm, tiny
from tests.support.commands import PROGRAM, line_with

from t2fast.serve import Limits

CLIENTS = int(os.environ.get("T2FAST_CLIENTS", "200"))


def test_clients_of_every_kind():
    known = storm.cases()
    # Little memory, so that samples are paused and prefixes are dropped; few places, so that requests wait.
    page = 16 * 2 * 4 * 2 * 16 * 4
    with server.serving(kv_memory=64 * page, max_batch=8, limits=Limits(body=1 << 16, waiting=12)) as serving:
        one = asyncio.run(storm.Storm(serving.port, known, most_body=1 << 16).run(24, 4))
        assert one.wrong == []
        serving.settle()
        kinds = {name.partition(":")[0] for name in one.counted}
        assert kinds >= {"whole", "stream", "slow reader", "slow writer", "leaves", "leaves at once", "garbage"}
        assert sum(count for name, count in one.counted.items() if name.endswith("right")) > 20
        assert serving.count("disconnects")
        assert serving.count("cancelled_samples")
        assert serving.count("restarts") == 0
        again = asyncio.run(storm.Storm(serving.port, known, seed=1, most_body=1 << 16).run(4, 4))
        assert again.wrong == []
        serving.settle()


def metrics(port):
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    return {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if not line.startswith("#")}


def memory(pid):
    """Resident megabytes of a process: now, and at most."""
    text = Path(f"/proc/{pid}/status").read_text()
    return [int(re.search(rf"{name}:\s+(\d+) kB", text)[1]) / 1024 for name in ("VmRSS", "VmHWM")]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_torture_of_many_clients_at_once(tmp_path, capfd):
    tiny.model().save_pretrained(tmp_path / "tiny")
    tiny.tokenizer().save_pretrained(tmp_path / "tiny")
    command = [*PROGRAM, "serve", "--model", tmp_path / "tiny", "--port", "0", "--kv-memory", "16M"]
    process = subprocess.Popen([*map(str, command)], stderr=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+)/v1", line_with(process, "serving tiny at"))[1])
        known = storm.cases()
        asyncio.run(storm.Storm(port, known, seed=9).run(10, 2))
        before, begun = memory(process.pid), time.monotonic()
        one = asyncio.run(storm.Storm(port, known).run(CLIENTS, 10))
        took = time.monotonic() - begun
        assert one.wrong == []
        until = time.monotonic() + 30
        while (found := metrics(port))["t2fast_requests_running"] + found["t2fast_requests_waiting"]:
            assert time.monotonic() < until
            time.sleep(0.1)
        after = memory(process.pid)
        assert found["t2fast_pages_used"] == found["t2fast_rows_running"] == found["t2fast_restarts_total"] == 0
        # Nothing grows with the number of requests: what 2,000 leave behind is no more than what 200 bodies take.
        assert after[0] < before[0] + 150
        assert after[1] < before[0] + 1000
        with capfd.disabled():
            rate = sum(one.counted.values()) / took
            sys.stdout.write(f"\n{CLIENTS} clients, {sum(one.counted.values())} requests in {took:.1f} s ({rate:.0f}/s): "
                             f"{dict(sorted(one.counted.items()))}\nMB before {before[0]:.0f}, after {after[0]:.0f}, most "
                             f"{after[1]:.0f}; {found}\n")  # fmt: skip
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
    finally:
        process.kill()
        process.communicate()
