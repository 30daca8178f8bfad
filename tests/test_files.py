"""Files are whole or not there, and what cannot be written is said before the work."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from t2fast import files
from t2fast.errors import DataError, T2Error


def test_what_is_written(tmp_path):
    files.write_text(tmp_path / "a.txt", "é\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\n".encode()
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_an_existing_file_survives_a_failed_save(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")

    def save():
        with files.replacing(target, "out") as beside:
            beside.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(T2Error, match="out = .*a.txt': cannot be written: No space left on device"):
        save()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_a_library_raises_after_a_failed_write_is_ours(tmp_path):
    """Such as matplotlib, whose PDF fails once more as it is closed on a full disk."""

    def save():
        with files.replacing(tmp_path / "a.pdf", "plot"):
            try:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                raise RuntimeError("inconsistent stream state")

    with pytest.raises(T2Error, match="plot = .*cannot be written: No space left on device"):
        save()
    with pytest.raises(RuntimeError), files.replacing(tmp_path / "a.pdf"):
        raise RuntimeError("of another kind")
    assert list(tmp_path.iterdir()) == []


def test_what_the_work_says_of_another_file_is_said(tmp_path):
    """Not every failure while an output is written is the output's."""

    def save():
        with files.replacing(tmp_path / "out.csv", "out"):
            try:
                (tmp_path / "other.csv").read_text()
            except OSError:
                raise T2Error("other.csv: no such file") from None

    with pytest.raises(T2Error, match=r"^other\.csv: no such file$"):
        save()


def test_an_interrupted_save_leaves_nothing(tmp_path):
    def save():
        with files.replacing(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save()
    assert not list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "text"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device():
    with pytest.raises(T2Error, match="No space left"):
        files.write_text("/dev/full", "text")
    assert Path("/dev/full").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder, "is a folder"),
        (lambda folder: folder / "none" / "a.txt", "does not exist; make it first"),
        (lambda _: "", "must be a path"),
        (lambda _: 3, "must be a path"),
    ],
)
def test_outputs_that_cannot_be_written(tmp_path, make, message):
    with pytest.raises(T2Error, match=message):
        files.check_output(make(tmp_path), "--out")


def test_outputs_that_can_be_written(tmp_path):
    assert files.check_output(None) is None
    assert files.check_output(tmp_path / "new.txt") == tmp_path / "new.txt"
    assert files.check_output("new.txt") == Path("new.txt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_results_that_cannot_be_printed():
    command = [sys.executable, "-m", "t2fast", "compare", "1B:20B:k=1"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "t2fast: standard output: No space left on device\n")


def test_a_terminal_without_the_letters_of_a_name(tmp_path):
    table = tmp_path / "u.csv"
    table.write_text("model,problem_id,n_samples,n_correct\nmodél-漢\x1b[2J,a,10,3\n", encoding="utf-8")
    command = [sys.executable, "-m", "t2fast", "passk", str(table), "-k", "1"]
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"mod\xe9l-\u6f22\x1b[2J" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON: Expecting value at line 1, column 1"),
        ("{\n1", "not JSON: .* at line 2, column 1"),
        ("[" * 10_000, "nested too deeply"),
        ("9" * 5_000, "not JSON that can be read"),
        ("null", "must hold a JSON object, not NoneType"),
        ("[]", "must hold a JSON object, not list"),
    ],
)
def test_an_object_is_read_or_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        files.read_object(path, DataError)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_objects_that_cannot_be_read(tmp_path):
    with pytest.raises(T2Error, match="no such file"):
        files.read_object(tmp_path / "none.json")
    with pytest.raises(T2Error, match="cannot be read: Is a directory"):
        files.read_object(tmp_path)
    (tmp_path / "x.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(T2Error, match="cannot be read: 'utf-8' codec"):
        files.read_object(tmp_path / "x.json")
