"""Sampling one token per row of logits: our operator and its peers, and the test that what they draw is right.

A method takes the filter and a list of logits tensors ``[rows, vocab]`` (fp32), and returns for each a call that draws tokens
``[rows]`` from it, different ones at every place of the list.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from bench.kernels.attention import OURS, Missing, load_flashinfer
from bench.kernels.counting import one_read
from bench.kernels.shapes import Logits
from t2fast_kernels.timing import Call

Method = Callable[[float | None, list[torch.Tensor]], tuple[list[Call], str]]

BATCH_COPIES = 256  # most copies of a batch of logits, which keeps the graph of one round small


def batches(case: Logits, device: torch.device) -> list[torch.Tensor]:
    """Different logits, together three times the size of the L2 cache, or one batch where 256 cannot fill it twice."""
    copies = 1
    if device.type == "cuda":
        cache, each = torch.cuda.get_device_properties(device).L2_cache_size, one_read(case).bytes
        copies = max(2, -(-3 * cache // each))
        if copies > BATCH_COPIES:
            copies = BATCH_COPIES if BATCH_COPIES * each >= 2 * cache else 1
    random = torch.Generator(device).manual_seed(case.vocab + case.rows)
    form = (case.rows, case.vocab)
    return [case.spread * torch.randn(form, generator=random, device=device) for _ in range(copies)]


def ours(top_p: float | None, logits: list[torch.Tensor]) -> tuple[list[Call], str]:
    """``sample``: token and log-probability."""
    from t2fast_kernels.sample import sample

    rows, device = len(logits[0]), logits[0].device
    prompt = torch.arange(rows, dtype=torch.int32, device=device)
    zero = torch.zeros_like(prompt)
    seed = torch.zeros(rows, dtype=torch.int64, device=device)
    steps = [torch.full_like(prompt, step) for step in range(len(logits))]

    def on(batch: torch.Tensor, step: torch.Tensor) -> Call:
        return lambda: sample(batch, seed, prompt, zero, step, top_p=top_p)[0]

    return [on(batch, step) for batch, step in zip(logits, steps, strict=True)], "with log-probabilities"


def multinomial(top_p: float | None, logits: list[torch.Tensor]) -> tuple[list[Call], str]:
    """Softmax and ``torch.multinomial``."""
    if top_p is not None:
        raise Missing("has no filters")
    return [partial(_multinomial, batch) for batch in logits], "softmax, torch.multinomial"


def _multinomial(logits: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(logits.softmax(-1), 1).squeeze(1)


def race(top_p: float | None, logits: list[torch.Tensor]) -> tuple[list[Call], str]:
    """Softmax and an exponential race, which never waits for the GPU; with top-p after a full sort."""
    draw = _race if top_p is None else partial(_sorted_race, top_p=top_p)
    how = "softmax, exponential race" if top_p is None else "sort, cumulative sum, exponential race"
    return [partial(draw, batch) for batch in logits], how


def _race(logits: torch.Tensor) -> torch.Tensor:
    probabilities = logits.softmax(-1)
    return probabilities.div_(torch.empty_like(probabilities).exponential_()).argmax(-1)


def _sorted_race(logits: torch.Tensor, top_p: float) -> torch.Tensor:
    ordered, tokens = logits.sort(dim=-1, descending=True)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1).sub_(probabilities)
    probabilities.masked_fill_(before >= top_p, 0.0)
    place = probabilities.div_(torch.empty_like(probabilities).exponential_()).argmax(-1, keepdim=True)
    return tokens.gather(-1, place).squeeze(1)


def flashinfer(top_p: float | None, logits: list[torch.Tensor]) -> tuple[list[Call], str]:
    """FlashInfer's kernels without a sort: from logits, or by rejection from probabilities with top-p."""
    device = logits[0].device
    library = load_flashinfer(device)
    # A captured graph wants the seed on the device.
    offset = torch.zeros(1, dtype=torch.int64, device=device)
    seeds = [torch.full_like(offset, seed) for seed in range(len(logits))]

    def on(batch: torch.Tensor, seed: torch.Tensor) -> Call:
        if top_p is None:
            return lambda: library.sampling.sampling_from_logits(batch, seed=seed, offset=offset)
        return lambda: library.sampling.top_p_sampling_from_probs(
            library.sampling.softmax(batch), top_p, seed=seed, offset=offset
        )

    return [on(batch, seed) for batch, seed in zip(logits, seeds, strict=True)], f"FlashInfer {library.__version__}"


METHODS: dict[str, Method] = {
    OURS: ours,
    "PyTorch, race": race,
    "PyTorch, multinomial": multinomial,
    "FlashInfer": flashinfer,
}


def mistake(case: Logits, method: Method, device: torch.device, draws: int = 2048) -> str | None:
    """What is wrong with tokens drawn from one known distribution, or None: all within the nucleus, and as often as they should.

    The frequencies of the hundred likeliest tokens and of the rest are judged by a chi-square test that a correct method fails
    once in a million.
    """
    random = torch.Generator(device).manual_seed(case.vocab)
    row = case.spread * torch.randn(case.vocab, generator=random, device=device)
    batch = row.expand(case.rows, -1).contiguous()
    calls, _ = method(case.top_p, [batch] * -(-draws // case.rows))
    tokens = torch.cat([torch.as_tensor(call()) for call in calls]).long()

    probability, order = row.double().softmax(0).sort(descending=True)
    before = probability.cumsum(0) - probability
    top_p = 1.0 if case.top_p is None else case.top_p
    rank = torch.empty_like(order)
    rank[order] = torch.arange(case.vocab, device=device)
    if not ((tokens >= 0) & (tokens < case.vocab)).all():
        return "draws tokens outside the vocabulary"
    if (before[rank[tokens]] >= top_p + 1e-4).any():  # the sum at which the nucleus ends is rounded
        return "draws tokens outside the nucleus"
    probability = torch.where(before < top_p, probability, 0)
    expected = probability / probability.sum() * len(tokens)
    likely = int((expected[:100] >= 5).sum())
    seen = torch.bincount(rank[tokens], minlength=case.vocab).double()
    cells = torch.stack([torch.cat([x[:likely], x[likely:].sum()[None]]) for x in (seen, expected)])
    cells = cells[:, cells[1] >= 5]
    if cells.shape[1] < 2:
        return None
    statistic = ((cells[0] - cells[1]) ** 2 / cells[1]).sum()
    chance = torch.special.gammaincc(
        (torch.tensor(cells.shape[1] - 1.0, device=device)) / 2, statistic.float() / 2
    ).item()
    return None if chance >= 1e-6 else f"draws another distribution (chi-square, chance {chance:.1g})"
