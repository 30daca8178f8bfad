"""A short run of the fuzzer; `make fuzz` runs it for longer."""

import random

import pytest
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS, raised

N_INPUTS = 600

# What was found once, each the smallest input of its kind.
FOUND = {
    "counts": [
        b'{"version": 2, "eval": {"model": "m", "task": "t"}, "samples": [{"id": 1, "epoch": "\\ud800", "scores": {}}]}',
        b'{"version": 2, "eval": {"model": "\\udc00", "task": "t"}, "samples": [{"id": "\\ud800", "epoch": 1, "scores": {}}]}',
    ],
    "table": [
        b'{"n_params": [1e8, 1e9], "n_tokens": [1e9, 1e9, 1e9], "loss": 9007199254740993}',
        b'{"a": null}\n{"a": null}\n{"a": [null]}',
        b'{"n_params": 1' + b"0" * 400 + b', "n_tokens": 1}',
    ],
    "law": [b"[" * 5_000, b"9" * 5_000, b"null"],
    "card": [b'{"schema":' + b"[" * 5_000, b"[]"],
    "architecture": [
        b"[" * 5_000,
        b'{"n_params": null, "layers": 32, "d_model": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "vocab": 1e5}',
        b'{"n_params": 8e9, "layers": 32, "d_model": 4096, "heads": 32, "kv_heads": null, "head_dim": 128, "vocab": 1e5}',
        b'{"n_params": 8e9, "layers": 32, "d_model": 4096, "heads": 32, "head_dim": null, "vocab": 1e5}',
    ],
    "measurements": [
        b"model,gpu,batch,prompt_tokens,answer_tokens,tokens_per_second\n8B," + b"h" * 5_000 + b",1,1,1,200\n",
        b"model,gpu,batch,prompt_tokens,answer_tokens,tokens_per_second\n" + b"[" * 5_000 + b",h100,1,1,1,200\n",
    ],
    "expression": [b"loss < " + b"1-" * depth + b"1" for depth in (300, 900, 9_000)],
    "store": [
        b'{"problem_id": "a", "sample": 9007199254740993, "text": "2", "correct": true}\n',
        b'{"problem_id": "a", "sample": -1, "text": "2", "correct": true}\n',
        b'{"problem_id": "a", "sample": true, "text": "2", "correct": true}\n',
        b'{"problem_id": [[]], "sample": 0, "text": "2", "correct": true}\n',
    ],
}  # fmt: skip


def test_every_target_reads_its_seeds(tmp_path):
    assert SEEDS.keys() == TARGETS.keys()
    for target, seeds in SEEDS.items():
        for content in seeds:
            TARGETS[target](content, tmp_path)


@pytest.mark.parametrize("target", TARGETS)
def test_what_was_found_once(target, tmp_path):
    for content in [*FOUND.get(target, []), *SEEDS[target], b""]:
        assert raised(target, content, tmp_path) is None


@pytest.mark.parametrize("target", TARGETS)
def test_broken_input_is_a_value_or_our_error(target, tmp_path):
    for index in range(N_INPUTS):
        rng = random.Random(f"0/{target}/{index}")
        content = mutated(rng.choice(SEEDS[target]), SEEDS[target], rng)
        error = raised(target, content, tmp_path)
        assert error is None, (content, repr(error))
