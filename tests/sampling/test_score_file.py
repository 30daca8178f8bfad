"""Tables of scores from a scorer without a model."""

import json
import math
from dataclasses import dataclass

import pytest

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, score_to_file

PROMPTS = [Prompt("a", "x", answer="b", choices=("b", "c")), Prompt("d", "x", answer="e")]


@dataclass
class One:
    prompt_id: str
    correct: bool
    nll: float
    n_answer_tokens: int = 2
    greedy: bool = False


class Scorer:
    def __init__(self, *scores):
        self.scores = scores

    def score(self, _):
        return iter(self.scores)

    def identity(self):
        return {"name": "toy", "n_params": 7}


def test_a_row_for_each_problem(tmp_path):
    out, far = tmp_path / "s.jsonl", []
    scorer = Scorer(One("a", True, 1.0), One("a", False, 0.5), One("d", True, 3.0, greedy=True))
    found = score_to_file(scorer, PROMPTS, out, n_tokens=1e9, progress=far.append)
    first, second = map(json.loads, out.read_text().splitlines())
    assert first["probability"] == pytest.approx(math.exp(-1))
    assert (first["problem_id"], first["likeliest"], second["greedy"]) == ("a", False, True)
    assert "likeliest" not in second
    assert (found.nll, found.nll_per_token, found.likeliest, found.greedy) == (2.0, 1.0, 0.0, 0.5)
    assert [(one.done, one.total, one.unit) for one in far] == [(1, 2, "problems"), (2, 2, "problems")]


def test_impossible_answers_are_json_too(tmp_path):
    out = tmp_path / "s.jsonl"
    found = score_to_file(Scorer(One("d", True, math.inf)), PROMPTS[1:], out)
    row = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert (row["probability"], row["log_probability"]) == (0.0, None)
    assert json.loads(json.dumps(found.to_dict()), parse_constant=pytest.fail)["nll"] is None


def test_what_cannot_be(tmp_path):
    with pytest.raises(T2Error, match="prompt 'q': has no answer to score"):
        score_to_file(Scorer(), [Prompt("q", "x")], tmp_path / "s.jsonl")
    with pytest.raises(T2Error, match=r"must end in \.jsonl"):
        score_to_file(Scorer(), PROMPTS, tmp_path / "s.csv")
    with pytest.raises(T2Error, match="0 of 2 prompts were scored"):
        score_to_file(Scorer(), PROMPTS, tmp_path / "s.jsonl")
    assert not list(tmp_path.iterdir())
