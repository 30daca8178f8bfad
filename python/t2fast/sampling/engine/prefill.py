"""Computing the keys and values of texts, several at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from t2fast.sampling.engine.cache import Pool, Prefill, Span, on_device
from t2fast.sampling.engine.pages import pages_for
from t2fast.sampling.engine.tree import Tokens

__all__ = ["Text", "forward_texts", "places"]


@dataclass
class Text:
    """Tokens whose keys and values are to be computed."""

    tokens: Tokens
    #: Where they go, as token numbers over all pages; and what they read before them.
    places: npt.NDArray[np.int64]
    before: npt.NDArray[np.int64]
    #: Whether the logits are wanted.
    wanted: bool = False


def places(pages: npt.ArrayLike, page_size: int, length: int) -> npt.NDArray[np.int64]:
    """Numbers over all pages of the first tokens that lie on these."""
    first = np.asarray(pages, np.int64)[: pages_for(length, page_size), None] * page_size
    return (first + np.arange(page_size)).reshape(-1)[:length]


def forward_texts(
    model: Callable[..., Any], pool: Pool, texts: Sequence[Text], most: int
) -> Iterator[tuple[list[tuple[int, int, int]], Tensor]]:
    """Compute texts, at most so many tokens at once; a text may read those before it in the list.

    Yields
    ------
    parts, logits
        For each pass that computed wanted ones: which tokens, as text, begin, end; and their logits, in a row.
    """
    device = pool.data.device
    batch: list[tuple[int, int, int]] = []
    room = most
    queue = [(i, 0, len(text.tokens)) for i, text in enumerate(texts) if len(text.tokens)][::-1]
    while queue:
        i, begin, end = queue.pop()
        cut = min(end, begin + room)
        batch.append((i, begin, cut))
        room -= cut - begin
        if cut < end:
            queue.append((i, cut, end))
        if room and queue:
            continue
        ids = np.concatenate([texts[i].tokens[a:b] for i, a, b in batch])
        own = np.concatenate([texts[i].places[a:b] for i, a, b in batch])
        position = np.concatenate([len(texts[i].before) + np.arange(a, b) for i, a, b in batch])
        reads = [np.concatenate([texts[i].before, texts[i].places[:b]]) for i, _, b in batch]
        wanted = [part for part in batch if texts[part[0]].wanted]
        keep = np.flatnonzero(np.concatenate([np.full(b - a, texts[i].wanted) for i, a, b in batch]))
        packed = on_device(np.concatenate([ids, position, own, keep, *reads]), device)
        n, spans, at = len(ids), [], 0
        of_spans = packed[3 * n + len(keep) :].split([len(one) for one in reads])
        for (_, a, b), read in zip(batch, of_spans, strict=True):
            spans.append(Span(at, at + b - a, read))
            at += b - a
        logits = model(
            input_ids=packed[None, :n],
            position_ids=packed[None, n : 2 * n],
            use_cache=False,
            # 1 rather than none, which transformers cannot say.
            logits_to_keep=packed[3 * n : 3 * n + len(keep)] if wanted else 1,
            t2fast=Prefill(pool, packed[2 * n : 3 * n], spans),
        ).logits[0]
        if wanted:
            yield wanted, logits
        batch, room = [], most
