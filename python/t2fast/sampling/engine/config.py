"""How a sampler uses the machine: one object that everything inside it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from t2fast.arguments import choice, whole

__all__ = ["Config", "Graphs"]

#: How a decode step is launched.
Graphs = Literal["auto", "cuda", "compile", "none"]


@dataclass(frozen=True)
class Config:
    """How a sampler uses the machine; its fields are the keywords of :class:`Sampler`.

    Parameters
    ----------
    kv_memory
        Bytes for keys and values; by default 85% of what is free on the GPU, or half of what is free on the CPU, but no
        more than needed.
    max_batch
        Most samples drawn together; by default 256 on a GPU and 64 on the CPU.
    page_size
        Tokens in a page of memory.
    graphs
        How steps are launched: "cuda" graphs, "compile" (torch.compile), "none"; "auto" takes graphs on a GPU.
    prefill_tokens
        Most tokens of prefixes computed at once.
    levels
        Most nodes in a prefix's chain: a system prompt, examples, a question, and one to spare.
    ahead
        Steps launched before the host has looked at the last; by default one on a GPU, so that it need not wait for the
        host, and none on the CPU.

    Raises
    ------
    T2Error
        When a value is out of its range.

    Examples
    --------
    >>> Config(page_size=32).max_batch is None
    True
    """

    kv_memory: int | None = None
    max_batch: int | None = None
    page_size: int = 16
    graphs: Graphs = "auto"
    prefill_tokens: int = 1024
    levels: int = 4
    ahead: int | None = None

    def __post_init__(self) -> None:
        for name in ("kv_memory", "max_batch", "page_size", "prefill_tokens", "levels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name), least=1))
        if self.ahead is not None:
            whole("ahead", self.ahead, most=1)
        choice("graphs", self.graphs, ("auto", "cuda", "compile", "none"))
