import json

import pytest

pytest.importorskip("transformers", reason="needs the extra 'sample'")

from tests.support import examples

from t2fast.sampling import Prompt, Sampler, SamplingParams


def test_models_and_task_are_written(tmp_path, capsys):
    example = examples.load("harness_models")
    example.main(tmp_path, widths=(16,), lengths=(2,))
    _, line = capsys.readouterr().out.splitlines()
    folder, n_params, n_tokens = line.split(",")
    assert folder.endswith(f"{n_params}-{n_tokens}")
    problems = [json.loads(line) for line in (tmp_path / "sums.jsonl").read_text().splitlines()]
    seen, held_out = example.problems()
    assert len(problems) == 52
    assert not {question.split(" ", 2)[2] for question, _, _ in seen} & {q.split(" ", 2)[2] for q, _, _ in held_out}
    sampler = Sampler.from_pretrained(folder)
    assert sampler.identity()["n_params"] == int(n_params)
    drawn = list(sampler.sample([Prompt("q", problems[0]["question"])], SamplingParams(k=3, max_new_tokens=4)))
    assert len(drawn) == 3
    assert "data_files: {test: " in (tmp_path / "tasks" / "sums.yaml").read_text()
