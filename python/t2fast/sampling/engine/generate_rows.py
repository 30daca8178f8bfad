"""Samples of one prompt drawn together inside ``generate`` of transformers: their tokens, and when each has ended."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
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

from t2fast.errors import T2Error
from t2fast.sampling.engine.drawn import top_of
from t2fast.sampling.engine.endings import ENDS, MAY_END, Endings
from t2fast.sampling.engine.rules import Rules
from t2fast.sampling.engine.thinking import Thinking, force
from t2fast.sampling.engine.tree import Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import FinishReason, Sample
from t2fast_kernels.sample import sample as draw

__all__ = ["Rows"]


class _Chooses(LogitsProcessor):
    """The rows' part of choosing tokens inside ``generate``."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Any:
        return self._rows.choose(input_ids, scores)


class _Ends(StoppingCriteria):
    """The rows' part of ending samples inside ``generate``."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __deepcopy__(self, _: Any) -> _Ends:
        # transformers copies stopping criteria, and this one remembers in the rows.
        return self

    def __call__(self, input_ids: Tensor, *_: Any, **__: Any) -> Any:
        return self._rows.ended(input_ids)


class Rows:
    """Samples of one prompt drawn together: chooses their tokens inside ``generate``, and says when each has ended.

    Parameters
    ----------
    index, prompt, settings, asked
        The prompt: its place, itself, its settings and its tokens.
    numbers
        Of the samples.
    endings, rules, thinking, seed
        Of the call.
    on_tokens
        As for :meth:`Sampler.sample`.
    unwanted
        Asked after every step: whether nobody wants the samples any more.
    """

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
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None,
        unwanted: Callable[[], bool],
    ) -> None:
        self.index, self.prompt, self.settings, self.asked, self.numbers = index, prompt, settings, asked, numbers
        self.endings, self.rules, self.thinking = endings, rules, thinking
        self.on_tokens, self.unwanted = on_tokens, unwanted
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
        """Draw them; those that had not ended when they were no longer wanted are left out."""
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
        whole = [row for row in range(n) if row in self.ends or drawn.shape[1] == most]
        return [self._sample(row, drawn[row], logprobs[row], top[row], most) for row in whole]

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
        if self.on_tokens is not None:
            for row, number in enumerate(self.numbers):
                if row not in self.ends:
                    self.on_tokens(self.prompt, number, answers[row].tolist())
        means = self.endings.table[self.endings.kind[self.index], answers[:, -1]]
        for row in np.flatnonzero(means).tolist():
            if row in self.ends:
                continue
            by_text = bool(means[row] & MAY_END) and self.endings.completed(self.index, self.asked, answers[row])
            if means[row] & ENDS or by_text:
                self.ends[row] = answers.shape[1]
        over = self.unwanted()
        return torch.tensor([over or row in self.ends for row in range(len(ids))], device=ids.device)
