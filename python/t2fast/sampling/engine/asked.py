"""How likely the model finds the prompts themselves: taken from the pass that computes their keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from t2fast.sampling.engine.schedule import Job
from t2fast.sampling.engine.tree import Floats, Node, Tokens
from t2fast.sampling.params import SamplingParams

__all__ = ["Asked"]


class Asked:
    """Log-probabilities of prompts' tokens, node by node of the tree of prefixes.

    Parameters
    ----------
    jobs, settings
        By prompt. Those count that ask for their log-probabilities and whose sample 0, which carries them, is drawn.
    """

    def __init__(self, jobs: Sequence[Job], settings: Sequence[SamplingParams]) -> None:
        self._jobs: dict[Node, list[Job]] = {}
        self._found: dict[int, Floats] = {}
        #: By prompt that wants them: the likeliest tokens in the place of each of its own, and their log-probabilities.
        self._top: dict[int, tuple[Tokens, Floats]] = {}
        for job, one in zip(jobs, settings, strict=True):
            if one.prompt_logprobs and job.end and 0 not in job.skip:
                self.take_in(job)

    def take_in(self, job: Job, n_top: int = 0) -> None:
        """Want the log-probabilities of a prompt, with those of the ``n_top`` likeliest tokens in each place."""
        n = len(job.tokens) - 1
        self._found[job.index] = np.full(n, np.nan, np.float32)
        if n_top:
            self._top[job.index] = np.full((n, n_top), -1, np.int32), np.full((n, n_top), -np.inf, np.float32)
        for node in job.chain():
            self._jobs.setdefault(node, []).append(job)

    def forget(self, job: Job) -> None:
        """A prompt has ended."""
        self._found.pop(job.index, None)
        self._top.pop(job.index, None)
        for node in job.chain():
            jobs = [one for one in self._jobs.pop(node, ()) if one is not job]
            if jobs:
                self._jobs[node] = jobs

    def wants(self, node: Node) -> bool:
        """Whether the logits of a node's tokens are wanted."""
        return any(job.index in self._found for job in self._jobs.get(node, ()))

    def take(self, node: Node, begin: int, end: int, logits: Tensor) -> None:
        """Take in the logits ``[end - begin, vocab]`` of a node's tokens ``begin`` to ``end - 1``."""
        jobs = [job for job in self._jobs[node] if job.index in self._found]
        at, to = node.begin + begin, node.begin + end
        # A token's logits tell of the next one, and behind the node's last one prompts differ.
        targets = torch.from_numpy(np.stack([job.tokens[at + 1 : to + 1] for job in jobs])).long().to(logits.device)
        sums = logits.float().logsumexp(-1)
        same = logits.gather(1, targets[0, :, None])[:, 0].float() - sums
        last = logits[-1].gather(0, targets[:, -1]).float() - sums[-1]
        inner, ends = same.cpu().numpy(), last.cpu().numpy()
        for job, value in zip(jobs, ends, strict=True):
            self._found[job.index][at:to] = inner
            self._found[job.index][to - 1] = value
            if job.index in self._top:
                ids, values = self._top[job.index]
                top = logits.float().topk(ids.shape[1])
                ids[at:to], values[at:to] = top.indices.int().cpu(), (top.values - sums[:, None]).cpu()

    def of(self, index: int) -> tuple[float, ...] | None:
        """The log-probabilities of a prompt's tokens but the first; they are given once."""
        found = self._found.pop(index, None)
        return None if found is None else tuple(found.tolist())

    def top_of(self, index: int) -> tuple[Tokens, Floats] | None:
        """The likeliest tokens in the place of each of a prompt's tokens but the first; they are given once."""
        return self._top.pop(index, None)
