"""inspect: the provider draws what the sampler draws, all that is asked in one batch, and passk reads the log."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests.support.tiny import model, tokenizer

inspect_ai = pytest.importorskip("inspect_ai", reason="inspect_ai is not installed: make doors")
# What inspect and its libraries deprecate.
pytestmark = pytest.mark.filterwarnings("ignore")

import anyio  # noqa: E402
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig, get_model  # noqa: E402
from inspect_ai.tool import ToolInfo  # noqa: E402

from t2fast.data import read_counts  # noqa: E402
from t2fast.errors import T2Error  # noqa: E402
from t2fast.integrations.inspect import T2FastAPI, params_of  # noqa: E402
from t2fast.sampling import Prompt, Sampler, SamplingParams  # noqa: E402

TASK = """
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def sums():
    samples = [Sample(id=f"q{i}", input=f"Question: what is {i} + {i}? Answer:", target=str(i % 10)) for i in range(5)]
    return Task(dataset=samples, solver=generate(), scorer=match(location="any"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("model")
    model().save_pretrained(where)
    tokenizer().save_pretrained(where)
    return where


@pytest.fixture
def api(folder):
    one = T2FastAPI(str(folder), max_batch=16)
    yield one
    one.close()


def ask(one, asked, **config):
    """All at the same time; each is a text or a list of messages."""
    found = [None] * len(asked)

    async def single(i, messages):
        messages = [ChatMessageUser(content=messages)] if isinstance(messages, str) else messages
        found[i] = await one.generate(messages, [], "none", GenerateConfig(**config))

    async def all_of_them():
        async with anyio.create_task_group() as group:
            for i, messages in enumerate(asked):
                group.start_soon(single, i, messages)

    anyio.run(all_of_them)
    return found


def ask_one(one, message="x", tools=(), **config):
    message = ChatMessageUser(content=message)
    return anyio.run(one.generate, [message], list(tools), "none", GenerateConfig(**config))


def test_epochs_share_their_prompt_and_are_what_the_sampler_draws(api):
    text = "Question: what is 3 + 4? " * 4
    found = ask(
        api,
        [text] * 6 + ["another"],
        max_tokens=9,
        temperature=0.8,
        seed=3,
        stop_seqs=["e"],
        logprobs=True,
        top_logprobs=2,
    )
    again = ask(
        T2FastAPI(api.model_name, max_batch=3),
        [text] * 6,
        max_tokens=9,
        temperature=0.8,
        seed=3,
        stop_seqs=["e"],
        logprobs=True,
        top_logprobs=2,
    )
    assert [one.completion for one in found[:6]] == [one.completion for one in again]
    assert len({one.completion for one in found}) == 7
    assert {one.stop_reason for one in found} == {"stop", "max_tokens"}
    sampler = Sampler(model(), tokenizer())
    params = SamplingParams(max_new_tokens=9, temperature=0.8, stop=["e"], top_logprobs=2)
    prompt = Prompt("p", messages=[{"role": "user", "content": text}])
    ids = tuple(sampler.tokenizer.encode([prompt])[0].tolist())
    asked, _ = zip(*sorted((key, n) for key, n in api._asked.items() if n == 6), strict=True)
    drawn = list(sampler.sample([Prompt(f"{asked[0]}/{j}", token_ids=ids) for j in range(6)], params, seed=3))
    drawn.sort(key=lambda one: one.prompt_id)
    assert [one.text for one in drawn] == [one.completion for one in found[:6]]
    for sample, output in zip(drawn, found, strict=False):
        content = output.choices[0].logprobs.content
        assert [one.logprob for one in content] == pytest.approx(list(sample.logprobs), abs=1e-5)
        assert [len(one.top_logprobs) for one in content] == [2] * len(content)
        assert output.usage.output_tokens == len(sample.token_ids)
        assert output.usage.input_tokens == len(ids)


def test_chats_and_several_choices(api):
    messages = [ChatMessageUser(content="hi"), ChatMessageAssistant(content="we"), ChatMessageUser(content="and?")]
    (found,) = ask(api, [messages], num_choices=3, max_tokens=5)
    assert len({choice.message.content for choice in found.choices}) == 3
    chat = [{"role": one.role, "content": one.content} for one in messages]
    ids = tokenizer().apply_chat_template(chat, add_generation_prompt=True)["input_ids"]
    assert found.usage.input_tokens == len(ids)
    greedy = ask(api, ["x", "x"], temperature=0.0, max_tokens=6)
    assert greedy[0].completion == greedy[1].completion


def test_one_message_is_continued_where_there_is_no_template(folder):
    api = T2FastAPI(str(folder), chat=False)
    (found,) = ask(api, ["The quick"], max_tokens=3)
    assert found.usage.input_tokens == len(tokenizer()("The quick")["input_ids"])
    with pytest.raises(T2Error, match="2 messages"):
        anyio.run(api.generate, [ChatMessageUser(content="a")] * 2, [], "none", GenerateConfig())
    api.close()


def test_whoever_is_cancelled_leaves_and_others_go_on(api):
    async def cancelled():
        with anyio.move_on_after(0.3):
            await api.generate([ChatMessageUser(content="long")], [], "none", GenerateConfig(max_tokens=480))
        return await api.generate([ChatMessageUser(content="short")], [], "none", GenerateConfig(max_tokens=3))

    assert anyio.run(cancelled).usage.output_tokens <= 3
    api.close()  # would wait for what is still drawn
    assert ask(api, ["more"], max_tokens=2)[0].usage.output_tokens <= 2


def test_what_t2fast_lacks(api):
    def refused(message, match, tools=(), **config):
        with pytest.raises(T2Error, match=match):
            ask_one(api, message, tools, **config)

    refused("x", "best_of = 3: t2fast has no such setting", best_of=3)
    refused("x", "temperature = -1", temperature=-1)
    refused("x", "tool 'look'", [ToolInfo(name="look", description="looks")])
    refused("a " * 600, "the context of 512")
    assert params_of(GenerateConfig(reasoning_tokens=7, timeout=3, max_tokens=5)).max_thinking_tokens == 7
    cramped = T2FastAPI(api.model_name, kv_memory=1)
    with pytest.raises(T2Error, match="memory"):
        ask_one(cramped)
    cramped.close()
    with pytest.raises(T2Error, match="-M = 'devise'"):
        T2FastAPI(api.model_name, devise="cpu")


def test_the_command_by_its_entry_point(folder, tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    # As an installed distribution has it, from a checkout too.
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "t2fast_door-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t2fast-door\nVersion: 0\n")
    points = "".join(f"{name} = {where}\n" for name, where in project["entry-points"]["inspect_ai"].items())
    (info / "entry_points.txt").write_text(f"[inspect_ai]\n{points}")
    command = [sys.executable, "-m", "inspect_ai", "eval", "task.py", "--model", f"t2fast/{folder}", "--epochs", "8",
               "--max-tokens", "6", "--temperature", "0.8", "--seed", "5", "--log-dir", "logs", "--display", "none"]  # fmt: skip
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr
    (log,) = Path(tmp_path, "logs").glob("*.eval")
    counts = read_counts(log)
    assert counts.n_samples.tolist() == [8] * 5
    from inspect_ai.log import read_eval_log

    right = {}
    for sample in read_eval_log(str(log)).samples:
        right[sample.id] = right.get(sample.id, 0) + (sample.scores["match"].value == "C")
    assert sorted(counts.n_correct.tolist()) == sorted(right.values())
    assert get_model(f"t2fast/{folder}", memoize=False).api.sampler.name == str(folder)
