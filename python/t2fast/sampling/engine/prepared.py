"""A model made ready for one call: its double with our attention, the shape of that, memory for keys and values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from t2fast.errors import T2Error
from t2fast.sampling.engine.attention import NAME
from t2fast.sampling.engine.blocks import fuse
from t2fast.sampling.engine.cache import Pool
from t2fast.sampling.engine.config import Config
from t2fast.sampling.engine.launched import launch_few
from t2fast.sampling.engine.linear import pack, quicken
from t2fast.sampling.engine.probe import Shape, context_length, probe
from t2fast.sampling.engine.replica import replica
from t2fast.sampling.engine.text import Tokenizer

__all__ = ["Prepared", "device_of", "prepare"]

#: Share of the free memory that keys and values may take on a GPU, and on the CPU.
_SHARE = {"cuda": 0.85, "cpu": 0.5}


@dataclass(frozen=True)
class Prepared:
    """What one call of a sampler runs: everything in it stays as it is until the call ends."""

    #: The model's double.
    model: Any
    tokenizer: Tokenizer
    device: torch.device
    shape: Shape
    #: Most tokens of a text.
    context: int
    #: Tokens that end a sample.
    eos: Sequence[int]
    config: Config
    #: Under autocast its type, or None.
    autocast: torch.dtype | None

    @property
    def graphs(self) -> str:
        """How steps are launched here."""
        if self.config.graphs == "auto":
            return "cuda" if self.device.type == "cuda" else "none"
        return self.config.graphs

    @property
    def ahead(self) -> int:
        """Steps launched before the host has looked at the last."""
        return int(self.device.type == "cuda") if self.config.ahead is None else self.config.ahead

    @property
    def max_batch(self) -> int:
        """Most samples drawn together."""
        return self.config.max_batch or (256 if self.device.type == "cuda" else 64)

    @contextmanager
    def running(self) -> Iterator[None]:
        """What everything runs in: the model's device, and the types that the caller had when the call began.

        Launches, events and graphs are of the device that is current, which need not be the model's.
        """
        with ExitStack() as stack:
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.device(self.device))
            # Graphs must not hold weights that autocast keeps for a while.
            autocast = torch.autocast(
                self.device.type,
                dtype=self.autocast or torch.bfloat16,
                enabled=self.autocast is not None,
                cache_enabled=self.graphs != "cuda",
            )
            stack.enter_context(autocast)
            yield

    def pack(self) -> None:
        """Make ready for many steps of few rows."""
        if self.device.type == "cpu":
            pack(self.model, _free_memory(self.device), fuse)

    def pool(self, needed: int) -> Pool:
        """Memory for keys and values: ``needed`` pages, or as many as the budget has."""
        page = self.shape.page_bytes(self.config.page_size)
        budget = self.config.kv_memory or int(_SHARE[self.device.type] * _free_memory(self.device))
        return Pool(self.shape, max(1, min(needed, budget // page)), self.config.page_size, self.device)


def device_of(model: nn.Module) -> torch.device:
    """The one device that a model is on.

    Raises
    ------
    T2Error
        When it is on several, or on one that t2fast does not run on.
    """
    devices = {p.device for p in (*model.parameters(), *model.buffers())}
    if len(devices) != 1 or getattr(model, "tp_size", None) not in (None, 1):
        raise T2Error(f"the model is on {len(devices)} devices: t2fast runs models that fit on one, unsharded")
    device = devices.pop()
    if device.type not in _SHARE:
        raise T2Error(f"the model is on {device}: t2fast runs on cuda and cpu")
    return device


def prepare(model: nn.Module, tokenizer: Tokenizer, eos: Sequence[int], config: Config) -> Prepared:
    """Make a model ready as it is now: weights, types, vocabulary and adapters may have changed since the last call.

    Raises
    ------
    T2Error
        When it cannot be run; the message says why.
    """
    device = device_of(model)
    if config.graphs == "cuda" and device.type != "cuda":
        raise T2Error(f"graphs = 'cuda': the model is on {device}; CUDA graphs need a GPU")
    double = replica(model, NAME)
    if config.graphs != "compile":  # which wants to see what the model is made of
        quicken(double)
        if _launches(device):
            launch_few(double)
    try:
        shape = probe(double, device)
    except T2Error:
        raise
    except Exception as error:  # whatever others' code raises, such as kernels of quantised layers
        raise T2Error(f"{type(model).__name__}: cannot compute a short text: {' '.join(str(error).split())}") from error
    tokenizer.vocab = shape.vocab
    autocast = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
    known = tuple(token for token in eos if token < shape.vocab)
    return Prepared(double, tokenizer, device, shape, context_length(double.config), known, config, autocast)


def _launches(device: torch.device) -> bool:
    """Whether operations are launches, of which fewer are faster."""
    return device.type == "cuda"


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = getattr(os, "sysconf_names", {})
    for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):  # macOS tells the second only
        if name in known:
            return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    return 8 << 30
