"""The slow path: transformers' own generation, for models whose attention t2fast cannot run.

Prompts, settings, seeds per sample, verifiers and files are those of :class:`Sampler`; only the model runs as
transformers runs it, prompt after prompt, without sharing what prompts have in common. Each token is drawn by the same
operator with the same noise: inside ``generate``, as a processor of logits that leaves one token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.cancelling import Cancellable
from t2fast.sampling.engine.call import Stats
from t2fast.sampling.engine.endings import Endings, end_tokens
from t2fast.sampling.engine.fingerprint import fingerprint
from t2fast.sampling.engine.generate_rows import Rows
from t2fast.sampling.engine.loading import load
from t2fast.sampling.engine.probe import context_length
from t2fast.sampling.engine.replica import replica, unwrapped
from t2fast.sampling.engine.rules import Rules
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.engine.thinking import Thinking
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt, unique
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify import Verifier, judge

__all__ = ["GenerateSampler"]


class GenerateSampler(Cancellable):
    """Draws samples with ``model.generate`` of transformers: any causal model, slowly.

    Parameters
    ----------
    model, tokenizer
        Of transformers.
    max_batch
        Most samples of a prompt drawn together.
    name
        The model's name in tables; its own by default.

    Raises
    ------
    T2Error
        When model or tokenizer cannot be used.

    Examples
    --------
    ::

        sampler = GenerateSampler.from_pretrained("my-mamba")
        sample_to_file(sampler, prompts, SamplingParams(k=8), "samples.jsonl")
    """

    def __init__(self, model: Any, tokenizer: Any, *, max_batch: int | None = None, name: str | None = None) -> None:
        super().__init__()
        inner = unwrapped(model)
        if not callable(getattr(inner, "generate", None)):
            raise T2Error(f"{type(inner).__name__} has no generate method: give a causal language model")
        self.model, self.max_batch = model, arguments.whole("max_batch", max_batch or 64, least=1)
        config = inner.config.get_text_config()
        vocab = getattr(inner.get_output_embeddings(), "weight", torch.empty(config.vocab_size, 0)).shape[0]
        self.tokenizer = Tokenizer(tokenizer, vocab)
        #: Tokens that end samples.
        self.eos: tuple[int, ...] = end_tokens(inner, tokenizer, vocab)
        self.name = name or str(getattr(inner.config, "_name_or_path", "") or type(inner).__name__)
        self.context = context_length(inner.config)
        self.warnings: tuple[str, ...] = ("drawn by transformers' own generation (engine generate), which is slow",)
        self.stats = Stats()

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> GenerateSampler:
        """Load model and tokenizer, as :meth:`Sampler.from_pretrained` does.

        Raises
        ------
        T2Error
            When files are missing or incomplete, or the model cannot be used.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model, tokenizer = load(path, dtype=dtype, device=where, trust_remote_code=trust_remote_code)
        return cls(model, tokenizer, **{"name": str(path), **options})

    def identity(self) -> dict[str, Any]:
        """What the samples depend on: the engine, model, weights, number type, tokenizer."""
        model = unwrapped(self.model)
        return {
            "name": self.name,
            "engine": "generate",
            "architecture": type(model).__name__,
            "weights": fingerprint(model),
            "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
            "tokenizer": self.tokenizer.fingerprint(),
            "n_params": sum(p.numel() for p in {id(p): p for p in model.parameters()}.values()),
        }

    def with_defaults(self, params: SamplingParams) -> SamplingParams:
        """Settings with the model's own (generation_config.json) wherever they still have our default.

        Raises
        ------
        T2Error
            When the model's generation configuration has settings that t2fast lacks.
        """
        return params.with_defaults(unwrapped(self.model).generation_config)

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | None = None,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        on_sample: Callable[[Sample], None] | None = None,
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[Stats], None] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples, prompt after prompt; arguments as for :meth:`Sampler.sample`.

        Raises
        ------
        T2Error
            As :meth:`Sampler.sample`.
        """
        params = params or SamplingParams()
        unique(prompts)
        seed = arguments.seed(seed)
        settings = [prompt.params(params) for prompt in prompts]
        if verifier is None and any(one.stop_on_success for one in settings):
            raise T2Error("stop_on_success = True: needs a verifier that says what success is")
        asked = self.tokenizer.encode(prompts, params)
        for prompt, tokens in zip(prompts, asked, strict=True):
            if len(tokens) >= self.context:
                raise T2Error(
                    f"prompt {prompt.id!r}: has {len(tokens)} tokens, and the model's context of {self.context} "
                    "must hold it and at least one more"
                )
        endings = Endings(self.tokenizer, settings, self.eos)
        needed = [[j for j in range(one.k) if j not in (skip or (lambda _: ()))(prompt.id)]
                  for prompt, one in zip(prompts, settings, strict=True)]  # fmt: skip
        call = _Call(prompts, settings, asked, needed, endings, seed, verifier, on_tokens)
        self.stats = call.stats
        self._begins(call)
        return self._iterate(call, on_sample, progress)

    def _iterate(
        self, call: _Call, on_sample: Callable[[Sample], None] | None, progress: Callable[[Stats], None] | None
    ) -> Iterator[Sample]:
        model = replica(unwrapped(self.model), None)
        # A model's own defaults, such as penalties, are not asked for.
        model.generation_config = GenerationConfig()
        begun, stats = time.monotonic(), call.stats
        thinking = Thinking(self.tokenizer, call.settings, call.asked)
        rules = Rules(call.settings, call.endings, self.tokenizer.vocab, next(model.parameters()).device)
        try:
            for i in range(len(call.prompts)):
                for sample in call.draw(i, model, self.max_batch, self.context, rules, thinking):
                    stats.samples += 1
                    stats.tokens += len(sample.token_ids)
                    stats.seconds = time.monotonic() - begun
                    if on_sample is not None:
                        on_sample(sample)
                    yield sample
                    if progress is not None:
                        progress(stats)
        finally:
            self._ends(call)


@dataclass(eq=False)
class _Call:
    """One call of :meth:`GenerateSampler.sample`."""

    prompts: Sequence[Prompt]
    settings: Sequence[SamplingParams]
    asked: Sequence[Tokens]
    #: By prompt: numbers of the samples to draw.
    needed: Sequence[list[int]]
    endings: Endings
    seed: int
    verifier: Verifier | None
    on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None
    #: Prompts cancelled so far, where that dropped samples; and those that nobody wants.
    cancelled: set[str] = field(default_factory=set)
    unwanted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.stats = Stats(total=sum(map(len, self.needed)))

    def cancel(self, prompt_id: str) -> bool:
        """Ask, from any thread, for no more samples of a prompt; whether this call has it."""
        known = any(prompt.id == prompt_id for prompt in self.prompts)
        if known:
            self.unwanted.add(prompt_id)
        return known

    def draw(
        self, index: int, model: Any, max_batch: int, context: int, rules: Rules, thinking: Thinking
    ) -> Iterator[Sample]:
        """Draw the samples of a prompt, batch after batch."""
        prompt, settings, asked = self.prompts[index], self.settings[index], self.asked[index]
        left = list(self.needed[index])
        while left and prompt.id not in self.unwanted:
            rows = Rows(
                index, prompt, settings, asked, left[:max_batch], self.endings, rules, thinking, self.seed,
                self.on_tokens, lambda: prompt.id in self.unwanted,
            )  # fmt: skip
            for drawn in rows.run(model, min(settings.max_new_tokens, context - len(asked))):
                if settings.stop_on_success and drawn.sample != left[0]:
                    break  # those before it were cancelled
                sample = self._judged(prompt, drawn)
                left.remove(sample.sample)
                yield sample
                if settings.stop_on_success and sample.accepted:
                    self.stats.total -= len(left)
                    return
        if left:
            self.cancelled.add(prompt.id)
            self.stats.cancelled += len(left)
            self.stats.total -= len(left)

    def _judged(self, prompt: Prompt, sample: Sample) -> Sample:
        if self.verifier is None:
            return sample
        verdict = judge(self.verifier, prompt, sample.text)
        return replace(sample, correct=verdict.correct, score=verdict.score, verifier_error=verdict.error)
