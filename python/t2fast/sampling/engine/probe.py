"""What a model's attention layers look like and whether pages can stand for them, seen by running it once.

A probe watches every call of the attention function in one forward pass and compares what the layer asks for, its mask
above all, with what reading pages gives: each token sees the tokens before it in its text, within the window that the
layer names. Masks are compared as functions of positions wherever transformers makes them, so at any distance.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from t2fast.errors import T2Error
from t2fast.sampling.engine.attention import mask_makers

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Shape", "context_length", "probe"]

#: Tokens of the probe.
_TOKENS = 5
#: Keywords that say nothing about what attention computes here.
_HARMLESS = frozenset(
    ("cache", "cache_position", "logits_to_keep", "output_attentions", "output_hidden_states", "output_router_logits",
     "past_key_value", "past_key_values", "position_embeddings", "position_ids", "return_dict", "use_cache",
     "is_causal", "deterministic", "target_dtype", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What a model's attention layers look like."""

    layers: int
    n_q_heads: int
    n_kv_heads: int
    head_dim: int
    #: Of the keys and values that are kept.
    dtype: torch.dtype
    vocab: int
    #: The longest sliding window, 0 without one.
    window: int = 0
    #: How many of the latest tokens any layer reads, where all have windows; else 0.
    reach: int = 0

    def page_bytes(self, page_size: int) -> int:
        """Bytes of a page with its keys and values in every layer."""
        return 2 * self.layers * page_size * self.n_kv_heads * self.head_dim * self.dtype.itemsize


@dataclass
class _Probe:
    """The reading of a probe: takes note of every layer and stores nothing."""

    name: str
    #: The configuration, whose windows tell where to look.
    config: Any
    dtype: torch.dtype | None = None
    #: Heads of queries and of keys, dimensions of keys and of values, by layer.
    seen: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    kinds: set[torch.dtype] = field(default_factory=set)
    window: int = 0
    #: Whether a layer reads all tokens.
    full: bool = False
    #: The functions of the masks made so far, by where the mask lies in memory.
    made: dict[int, Callable[..., Any]] = field(default_factory=dict)
    kept: list[Tensor] = field(default_factory=list)
    compared: set[tuple[int, int | None]] = field(default_factory=set)

    def refuse(self, reason: str) -> T2Error:
        return T2Error(f"{self.name} {reason}: t2fast cannot run it (--engine generate can)")

    def mask(self, **asked: Any) -> Tensor:
        """Make the mask that transformers asks for, and remember its function."""
        function = asked["mask_function"]
        q, k = asked.get("q_length", _TOKENS), asked.get("kv_length", _TOKENS)
        device = asked.get("device", "cpu")
        made = _visible(function, range(q), range(k), device)[None, None]
        self.made[made.data_ptr()] = function
        self.kept.append(made)
        return made

    def inspect(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any,
        window: int | None,
        more: dict[str, Any],
    ) -> None:
        """Compare one call of attention with what reading pages gives.

        Raises
        ------
        T2Error
            When they differ.
        """
        layer = getattr(module, "layer_idx", None)
        if not isinstance(layer, int):
            raise self.refuse("has attention layers without a number")
        if layer in self.seen:
            raise self.refuse(f"calls attention more than once in layer {layer}")
        if query.shape[0] != 1 or query.shape[2] != _TOKENS or key.shape[2] != _TOKENS:
            raise self.refuse(
                f"has {key.shape[2]} keys for a text of {_TOKENS} tokens (prompt or prefix tuning adds tokens, for one)"
            )
        if getattr(module, "is_causal", True) is False or more.get("is_causal") is False:
            raise self.refuse(f"has attention that is not causal in layer {layer}")
        if more.get("dropout"):
            raise self.refuse(f"has dropout in the attention of layer {layer}, in evaluation mode too")
        unknown = [
            name for name, one in more.items()
            if name not in _HARMLESS and name != "dropout" and one is not None and one is not False
        ]  # fmt: skip
        if unknown:
            raise self.refuse(f"gives its attention {', '.join(sorted(unknown))}, which t2fast does not know")
        if window is not None and (not isinstance(window, int) or window < 1):
            raise self.refuse(f"has a sliding window of {window!r} in layer {layer}")
        self._check_mask(layer, mask, window)
        if torch.is_autocast_enabled(query.device.type):
            # Around the whole model, or inside its forward, where accelerate puts it.
            self.dtype = torch.get_autocast_dtype(query.device.type)
        self.seen[layer] = (query.shape[1], key.shape[1], key.shape[3], value.shape[3])
        self.kinds |= {key.dtype, value.dtype}
        self.window = max(self.window, window or 0)
        self.full |= window is None

    def _check_mask(self, layer: int, mask: Any, window: int | None) -> None:
        if mask is None:
            # Causal, as every implementation takes it; a window is then the layer's own word.
            return
        if not isinstance(mask, Tensor) or mask.shape[-2:] != (_TOKENS, _TOKENS):
            raise self.refuse(f"has an attention mask of its own kind in layer {layer}")
        wanted = _visible(_causal(window), range(_TOKENS), range(_TOKENS), mask.device)
        seen = mask if mask.dtype == torch.bool else mask == 0
        given = mask.dtype == torch.bool or bool(((mask == 0) | (mask <= torch.finfo(mask.dtype).min / 2)).all())
        if not given or not bool((seen == wanted).all()):
            raise self.refuse(f"masks or biases attention in layer {layer} in another way than causal")
        function = self.made.get(mask.data_ptr())
        if function is None or (mask.data_ptr(), window) in self.compared:
            return
        self.compared.add((mask.data_ptr(), window))
        # Far from the start, and on both sides of any window.
        edges = {w + d for w in (window or 0, *_windows(self.config)) for d in (-1, 0, 1, 2)}
        rows = sorted(q for q in edges | _FAR if q >= 0)
        try:
            same = bool(
                (
                    _visible(function, rows, rows, mask.device) == _visible(_causal(window), rows, rows, mask.device)
                ).all()
            )
        except IndexError:  # it looks something up that the text has, so it is no matter of positions alone
            same = False
        if not same:
            what = f"other than its window of {window}" if window else "beyond causality, such as a window or chunks,"
            raise self.refuse(f"has a mask in layer {layer} {what} that its attention is not told of")

    def __call__(self, _layer: int, q: Tensor, k: Tensor, v: Tensor, **_: Any) -> Tensor:
        if k.shape[1] == 0 or q.shape[1] % k.shape[1] or v.shape[1] != k.shape[1]:
            raise self.refuse(f"has {q.shape[1]} query heads over {k.shape[1]} of keys and {v.shape[1]} of values")
        return v.to(q.dtype).repeat_interleave(q.shape[1] // v.shape[1], 1)


#: Positions at which masks are compared.
_FAR = frozenset(
    [*range(6), 31, 32, 33, 100, 127, 128, 129, 511, 512, 513, 1023, 1024, 1025, 4095, 4096, 4097, 8192, 9000]
)


def _causal(window: int | None) -> Callable[..., Any]:
    def visible(_batch: Any, _head: Any, q: Any, k: Any) -> Any:
        return (k <= q) & (k > q - window) if window else k <= q

    return visible


def _visible(function: Callable[..., Any], rows: Any, columns: Any, device: Any) -> Tensor:
    """A mask function at all pairs of these positions."""
    zero = torch.zeros((), dtype=torch.long, device=device)
    q = torch.tensor(list(rows), device=device)
    k = torch.tensor(list(columns), device=device)
    return torch.as_tensor(function(zero, zero, q[:, None], k[None]), device=device).expand(len(q), len(k))


def _windows(config: Any) -> list[int]:
    """Lengths in a configuration that may bound what a token sees."""
    words = ("window", "chunk", "local", "block", "span")
    return [
        value
        for name, value in vars(config).items()
        if isinstance(value, int)
        and not isinstance(value, bool)
        and 0 < value < 1 << 24
        and any(w in name for w in words)
    ]


@contextmanager
def _making(make: Callable[..., Tensor]) -> Iterator[None]:
    mask_makers.make = make
    try:
        yield
    finally:
        mask_makers.make = None


@torch.no_grad()
def probe(model: Any, device: torch.device) -> Shape:
    """Find the shape of the attention of a model's double.

    Raises
    ------
    T2Error
        When its attention cannot be replaced, asks for what pages cannot give, or differs between layers.
    """
    name = type(model).__name__
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        raise T2Error(
            f"{name} does not take another attention function (transformers' AttentionInterface): t2fast cannot run it "
            "(--engine generate can)"
        )
    found = _Probe(name, config)
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    if kinds:
        raise found.refuse(f"has {', '.join(sorted(kinds))} layers")
    if getattr(config, "num_kv_shared_layers", 0):
        raise found.refuse("shares keys and values between layers")
    ids = torch.arange(_TOKENS, device=device)[None] % max(1, int(getattr(config, "vocab_size", 0) or 1))
    positions = torch.arange(_TOKENS, device=device)[None]
    with _making(found.mask):
        try:
            out = model(input_ids=ids, position_ids=positions, use_cache=False, t2fast=found)
        except TypeError as error:
            raise found.refuse(f"does not take what t2fast gives it ({error})") from None
    if not isinstance(getattr(out, "logits", None), Tensor):
        raise T2Error(f"{name} gives no logits: t2fast needs a causal language model (AutoModelForCausalLM)")
    expected = config.num_hidden_layers
    if list(found.seen) != list(range(expected)):
        raise found.refuse(f"has {expected} layers, of which {len(found.seen)} call attention in their order")
    if not found.seen:
        raise found.refuse("has no attention layer")
    if len(set(found.seen.values())) > 1:
        raise found.refuse(f"has attention layers of different shapes, {sorted(set(found.seen.values()))}")
    n_q_heads, n_kv_heads, head_dim, values = found.seen[0]
    if values != head_dim:
        raise found.refuse(f"has keys of {head_dim} and values of {values} dimensions")
    dtype = found.dtype
    if dtype is None:
        first, *others = found.kinds
        dtype = first if not others else torch.promote_types(first, others[0])
    reach = 0 if found.full else found.window
    return Shape(expected, n_q_heads, n_kv_heads, head_dim, dtype, out.logits.shape[-1], found.window, reach)


def context_length(config: Any) -> int:
    """Most tokens that a text may have."""
    config = config.get_text_config()
    length = int(getattr(config, "max_position_embeddings", None) or 1 << 30)
    rope = getattr(config, "rope_parameters", None) or {}
    for one in [rope, *(value for value in rope.values() if isinstance(value, dict))]:
        # These turn all tokens of a batch by the longest text in it: only up to here is a sample its own.
        if one.get("rope_type") in ("dynamic", "longrope"):
            length = min(length, int(one.get("original_max_position_embeddings") or length))
    return length
