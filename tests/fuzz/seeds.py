"""Honest inputs of every format that is read, small: what mutations start from."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import t2fast as t2

__all__ = ["SEEDS"]


def _lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def _eval_log() -> bytes:
    """A log of inspect: a zip of JSON members."""
    file = io.BytesIO()
    sample = {"id": "a", "epoch": 1, "scores": {"match": {"value": "C", "answer": "7"}}}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("header.json", json.dumps({"version": 2, "eval": {"model": "m", "task": "t"}}))
        members.writestr("samples/a_epoch_1.json", json.dumps(sample))
        members.writestr("samples/a_epoch_2.json", json.dumps({**sample, "epoch": 2}))
    return file.getvalue()


_PASSED = _lines(
    {"task_id": "a", "passed": True, "completion_id": 0},
    {"task_id": "a", "passed": False, "completion_id": 1},
    {"task_id": "b", "passed": 1, "completion_id": 0},
)
_COUNTS = b"problem_id,n_samples,n_correct\na,10,3\nb,10,0\n"
_CHECKPOINTS = b'family,n_params,n_tokens,loss\np,1e8,2e9,3.1\np,20M,"2,000,000,000",3.5\nq,1e9,2e10,2.5\n'

#: Target -> inputs.
SEEDS: dict[str, list[bytes]] = {
    "counts": [
        _PASSED,
        _COUNTS,
        b"\xef\xbb\xbf" + _COUNTS,
        _COUNTS.decode().encode("utf-16"),
        b"problem_id\tcorrect\na\tTrue\na\tFalse\n",
        b"problem_id,trial,passed\na,0,1\na,1,0\n",
        b"[[1,0,1],[0,0,1]]",
        _json({"eval": {"t": [{"base_status": "pass", "plus_status": "fail"}]}}),
        _json({"0": [[0, {"task_id": 0, "passed": True, "completion_id": 0}]]}),
        _json([{"is_corrects": [True, False], "name": "a"}]),
        _json({"is_corrects": [True, False], "question": "q"}),
        _lines({"doc_id": 0, "filter": "none", "exact_match": 1.0, "doc_hash": "x", "resps": [["7"]]}),
        _lines({"schema": "t2fast-samples/1", "problem_id": "a", "sample": 0, "correct": True}),
        _lines({"task_id": "a", "trial": 0, "reward": 1.0, "info": {}}),
        _json({"version": 2, "eval": {"model": "m", "task": "t"}, "samples": [{"id": 1, "epoch": 1, "scores": {}}]}),
        _parquet({"problem_id": ["a", "b"], "correct": [[True, False], [True, True]]}),
        _parquet({"task_id": ["a", "a"], "passed": [True, False]}),
        _eval_log(),
        gzip.compress(_PASSED),
        bz2.compress(_PASSED),
        lzma.compress(_PASSED),
        b'{"task_id":"a","passed":true}\r{"task_id":"a","passed":false}\r',
    ],
    "table": [
        _CHECKPOINTS,
        _CHECKPOINTS.replace(b",", b";"),
        _CHECKPOINTS.replace(b",", b"\t"),
        _lines({"n_params": 1e8, "n_tokens": "2B", "loss": 3.0}, {"n_params": 1e9, "n_tokens": 1e9, "loss": None}),
        _json({"n_params": [1e8, 1e9], "n_tokens": [1e9, 1e9], "loss": [3.0, 2.5]}),
        _json([{"n_params": 1e8, "n_tokens": 1e9, "loss": 3.0}]),
        _parquet({"n_params": [1e8, 1e9], "n_tokens": [2e9, 2e9], "loss": [3.0, 2.5]}),
    ],
    "law": [law for law in (_json(law.to_dict()) for law in t2.presets().values()) if len(law) < 1 << 14],
    "rule": [
        _json(rule.to_dict()) for rule in (t2.Verifier(0.01, 0.9), t2.Majority(t2.Tail.zipf(1.2, 30)), t2.BestOf(1.2))
    ],
    "prompts": [
        _lines({"id": "a", "prompt": "1+1=", "answer": "2"}, {"id": "b", "prompt": "2+2=", "params": {"k": 3}}),
        _lines({"id": "a", "messages": [{"role": "user", "content": "1+1"}], "answer": "2"}),
        _lines(
            {"id": 1, "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "choices": ["a", "b"]}
        ),
    ],
    "store": [
        _lines({"problem_id": "a", "sample": 0, "text": "2", "correct": True, "finish": "stop", "n_tokens": 1}),
    ],
    "prices": [b"model,input_dollars,output_dollars,input_tokens,output_tokens\nm,0.1,0.4,100,200\nn,$1.00,2,10,20\n"],
    "measurements": [b"model,gpu,batch,prompt_tokens,answer_tokens,tokens_per_second\n8B,h100,1,100,100,200\n"],
    "card": [_json({"name": "mine", "flops": {"bf16": 1e15}, "memory_bytes": 8e10, "memory_bytes_per_second": 3e12})],
    "architecture": [
        _json({"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}),
        _json(
            {"n_params": 8e9, "layers": 32, "d_model": 4096, "heads": 32, "kv_heads": 8, "head_dim": 128, "vocab": 1e5}
        ),
    ],
    "quantity": [b"20M", b"1e22", b"1M:10B:50", b"10,20,30", b"$10k", b"2,000,000"],
    "expression": [
        b"n_params / 1e6 > 20 and family == 'a'",
        b"n_tokens >= 2e9 or loss < 3",
        b"not loss < 2",
        b"1 < loss <= 3",
    ],
}
