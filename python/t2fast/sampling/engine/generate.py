"""The slow path: transformers' own generation, for models whose attention t2fast cannot run.

Prompts, settings, seeds per sample, verifiers and files are those of :class:`Sampler`; only the model runs as
transformers runs it, prompt after prompt, without sharing what prompts have in common. Each token is drawn by the same
operator with the same noise: inside ``generate``, as a processor of logits that leaves one token.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.engine.call import Stats
from t2fast.sampling.engine.drawn import top_of
from t2fast.sampling.engine.endings import ENDS, MAY_END, Endings, end_tokens
from t2fast.sampling.engine.fingerprint import fingerprint
from t2fast.sampling.engine.loading import load
from t2fast.sampling.engine.probe import context_length
from t2fast.sampling.engine.replica import replica, unwrapped
from t2fast.sampling.engine.rules import Rules
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.engine.thinking import Thinking, force
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt, unique
from t2fast.sampling.samples import FinishReason, Sample
from t2fast.sampling.verify import Verifier, judge
from t2fast_kernels.sample import sample as draw

__all__ = ["GenerateSampler"]


class GenerateSampler:
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
        self.stats = Stats(total=sum(map(len, needed)))
        return self._drawn(prompts, settings, asked, needed, endings, seed, verifier, progress)

    def _drawn(
        self,
        prompts: Sequence[Prompt],
        settings: Sequence[SamplingParams],
        asked: Sequence[Tokens],
        needed: Sequence[list[int]],
        endings: Endings,
        seed: int,
        verifier: Verifier | None,
        progress: Callable[[Stats], None] | None,
    ) -> Iterator[Sample]:
        model = replica(unwrapped(self.model), None)
        # A model's own defaults, such as penalties, are not asked for.
        model.generation_config = GenerationConfig()
        thinking = Thinking(self.tokenizer, settings, asked)
        rules = Rules(settings, endings, self.tokenizer.vocab, next(model.parameters()).device)
        begun = time.monotonic()
        for i, (prompt, numbers) in enumerate(zip(prompts, needed, strict=True)):
            over = False
            for at in range(0, len(numbers), self.max_batch):
                if over:
                    break
                some = numbers[at : at + self.max_batch]
                rows = _Rows(i, prompt, settings[i], asked[i], some, endings, rules, thinking, seed)
                for drawn in rows.run(model, min(settings[i].max_new_tokens, self.context - len(asked[i]))):
                    sample = drawn
                    if verifier is not None:
                        verdict = judge(verifier, prompt, sample.text)
                        sample = replace(
                            sample, correct=verdict.correct, score=verdict.score, verifier_error=verdict.error
                        )
                    self.stats.samples += 1
                    self.stats.tokens += len(sample.token_ids)
                    self.stats.seconds = time.monotonic() - begun
                    yield sample
                    if settings[i].stop_on_success and sample.accepted:
                        over = True
                        break
                if progress is not None:
                    progress(self.stats)


class _Chooses(LogitsProcessor):
    """The rows' part of choosing tokens inside ``generate``."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Any:
        return self._rows.choose(input_ids, scores)


class _Ends(StoppingCriteria):
    """The rows' part of ending samples inside ``generate``."""

    def __init__(self, rows: _Rows) -> None:
        self._rows = rows

    def __deepcopy__(self, _: Any) -> _Ends:
        # transformers copies stopping criteria, and this one remembers in the rows.
        return self

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Any:
        return self._rows.ended(input_ids)


class _Rows:
    """Samples of one prompt drawn together: chooses their tokens inside ``generate``, and says when each has ended."""

    def __init__(
        self,
        index: int,
        prompt: Prompt,
        settings: SamplingParams,
        asked: Tokens,
        numbers: list[int],
        endings: Endings,
        rules: Rules,
        thinking: Thinking,
        seed: int,
    ) -> None:
        self.index, self.prompt, self.settings, self.asked, self.numbers = index, prompt, settings, asked, numbers
        self.endings, self.rules, self.thinking = endings, rules, thinking
        self.seed = seed - (1 << 64) if seed >= 1 << 63 else seed
        self.key = int(np.uint32(zlib.crc32(prompt.id.encode())).view(np.int32))
        self.logprobs: list[Tensor] = []
        self.top: list[Tensor] = []
        #: By row: the step from which the end of its thinking is forced.
        self.since: dict[int, int] = {}
        self.asked_logprobs: tuple[float, ...] | None = None
        #: By row: how many tokens it has, once it has ended.
        self.ends: dict[int, int] = {}

    @torch.no_grad()
    def run(self, model: Any, most: int) -> list[Sample]:
        """Draw them."""
        n, device = len(self.numbers), next(model.parameters()).device
        ids = torch.from_numpy(self.asked).long().to(device).expand(n, -1)
        if self.settings.prompt_logprobs and 0 in self.numbers:
            logits = model(ids[:1]).logits[0, :-1].float()
            chosen = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
            self.asked_logprobs = tuple(chosen.tolist())
        plain = GenerationConfig(do_sample=False, max_new_tokens=most, pad_token_id=0, eos_token_id=None)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            generation_config=plain,
            logits_processor=LogitsProcessorList([_Chooses(self)]),
            stopping_criteria=StoppingCriteriaList([_Ends(self)]),
        )
        drawn = out[:, len(self.asked) :].cpu().numpy().astype(np.int32)
        logprobs = torch.stack(self.logprobs, 1).cpu().numpy()
        top = torch.stack(self.top, 1).cpu().numpy()
        return [self._sample(row, drawn[row], logprobs[row], top[row], most) for row in range(n)]

    def _sample(self, row: int, tokens: Any, logprobs: Any, top: Any, most: int) -> Sample:
        count = self.ends.get(row, most)
        tokens, settings = tokens[:count], self.settings
        ids, values = top_of(top[:count], settings.top_logprobs)
        text, by_text = self.endings.text(self.index, self.asked, tokens)
        by_token = bool(self.endings.table[self.endings.kind[self.index], tokens[-1]] & ENDS)
        reason: FinishReason = "length" if most == settings.max_new_tokens else "context"
        return Sample(
            prompt_id=self.prompt.id,
            sample=self.numbers[row],
            text=text,
            token_ids=tuple(tokens.tolist()),
            finish_reason="stop" if by_token or by_text else reason,
            n_prompt_tokens=len(self.asked),
            logprobs=tuple(logprobs[:count].tolist()) if settings.logprobs else None,
            top_token_ids=tuple(map(tuple, ids)) if settings.top_logprobs else None,
            top_logprobs=tuple(map(tuple, values)) if settings.top_logprobs else None,
            prompt_logprobs=self.asked_logprobs if self.numbers[row] == 0 else None,
            forced=self.thinking.span(self.index, self.since.get(row), count),
        )

    def choose(self, ids: Tensor, logits: Tensor) -> Tensor:
        """Logits that leave one token of each row: the one drawn."""
        n, step = len(ids), ids.shape[1] - len(self.asked)
        s, device = self.settings, logits.device
        if self.rules.needed:
            kind = torch.full((n,), int(self.rules.kind[self.index]), device=device)
            least = torch.full((n,), s.min_new_tokens, device=device)
            reach = self.rules.reach
            padded = torch.cat([torch.full((n, reach), -1, device=device), ids[:, len(self.asked) :]], 1)
            recent = padded[:, padded.shape[1] - reach :] if reach else None
            logits = self.rules.apply(logits, kind, torch.full((n,), step, device=device), least, recent)
        if self.thinking.needed:
            logits = force(logits, self._forced(ids, step))
        given: dict[str, Any] = {
            name: getattr(s, name)
            for name, off in (("top_k", None), ("top_p", 1.0), ("min_p", 0.0), ("repetition_penalty", 1.0),
                              ("presence_penalty", 0.0), ("frequency_penalty", 0.0))
            if getattr(s, name) != off
        }  # fmt: skip
        counts = None
        if given.keys() & {"repetition_penalty", "presence_penalty", "frequency_penalty"}:
            counts = torch.zeros(n, logits.shape[1], dtype=torch.int32, device=device)
            answer = ids[:, len(self.asked) :]
            counts.scatter_add_(1, answer, torch.ones_like(answer, dtype=torch.int32))
            asked = torch.zeros_like(counts, dtype=torch.bool).index_fill_(1, ids[0, : len(self.asked)], True)
            counts[asked & (counts == 0)] = -1
        tokens, logprobs, *top = draw(
            logits.float(),
            torch.tensor([self.seed], device=device),
            torch.full((n,), self.key, dtype=torch.int32, device=device),
            torch.tensor(self.numbers, dtype=torch.int32, device=device),
            torch.full((n,), step, dtype=torch.int32, device=device),
            temperature=s.temperature,
            order="top_k_first",
            counts=counts,
            n_logprobs=s.top_logprobs,
            **given,
        )
        if int(tokens.min()) < 0:
            raise T2Error(f"prompt {self.prompt.id!r}: the model's logits are not finite: its weights are broken")
        self.logprobs.append(logprobs)
        there = [top[0].int(), top[1].view(torch.int32)] if top else [logprobs.new_empty((n, 0), dtype=torch.int32)]
        self.top.append(torch.cat(there, 1))
        return torch.full_like(logits, -torch.inf).scatter_(1, tokens.long()[:, None], 0.0)

    def _forced(self, ids: Tensor, step: int) -> Tensor:
        """The token that each row is forced to draw in this step, or -1."""
        if step == self.settings.max_thinking_tokens:
            answers = ids[:, len(self.asked) :].cpu().numpy().astype(np.int32)
            self.since = {row: step for row in range(len(ids)) if self.thinking.spent(self.index, answers[row])}
        forced = [self.thinking.forced(self.index, self.since.get(row, -1 << 20), step) for row in range(len(ids))]
        return torch.tensor(forced, device=ids.device)

    def ended(self, ids: Tensor) -> Tensor:
        """Whether each row has ended."""
        answers = ids[:, len(self.asked) :].cpu().numpy().astype(np.int32)
        means = self.endings.table[self.endings.kind[self.index], answers[:, -1]]
        for row in np.flatnonzero(means).tolist():
            if row in self.ends:
                continue
            by_text = bool(means[row] & MAY_END) and self.endings.completed(self.index, self.asked, answers[row])
            if means[row] & ENDS or by_text:
                self.ends[row] = answers.shape[1]
        return torch.tensor([row in self.ends for row in range(len(ids))], device=ids.device)
