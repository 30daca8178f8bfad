"""From the body of a request to what is to be drawn; every field is used or refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2fast.arguments import shown, whole
from t2fast.errors import T2Error
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.serve.limits import Limits
from t2fast.serve.refusals import Refusal
from t2fast.text import near

__all__ = ["DrawRequest", "parse", "read_json"]

#: Fields that are settings of ours under some name.
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "stop": "stop",
    "logit_bias": "logit_bias",
    # Beyond OpenAI's own, as vLLM and SGLang name them.
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "stop_token_ids": "stop_token_ids",
    "min_tokens": "min_new_tokens",
    "ignore_eos": "ignore_eos",
    "skip_special_tokens": "skip_special_tokens",
    "allowed_token_ids": "allowed_token_ids",
    "bad_words": "bad_words",
}
_BOTH = ("model", "n", "seed", "max_tokens", "max_completion_tokens", "logprobs", "stream", "stream_options",
         "return_token_ids")  # fmt: skip
_COMPLETION = (*_BOTH, "prompt", "echo", "best_of", "add_special_tokens")
_CHAT = (*_BOTH, "messages", "top_logprobs", "tools", "chat_template_kwargs", "continue_final_message",
         "add_generation_prompt")  # fmt: skip
#: Fields that say who asks, or why; they change no answer.
_LABELS = ("user", "metadata", "safety_identifier", "prompt_cache_key")
#: Fields that ask for what this server does not do, and the values that ask for nothing.
_NOTHING: dict[str, tuple[Any, ...]] = {
    "suffix": ("",),
    "store": (False,),
    "service_tier": ("auto", "default"),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
    "tool_choice": ("auto", "none"),
    "parallel_tool_calls": (True, False),
}
#: Arguments of transformers' own for chat templates, beside which nothing is the template's.
_NOT_TEMPLATE = ("chat_template", "tokenizer_kwargs", "processor_kwargs", "return_assistant_tokens_mask")
#: What OpenAI's completions give where nobody says how much.
_USUAL_TOKENS = 16
_MOST_TOP, _MOST_STOPS, _MOST_WORDS = 20, 16, 1024


@dataclass(frozen=True)
class DrawRequest:
    """What one request asks for.

    Attributes
    ----------
    chat
        Whether it came to ``/v1/chat/completions``.
    prompts, params, seed
        What to draw; without a seed each prompt gets one by chance.
    stream, usage
        Whether the answer comes in pieces, and whether the last of them tells the usage.
    echo, silent
        Whether choices begin with the prompt; and whether nothing follows it (``max_tokens`` 0).
    logprobs
        How many of the likeliest tokens are told for each token; None for no log-probabilities at all.
    token_ids
        Whether choices tell their tokens.
    """

    chat: bool
    prompts: tuple[Prompt, ...]
    params: SamplingParams
    seed: int | None
    stream: bool
    usage: bool
    echo: bool
    silent: bool
    logprobs: int | None
    token_ids: bool


def read_json(data: bytes) -> Any:
    """The object that a body holds: strict JSON in UTF-8, no key twice.

    Raises
    ------
    Refusal
        When it holds anything else.

    Examples
    --------
    >>> read_json(b'{"n": 2}')
    {'n': 2}
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key is there twice")
        return found

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=once, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"the body is not JSON: {' '.join(str(error).split())[:200]}", code="invalid_json") from None
    if not isinstance(found, dict):
        raise Refusal("the body must be a JSON object", code="invalid_json")
    return found


def parse(body: Mapping[str, Any], *, chat: bool, model: str, limits: Limits, params: SamplingParams) -> DrawRequest:
    """Read a request.

    Parameters
    ----------
    body
        The JSON object.
    chat
        Whether it is one for ``/v1/chat/completions``.
    model
        The model's name here.
    limits
        What may be asked for.
    params
        Settings where the request has none.

    Raises
    ------
    Refusal
        When a field is unknown, has a value that it cannot have, or asks for something that this server does not do.

    Examples
    --------
    >>> body = {"prompt": "2 + 2 =", "n": 4, "max_tokens": 8}
    >>> parse(body, chat=False, model="m", limits=Limits(), params=SamplingParams()).params.k
    4
    """
    given = {name: value for name, value in body.items() if value is not None}
    _known(given, _CHAT if chat else _COMPLETION)
    if (asked := given.get("model", model)) != model:
        raise Refusal(f"model = {shown(asked)}: this server has {model!r}", 404, param="model", code="model_not_found")
    stream, options = _switch(given, "stream"), given.get("stream_options")
    if options is not None and (not isinstance(options, dict) or set(options) - {"include_usage"} or not stream):
        raise Refusal('stream_options: must be {"include_usage": true} of a stream', param="stream_options")
    echo = _switch(given, "echo")
    n = _whole(given, "n", 1, least=1, most=limits.choices)
    if given.get("best_of", n) != n:
        raise Refusal("best_of: must be n; this server does not choose among choices", param="best_of")
    prompts = _chat(given) if chat else _texts(given)
    if len(prompts) * n > limits.choices:
        raise Refusal(
            f"{len(prompts)} prompts with n = {n}: this server gives up to {limits.choices} choices", param="n"
        )
    logprobs = _logprobs(given, chat)
    if stream and echo and logprobs is not None:
        raise Refusal("stream: the prompt's log-probabilities (echo) come in whole answers alone", param="stream")
    settings, silent = _settings(given, chat, limits, params, echo)
    given_seed = given.get("seed")
    if given_seed is not None:
        try:
            given_seed = whole("seed", given_seed, least=-(2**63), most=2**64 - 1) % 2**64
        except T2Error as error:
            raise Refusal(str(error), param="seed") from None
    return DrawRequest(
        chat=chat,
        prompts=prompts,
        params=settings.override(
            {
                "k": n,
                "logprobs": logprobs is not None,
                "top_logprobs": logprobs or 0,
                "prompt_logprobs": echo and logprobs is not None,
            }
        ),
        seed=given_seed,
        stream=stream,
        usage=bool(options and _switch(options, "include_usage")),
        echo=echo,
        silent=silent,
        logprobs=logprobs,
        token_ids=_switch(given, "return_token_ids"),
    )


def _known(given: Mapping[str, Any], fields: tuple[str, ...]) -> None:
    for name, value in given.items():
        if name in _NOTHING:
            if value not in _NOTHING[name]:
                raise Refusal(f"{name} = {shown(value)}: this server does not do that; leave it out", param=name)
        elif name not in fields and name not in _SETTINGS and name not in _LABELS:
            hint = near(name, [*fields, *_SETTINGS])
            raise Refusal(f"{shown(name)} is no field of this request: {hint}", param=name, code="unknown_field")


def _switch(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise Refusal(f"{name} = {shown(value)}: must be true or false", param=name)
    return value


def _whole(given: Mapping[str, Any], name: str, usual: int, *, least: int, most: int) -> int:
    try:
        return whole(name, given.get(name, usual), least=least, most=most)
    except T2Error as error:
        raise Refusal(str(error), param=name) from None


def _logprobs(given: Mapping[str, Any], chat: bool) -> int | None:
    if not chat:
        return _whole(given, "logprobs", 0, least=0, most=_MOST_TOP) if "logprobs" in given else None
    if not _switch(given, "logprobs"):
        if "top_logprobs" in given and given["top_logprobs"] != 0:
            raise Refusal("top_logprobs: needs logprobs: true", param="top_logprobs")
        return None
    return _whole(given, "top_logprobs", 0, least=0, most=_MOST_TOP)


def _settings(
    given: Mapping[str, Any], chat: bool, limits: Limits, params: SamplingParams, echo: bool
) -> tuple[SamplingParams, bool]:
    """The settings; and whether no token is to be shown."""
    most = limits.tokens or 2**31 - 1
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in given]
    if len(names) == 2 and given[names[0]] != given[names[1]]:
        raise Refusal("max_tokens and max_completion_tokens mean the same: give one", param="max_tokens")
    tokens = _whole(given, names[0], 0, least=0 if echo else 1, most=most) if names else most
    if not names and not chat:
        tokens = min(most, _USUAL_TOKENS)
    for name, many in (("stop", _MOST_STOPS), ("bad_words", _MOST_WORDS), ("logit_bias", _MOST_WORDS)):
        if isinstance(given.get(name), list | dict) and len(given[name]) > many:
            raise Refusal(f"{name}: has {len(given[name])} entries, and {many} are allowed", param=name)
    found: dict[str, Any] = {"max_new_tokens": max(1, tokens)}
    for theirs, ours in (*_SETTINGS.items(), ("add_special_tokens", "add_special_tokens")):
        if theirs not in given:
            continue
        value = given[theirs]
        if theirs == "top_k" and value in (0, -1):  # as others say that it is off
            value = None
        try:
            SamplingParams(max_new_tokens=found["max_new_tokens"]).override({ours: value})
        except T2Error as error:
            message = str(error).replace(ours, theirs, 1).replace("max_new_tokens", "max_tokens")
            raise Refusal(message, param=theirs) from None
        found[ours] = value
    return params.override(found), tokens == 0


def _texts(given: Mapping[str, Any]) -> tuple[Prompt, ...]:
    prompt = given.get("prompt")
    if prompt is None:
        raise Refusal("prompt: missing; give a text, a list of texts, or tokens", param="prompt")
    one = isinstance(prompt, str) or (isinstance(prompt, list) and prompt and _is_token(prompt[0]))
    some = [prompt] if one else prompt
    if not isinstance(some, list) or not some:
        raise Refusal(f"prompt = {shown(prompt)}: must be a text, a list of texts, or tokens", param="prompt")
    found = []
    for value in some:
        try:
            if isinstance(value, str):
                found.append(Prompt("prompt", text=value))
            elif isinstance(value, list):
                found.append(Prompt("prompt", token_ids=tuple(value)))
            else:
                raise T2Error(f"prompt = {shown(value)}: must be a text, a list of texts, or tokens")
        except T2Error as error:
            raise Refusal(_plain(error), param="prompt") from None
    return tuple(found)


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _chat(given: Mapping[str, Any]) -> tuple[Prompt, ...]:
    messages, keywords = given.get("messages"), given.get("chat_template_kwargs", {})
    if not isinstance(messages, list) or not messages:
        raise Refusal('messages: must be a list such as [{"role": "user", "content": "..."}]', param="messages")
    if isinstance(keywords, dict) and (taken := [name for name in keywords if name in _NOT_TEMPLATE]):
        raise Refusal(f"chat_template_kwargs cannot set {taken[0]}", param="chat_template_kwargs")
    continues = _switch(given, "continue_final_message")
    if "add_generation_prompt" in given and _switch(given, "add_generation_prompt") == continues:
        raise Refusal(
            "add_generation_prompt: must be true, or false where continue_final_message is true",
            param="add_generation_prompt",
        )
    try:
        prompt = Prompt(
            "prompt",
            messages=tuple(messages),
            tools=given.get("tools"),
            chat_template_kwargs=keywords,
            continue_final_message=continues,
        )
    except T2Error as error:
        raise Refusal(_plain(error), param="messages") from None
    return (prompt,)


def _plain(error: T2Error) -> str:
    """A message about the prompt, without its name, which the client does not know."""
    return str(error).removeprefix("prompt 'prompt': ")
