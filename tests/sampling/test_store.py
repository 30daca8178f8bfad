"""The store: nothing lost, nothing twice, whatever tears a run apart."""

import errno
import json
import multiprocessing
import os
import resource

import pytest
from tests.support.stand_in import answer

from t2fast.errors import DataError
from t2fast.sampling import Prompt, Sample, SamplingParams, Store, StoreError, read_samples
from t2fast.sampling.manifest import changes, manifest_path

MANIFEST = {"model": {"name": "m"}, "params": SamplingParams(k=3).to_dict(), "seed": 0, "begun": "today"}


def samples(count, **params):
    return [answer(Prompt(f"q{i % 3}", "x"), i // 3, SamplingParams(k=count, **params), 0, None) for i in range(count)]


def written(path, count, **params):
    with Store.open(path, MANIFEST) as store:
        for sample in samples(count, **params):
            store.append(sample)


def test_round_trip(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, 20, logprobs=True)
    assert list(read_samples(path)) == samples(20, logprobs=True)
    assert json.loads(manifest_path(path).read_text()) == MANIFEST
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.jsonl", "s.jsonl.manifest.json"]
    with Store.open(path, MANIFEST | {"begun": "later"}, resume=True) as store:
        assert store.samples == 20
        assert store.torn == 0
        assert store.stored("q0") == set(range(7))
        assert store.stored("q2") == set(range(6))
        assert store.stored("other") == frozenset()
        assert ("q0", 6) in store
        assert ("q2", 6) not in store
        assert ("other", 0) not in store
        with pytest.raises(StoreError, match="sample 0 of 'q0' is stored already"):
            store.append(samples(1)[0])
    assert json.loads(manifest_path(path).read_text())["begun"] == "today"


def test_text_that_utf8_cannot_hold(tmp_path):
    path = tmp_path / "s.jsonl"
    odd = Sample("q\ud800", 0, "\udfff \u2028 \x00 \r\n \U0001f600", (1,), "stop", 1)
    with Store.open(path, MANIFEST) as store:
        store.append(odd)
    assert list(read_samples(path)) == [odd]
    assert path.read_bytes().count(b"\n") == 1
    with Store.open(path, MANIFEST, resume=True) as store:
        assert ("q\ud800", 0) in store


def test_a_line_torn_at_every_byte(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, 3)
    content = path.read_bytes()
    last = content.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(content) + 1):
        path.write_bytes(content[:end])
        with Store.open(path, MANIFEST, resume=True) as store:
            whole = end == len(content)
            assert store.samples == (3 if whole else 2)
            assert store.torn == (0 if whole else end - last)
            if not whole:
                assert path.read_bytes() == content[:last]
                store.append(samples(3)[2])
        assert path.read_bytes() == content


def test_zeros_after_a_power_failure(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, 3)
    content = path.read_bytes()
    path.write_bytes(content + b"\0" * 5000)
    with Store.open(path, MANIFEST, resume=True) as store:
        assert store.torn == 5000
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (b"garbage\n", "s.jsonl:2: not a line that t2fast sample wrote"),
        (b'{"sample": 3}\n', "s.jsonl:2: not a line that t2fast sample wrote"),
        (b'{"problem_id": "a", "sample": -1}\n', "s.jsonl:2: not a line that t2fast sample wrote"),
        (b'{"problem": "q0", "sample": 0}\n', "s.jsonl:2: repeats sample 0 of 'q0'"),
    ],
)
def test_damage_before_the_end_is_not_passed_over(tmp_path, damage, message):
    path = tmp_path / "s.jsonl"
    written(path, 2)
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + damage + second)
    with pytest.raises(DataError) as error:
        Store.open(path, MANIFEST, resume=True)
    assert message in str(error.value)
    assert path.read_bytes() == first + damage + second


def test_a_file_is_never_overwritten(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, 2)
    with pytest.raises(StoreError, match="exists already"):
        Store.open(path, MANIFEST)
    manifest_path(path).unlink()
    with pytest.raises(StoreError, match=r"its manifest s\.jsonl\.manifest\.json is missing"):
        Store.open(path, MANIFEST, resume=True)
    manifest_path(path).write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        Store.open(path, MANIFEST, resume=True)
    assert len(list(read_samples(path))) == 2


def test_killed_before_the_first_sample(tmp_path):
    path = tmp_path / "s.jsonl"
    path.touch()
    with Store.open(path, MANIFEST) as store:
        store.append(samples(1)[0])
    assert json.loads(manifest_path(path).read_text()) == MANIFEST


def test_what_changed_is_said(tmp_path):
    path = tmp_path / "s.jsonl"
    written(path, 1)
    other = MANIFEST | {"params": SamplingParams(k=3, temperature=0.5, stop=("x",)).to_dict(), "seed": 7, "extra": 1}
    with pytest.raises(StoreError) as error:
        Store.open(path, other, resume=True)
    for change in (
        "params.temperature changed from 1.0 to 0.5",
        'params.stop changed from [] to ["x"]',
        "seed changed from 0 to 7",
        "extra changed from null to 1",
    ):
        assert change in str(error.value)
    assert changes({"a": (1, 2), "begun": 1}, {"a": [1, 2], "begun": 2}) == []


def test_two_writers(tmp_path):
    path = tmp_path / "s.jsonl"
    with Store.open(path, MANIFEST) as store:
        store.append(samples(1)[0])
        for resume in (False, True):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                assert pool.apply(_refusal, (path, resume)) == f"{path}: another process is writing to it"
    assert Store.open(path, MANIFEST, resume=True).samples == 1


def _refusal(path, resume):
    try:
        Store.open(path, MANIFEST, resume=resume)
    except StoreError as error:
        return str(error)


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(StoreError, match="No such file or directory"):
        Store.open(tmp_path / "no" / "s.jsonl", MANIFEST)
    with pytest.raises(StoreError, match="Is a directory"):
        Store.open(tmp_path, MANIFEST)


def _until_full(path, limit):
    # The kernel refuses to let a file grow beyond the limit in the middle of a line, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = Store.open(path, MANIFEST)
    try:
        for sample in samples(1000):
            store.append(sample)
    except StoreError as error:
        message = str(error)
    kept = store.samples
    store.close()
    return kept, message


def test_a_disk_that_fills_up_in_the_middle_of_a_line(tmp_path):
    path = tmp_path / "s.jsonl"
    whole = tmp_path / "whole.jsonl"
    written(whole, 1000)
    sizes = [len(line) for line in whole.read_bytes().splitlines(keepends=True)]
    limit = sum(sizes[:100]) + sizes[100] // 2
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        kept, message = pool.apply(_until_full, (path, limit))
    assert kept == 100
    assert message == f"{path}: File too large: 100 samples are kept"
    assert path.read_bytes() == b"".join(whole.read_bytes().splitlines(keepends=True)[:100])
    with Store.open(path, MANIFEST, resume=True) as store:
        for sample in samples(1000):
            if (sample.prompt_id, sample.sample) not in store:
                store.append(sample)
    assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("written_first", [0, 5])
def test_no_space_left(tmp_path, monkeypatch, written_first):
    path = tmp_path / "s.jsonl"
    store = Store.open(path, MANIFEST)
    store.append(samples(2)[0])
    content = path.read_bytes()
    write, calls = os.write, []

    def full(descriptor, data):
        calls.append(data)
        if len(calls) == 1 and written_first:
            return write(descriptor, data[:written_first])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(StoreError) as error:
            store.append(samples(2)[1])
    assert str(error.value) == (f"{path}: No space left on device: 1 samples are kept; make room, then --resume")
    assert path.read_bytes() == content
    store.append(samples(2)[1])
    store.close()
    assert list(read_samples(path)) == samples(2)


def test_interrupted_in_the_middle_of_a_line(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    store = Store.open(path, MANIFEST)
    write = os.write

    def interrupted(descriptor, data):
        write(descriptor, data[:9])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.append(samples(1)[0])
    assert path.read_bytes() == b""
    store.close()
    store.close()


def test_the_disk_is_asked_now_and_then(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: asked.append(descriptor))
    for seconds, least, most in [(0.0, 12, 14), (3600.0, 3, 3)]:
        asked.clear()
        with Store.open(tmp_path / f"{seconds}.jsonl", MANIFEST, sync_seconds=seconds) as store:
            for sample in samples(10):
                store.append(sample)
        assert least <= len(asked) <= most
