"""What is sent to an OpenAI-compatible server for samples of a prompt, and what its answer says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from t2fast.arguments import shown
from t2fast.errors import T2Error
from t2fast.sampling.endpoint.http import EndpointError, Half
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import FinishReason, Sample

__all__ = ["check", "refuse", "request", "samples_of", "seed_of"]

#: Settings with the name that servers give them, and the value that need not be sent.
_SETTINGS: dict[str, tuple[str, Any]] = {
    "temperature": ("temperature", None),
    "top_p": ("top_p", 1.0),
    "presence_penalty": ("presence_penalty", 0.0),
    "frequency_penalty": ("frequency_penalty", 0.0),
    "stop": ("stop", ()),
    # Beyond OpenAI's own: vLLM, SGLang and llama.cpp take most of them.
    "top_k": ("top_k", None),
    "min_p": ("min_p", 0.0),
    "repetition_penalty": ("repetition_penalty", 1.0),
    "stop_token_ids": ("stop_token_ids", ()),
    "min_new_tokens": ("min_tokens", 0),
    "ignore_eos": ("ignore_eos", False),
    "skip_special_tokens": ("skip_special_tokens", True),
    "add_special_tokens": ("add_special_tokens", None),
    "allowed_token_ids": ("allowed_token_ids", None),
    "bad_words": ("bad_words", ()),
}
#: Settings that requests have no like of, and the value that leaves them off.
_OURS: dict[str, Any] = {
    "top_logprobs": 0,
    "prompt_logprobs": False,
    "max_thinking_tokens": None,
    "bad_token_ids": (),
}
_REASONS: dict[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "stop_sequence", "tool_calls", "function_call", "end_turn"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
    "content_filter": "filter",
}


def seed_of(seed: int, prompt_id: str, sample: int) -> int:
    """The seed sent for a sample: 31 bits of the run's seed, the prompt's id and the sample's number.

    Examples
    --------
    >>> seed_of(0, "q1", 0) == seed_of(0, "q1", 0) != seed_of(0, "q1", 1)
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed}\0{prompt_id}\0{sample}".encode()).digest()[:4], "big") >> 1


def refuse(prompt: Prompt, params: SamplingParams) -> None:
    """See that a server can be asked for what a prompt's settings say.

    Raises
    ------
    T2Error
        When it cannot.
    """
    for name, off in _OURS.items():
        if (value := getattr(params, name)) != off:
            raise T2Error(
                f"prompt {prompt.id!r}: {name} = {shown(value)}: a server cannot be asked for that (leave it out, or "
                "run the model here with --model)"
            )


def request(
    model: str, prompt: Prompt, params: SamplingParams, n: int, seed: int | None, limit: str = "max_tokens"
) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request for ``n`` samples."""
    body: dict[str, Any] = {"model": model, "n": n, limit: params.max_new_tokens}
    if seed is not None:
        body["seed"] = seed
    for name, (theirs, off) in _SETTINGS.items():
        value = getattr(params, name)
        if value != off:
            body[theirs] = list(value) if isinstance(value, tuple) else value
    if params.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in params.logit_bias}
    if prompt.messages is None:
        body["prompt"] = prompt.text if prompt.text is not None else list(prompt.token_ids or ())
        if params.logprobs:
            body["logprobs"] = 1
        return "/completions", body
    body["messages"] = [dict(message) for message in prompt.messages]
    if params.logprobs:
        body["logprobs"] = True
    if prompt.tools:
        body["tools"] = [dict(tool) for tool in prompt.tools]
    if prompt.chat_template_kwargs:
        body["chat_template_kwargs"] = dict(prompt.chat_template_kwargs)
    if prompt.continues:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return "/chat/completions", body


def check(answer: Any) -> None:
    """See that an answer is whole.

    Raises
    ------
    Half
        When it is not.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise Half("an answer without choices")
    for choice in choices:
        if not isinstance(choice, dict) or not isinstance(choice.get("finish_reason"), str):
            raise Half("an answer that was broken off")
        if choice["finish_reason"] not in _REASONS:
            raise Half(f"an answer that ended by {choice['finish_reason']!r}")
        if "text" not in choice and not isinstance(choice.get("message"), dict):
            raise Half("an answer without text")


def samples_of(prompt: Prompt, params: SamplingParams, numbers: list[int], answer: Mapping[str, Any]) -> list[Sample]:
    """The samples that an answer holds, under the first of these numbers: there may be fewer, never more.

    Raises
    ------
    EndpointError
        When log-probabilities were asked for and the server gives none.
    """
    usage = answer.get("usage") or {}
    choices = answer["choices"][: len(numbers)]
    found = []
    for number, choice in zip(numbers, choices, strict=False):
        message = choice.get("message") or {}
        text = choice.get("text") if "text" in choice else message.get("content")
        logprobs = _logprobs(choice.get("logprobs"))
        if params.logprobs and logprobs is None:
            raise EndpointError("the server gives no log-probabilities: leave out --logprobs")
        ids = choice.get("token_ids")
        ids = tuple(ids) if isinstance(ids, list) and all(isinstance(i, int) for i in ids) else ()
        counted = usage.get("completion_tokens") if len(choices) == 1 else len(logprobs) if logprobs else None
        found.append(
            Sample(
                prompt_id=prompt.id,
                sample=number,
                text=text if isinstance(text, str) else "",
                token_ids=ids,
                finish_reason=_REASONS[choice["finish_reason"]],
                n_prompt_tokens=_count(usage.get("prompt_tokens")),
                logprobs=logprobs if params.logprobs else None,
                n_counted=counted if not ids and isinstance(counted, int) else None,
            )
        )
    return found


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _logprobs(given: Any) -> tuple[float, ...] | None:
    if not isinstance(given, dict):
        return None
    values = given.get("token_logprobs")
    if values is None and isinstance(given.get("content"), list):
        values = [one.get("logprob") for one in given["content"]]
    if not isinstance(values, list) or not all(isinstance(one, int | float) for one in values):
        return None
    return tuple(float(one) for one in values)
