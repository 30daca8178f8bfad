"""An option that a call would not look at is an error, in every command, before any work."""

import pytest


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plan --train-flops 1e20 --inference-flops 1e11 --aspect-ratio 64", "--aspect-ratio: has no effect here"),
        ("compare 1B:20B --train-context 4096", "--train-context: has no effect here: attention is not counted"),
        ("sample --prompts p.jsonl --out s.jsonl --model m --retries 3", "--retries: has no effect here"),
        (
            "sample --prompts p.jsonl --out s.jsonl --endpoint http://h/v1 --dtype float32",
            "--dtype: has no effect here",
        ),
        (
            "sample --prompts p.jsonl --out s.jsonl --model m --engine generate --kv-memory 1G",
            "--kv-memory: has no effect",
        ),
        (
            "sample --prompts p.jsonl --out s.jsonl --model m --verifier none --reasoning-end x",
            "--reasoning-end: has no",
        ),
        ("cost 8B --out card.json", "--out: has no effect here: it needs --calibrate"),
        ("cost 8B --calibrate c.csv --out card.json --batch 4", "--batch: has no effect here"),
        ("choose a.csv --dollars-per-hour 2", "--dollars-per-hour: has no effect here: it needs --gpu"),
        ("passk counts.csv --draws 100", "--draws: has no effect here: it needs --metric maj"),
        ("fit table.csv --by group", "--by: has no effect here: it needs --bootstrap"),
        ("fit table.csv --law average --confidence-level 0.5", "--confidence-level: has no effect here"),
        ("fit table.csv --isoflop-tolerance 0.2", "--isoflop-tolerance: has no effect here: it needs --isoflop"),
    ],
)
def test_unused_options_are_refused(run, tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*command.split())
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert message in err
