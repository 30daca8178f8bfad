"""``t2fast score`` as a user meets it, and ``t2fast fit`` on what it writes."""

import json
import math

import pytest
from tests.support import tiny

from t2fast.sampling import Prompt, Sampler


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        {"id": "a", "prompt": "The quick brown", "answer": " fox"},
        {"id": "b", "prompt": "The answer is", "choices": [" 7", " 36", " 42"], "answer": "C"},
        {"id": "c", "prompt": "The answer is", "choices": [" 7", " 36", " 42"], "answer": " 7"},
    ]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_table(model, place, run):
    arguments = ("score", "--model", model, "--prompts", "p.jsonl", "--out", "s.jsonl", "--benchmark", "toy")
    code, out, err = run(*arguments, "--n-tokens", "3B")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    rows = [json.loads(line) for line in (place / "s.jsonl").read_text().splitlines()]
    sampler = Sampler(tiny.model("llama"), tiny.tokenizer())
    asked = [Prompt("a", "The quick brown", answer=" fox"), Prompt("b", "The answer is", answer=" 42"),
             Prompt("c", "The answer is", answer=" 7")]  # fmt: skip
    for row, one in zip(rows, sampler.score(asked), strict=True):
        assert row["problem_id"] == one.prompt_id
        assert row["log_probability"] == pytest.approx(-one.nll, rel=1e-5)
        assert row["probability"] == pytest.approx(math.exp(-one.nll), rel=1e-5)
        assert row["n_answer_tokens"] == one.n_answer_tokens
        assert row["greedy"] is one.greedy
        assert (row["model"], row["benchmark"], row["n_tokens"]) == ("my-model", "toy", 3e9)
        assert row["n_params"] == sum(p.numel() for p in tiny.model("llama").parameters())
    assert "likeliest" not in rows[0]
    assert rows[1]["likeliest"] + rows[2]["likeliest"] <= 1
    code, out, err = run(*arguments, "--json")
    report = json.loads(out)
    assert report["nll"] == pytest.approx(-sum(row["log_probability"] for row in rows) / 3)
    assert report["likeliest"] == (rows[1]["likeliest"] + rows[2]["likeliest"]) / 2
    assert "give n_tokens (--n-tokens)" in report["warnings"][0]
    assert sorted(one.name for one in place.iterdir()) == ["p.jsonl", "s.jsonl"]


def test_fit_reads_the_tables_of_several_checkpoints(model, place, run):
    lines = []
    for i, (n, d) in enumerate((n, d) for n in (1e8, 3e8, 1e9) for d in (1e9, 4e9, 16e9)):
        arguments = ("--prompts", "p.jsonl", "--out", f"{i}.jsonl", "--n-params", n, "--n-tokens", d)
        assert run("score", "--model", model, *arguments)[0] == 0
        # One model cannot obey a law: give it the probabilities of one.
        p = math.exp(-(0.5 + 40 * n**-0.3 + 90 * d**-0.3))
        for line in (place / f"{i}.jsonl").read_text().splitlines():
            lines.append(json.dumps(json.loads(line) | {"probability": p}))
    (place / "all.jsonl").write_text("\n".join(lines))
    code, out, err = run("fit", "all.jsonl", "--law", "t2-loss", "--E", "0", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["fit"]["n_checkpoints"] == 9


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--prompts", "none.jsonl"), "none.jsonl: cannot be read"),
        (("--prompts", "without.jsonl"), "prompt 'w': has no answer to score"),
        (("--out", "s.csv"), "s.csv: the name must end in .jsonl"),
        (("--out", "no/s.jsonl"), "no/s.jsonl: cannot be written: No such file"),
        (("--n-params", "-1"), "n_params = -1: must be above 0"),
        (("--model", "./nowhere"), "./nowhere: no such folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(model, place, run, more, message):
    (place / "without.jsonl").write_text('{"id": "w", "prompt": "x"}')
    code, out, err = run("score", "--model", model, "--prompts", "p.jsonl", "--out", "s.jsonl", *more)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (place / "s.jsonl").exists()
