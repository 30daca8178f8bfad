"""Every format is recognised by its content, and trouble is told with file and line."""

import gzip
import io
import json
import zipfile
import zlib

import numpy as np
import pytest

from t2fast import T2Error
from t2fast.data import read_counts


def pairs(counts):
    return {p: (int(n), int(c)) for p, n, c in zip(counts.problem_id, counts.n_samples, counts.n_correct, strict=True)}


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


TRIALS = [("a", True), ("a", False), ("b", True), ("a", False), ("b", True), ("a", True)]
EXPECTED = {"a": (4, 2), "b": (2, 2)}

INSPECT = {
    "eval": {"task": "arith", "model": "org/model"},
    "samples": [
        {"id": p, "epoch": i, "scores": {"match": {"value": "C" if v else "I"}}} for i, (p, v) in enumerate(TRIALS)
    ],
}

FORMATS = {
    "counts.csv": "problem_id,n,c\na,4,2\nb,2,2\n",
    "counts.tsv": "task_id\tnum_samples\tnum_correct\na\t4\t2\nb\t2\t2\n",
    "long.csv": "id,correct\n" + "".join(f"{p},{int(v)}\n" for p, v in TRIALS),
    "words.csv": "id,verdict\n" + "".join(f"{p},{'pass' if v else 'FAIL'}\n" for p, v in TRIALS),
    "matrix.csv": "problem_id,t0,t1,t2,t3\na,1,0,0,1\nb,1,1,,\n",
    "counts.jsonl": lines([{"problem_id": "a", "n": 4, "c": 2}, {"problem_id": "b", "n": 2, "c": 2}]),
    "one_line.json": json.dumps([{"problem_id": "a", "n": 4, "c": 2}, {"problem_id": "b", "n": 2, "c": 2}]),
    "human_eval.jsonl": lines([{"task_id": p, "completion": "x\ny", "result": "", "passed": v} for p, v in TRIALS]),
    "evalplus.json": json.dumps(
        {
            "date": "2026",
            "eval": {q: [{"base_status": "pass" if v else "fail"} for p, v in TRIALS if p == q] for q in "ab"},
        }
    ),
    "tau.json": json.dumps(
        [{"task_id": p, "trial": i, "reward": float(v)} for i, (p, v) in enumerate(TRIALS)], indent=1
    ),
    "tau2.json": json.dumps(
        {
            "info": {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "retail"}},
            "simulations": [
                {"task_id": p, "trial": i, "reward_info": {"reward": float(v)}} for i, (p, v) in enumerate(TRIALS)
            ],
        }
    ),
    "monkeys.jsonl": lines([{"orig_dset_idx": q, "is_correct": [v for p, v in TRIALS if p == q]} for q in "ab"]),
    "monkey.json": json.dumps({"problem_id": "a", "is_correct": [True, False, False, True]}, indent=1),
    "inspect.json": json.dumps(INSPECT, indent=1),
    "inspect_one_line.json": json.dumps(INSPECT),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("packed", [False, True])
def test_formats(tmp_path, name, packed):
    path = tmp_path / (name + ".gz" if packed else name)
    data = FORMATS[name].encode()
    path.write_bytes(gzip.compress(data) if packed else data)
    missing = "drop" if name.startswith("matrix") else "error"
    got = pairs(read_counts(path, missing=missing))
    assert got == ({"a": (4, 2)} if name == "monkey.json" else EXPECTED)


def test_names_come_from_the_file_or_the_caller(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(FORMATS["inspect.json"])
    counts = read_counts(path)
    assert set(counts.model) == {"org/model"}
    assert set(counts.benchmark) == {"arith"}
    assert counts.formats == ("inspect",)
    assert set(read_counts(path, model="mine").model) == {"mine"}


def test_matrices_without_names(tmp_path):
    for name, text in {
        "m.csv": "1,0,1\n0,0,1\n",
        "m.json": "[[1, 0, 1], [0, 0, 1]]",
        "m.jsonl": "[1,0,1]\n[0,0,1]\n",
    }.items():
        (tmp_path / name).write_text(text)
        counts = read_counts(tmp_path / name)
        np.testing.assert_array_equal(counts.n_samples, [3, 3])
        np.testing.assert_array_equal(counts.n_correct, [2, 1])


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    p, v = zip(*TRIALS, strict=True)
    parquet.write_table(pa.table({"problem_id": p, "passed": v, "text": ["x"] * 6}), tmp_path / "t.parquet")
    assert pairs(read_counts(tmp_path / "t.parquet")) == EXPECTED


def test_shards_add_up(tmp_path):
    for i in range(2):
        (tmp_path / f"{i}.jsonl").write_text(FORMATS["human_eval.jsonl"])
    files = [tmp_path / "0.jsonl", tmp_path / "1.jsonl"]
    alone = read_counts(files)
    assert set(alone.model) == {"0", "1"}
    assert any("2 files name no model" in text for text in alone.warnings)
    # The same content twice is a copy of a file, whatever it is called.
    copied = read_counts(files, model="m")
    assert pairs(copied) == EXPECTED
    assert any("same content" in text for text in copied.warnings)
    (tmp_path / "1.jsonl").write_text(FORMATS["human_eval.jsonl"].replace("x", "y"))
    together = read_counts(files, model="m")
    assert pairs(together) == {"a": (8, 4), "b": (4, 4)}
    assert "from 2 files" in together.contents(together.groups()["m", ""])


def lm_eval(**more):
    return [
        {
            "doc_id": i,
            "resps": [["x"]],
            "filtered_resps": ["x"],
            "filter": "none",
            "metrics": ["exact_match"],
            "exact_match": v,
        }
        | more
        for i, v in enumerate([1.0, 0.0])
    ]


def test_lm_evaluation_harness(tmp_path):
    folder = tmp_path / "org__model"
    folder.mkdir()
    path = folder / "samples_gsm8k_cot_2026-01-01T00-00-00.000.jsonl"
    path.write_text(lines(lm_eval()))
    counts = read_counts(path)
    assert pairs(counts) == {"0": (1, 1), "1": (1, 0)}
    assert set(counts.model) == {"org/model"}
    assert set(counts.benchmark) == {"gsm8k_cot"}
    assert not counts.warnings
    path.write_text(lines(lm_eval(resps=[["x", "y"]])))
    assert "keeps one verdict of exact_match per document" in read_counts(path).warnings[0]
    path.write_text(lines([*lm_eval(), *lm_eval(filter="flexible")]))
    with pytest.raises(T2Error, match=r"jsonl:3: filters none and flexible .* choose one with filter="):
        read_counts(path)
    assert pairs(read_counts(path, filter="flexible")) == {"0": (1, 1), "1": (1, 0)}
    path.write_text(lines(lm_eval(metrics=["exact_match", "f1"], f1=0.5)))
    with pytest.raises(T2Error, match="metrics are exact_match, f1: choose one with metric="):
        read_counts(path)
    assert pairs(read_counts(path, metric="f1", threshold=0.5))["1"] == (1, 1)


def zstd_archive(members):
    """A zip archive with zstd members, which zipfile cannot write before Python 3.14."""
    zstandard = pytest.importorskip("zstandard")
    plain = io.BytesIO()
    packed = {name: zstandard.compress(data) for name, data in members.items()}
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        for name, data in packed.items():
            archive.writestr(name, data)
    data = bytearray(plain.getvalue())
    for name, original in members.items():
        # Set method, checksum and size in the local and in the central header of each member.
        for mark, method, name_at in ((b"PK\x03\x04", 8, 30), (b"PK\x01\x02", 10, 46)):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                if data[at + name_at : at + name_at + len(name)] == name.encode():
                    data[at + method : at + method + 2] = (93).to_bytes(2, "little")
                    data[at + method + 6 : at + method + 10] = zlib.crc32(original).to_bytes(4, "little")
                    data[at + method + 14 : at + method + 18] = len(original).to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("zstd", [False, True])
def test_inspect_archives(tmp_path, zstd):
    members = {"header.json": json.dumps({"eval": INSPECT["eval"]}).encode()}
    for sample in INSPECT["samples"]:
        members[f"samples/{sample['id']}_epoch_{sample['epoch']}.json"] = json.dumps(sample).encode()
    path = tmp_path / "log.eval"
    if zstd:
        path.write_bytes(zstd_archive(members))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    counts = read_counts(path)
    assert pairs(counts) == EXPECTED
    assert counts.model[0] == "org/model"


def test_inspect_samples_that_crashed_follow_the_policy(tmp_path):
    log = {"eval": {}, "samples": [*INSPECT["samples"], {"id": "a", "epoch": 9, "error": {"message": "boom"}}]}
    path = tmp_path / "log.json"
    path.write_text(json.dumps(log))
    with pytest.raises(T2Error, match=r"log\.json:sample 'a', epoch 9: a trial has no verdict: choose missing='drop'"):
        read_counts(path)
    dropped = read_counts(path, missing="drop")
    assert pairs(dropped) == EXPECTED
    assert dropped.warnings == ("1 trials without a verdict were left out",)
    assert pairs(read_counts(path, missing="fail"))["a"] == (5, 2)


def test_compiled_and_interpreted_reading_agree(tmp_path, monkeypatch):
    from t2fast.data.formats import recognise

    monkeypatch.setattr(recognise, "_BLOCK", 1000)
    rows = [{"task_id": f"t/{i % 7}", "completion": "x" * (i % 50), "passed": i % 3 == 0} for i in range(500)]
    # A line that only interpreted code understands.
    rows[250]["passed"] = "true"
    path = tmp_path / "x.jsonl"
    path.write_text(lines(rows))
    mixed = read_counts(path)
    monkeypatch.setattr(recognise, "_plain_lines", lambda *_: False)
    slow = read_counts(path)
    assert pairs(mixed) == pairs(slow)
    assert mixed.problem_id == slow.problem_id
    assert mixed.n_samples.sum() == 500


def test_one_malformed_line_is_named_and_counted(tmp_path):
    path = tmp_path / "big.jsonl"
    good = '{"task_id": "a", "passed": true}\n'
    path.write_text(good * 5000 + '{"task_id": "a", "pas\n' + good * 5000)
    with pytest.raises(T2Error, match=r"big\.jsonl:5001: "):
        read_counts(path)
    counts = read_counts(path, malformed="skip")
    assert counts.skipped == 1
    assert pairs(counts) == {"a": (10_000, 10_000)}
    assert counts.warnings == ("1 malformed lines were left out",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (
            "hello,world\n1,2\n",
            r"x:2: no column for the verdict .* and no column for the problem .*; columns are hello, world",
        ),
        ("id,n,c\na,3,2\nb,3,4\n", r"x:3: c = 4, n = 3"),
        ("id,n,c\na,3\n", r"x:2: 2 fields instead of 3"),
        ("id,score\na,0.5\n", r"x:2: verdict 0\.5 is neither 0 nor 1: give threshold="),
        ("id,passed\na,maybe\n", r"x:2: verdict 'maybe' is neither true nor false"),
        ('{"passed": true}\n{"passed": false}\n', r"x:1: no column for the problem"),
        ('{"hello": 1}', "is none of the formats known"),
        ("{\n oops", "is neither JSON nor JSON Lines"),
        ("[]", "holds no verdicts"),
    ],
)
def test_unusable_files_are_told(tmp_path, text, message):
    path = tmp_path / "x"
    path.write_text(text)
    with pytest.raises(T2Error, match=message):
        read_counts(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(T2Error, match="no such file"):
        read_counts(tmp_path / "none.csv")
    (tmp_path / "x.eval").write_bytes(b"PK\x03\x04garbage")
    with pytest.raises(T2Error, match="damaged archive"):
        read_counts(tmp_path / "x.eval")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"id,n,c\n" + b"a,3,2\n" * 1000)[:-9])
    with pytest.raises(T2Error, match="compressed data"):
        read_counts(tmp_path / "x.gz")
    (tmp_path / "x.bin").write_bytes(b"\x89PNG\xff")
    with pytest.raises(T2Error, match="is not Unicode text|known format"):
        read_counts(tmp_path / "x.bin")


def test_what_is_written_reads_back(tmp_path):
    path = tmp_path / "sizes.csv"
    path.write_text("model,benchmark,problem_id,n,c,n_params,n_tokens\nm,b,p,10,3,7e7,3e11\nm,b,q,20,0,7e7,3e11\n")
    counts = read_counts(path)
    counts.write_csv(tmp_path / "again.csv")
    again = read_counts(tmp_path / "again.csv")
    assert again.problem_id == counts.problem_id == ("p", "q")
    np.testing.assert_array_equal(again.n_samples, [10, 20])
    np.testing.assert_array_equal(again.n_params, [7e7, 7e7])
    np.testing.assert_array_equal(again.n_tokens, [3e11, 3e11])
    assert max(map(len, str(counts).splitlines())) <= 80
    json.dumps(counts.to_dict())


def test_the_manifest_beside_a_file_of_samples(tmp_path):
    path, manifest = tmp_path / "s.jsonl", tmp_path / "s.jsonl.manifest.json"
    path.write_text(
        "".join(f'{{"problem":"q{i % 2}","sample":{i // 2},"correct":{str(i == 1).lower()}}}\n' for i in range(8))
    )
    alone = read_counts(path)
    assert alone.model == ("", "")
    assert alone.n_params is None
    manifest.write_text('{"model": {"name": "m", "n_params": 5e7, "n_tokens": null}, "benchmark": "b"}')
    found = read_counts(path)
    assert (found.model, found.benchmark, found.problem_id) == (("m", "m"), ("b", "b"), ("q0", "q1"))
    assert (found.n_samples.tolist(), found.n_correct.tolist()) == ([4, 4], [0, 1])
    assert found.n_params.tolist() == [5e7, 5e7]
    assert found.n_tokens is None
    assert read_counts(path, model="mine").n_params.tolist() == [5e7, 5e7]
    for text in ("", "[]", "{}", '{"model": 3, "benchmark": ""}', '{"model": {"n_params": "x"}, "benchmark": ""}'):
        manifest.write_text(text)
        with pytest.raises(T2Error, match=r"s\.jsonl\.manifest\.json: not a manifest of t2fast sample"):
            read_counts(path)


def test_counts_that_contradict_each_other_about_a_model(tmp_path):
    path = tmp_path / "c.csv"
    path.write_text("model,problem_id,n,c,n_params,n_tokens\na,1,9,3,1e8,\na,1,9,3,,2e9\n")
    assert read_counts(path).n_params.tolist() == [1e8]
    assert read_counts(path).n_tokens.tolist() == [2e9]
    path.write_text("model,problem_id,n,c,n_params,n_tokens\na,1,9,3,1e8,1e9\na,1,9,3,1e8,2e9\n")
    with pytest.raises(T2Error, match=r"c\.csv:3: model 'a' has two sizes"):
        read_counts(path)
