"""lm-evaluation-harness: the numbers of its own transformers model, and repeats that passk reads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.support.harness import CHOICES, GREEDY, REPEATS, ROLLING, write_tasks
from tests.support.tiny import model, tokenizer

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: make doors")
pytest.importorskip("accelerate", reason="its own model of transformers needs accelerate")
# What the harness and its libraries deprecate.
pytestmark = pytest.mark.filterwarnings("ignore")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from t2fast.data import read_counts  # noqa: E402
from t2fast.errors import T2Error  # noqa: E402
from t2fast.integrations.lm_eval import T2FastLM  # noqa: E402
from t2fast.sampling import Sampler  # noqa: E402


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("model")
    model().save_pretrained(where)
    tokenizer().save_pretrained(where)
    return where


def evaluate(name, folder, tasks, names, **given):
    found = lm_eval.simple_evaluate(
        name,
        {"pretrained": str(folder), **given},
        tasks=names,
        task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        device="cpu",
        bootstrap_iters=0,
        log_samples=True,
    )
    numbers = {task: {k: v for k, v in one.items() if isinstance(v, float)} for task, one in found["results"].items()}
    return numbers, found["samples"]


def flat(samples):
    return {
        task: sorted((one["doc_id"], json.dumps(one["arguments"]), one["resps"]) for one in lines)
        for task, lines in samples.items()
    }


def test_its_own_models_numbers(folder, tmp_path):
    tasks = write_tasks(tmp_path / "tasks", choices=CHOICES, greedy=GREEDY, rolling=ROLLING)
    names = ["choices", "greedy", "rolling"]
    theirs, their_samples = evaluate("hf", folder, tasks, names, dtype="float32")
    ours, our_samples = evaluate("t2fast", folder, tasks, names)
    assert ours.keys() == theirs.keys() == set(names)
    for name in names:
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5)
    ours, theirs = flat(our_samples), flat(their_samples)
    assert [line[2] for line in ours["greedy"]] == [line[2] for line in theirs["greedy"]]
    assert len({line[2][0][0] for line in ours["greedy"]}) > 1
    for task in ("choices", "rolling"):
        for one, other in zip(ours[task], theirs[task], strict=True):
            assert one[:2] == other[:2]
            for (mine,), (its,) in zip(one[2], other[2], strict=True):
                if task == "rolling":
                    assert mine == pytest.approx(its, rel=1e-5)
                else:
                    assert mine[0] == pytest.approx(its[0], rel=1e-5)
                    assert mine[1] == its[1]


@pytest.mark.parametrize("given", [{}, {"max_length": 40}, {"add_bos_token": False, "prefix_token_id": 7}])
def test_single_requests_as_its_own_model_answers_them(folder, given):
    """Empty contexts, blanks between, texts longer than the context."""
    from lm_eval.models.huggingface import HFLM

    pairs = [("", "The answer is"), ("The answer is ", "42."), ("The answer", " is"), ("a " * 60, "b " * 5)]
    long = "The quick brown fox jumps over the lazy dog. " * 60
    ours, theirs = T2FastLM(folder, **given), HFLM(str(folder), device="cpu", dtype="float32", **given)

    def asked(kind, arguments):
        return [Instance(kind, {}, one, i) for i, one in enumerate(arguments)]

    mine, its = (one.loglikelihood(asked("loglikelihood", pairs), disable_tqdm=True) for one in (ours, theirs))
    for (a, greedy), (b, same) in zip(mine, its, strict=True):
        assert a == pytest.approx(b, rel=1e-5)
        assert greedy == same
    texts = [("The answer is 42.",), (long,), ("x",)]
    mine, its = (
        one.loglikelihood_rolling(asked("loglikelihood_rolling", texts), disable_tqdm=True) for one in (ours, theirs)
    )
    assert mine == pytest.approx(its, rel=1e-5)
    questions = [
        (text, {"until": ["\n\n"], "do_sample": False, "max_gen_toks": 9}) for text in ("The answer", long, "Question:")
    ]
    mine, its = (one.generate_until(asked("generate_until", questions), disable_tqdm=True) for one in (ours, theirs))
    assert mine == its


def test_repeats_are_one_group_and_passk_reads_the_verdicts(folder, tmp_path):
    tasks = write_tasks(tmp_path / "tasks", sums=REPEATS)
    command = [sys.executable, "-m", "t2fast.integrations.lm_eval", "--model", "t2fast", "--model_args",
               f"pretrained={folder},seed=5", "--tasks", "sums", "--include_path", str(tasks),
               "--log_samples", "--output_path", str(tmp_path / "out")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (log,) = (tmp_path / "out").rglob("samples_sums_*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [len(line["resps"][0]) for line in lines] == [8] * 6
    assert len(set(lines[0]["resps"][0])) > 4
    counts = read_counts(log)
    assert (counts.n_samples == 8).all()
    # The harness's own verdicts, sample by sample.
    right = [sum(answer == line["target"] for answer in line["filtered_resps"][0]) for line in lines]
    assert sorted(counts.n_correct.tolist()) == sorted(right)
    # What was drawn is what the sampler draws, and the prompt was computed once.
    one = T2FastLM(folder, seed=5)
    (request,) = {json.dumps(line["arguments"]["gen_args_0"]) for line in lines[:1]}
    given = json.loads(request)
    instance = Instance("generate_until", {}, (given["arg_0"], given["arg_1"]), 0)
    assert one.generate_until([instance] * 8, disable_tqdm=True) == lines[0]["resps"][0]
    assert one.sampler.stats.prefilled == len(one.tok_encode(given["arg_0"])) - 1


def test_what_cannot_be(folder):
    for given, message in (
        ({"num_beams": 4}, "generation_kwargs: 'num_beams' is not a sampling parameter"),
        ({"temperature": -1.0, "do_sample": True}, "generation_kwargs: temperature = -1"),
        ({"max_gen_toks": 600}, "max_gen_toks = 600: must be less than max_length = 512"),
    ):
        with pytest.raises(T2Error, match=message):
            T2FastLM(Sampler(model(), tokenizer())).generate_until([Instance("generate_until", {}, ("a", given), 0)])
    with pytest.raises(T2Error, match="'he' after 'T': has no token of its own"):
        T2FastLM(folder).loglikelihood([Instance("loglikelihood", {}, ("T", "he"), 0)], disable_tqdm=True)
    with pytest.raises(T2Error, match="model_args = 'peft'"):
        T2FastLM(folder, peft="x")
    with pytest.raises(T2Error, match="batch_size = 'many'"):
        T2FastLM(folder, batch_size="many")
