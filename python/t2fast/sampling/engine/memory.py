"""What a runner has on the device, and the graphs captured over it: kept from call to call of a sampler."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from t2fast.errors import T2Error
from t2fast.sampling.engine.cache import Decode
from t2fast.sampling.engine.drawn import Drawn
from t2fast.sampling.engine.prepared import Prepared
from t2fast_kernels.buffers import DecodeBuffers

__all__ = ["Captured", "Memory", "capture", "graph_memory", "state_of"]


def capture(run: Callable[[], None], pool: Any) -> Callable[[], None]:
    """Record what ``run`` launches; what it returns launches that again."""
    graph = torch.cuda.CUDAGraph()
    try:
        # Verifiers may use the GPU in their threads meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            run()
    except RuntimeError as error:
        raise T2Error(f"graphs = 'cuda': a step cannot be captured, use graphs='none': {error}") from error
    replay: Callable[[], None] = graph.replay
    return replay


def graph_memory() -> Any:
    """Memory for the graphs of one sampler, which never run at the same time."""
    return torch.cuda.graph_pool_handle()


def state_of(model: nn.Module) -> tuple[Any, ...]:
    """What a graph of a model rests on: where its weights lie, and all else that steers its modules."""
    return tuple((type(module), _plain(vars(module), {})) for module in model.modules())


def _plain(value: Any, seen: dict[int, None]) -> Any:
    """A value as something that compares: contents of containers and configurations, places of tensors."""
    if isinstance(value, Tensor):
        return value.data_ptr(), value.shape, value.stride(), value.dtype
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | torch.device):
        return value
    if isinstance(value, MethodType):
        return id(value.__func__)
    if isinstance(value, functools.partial):
        return id(value.func), _plain(value.keywords, seen)
    if isinstance(value, nn.Module | FunctionType | type):
        return type(value) if isinstance(value, nn.Module) else id(value)
    if id(value) in seen:
        return None
    seen[id(value)] = None
    if hasattr(value, "to_json_string"):
        return value.to_json_string(use_diff=False)
    if isinstance(value, dict):
        return tuple((str(key), _plain(one, seen)) for key, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return tuple(_plain(one, seen) for one in value)
    return id(value)


class Captured:
    """Graphs of steps that differ in nothing but their rows: by number of rows, None after a first run without one."""

    def __init__(self) -> None:
        self.readings: dict[int, Decode] = {}
        self.replays: dict[int, Callable[[], None] | None] = {}


class Memory:
    """Pages, plans, tables and the state of the rows, all at addresses that stay.

    Parameters
    ----------
    prepared
        The model.
    slots
        Most rows at once.
    width
        Pages in a row of the block tables.
    n_pages
        Pages asked for; the budget may have fewer.
    """

    def __init__(self, prepared: Prepared, slots: int, width: int, n_pages: int, *, rows_of_state: int) -> None:
        shape, levels, device = prepared.shape, prepared.config.levels, prepared.device
        cuda = device.type == "cuda"
        self.sizes = _sizes(prepared)
        self.slots, self.width, self.asked = slots, width, n_pages
        self.node_tables = (slots + 1) * levels
        self.pool = prepared.pool(n_pages)
        self.buffers = DecodeBuffers(
            slots,
            shape.n_q_heads,
            shape.n_kv_heads,
            shape.head_dim,
            max_segments=self.node_tables,
            max_levels=levels,
            device=device,
            itemsize=shape.dtype.itemsize,
        )
        self.tables = torch.zeros(slots + self.node_tables, width, dtype=torch.int32, device=device)
        # Staged on the host, then copied as one; the copy on the device is what steps read and count up.
        self.staged = torch.zeros(rows_of_state, slots, dtype=torch.int32, pin_memory=cuda)
        self.state = self.staged.to(device, copy=True)
        self.copied = torch.cuda.Event() if cuda else None
        self.lens = torch.zeros(slots, dtype=torch.int32, device=device)
        #: By slot: the token that the next step is fed. One more for idle rows.
        self.last = torch.zeros(slots + 1, dtype=torch.int64, device=device)
        self.seed = torch.zeros(1, dtype=torch.int64, device=device)
        self.drawn = Drawn(slots, device)
        #: By slot: how often it has drawn each token; made when penalties first need it.
        self.counts: Tensor | None = None
        #: Memory that graphs share.
        self.handle: Any = None
        self._graphs: dict[Any, Captured] = {}
        self._state: tuple[Any, ...] = ()
        self._model: nn.Module | None = None

    @property
    def n_pages(self) -> int:
        """Pages in the pool."""
        return int(self.pool.data.shape[2])

    @classmethod
    def fitting(
        cls, kept: Memory | None, prepared: Prepared, slots: int, width: int, n_pages: int, *, rows_of_state: int
    ) -> Memory:
        """What is kept if it holds a call of this size, else new memory, at least as large wherever that is cheap."""
        if kept is not None and kept.sizes == _sizes(prepared):
            # A pool that got less than it asked for has all that the budget allows.
            enough = kept.n_pages >= n_pages or kept.n_pages < kept.asked
            if kept.slots >= slots and kept.width >= width and enough:
                return kept
            slots, width, n_pages = max(slots, kept.slots), max(width, kept.width), max(n_pages, kept.n_pages)
        if kept is not None:
            kept.drop()
        return cls(prepared, slots, width, n_pages, rows_of_state=rows_of_state)

    def drop(self) -> None:
        """Let go of the pages and graphs, whoever still holds this object."""
        self._graphs.clear()
        self._model = None
        del self.pool, self.buffers

    def captured(self, model: nn.Module, step: Any) -> Captured:
        """The graphs of a model's steps with these settings; none are left of a model that has changed."""
        state = state_of(model)
        if state != self._state or self._model is None:
            self._graphs.clear()
            # Graphs read weights by their addresses: as long as they are kept, so are those.
            self._state, self._model = state, model
        return self._graphs.setdefault(step, Captured())

    def counts_of(self, vocab: int) -> Tensor:
        """Room for how often each row has drawn each token."""
        if self.counts is None:
            self.counts = torch.zeros(self.slots + 1, vocab, dtype=torch.int32, device=self.lens.device)
        return self.counts


def _sizes(prepared: Prepared) -> tuple[Any, ...]:
    """What memory of one model cannot be used for another's sake."""
    return prepared.shape, prepared.config, prepared.device, prepared.autocast
