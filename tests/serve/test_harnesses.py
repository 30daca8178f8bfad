"""Other people's harnesses, driven against the server as their users drive them."""

from __future__ import annotations

import importlib.util
import json

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")

from tests.support import server, tiny

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.serve import prompt_id

PAIRS = [("what is 3 + 4? Answer:", " 7"), ("what is 12 * 3? Answer:", " 36"), ("The quick brown", " fox jumps")]


def lacks(module):
    return importlib.util.find_spec(module) is None


@pytest.fixture(scope="module")
def serving():
    with server.serving() as one:
        yield one
        one.settle()


@pytest.fixture(scope="module")
def sampler():
    return Sampler(tiny.model(), tiny.tokenizer())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer().save_pretrained(path)
    return path


@pytest.mark.skipif(lacks("lm_eval"), reason="needs lm-eval")
def test_lm_evaluation_harness(serving, sampler, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    import lm_eval

    data = tmp_path / "data.jsonl"
    rows = [{"question": q, "answer": a, "choices": [a, " no", " The"]} for q, a in PAIRS]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(data)}}, "test_split": "test"}
    tasks = [
        {**common, "task": "likely", "output_type": "multiple_choice", "doc_to_text": "{{question}}",
         "doc_to_choice": "choices", "doc_to_target": 0, "target_delimiter": "",
         "metric_list": [{"metric": "acc"}]},
        {**common, "task": "drawn", "output_type": "generate_until", "doc_to_text": "{{question}}",
         "doc_to_target": "{{answer}}", "metric_list": [{"metric": "exact_match"}],
         "generation_kwargs": {"until": ["e", "\n"], "max_gen_toks": 12, "temperature": 0.7}},
    ]  # fmt: skip
    found = lm_eval.simple_evaluate(
        model="local-completions",
        model_args={
            "model": "tiny", "base_url": serving.url + "/completions", "tokenizer": str(folder),
            "tokenizer_backend": "huggingface", "num_concurrent": 3, "max_retries": 1, "max_length": 256,
        },
        tasks=tasks,
        log_samples=True,
        bootstrap_iters=0,
        confirm_run_unsafe_code=True,
    )  # fmt: skip
    likely = {row["doc"]["question"]: row for row in found["samples"]["likely"]}
    prompts = [
        Prompt(f"{i}/{j}", text=q, answer=choice)
        for i, (q, a) in enumerate(PAIRS)
        for j, choice in enumerate([a, " no", " The"])
    ]
    ours = {score.prompt_id: score for score in sampler.score(prompts)}
    for i, (question, _) in enumerate(PAIRS):
        for j, (value, _) in enumerate(likely[question]["filtered_resps"]):
            assert float(value) == pytest.approx(-ours[f"{i}/{j}"].nll, abs=2e-3)
    for row in found["samples"]["drawn"]:
        ids = tuple(tiny.tokenizer()(row["doc"]["question"])["input_ids"])
        params = SamplingParams(temperature=0.7, max_new_tokens=12, stop=("e", "\n"))
        [sample] = sampler.sample([Prompt(prompt_id(ids), token_ids=ids)], params, seed=1234)  # the harness's own seed
        assert row["resps"] == [[sample.text]]


@pytest.mark.skipif(lacks("inspect_ai"), reason="needs inspect-ai")
def test_inspect(serving, sampler, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", serving.url)
    monkeypatch.setenv("LOCAL_API_KEY", "none")
    import inspect_ai
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    task = inspect_ai.Task(
        dataset=[Sample(input=question, target=answer.strip()) for question, answer in PAIRS],
        solver=generate(),
        scorer=includes(),
    )
    [log] = inspect_ai.eval(
        task, model="openai-api/local/tiny", seed=5, max_tokens=10, temperature=0.8, logprobs=True, top_logprobs=2,
        epochs=2, log_dir=str(tmp_path), display="none",
    )  # fmt: skip
    assert log.status == "success", log.error
    assert len(log.samples) == 6
    for one in log.samples:
        messages = [{"role": "user", "content": one.input}]
        ids = tiny.tokenizer().apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        params = SamplingParams(temperature=0.8, max_new_tokens=10)
        [sample] = sampler.sample([Prompt(prompt_id(ids), token_ids=tuple(ids))], params, seed=5)
        assert one.output.completion == sample.text
        assert len(one.output.choices[0].logprobs.content) == len(sample.token_ids)
        assert one.output.usage.input_tokens == len(ids)
