"""Rollouts for TRL's ``GRPOTrainer``, drawn from the live training model.

Written against TRL 1.16, where ``rollout_func`` is called with the prompts of this process, each as often as it needs
completions, and the trainer.
"""

from __future__ import annotations

import hashlib
import weakref
from itertools import groupby
from typing import Any

from t2fast.errors import T2Error
from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt

__all__ = ["params_of", "rollout"]

#: The sampler of each trainer, the step of its latest rollout, and how many there were in that step before.
_known: weakref.WeakKeyDictionary[Any, tuple[Sampler, int, int]] = weakref.WeakKeyDictionary()


def rollout(prompts: list[Any], trainer: Any) -> dict[str, list[list[Any]]]:
    """Draw one completion for each prompt; give it to a trainer as ``GRPOTrainer(..., rollout_func=rollout)``.

    Equal neighbours are one group: their prompt is computed once and read once per step for all of them. The model is
    the one in training, as it is now: nothing is copied, so every rollout sees the latest weights, adapters included.

    Parameters
    ----------
    prompts
        Texts or chats, as TRL gives them: each once per completion, those of a group side by side.
    trainer
        Whose model, tokenizer and settings are taken: ``temperature``, ``top_p``, ``top_k``, ``min_p``,
        ``repetition_penalty``, ``max_completion_length``, ``eos_token_ids``, ``chat_template`` with its arguments, and
        ``generation_kwargs``, where these name settings of :class:`SamplingParams`. Draws depend on ``args.seed``, the
        step and the process.

    Returns
    -------
    dict
        ``prompt_ids``, ``completion_ids`` and ``logprobs``, a list for each prompt. The log-probabilities are those of
        the drawn tokens after temperature and repetition penalty, before top-k, top-p and min-p, in nats: the
        quantity that the trainer computes for its loss.

    Raises
    ------
    T2Error
        When the trainer has tools or environments, prompts with images, or settings that t2fast lacks; when the model
        cannot be sampled from, for instance because its weights are sharded.

    Examples
    --------
    ::

        from t2fast.integrations.trl import rollout
        from trl import GRPOConfig, GRPOTrainer

        trainer = GRPOTrainer(
            model, reward, args=GRPOConfig("out", num_generations=64), train_dataset=dataset, rollout_func=rollout
        )
        trainer.train()
    """
    if trainer.tools or trainer.environment_factories:
        raise T2Error("rollout: draws single turns, and the trainer has tools or environments; train without them")
    groups = [(prompt, len(list(copies))) for prompt, copies in groupby(prompts)]
    sampler, seed = _sampler(trainer)
    asked = [
        Prompt(str(i), token_ids=tuple(ids), overrides={"k": k})
        for i, (ids, (_, k)) in enumerate(zip(_tokens([prompt for prompt, _ in groups], trainer), groups, strict=True))
    ]
    # Samples come in any order.
    drawn = {(one.prompt_id, one.sample): one for one in sampler.sample(asked, params_of(trainer), seed=seed)}
    sampler.release()  # the memory of keys and values is the training step's now
    made: dict[str, list[list[Any]]] = {"prompt_ids": [], "completion_ids": [], "logprobs": []}
    for prompt, (_, k) in zip(asked, groups, strict=True):
        for j in range(k):
            one = drawn[prompt.id, j]
            made["prompt_ids"].append(list(prompt.token_ids or ()))
            made["completion_ids"].append(list(one.token_ids))
            made["logprobs"].append(list(one.logprobs or ()))
    return made


def params_of(trainer: Any) -> SamplingParams:
    """A trainer's generation settings as t2fast's.

    Parameters
    ----------
    trainer
        A ``GRPOTrainer``.

    Raises
    ------
    T2Error
        When ``generation_kwargs`` names a setting that t2fast lacks, or a value is out of its range.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> trainer = SimpleNamespace(
    ...     args=SimpleNamespace(generation_kwargs=None), temperature=0.7, top_p=1.0, top_k=0, min_p=None,
    ...     repetition_penalty=1.0, max_completion_length=64, eos_token_ids=[2],
    ... )
    >>> params = params_of(trainer)
    >>> params.temperature, params.top_k, params.max_new_tokens, params.stop_token_ids
    (0.7, None, 64, (2,))
    """
    params = SamplingParams(
        temperature=trainer.temperature,
        top_p=trainer.top_p,
        top_k=trainer.top_k if trainer.top_k and trainer.top_k > 0 else None,  # TRL writes "all" as 0
        min_p=trainer.min_p or 0.0,
        repetition_penalty=trainer.repetition_penalty,
        max_new_tokens=trainer.max_completion_length,
        stop_token_ids=tuple(trainer.eos_token_ids),
        ignore_eos=True,  # those of the trainer are all that there are
        logprobs=True,
    )
    try:
        return params.override(trainer.args.generation_kwargs or {})
    except T2Error as error:
        raise T2Error(f"generation_kwargs: {error}") from None


def _sampler(trainer: Any) -> tuple[Sampler, int]:
    """The trainer's sampler, and a seed that no other rollout of the run has, on this process or another."""
    step = int(trainer.state.global_step)
    sampler, last, calls = _known.get(trainer, (None, -1, 0))
    if sampler is None or sampler.model is not trainer.model:
        tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        sampler = Sampler(trainer.model, tokenizer)
    calls = calls + 1 if step == last else 0
    _known[trainer] = sampler, step, calls
    key = f"{trainer.args.seed} {step} {calls} {trainer.accelerator.process_index}"
    return sampler, int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def _tokens(prompts: list[Any], trainer: Any) -> list[list[int]]:
    """The tokens of prompts, made as the trainer makes them."""
    tool = trainer.processing_class
    if isinstance(prompts[0], str):
        return [list(ids) for ids in tool(text=prompts)["input_ids"]]
    parts = [part for chat in prompts for turn in chat if isinstance(turn["content"], list) for part in turn["content"]]
    if any(part.get("type") != "text" for part in parts):
        raise T2Error("rollout: a prompt has parts that are not text; t2fast samples from language models only")
    made = tool.apply_chat_template(
        conversation=prompts,
        chat_template=trainer.chat_template,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **trainer.chat_template_kwargs,
    )
    return [list(ids) for ids in made["input_ids"]]
