"""The lm-evaluation-harness with t2fast's sampler: ``--model t2fast``.

Written against lm-eval 0.4.13, which looks for models in its own registry only: importing this module puts ``t2fast``
there, and ``python -m t2fast.integrations.lm_eval`` is the harness's own command with it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import (
    has_bos_prefix,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt

__all__ = ["T2FastLM", "main"]

#: Longest answer where a task says nothing, as for the harness's other models.
_MOST_NEW = 256
_THEIR_DEVICE = "cuda:0"


@register_model("t2fast")
class T2FastLM(TemplateLM):
    """A model of the lm-evaluation-harness that draws and scores with :class:`Sampler`.

    The ``repeats`` of a document are one group: their prompt is computed once, and read once per step for all of them.
    So is what comes before the choices of a question. Repeats are drawn as samples 0, 1, ... of their prompt, so a run
    with the same seed draws the same, whatever else is asked.

    Parameters
    ----------
    pretrained
        A folder or a name on the Hub, as for :meth:`Sampler.from_pretrained`; or a :class:`Sampler`.
    seed
        Key of the random numbers.
    dtype, device, trust_remote_code
        As for :meth:`Sampler.from_pretrained`; ``dtype=auto`` is what the files hold, and ``cuda:0``, which the harness
        gives where nobody says, is the CPU where there is no GPU.
    batch_size
        Most samples drawn together. ``auto``, and 1, which the harness gives where nobody says, are t2fast's own
        choice; results depend on neither.
    max_batch_size
        The harness's bound for ``auto``; taken as ``batch_size`` where that says nothing.
    max_length
        Longest text in tokens; the model's context by default.
    max_gen_toks
        Longest answer where a task says nothing.
    add_bos_token
        Whether the tokenizer's special tokens are added; by default as the tokenizer has it.
    prefix_token_id
        What comes before a text that nothing comes before; the tokenizer's BOS by default, or its EOS.
    think_end_token
        Answers begin after the last of this text.
    enable_thinking, chat_template_args
        For the chat template.
    **options
        As for :class:`Sampler`: ``kv_memory``, ``page_size``, ``prefill_tokens``, ``graphs``, ``trust``.

    Raises
    ------
    T2Error
        When the model cannot be used.

    Examples
    --------
    ::

        import lm_eval
        import t2fast.integrations.lm_eval

        lm_eval.simple_evaluate("t2fast", {"pretrained": "my-model"}, tasks=["gsm8k"])
    """

    def __init__(
        self,
        pretrained: str | Path | Sampler,
        *,
        seed: int = 0,
        dtype: str | None = None,
        device: str | None = None,
        trust_remote_code: bool = False,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
        max_length: int | None = None,
        max_gen_toks: int = _MOST_NEW,
        add_bos_token: bool | None = None,
        prefix_token_id: int | None = None,
        think_end_token: str | None = None,
        enable_thinking: bool | None = None,
        chat_template_args: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if isinstance(pretrained, Sampler):
            self.sampler = pretrained
        else:
            known = ("kv_memory", "page_size", "prefill_tokens", "graphs", "trust", "ahead", "name")
            for name in options:
                arguments.choice("model_args", name, known)
            batch = _batch(batch_size) or _batch(max_batch_size)
            if device == _THEIR_DEVICE and not torch.cuda.is_available():
                device = None
            self.sampler = Sampler.from_pretrained(
                pretrained, dtype=None if dtype == "auto" else dtype, device=device,
                trust_remote_code=trust_remote_code, max_batch=batch, **options,
            )  # fmt: skip
        self.tokenizer = self.sampler.tokenizer.tokenizer
        self.seed = arguments.seed(seed)
        context = self.sampler.context
        #: Longest text in tokens.
        self.max_length = (
            context if max_length is None else arguments.whole("max_length", max_length, least=2, most=context)
        )
        #: Longest answer where a task says nothing.
        self.max_gen_toks = arguments.whole("max_gen_toks", max_gen_toks, least=1)
        self._add_bos, self._prefix, self._think_end = add_bos_token, prefix_token_id, think_end_token
        thinking = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        self._template = {**thinking, **(chat_template_args or {})}

    # ------------------------------------------------------------------------------------------------ tokens

    @property
    def eot_token_id(self) -> int:
        """The token that ends texts."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What comes before a text that nothing comes before."""
        if self._prefix is not None:
            return self._prefix
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer, for caches of requests."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """The tokens of a text."""
        special = self._add_bos if add_special_tokens is None else add_special_tokens
        if add_special_tokens is None and has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id)):
            special = False
        given = {} if special is None else {"add_special_tokens": special}
        return list(self.tokenizer.encode(string, **given))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A chat as the text that the model reads."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
                **self._template,
            )
        )

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes down about the model."""
        one = self.sampler.identity()
        return {"model_num_parameters": one["n_params"], "model_dtype": one["dtype"], "model_sha": one["weights"]}

    # ------------------------------------------------------------------------------------------------ scores

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **_: Any
    ) -> list[tuple[float, bool]]:
        texts = []
        for asked, before, tokens in requests:
            if not tokens:
                raise T2Error(f"{asked[1]!r} after {asked[0][-20:]!r}: has no token of its own to score")
            if len(tokens) > self.max_length:
                raise T2Error(
                    f"a continuation has {len(tokens)} tokens, and at most max_length = {self.max_length} are scored"
                )
            # Too long a context loses its beginning, as with the harness's other models.
            texts.append((before[-(self.max_length + 1 - len(tokens)) :], tokens))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(texts)
        done = self.sampler.score_tokens(texts) if texts else ()
        for place, nll, greedy in tqdm(done, "Scoring", len(texts), disable=disable_tqdm):
            found[place] = (-nll, greedy)
            if requests[place][0] is not None:
                self.cache_hook.add_partial("loglikelihood", requests[place][0], found[place])
        return found

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihoods of whole texts, window by window where they are longer than the context."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for i, request in enumerate(requests):
            (text,) = request.args
            rolling = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for window in map(make_disjoint_window, rolling):
                windows.append((None, *window))
                owners.append(i)
        totals = [0.0] * len(requests)
        for i, (value, _) in zip(owners, self._loglikelihood_tokens(windows, disable_tqdm), strict=True):
            totals[i] += value
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    # ------------------------------------------------------------------------------------------------ answers

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers; equal requests are samples of one prompt."""
        places: dict[str, list[int]] = {}
        asked: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for i, request in enumerate(requests):
            context, given = request.args
            key = hashlib.sha256(json.dumps([context, given], sort_keys=True, default=str).encode()).hexdigest()[:32]
            asked[key] = context, given
            places.setdefault(key, []).append(i)
        prompts = [self._prompt(key, *one, len(places[key])) for key, one in asked.items()]
        found = [""] * len(requests)
        done = self.sampler.sample(prompts, seed=self.seed)
        k = {one.id: int(one.overrides["k"]) for one in prompts}
        for sample in tqdm(done, "Drawing", sum(k.values()), disable=disable_tqdm):
            (context, given), where = asked[sample.prompt_id], places[sample.prompt_id]
            text = postprocess_generated_text(sample.text, None, self._think_end)
            # Greedy answers are all the same: one stands for the repeats.
            for i in where if k[sample.prompt_id] == 1 else where[sample.sample : sample.sample + 1]:
                found[i] = text
                self.cache_hook.add_partial("generate_until", (context, given), text)
        return found

    def _prompt(self, key: str, context: str, given: Mapping[str, Any], repeats: int) -> Prompt:
        settings = _settings(given, self.max_gen_toks)
        room = self.max_length - settings["max_new_tokens"]
        if room < 1:
            raise T2Error(
                f"max_gen_toks = {settings['max_new_tokens']}: must be less than max_length = {self.max_length}"
            )
        settings["k"] = repeats if settings["temperature"] else 1
        try:
            SamplingParams().override(settings)
        except T2Error as error:
            raise T2Error(f"generation_kwargs: {error}") from None
        tokens = self.tok_encode(context) or [self.prefix_token_id]
        return Prompt(key, token_ids=tuple(tokens[-room:]), overrides=settings)


def _settings(given: Mapping[str, Any], most_new: int) -> dict[str, Any]:
    """A task's generation settings as those of :class:`SamplingParams`."""
    named = dict(normalize_gen_kwargs(dict(given), most_new))
    sampled = named.pop("do_sample")
    settings: dict[str, Any] = {
        "max_new_tokens": named.pop("max_gen_toks"),
        "stop": tuple(dict.fromkeys(one for one in named.pop("until") if one)),
        "temperature": float(named.pop("temperature", 0.0)) if sampled else 0.0,
    }
    if not named.get("top_k"):
        named.pop("top_k", None)  # 0 is how others say that there is none
    return settings | named


def _batch(value: int | str | None) -> int | None:
    """Most samples together, where somebody said so."""
    if value is None or str(value).partition(":")[0] == "auto" or str(value) == "1":
        return None
    try:
        return arguments.whole("batch_size", int(value), least=1)
    except ValueError:
        raise T2Error(f"batch_size = {value!r}: must be a whole number or auto") from None


def main() -> None:
    """The harness's own command; its arguments are those of ``lm_eval``."""
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except T2Error as error:
        print(f"t2fast: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
