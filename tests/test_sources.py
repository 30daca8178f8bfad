"""What is no file of bytes, given to every reader of one: one line that names it, no endless reading, no exception of Python."""

import os
import threading

import pytest

import t2fast as t2
from t2fast import costs, rules
from t2fast.choosing.prices import read_prices
from t2fast.data import read_counts, read_table
from t2fast.errors import T2Error
from t2fast.files import check_input, check_output, read_content
from t2fast.lab.preset import load_preset
from t2fast.sampling import read_prompts

HONEST = {
    read_counts: "problem_id,n_samples,n_correct\na,10,3\n",
    read_table: "n_params,n_tokens,loss\n1e8,2e9,3.1\n",
    read_prices: "model,input_dollars,output_dollars,input_tokens,output_tokens\nm,1,2,10,20\n",
    read_prompts: '{"id": "a", "prompt": "x"}\n',
    costs.read_results: "model,gpu,batch,prompt_tokens,answer_tokens,tokens_per_second\n8B,h100,1,100,100,200\n",
    costs.load_card: '{"name": "m", "flops": {"bf16": 1e15}, "memory_bytes": 8e10, "memory_bytes_per_second": 3e12}',
    costs.load_architecture: '{"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}',
    t2.load_law: None,
    rules.load_rule: None,
    load_preset: None,
}
READERS = pytest.mark.parametrize("read", HONEST, ids=lambda read: read.__qualname__)


@READERS
@pytest.mark.parametrize("kind", ["loop", "dangling", "folder", "device", "empty", "zeros", "name"])
def test_what_is_no_file_is_one_line(tmp_path, read, kind):
    path = tmp_path / "x.json"
    if kind == "folder":
        path.mkdir()
    elif kind in ("empty", "zeros"):
        path.write_bytes(b"" if kind == "empty" else bytes(5000))
    elif kind == "name":
        path = tmp_path / ("x" * 300 + ".json")
    else:
        path.symlink_to({"loop": path, "dangling": "nowhere", "device": "/dev/zero"}[kind])
    with pytest.raises(T2Error) as caught:
        read(str(path))
    assert "\n" not in str(caught.value)
    assert str(path)[:40] in str(caught.value)


@pytest.mark.parametrize("read", [read for read, text in HONEST.items() if text], ids=lambda read: read.__qualname__)
def test_pipes_are_read_once(tmp_path, read):
    """Whoever writes into a named pipe does so once: a second opening would wait for ever."""
    (tmp_path / "file.json").write_text(HONEST[read])
    expected = read(str(tmp_path / "file.json"))
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(HONEST[read],), daemon=True)
    writer.start()
    found = []
    reader = threading.Thread(target=lambda: found.append(read(str(pipe))), daemon=True)
    reader.start()
    reader.join(60)
    assert found
    assert type(found[0]) is type(expected)


def test_what_is_read_whole_has_a_limit(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_content(path, 5) == b"12345"
    with pytest.raises(T2Error, match="holds more than"):
        read_content(path, 4)
    check_input(os.devnull)
    with pytest.raises(T2Error, match="/dev/zero: is a device, not a file"):
        check_input("/dev/zero")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_outputs_that_no_file_can_be_named_are_refused_before_the_work(tmp_path, name):
    with pytest.raises(T2Error, match="cannot be written: "):
        check_output(tmp_path / name, "out")
