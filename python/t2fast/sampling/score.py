"""How likely the model finds reference answers: negative log-likelihoods, the paper's -ln p_i."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.cache import reading_pages
from t2fast.sampling.request import Prompt
from t2fast.sampling.runner import Text, forward_texts
from t2fast.sampling.schedule import Tokens, build_tree

if TYPE_CHECKING:
    from t2fast.sampling.engine import Sampler

__all__ = ["Score", "score"]

#: Logits computed at a time, in elements of fp32.
_LOGITS = 1 << 26


@dataclass(frozen=True)
class Score:
    """How likely a model finds one answer to a prompt."""

    #: :attr:`Prompt.id`.
    prompt_id: str
    #: Which of the prompt's choices; None if the prompt has only an answer.
    choice: int | None
    #: The answer scored.
    text: str
    #: Whether it is the reference answer.
    correct: bool
    #: Negative log-likelihood of the whole answer, in nats: exp(-nll) is the probability of drawing just it.
    nll: float
    #: Tokens of the answer.
    n_tokens: int
    #: Whether each of them is the likeliest, so that greedy decoding gives the answer.
    greedy: bool

    def to_dict(self) -> dict[str, Any]:
        """Give the score as JSON holds it."""
        return asdict(self)


def score(sampler: Sampler, prompts: Sequence[Prompt]) -> Iterator[Score]:
    """Compute the negative log-likelihoods of each prompt's choices, or of its answer where it has none.

    A prompt is computed once for all of its answers, and what prompts have in common once for all of them. An answer's
    tokens are those that the text of prompt and answer together has beyond the prompt's own; after a chat or token ids, it
    is tokenized by itself.

    Raises
    ------
    T2Error
        When a prompt has neither answer nor choices, its answer is none of its choices or has no tokens, or the two
        are longer than the model's context.
    """
    return _score(sampler, prompts, *_answers(sampler, prompts))


@dataclass(frozen=True)
class _Answer:
    prompt: int
    choice: int | None
    text: str
    correct: bool
    tokens: Tokens


def _answers(sampler: Sampler, prompts: Sequence[Prompt]) -> tuple[list[Tokens], list[_Answer]]:
    asked = sampler.tokenizer.encode(prompts)
    found = []
    for i, prompt in enumerate(prompts):
        if prompt.choices is not None:
            right = _right(prompt)
            wanted = [(j, text, j == right) for j, text in enumerate(prompt.choices)]
        elif prompt.answer is not None:
            wanted = [(None, prompt.answer, True)]
        else:
            raise T2Error(f"prompt {prompt.id!r}: has neither answer nor choices to score")
        for choice, text, correct in wanted:
            tokens = sampler.tokenizer.continuation(prompt, asked[i], text)
            if not len(tokens):
                raise T2Error(f"prompt {prompt.id!r}: its answer {text!r} has no tokens")
            if len(asked[i]) + len(tokens) > sampler.context:
                raise T2Error(
                    f"prompt {prompt.id!r}: with its answer {text!r} it has {len(asked[i]) + len(tokens)} tokens, "
                    f"and the model's context is {sampler.context}"
                )
            found.append(_Answer(i, choice, text, correct, tokens))
    return asked, found


def _right(prompt: Prompt) -> int | None:
    """Place of the right choice; None if the prompt names no answer."""
    if prompt.answer is None:
        return None
    from t2fast.sampling.verify import Choice

    return Choice().right(prompt)


def _score(sampler: Sampler, prompts: Sequence[Prompt], asked: list[Tokens], answers: list[_Answer]) -> Iterator[Score]:
    raise NotImplementedError
