"""How likely the model finds reference answers: negative log-likelihoods, the paper's -ln p_i."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from t2fast.errors import T2Error
from t2fast.results import Result
from t2fast.sampling.engine.cache import Pool, on_device
from t2fast.sampling.engine.pages import Pages, pages_for
from t2fast.sampling.engine.prefill import Text, forward_texts, places
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.tree import Node, Tokens, build_tree
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.verify import Choice

__all__ = ["Score", "scores", "token_scores"]

#: Logits computed at a time, in elements of fp32.
_LOGITS = 1 << 26


@dataclass(frozen=True, repr=False)
class Score(Result):
    """How likely a model finds one answer to a prompt; :meth:`Sampler.score` makes it.

    Examples
    --------
    >>> Score("q1", None, "42", True, 1.5, 2, False)
    <Score: q1: '42', -ln p 1.5000 over 2 tokens>
    """

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
    n_answer_tokens: int
    #: Whether each of them is the likeliest, so that greedy decoding gives the answer.
    greedy: bool

    def summary(self) -> str:
        """The score in one line."""
        return f"{self.prompt_id}: {self.text!r}, -ln p {self.nll:.4f} over {self.n_answer_tokens} tokens"

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON data; an infinite ``nll`` is None."""
        return asdict(self) | {"nll": self.nll if np.isfinite(self.nll) else None}


def scores(prepared: Prepared, prompts: Sequence[Prompt]) -> Iterator[Score]:
    """Compute scores; see :meth:`Sampler.score`.

    Raises
    ------
    T2Error
        When an answer cannot be scored.
    """
    asked, wanted, answers = _answers(prepared, prompts)
    return (
        Score(prompts[one.prompt].id, *wanted[place], nll, len(one.tokens), greedy)
        for place, one, nll, greedy in _score(prepared, asked, answers)
    )


def token_scores(
    prepared: Prepared, texts: Sequence[tuple[Sequence[int], Sequence[int]]]
) -> Iterator[tuple[int, float, bool]]:
    """Score continuations given as tokens; see :meth:`Sampler.score_tokens`.

    Raises
    ------
    T2Error
        When one cannot be scored.
    """
    asked: dict[tuple[int, ...], int] = {}
    answers = []
    for place, (before, tokens) in enumerate(texts):
        if not len(before) or not len(tokens):
            raise T2Error(f"text {place}: {'what is scored' if len(before) else 'what comes before'} has no tokens")
        if (most := max(*before, *tokens)) >= prepared.shape.vocab or min(*before, *tokens) < 0:
            raise T2Error(f"text {place}: token {most} is not among the model's {prepared.shape.vocab}")
        if (n := len(before) + len(tokens) - 1) > prepared.context:
            raise T2Error(
                f"text {place}: has {n} tokens before its last, and the model's context is {prepared.context}"
            )
        prompt = asked.setdefault(tuple(before), len(asked))
        answers.append(_Answer(prompt, np.asarray(tokens, np.int32)))
    found = _score(prepared, [np.asarray(one, np.int32) for one in asked], answers)
    return ((place, nll, greedy) for place, _, nll, greedy in found)


@dataclass(frozen=True)
class _Answer:
    #: Which of the texts before it, and its own tokens.
    prompt: int
    tokens: Tokens


def _answers(
    prepared: Prepared, prompts: Sequence[Prompt]
) -> tuple[list[Tokens], list[tuple[int | None, str, bool]], list[_Answer]]:
    """The prompts' tokens; of each answer its choice, its text and whether it is right; and its tokens."""
    asked = prepared.tokenizer.encode(prompts)
    found, answers = [], []
    for i, prompt in enumerate(prompts):
        if prompt.choices is not None:
            right = None if prompt.answer is None else Choice().right(prompt)
            wanted: list[tuple[int | None, str, bool]] = [
                (j, text, j == right) for j, text in enumerate(prompt.choices)
            ]
        elif prompt.answer is not None:
            wanted = [(None, prompt.answer, True)]
        else:
            raise T2Error(f"prompt {prompt.id!r}: has neither answer nor choices to score")
        for one in wanted:
            text = one[1]
            tokens = prepared.tokenizer.continuation(prompt, asked[i], text)
            if not len(tokens):
                raise T2Error(f"prompt {prompt.id!r}: its answer {text!r} has no tokens")
            if len(asked[i]) + len(tokens) > prepared.context:
                raise T2Error(
                    f"prompt {prompt.id!r}: with its answer {text!r} it has {len(asked[i]) + len(tokens)} tokens, "
                    f"and the model's context is {prepared.context}"
                )
            found.append(one)
            answers.append(_Answer(i, tokens))
    return asked, found, answers


def _score(
    prepared: Prepared, asked: list[Tokens], answers: list[_Answer]
) -> Iterator[tuple[int, _Answer, float, bool]]:
    """Answer after answer in the order of the tree, so that what they share stays in memory just as long as needed.

    As in sampling, a prefix is all of a prompt but its last token. An answer is then the text of that token and all of
    its own but the last, and the logits of this text are those of the answer's tokens.
    """
    leaves = build_tree([tokens[:-1] for tokens in asked], 2 * prepared.config.page_size, prepared.config.levels)
    chains = [leaf.chain() if leaf else [] for leaf in leaves]
    order = sorted(range(len(answers)), key=lambda a: (*(n.first for n in chains[answers[a].prompt]), a))
    page_size = prepared.config.page_size
    chunk = max(1, min(prepared.config.prefill_tokens, _LOGITS // prepared.shape.vocab))

    def size(chain: list[Node]) -> int:
        return sum(pages_for(node.end - node.begin, page_size) for node in chain)

    least = max((size(chains[one.prompt]) + pages_for(len(one.tokens), page_size) for one in answers), default=1)
    # Beside the longest, what a chunk of short texts takes.
    pool = prepared.pool(least + 2 * chunk)
    pages = Pages(pool.data.shape[2])
    if pages.total < least:
        page = prepared.shape.page_bytes(page_size)
        raise T2Error(
            f"kv_memory: {pages.total * page} bytes cannot hold the longest prompt with its answer, "
            f"which need {least * page}; give more"
        )
    held: dict[Node, npt.NDArray[np.int64]] = {}
    done = 0
    while done < len(order):
        # As many answers as fit a pass, with what they need before them.
        texts: list[Text] = []
        scored: dict[int, int] = {}
        own: list[int] = []
        while done < len(order) and sum(len(text.tokens) for text in texts) < chunk:
            one = answers[order[done]]
            chain = chains[one.prompt]
            if not texts:
                for node in [node for node in held if node not in chain]:
                    _let_go(node, held, pages)
            missing = [node for node in chain if node not in held]
            if pages.free < size(missing) + pages_for(len(one.tokens), page_size):
                break
            before = np.concatenate([np.empty(0, np.int64), *(held[node] for node in chain if node in held)])
            for node in missing:
                node.pages = pages.take(size([node]))
                held[node] = places(node.pages, page_size, node.end - node.begin)
                texts.append(Text(asked[node.prompt][node.begin : node.end], held[node], before))
                before = np.concatenate([before, held[node]])
            taken = pages.take(pages_for(len(one.tokens), page_size))
            own += taken
            scored[len(texts)] = order[done]
            tokens = np.concatenate([asked[one.prompt][-1:], one.tokens[:-1]])
            texts.append(Text(tokens, places(taken, page_size, len(tokens)), before, wanted=True))
            done += 1
        yield from _scores(prepared, pool, texts, scored, answers, chunk)
        pages.give_back(own)


def _let_go(node: Node, held: dict[Node, npt.NDArray[np.int64]], pages: Pages) -> None:
    assert node.pages is not None
    pages.give_back(node.pages)
    node.pages = None
    del held[node]


def _scores(
    prepared: Prepared, pool: Pool, texts: list[Text], scored: dict[int, int], answers: list[_Answer], chunk: int
) -> list[tuple[int, _Answer, float, bool]]:
    """Compute the texts, and score those that are answers."""
    nll = dict.fromkeys(scored, 0.0)
    greedy = dict.fromkeys(scored, True)
    with torch.no_grad(), prepared.running():
        for parts, logits in forward_texts(prepared.model, pool, texts, chunk):
            wanted = np.concatenate([answers[scored[i]].tokens[a:b] for i, a, b in parts])
            targets = on_device(wanted, logits.device).long()
            chosen = logits.float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
            likeliest = (logits.argmax(-1) == targets).cpu()
            at = 0
            for (i, a, b), values in zip(parts, chosen.double().cpu().split([b - a for _, a, b in parts]), strict=True):
                nll[i] -= float(values.sum())
                greedy[i] = greedy[i] and bool(likeliest[at : at + b - a].all())
                at += b - a
    return [(place, answers[place], nll[i], greedy[i]) for i, place in scored.items()]
