"""Rollouts with the real GRPOTrainer: groups, log-probabilities, settings, and the weights of the moment."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest

trl = pytest.importorskip("trl", reason="needs the extra 'trl'")

from datasets import Dataset  # noqa: E402
from tests.support.tiny import model, tokenizer, torch, transformers  # noqa: E402

from t2fast import T2Error  # noqa: E402
from t2fast.integrations import trl as door  # noqa: E402
from t2fast.integrations.trl import params_of, rollout  # noqa: E402

PROMPTS = ["The answer is 42.", "Question: what is 3 + 4?"]
CHATS = [[{"role": "user", "content": text}] for text in PROMPTS]


def even(completion_ids, **_):
    """A reward that differs within almost every group: the share of even tokens."""
    return [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")

    def made(prompts=PROMPTS, live=None, lora=None, **settings):
        live = live or transformers.LlamaForCausalLM(copy.deepcopy(model().config))
        words = copy.deepcopy(tokenizer())
        words.pad_token = words.eos_token
        settings = {
            "bf16": False,
            "num_generations": 4,
            "per_device_train_batch_size": 8,
            "max_completion_length": 6,
            **settings,
        }
        args = trl.GRPOConfig(
            str(tmp_path), use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
            learning_rate=1e-2, **settings,
        )  # fmt: skip
        return trl.GRPOTrainer(
            live, even, args=args, train_dataset=Dataset.from_dict({"prompt": prompts}), processing_class=words,
            rollout_func=rollout, peft_config=lora,
        )  # fmt: skip

    return made


def own_logprobs(trainer, prompt, completion, temperature):
    with torch.no_grad():
        logits = trainer.model(input_ids=torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    chosen = (logits.float() / temperature).log_softmax(-1).gather(1, torch.tensor(completion)[:, None])
    return chosen[:, 0].tolist()


def check(trainer, made, temperature=1.0, atol=2e-5):
    trainer.model.eval()
    for prompt, completion, logprobs in zip(made["prompt_ids"], made["completion_ids"], made["logprobs"], strict=True):
        own = own_logprobs(trainer, prompt, completion, temperature)
        assert logprobs == pytest.approx(own, abs=atol)


def test_equal_neighbours_are_one_group(make):
    trainer = make()
    asked = [PROMPTS[0]] * 4 + [PROMPTS[1]] * 4
    made = rollout(asked, trainer)
    words = trainer.processing_class
    assert made["prompt_ids"] == words(text=asked)["input_ids"]
    assert len({tuple(ids) for ids in made["completion_ids"]}) == 8
    assert all(1 <= len(ids) <= 6 for ids in made["completion_ids"])
    # Each prompt was computed once, but for its last token, which every sample begins with.
    prefilled = door._known[trainer][0].stats.prefilled
    assert prefilled <= sum(len(ids) for ids in words(text=PROMPTS)["input_ids"])
    check(trainer, made)


def test_the_same_prompt_may_come_in_several_groups(make):
    trainer = make()
    asked = [PROMPTS[0], PROMPTS[1], PROMPTS[0], PROMPTS[0]]
    made = rollout(asked, trainer)
    assert made["prompt_ids"] == trainer.processing_class(text=asked)["input_ids"]
    assert len({tuple(made["completion_ids"][i]) for i in (0, 2, 3)}) == 3


def test_chats_go_through_the_trainers_template(make):
    trainer = make(CHATS)
    made = rollout([CHATS[0], CHATS[0], CHATS[1]], trainer)
    expected = [trainer._tokenize_prompts([chat])[0][0] for chat in (CHATS[0], CHATS[0], CHATS[1])]
    assert made["prompt_ids"] == expected
    check(trainer, made)


def test_settings_of_the_trainer_hold(make):
    trainer = make(temperature=0.5, top_k=1, max_completion_length=3)
    made = rollout([PROMPTS[0]] * 4, trainer)
    assert len({tuple(ids) for ids in made["completion_ids"]}) == 1
    assert len(made["completion_ids"][0]) <= 3
    # Of the whole vocabulary, as the loss has it: with one token to choose from, those of the draw would be 0.
    check(trainer, made, temperature=0.5)


def test_a_completion_keeps_the_token_that_ends_it(make):
    """By which the trainer tells completions that were cut off."""
    trainer = make(max_completion_length=12)
    trainer.eos_token_ids = list(range(0, 320, 4))
    ended = [ids for ids in rollout([PROMPTS[0]] * 16, trainer)["completion_ids"] if len(ids) < 12]
    assert ended
    assert all(ids[-1] % 4 == 0 and all(token % 4 for token in ids[:-1]) for ids in ended)


def test_training_draws_from_the_latest_weights(make):
    seen = []

    def watched(prompts, trainer):
        made = rollout(prompts, trainer)
        trainer.model.eval()
        own = [
            own_logprobs(trainer, *pair, 1.0) for pair in zip(made["prompt_ids"], made["completion_ids"], strict=True)
        ]
        trainer.model.train()
        seen.append((made, own, trainer.model.lm_head.weight.detach().clone()))
        return made

    trainer = make(max_steps=3, num_iterations=1, steps_per_generation=1)
    trainer.rollout_func = watched
    trainer.train()
    assert len(seen) == 3
    assert not torch.equal(seen[0][2], seen[2][2])
    for made, own, _ in seen:
        for logprobs, expected in zip(made["logprobs"], own, strict=True):
            assert logprobs == pytest.approx(expected, abs=2e-5)
        assert [made["prompt_ids"][i] == made["prompt_ids"][i + 1] for i in (0, 1, 2, 4, 5, 6)] == [True] * 6


def test_each_rollout_draws_anew_and_a_run_can_be_repeated(make):
    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    twin = copy.deepcopy(live)
    first, again = make(live=live), make(live=twin)
    one, two = (rollout([PROMPTS[0]] * 4, first)["completion_ids"] for _ in range(2))
    assert one != two
    assert rollout([PROMPTS[0]] * 4, again)["completion_ids"] == one
    first.state.global_step = 1
    assert rollout([PROMPTS[0]] * 4, first)["completion_ids"] not in (one, two)


def test_mixed_precision_as_trl_has_it_by_default(make):
    seen = []

    def watched(prompts, trainer):
        seen.append(rollout(prompts, trainer))
        check(trainer, seen[-1], atol=0.25)
        trainer.model.train()
        return seen[-1]

    trainer = make(bf16=True, max_steps=2, steps_per_generation=1)
    trainer.rollout_func = watched
    trainer.train()
    assert trainer.accelerator.mixed_precision == "bf16"
    assert len(seen) == 2


def test_adapters_are_part_of_the_model(make):
    peft = pytest.importorskip("peft", reason="needs peft")
    trainer = make(lora=peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    check(trainer, rollout([PROMPTS[0]] * 4, trainer))


def test_what_it_does_not_do_is_refused(make):
    trainer = make()
    trainer.args.generation_kwargs = {"num_beams": 4}
    with pytest.raises(T2Error, match=r"generation_kwargs: 'num_beams' is not a sampling parameter"):
        rollout(PROMPTS, trainer)
    trainer.args.generation_kwargs = {"min_new_tokens": 6}
    assert [len(ids) for ids in rollout(PROMPTS, trainer)["completion_ids"]] == [6, 6]
    with pytest.raises(T2Error, match="parts that are not text"):
        rollout([[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]], trainer)
    trainer.tools = [len]
    with pytest.raises(T2Error, match="tools or environments"):
        rollout(PROMPTS, trainer)


@pytest.mark.parametrize("off", [None, 0, -1])
def test_top_k_may_be_off(off):
    trainer = SimpleNamespace(
        args=SimpleNamespace(generation_kwargs={"top_p": 0.9}), temperature=1.0, top_p=1.0, top_k=off, min_p=0.1,
        repetition_penalty=1.1, max_completion_length=5, eos_token_ids=[0, 7],
    )  # fmt: skip
    params = params_of(trainer)
    assert (params.top_k, params.top_p, params.min_p, params.stop_token_ids) == (None, 0.9, 0.1, (0, 7))
