"""How samples are drawn: the settings of a run, which each prompt may change for itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from t2fast.arguments import number, shown, whole
from t2fast.errors import T2Error
from t2fast.text import near

__all__ = ["SamplingParams", "foreign_setting"]

#: The largest number that the device's 32-bit state holds.
_MOST = 2**31 - 1
#: Below this temperature, other than 0, logits divided by it leave the range of fp32.
_COLDEST = 1e-6
#: Most of the likeliest tokens that a step tells of.
_MOST_TOP = 128
_PARAMS = '{{"params": {{"{}": ...}}}}'
#: Settings of other engines, and what to give instead.
_FOREIGN = {
    **dict.fromkeys(
        ("max_tokens", "max_completion_tokens", "max_output_tokens", "max_gen_toks", "max_length", "n_predict"),
        "max_new_tokens",
    ),
    **dict.fromkeys(
        ("n", "num_return_sequences", "num_samples", "n_samples", "num_generations", "best_of", "candidate_count"), "k"
    ),
    **dict.fromkeys(("stop_sequences", "stop_strings", "stop_words", "until"), "stop"),
    **dict.fromkeys(("eos_token_id", "stop_tokens"), "stop_token_ids"),
    **dict.fromkeys(("min_tokens", "min_length"), "min_new_tokens"),
    "topk": "top_k",
    "topp": "top_p",
    "temp": "temperature",
    "repeat_penalty": "repetition_penalty",
    **dict.fromkeys(("thinking_budget", "thinking_token_budget", "max_thinking_length"), "max_thinking_tokens"),
}
_ELSEWHERE = {
    **dict.fromkeys(("seed", "random_seed"), "the seed is one for the whole run (--seed)"),
    **dict.fromkeys(("enable_thinking", "thinking", "reasoning_effort", "documents", "add_generation_prompt"),
                    "give it under chat_template_kwargs"),
    **dict.fromkeys(("do_sample", "greedy"), "temperature 0 is greedy decoding"),
    **dict.fromkeys(
        ("num_beams", "beam_width", "use_beam_search", "length_penalty", "early_stopping", "typical_p",
         "epsilon_cutoff", "eta_cutoff", "mirostat", "dry_multiplier", "xtc_probability", "no_repeat_ngram_size",
         "response_format", "guided_json", "guided_regex", "guided_choice", "guided_grammar", "structured_outputs",
         "json_schema", "grammar", "logits_processors", "tool_choice", "parallel_tool_calls", "functions",
         "function_call", "stream",
         "stream_options", "echo", "suffix", "truncate_prompt_tokens", "extra_body"),
        "t2fast has no such setting; leave it out",
    ),
}  # fmt: skip
#: Settings of generation configurations that change what is drawn and have no like here, with what leaves them off.
_UNKNOWN_DEFAULTS = {
    "num_beams": 1, "no_repeat_ngram_size": 0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "begin_suppress_tokens": None, "sequence_bias": None,
    "guidance_scale": 1.0, "encoder_repetition_penalty": 1.0,
}  # fmt: skip
_DEFAULTS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "min_new_tokens")
_SWITCHES = ("logprobs", "prompt_logprobs", "stop_on_success", "skip_special_tokens", "ignore_eos")


@dataclass(frozen=True)
class SamplingParams:
    r"""How samples are drawn.

    The controls act in this order: penalties, temperature, top-k, top-p, min-p.

    Parameters
    ----------
    k
        Samples for every prompt.
    temperature
        Divides the logits; 0 always takes the likeliest token. Otherwise at least 1e-6.
    top_k
        Keep the ``top_k`` likeliest tokens; None keeps all.
    top_p
        Keep the likeliest tokens that together reach this probability, in (0, 1].
    min_p
        Keep tokens at least this many times as likely as the likeliest, in [0, 1].
    repetition_penalty
        Divides positive and multiplies negative logits of tokens seen in prompt or answer, in [1e-4, 1e4].
    presence_penalty, frequency_penalty
        Taken from the logits of tokens seen in the answer: once, and once for every time.
    max_new_tokens, min_new_tokens
        Longest answer, and how many tokens an answer has before any end token may be drawn.
    stop
        Texts that end a sample; they are not part of its text. A text that is a special token of the tokenizer, such as
        ``<|im_end|>``, ends a sample as that token.
    stop_token_ids
        Tokens that end a sample, beside those of the model.
    logprobs
        Whether each sample carries the log-probabilities of its tokens.
    stop_on_success
        Whether a prompt ends with its first sample, in the order of their numbers, that the verifier accepts. Those
        before it are drawn to their end; those after it are dropped.
    skip_special_tokens
        Whether a sample's text leaves out special tokens; verifiers see the same text.
    ignore_eos
        Whether the model's own end tokens are ordinary tokens.
    add_special_tokens
        Whether the tokenizer's special tokens are added to a prompt's text. By default they are, except a first one
        (BOS) that the text begins with already. Chats get theirs from the template.
    logit_bias
        Added to the logits of tokens, before all else: a mapping of token ids to numbers.
    allowed_token_ids
        The only tokens that may be drawn; None for all.
    bad_words, bad_token_ids
        Texts, and sequences of tokens, that must not come in an answer: the last token of each is not drawn after those
        before it. A word is forbidden as the tokens it has at the start of a text and after a blank.
    top_logprobs
        How many of the likeliest tokens each token comes with, and their log-probabilities, from 0 to 128; those of the
        tokens drawn are then kept too.
    prompt_logprobs
        Whether sample 0 carries the log-probabilities of the prompt's tokens, by the model alone (temperature 1).
    max_thinking_tokens
        Most tokens of an answer before ``thinking_end``: where it has not come by then it is forced, token by token.
        None leaves thinking free, and so does a prompt that ends with ``thinking_end``.
    thinking_end
        What ends the model's thinking.

    Raises
    ------
    T2Error
        When a value is out of its range; the message names it.

    Examples
    --------
    >>> params = SamplingParams(k=64, temperature=0.8, stop="\n")
    >>> params.stop
    ('\n',)
    >>> SamplingParams(top_p=2.0)
    Traceback (most recent call last):
    t2fast.T2Error: top_p = 2: must be above 0 and at most 1
    """

    k: int = 1
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    max_new_tokens: int = 256
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    logprobs: bool = False
    stop_on_success: bool = False
    min_new_tokens: int = 0
    skip_special_tokens: bool = True
    ignore_eos: bool = False
    add_special_tokens: bool | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    allowed_token_ids: tuple[int, ...] | None = None
    bad_words: tuple[str, ...] = ()
    bad_token_ids: tuple[tuple[int, ...], ...] = ()
    top_logprobs: int = 0
    prompt_logprobs: bool = False
    max_thinking_tokens: int | None = None
    thinking_end: str = "</think>"

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("k", whole("k", self.k, least=1, most=_MOST))
        put("max_new_tokens", whole("max_new_tokens", self.max_new_tokens, least=1, most=_MOST))
        put("min_new_tokens", whole("min_new_tokens", self.min_new_tokens, most=self.max_new_tokens))
        if self.top_k is not None:
            put("top_k", whole("top_k", self.top_k, least=1, most=_MOST))
        put("temperature", number("temperature", self.temperature, low=0))
        if 0 < self.temperature < _COLDEST:
            raise T2Error(
                f"temperature = {self.temperature:g}: must be at least {_COLDEST:g}, or 0 for greedy decoding"
            )
        put("top_p", number("top_p", self.top_p, low=0, high=1, low_open=True))
        put("min_p", number("min_p", self.min_p, low=0, high=1))
        put("repetition_penalty", number("repetition_penalty", self.repetition_penalty, low=1e-4, high=1e4))
        for name in ("presence_penalty", "frequency_penalty"):
            put(name, number(name, getattr(self, name), low=-1e6, high=1e6))
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise T2Error(f"{name} = {shown(getattr(self, name))}: must be true or false")
        if self.add_special_tokens not in (None, True, False):
            raise T2Error(f"add_special_tokens = {shown(self.add_special_tokens)}: must be true, false or None")
        put("stop", _texts("stop", self.stop))
        put("stop_token_ids", _tokens("stop_token_ids", self.stop_token_ids))
        put("top_logprobs", whole("top_logprobs", self.top_logprobs, most=_MOST_TOP))
        put("logprobs", self.logprobs or self.top_logprobs > 0)
        if self.max_thinking_tokens is not None:
            put("max_thinking_tokens", whole("max_thinking_tokens", self.max_thinking_tokens, most=_MOST))
        if len(_texts("thinking_end", self.thinking_end)) != 1 or not isinstance(self.thinking_end, str):
            raise T2Error(f"thinking_end = {shown(self.thinking_end)}: must be one text")
        put("logit_bias", _biases(self.logit_bias))
        put("bad_words", _texts("bad_words", self.bad_words))
        if isinstance(self.bad_token_ids, str | bytes) or not hasattr(self.bad_token_ids, "__iter__"):
            raise T2Error(f"bad_token_ids = {shown(self.bad_token_ids)}: must be a list of lists of token ids")
        put("bad_token_ids", tuple(_tokens("bad_token_ids", one) for one in self.bad_token_ids))
        if not all(self.bad_token_ids):
            raise T2Error("bad_token_ids: must be lists of at least one token")
        if self.allowed_token_ids is not None:
            put("allowed_token_ids", _tokens("allowed_token_ids", self.allowed_token_ids))
            if not self.allowed_token_ids:
                raise T2Error("allowed_token_ids: must name at least one token; None allows all")

    def override(self, changes: Mapping[str, Any]) -> SamplingParams:
        """Change some settings, as a prompt may.

        Raises
        ------
        T2Error
            When a name is unknown or a value out of its range.

        Examples
        --------
        >>> SamplingParams(k=8).override({"temperature": 0.5}).temperature
        0.5
        """
        known = [one.name for one in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                hint = foreign_setting(str(name)) or near(str(name), known)
                raise T2Error(f"{name!r} is not a sampling parameter: {hint}")
        return dataclasses.replace(self, **changes)

    def with_defaults(self, config: Any) -> SamplingParams:
        """Take what a model's generation configuration says for every setting that still has our default.

        Parameters
        ----------
        config
            Such as ``model.generation_config``; any object with the names of transformers.

        Raises
        ------
        T2Error
            When it names settings that t2fast has no like of.

        Examples
        --------
        >>> from types import SimpleNamespace
        >>> model = SimpleNamespace(do_sample=True, top_k=20, temperature=0.6)
        >>> params = SamplingParams(top_k=5).with_defaults(model)
        >>> params.temperature, params.top_k
        (0.6, 5)
        """
        found: dict[str, Any] = {}
        if not getattr(config, "do_sample", True):
            found["temperature"] = 0.0
        for name in _DEFAULTS:
            value = getattr(config, name, None)
            if value is not None and name not in found and not (name == "top_k" and value == 0):
                found[name] = value
        suppressed = list(getattr(config, "suppress_tokens", None) or ())
        if suppressed:
            found["bad_token_ids"] = [[token] for token in suppressed]
        found_bad = getattr(config, "bad_words_ids", None) or ()
        if found_bad:
            found["bad_token_ids"] = [*found.get("bad_token_ids", ()), *(list(one) for one in found_bad)]
        for name, off in _UNKNOWN_DEFAULTS.items():
            value = getattr(config, name, None)
            if value is not None and value != off:
                raise T2Error(f"the model's generation configuration has {name} = {shown(value)}, which t2fast lacks")
        ours = SamplingParams()
        return self.override(
            {name: value for name, value in found.items() if getattr(self, name) == getattr(ours, name)}
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them.

        Examples
        --------
        >>> SamplingParams(stop=("a", "b")).to_dict()["stop"]
        ['a', 'b']
        """
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}
        fields["bad_token_ids"] = [list(one) for one in self.bad_token_ids]
        return fields | {"logit_bias": {str(token): value for token, value in self.logit_bias}}


def foreign_setting(name: str) -> str | None:
    """What to give instead of another engine's setting; None for other words.

    Examples
    --------
    >>> foreign_setting("max_tokens")
    'give {"params": {"max_new_tokens": ...}}'
    """
    if name in _FOREIGN:
        return "give " + _PARAMS.format(_FOREIGN[name])
    return _ELSEWHERE.get(name)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if found is None or not all(isinstance(text, str) and text for text in found):
        raise T2Error(f"{name} = {shown(value)}: must be a list of texts, none of them empty")
    for text in found:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise T2Error(f"{name} = {shown(text)}: holds half of a character (a surrogate without its pair)") from None
    return found


def _tokens(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise T2Error(f"{name} = {shown(value)}: must be a list of token ids")
    return tuple(whole(name, token, most=_MOST) for token in value)


def _biases(value: Any) -> tuple[tuple[int, float], ...]:
    if not isinstance(value, Mapping | tuple | list):
        raise T2Error(f"logit_bias = {shown(value)}: must map token ids to numbers")
    found = {}
    for one in value.items() if isinstance(value, Mapping) else value:
        try:
            token, bias = one
            token = int(token) if isinstance(token, str) else token  # as JSON has it
        except (TypeError, ValueError):
            raise T2Error(f"logit_bias: {shown(one)}: must map token ids to numbers") from None
        bias = number("logit_bias", bias, low=-1e6, high=1e6)
        found[whole("logit_bias", token, most=_MOST)] = bias
    return tuple(sorted(found.items()))
