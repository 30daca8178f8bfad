"""Exact sampling of the next tokens, reproducible per sample whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.backend import native, runs_triton
from t2fast_kernels.calls import SampleCall, schema
from t2fast_kernels.configs import chip_of, overlaps
from t2fast_kernels.errors import KernelError
from t2fast_kernels.launch import Repeat, repeated
from t2fast_kernels.reference import sample as reference

__all__ = ["SETTINGS", "sample"]

Drawn = tuple[Tensor, Tensor, Tensor, Tensor]

#: Quads of tokens of a chunk, a multiple of 8. A fixed size, whatever the batch, so that sums are formed in one order.
QUADS = 1024
#: Programs for each processor that the chunks of many rows are dealt to; of few rows every chunk has its own. As many
#: as there is room for at once, by their registers: the scan, the pass of ``verify`` that only measures, the others.
SCAN_PROGRAMS, MEASURE_PROGRAMS, VERIFY_PROGRAMS = 7, 6, 3
#: Quads of tokens that passes with noise take at a time, a multiple of 8.
PART = 128
#: Launches of ``verify`` before the rows that are still undecided go on by themselves; the first only measures.
PASSES = 3
#: Groups of 32 tokens that the draw, and the search for top-k's border, hold in registers.
HELD = 64
#: Groups of 32 tokens that the draw takes at a time, a multiple of 4.
BLOCK = 2048
#: Launch options of every kernel. Fused multiply-add is Triton's default up to 3.9; named, it gives no warning.
OPTIONS = {"num_warps": 8, "enable_fp_fusion": True}
#: Of the scan where nothing is done to the logits, of the draw, and of the pass of ``verify`` that only measures.
SCAN_WARPS, DRAW_WARPS, MEASURE_WARPS = 4, 16, 4
#: Whether a launch may begin while the one before is at work, where the chip can do that.
OVERLAP = True
#: The search holds maxima and candidates of a whole row in registers; AMD's warps are twice as wide.
SHARE_WARPS = {"cuda": 16, "hip": 8}

#: The settings in the order the operator takes them: value when off, lowest and highest value allowed.
SETTINGS: dict[str, tuple[float, float, float]] = {
    "temperature": (1.0, 0.0, float("inf")),
    "top_k": (0.0, 0.0, float("inf")),
    "top_p": (1.0, 0.0, 1.0),
    "min_p": (0.0, 0.0, 1.0),
    "repetition_penalty": (1.0, 0.0, float("inf")),
    "presence_penalty": (0.0, float("-inf"), float("inf")),
    "frequency_penalty": (0.0, float("-inf"), float("inf")),
}
_OPEN = {"top_p", "repetition_penalty"}  # their lowest value is excluded
_OFF = [off for off, _, _ in SETTINGS.values()]
#: Their names in the kernels.
_PARAMETERS = [name.removesuffix("_penalty") for name in SETTINGS]


@torch.library.custom_op(
    "t2fast::sample", mutates_args=(), schema=schema(SampleCall, returns="(Tensor, Tensor, Tensor, Tensor)")
)
def _op(*arguments: Any) -> Drawn:
    call = SampleCall(*arguments)
    return _launch(call) if runs_triton(call.logits) else reference.sample(call)


@_op.register_fake
def _results(*arguments: Any) -> Drawn:
    call = SampleCall(*arguments)
    rows, new = call.logits.shape[0], call.logits.new_empty
    return (
        new(rows, dtype=torch.int64),
        new(rows, dtype=torch.float32),
        new((rows, call.n_logprobs), dtype=torch.int64),
        new((rows, call.n_logprobs), dtype=torch.float32),
    )


#: Launches that are remembered: one for each layout of the tensors, size of batch, and settings that are numbers.
MOST_BOUND = 1024
_bound: dict[tuple[Any, ...], list[Repeat]] = {}


def _launch(call: SampleCall) -> Drawn:
    """All of a call's launches: made once, then repeated on other tensors like those."""
    results: Drawn = _results(*call)
    if not len(call.logits):
        return results
    tensors = _tensors(call, results)
    # Everything that the launches depend on but for the addresses; of those, whether they are multiples of 16, except
    # where there is one number per row.
    pointers = (call.logits, call.counts, call.logit_bias, call.allowed)
    per_row = (call.seed, call.prompt, call.sample, call.step, *call.per_row)
    key = (
        call.logits.device, call.logits.shape, *call.settings, call.top_k_first, call.n_logprobs, QUADS, PASSES, HELD,
        BLOCK, SCAN_PROGRAMS, MEASURE_PROGRAMS, VERIFY_PROGRAMS,
        PART, SCAN_WARPS, DRAW_WARPS, MEASURE_WARPS, OVERLAP,
        *[None if t is None else (t.dtype, t.stride(), t.data_ptr() & 15) for t in pointers],
        *[None if t is None else t.dtype for t in per_row],
    )  # fmt: skip
    bound = _bound.get(key)
    if bound is not None:
        for repeat in bound:
            repeat(call.logits, tensors)
        return results
    bound = [repeat for repeat in _first_launch(call, tensors) if repeat is not None]
    if bound:
        if len(_bound) >= MOST_BOUND:
            _bound.clear()
        _bound[key] = bound
    return results


def _filtered(call: SampleCall) -> bool:
    return any(row is not None for row in call.per_row[1:4]) or list(call.settings[1:4]) != _OFF[1:4]


def _tensors(call: SampleCall, results: Drawn) -> dict[str, Tensor]:
    """All tensors of the launches, by the names of the kernels' parameters."""
    logits = call.logits
    rows, vocab = logits.shape
    n_chunks = -(-vocab // (4 * QUADS))
    tensors = {"raw": logits, "logits": logits}
    # Kernels read one element per row.
    for name in ("seed", "prompt", "sample", "step"):
        tensors[name] = getattr(call, name).expand(rows).contiguous()
    for name, row in zip(_PARAMETERS, call.per_row, strict=True):
        if row is not None:
            tensors[name] = row.expand(rows).contiguous()
    if call.counts is not None:
        tensors["counts"] = call.counts
    if call.logit_bias is not None:
        tensors["bias"] = call.logit_bias
    if call.allowed is not None:
        tensors["allowed"] = call.allowed if call.allowed.dtype == torch.int32 else call.allowed.view(torch.uint8)
    if "counts" in tensors or "bias" in tensors or "allowed" in tensors:
        processed = logits.new_empty((rows, -(-vocab // 16) * 16), dtype=torch.float32)
        tensors["logits"] = tensors["processed"] = processed
    tensors["groups"], tensors["sums"] = logits.new_empty((2, rows, n_chunks * QUADS // 8), dtype=torch.float32)
    tensors["stats"] = logits.new_empty((2, rows), dtype=torch.float32)
    if _filtered(call):
        tensors["found"] = logits.new_empty((PASSES, 4, rows, n_chunks), dtype=torch.float32)
        tensors["winners"] = logits.new_empty((PASSES, rows, n_chunks), dtype=torch.int32)
        tensors["held"] = logits.new_empty((PASSES, rows), dtype=torch.float32)
        tensors["held_tokens"] = logits.new_empty((PASSES, 2, rows), dtype=torch.int32)
        tensors["live"] = logits.new_empty((rows, HELD), dtype=torch.int32)
        if call.top_k_first and all(call.settings[i] != _OFF[i] or call.per_row[i] is not None for i in (1, 2)):
            tensors["shares"] = logits.new_empty(rows, dtype=torch.float32)
    tensors["drawn"], tensors["logprobs"] = results[:2]
    if call.n_logprobs:
        tensors["top_tokens"], tensors["top_logprobs"] = results[2:]
    return tensors


def _first_launch(call: SampleCall, tensors: dict[str, Tensor]) -> Iterator[Repeat | None]:
    """Compile where necessary, and launch."""
    from t2fast_kernels.triton import sample as kernels

    logits, read = call.logits, tensors["logits"]
    rows, vocab = logits.shape
    n_chunks = -(-vocab // (4 * QUADS))
    n_groups = n_chunks * QUADS // 8
    overlap = OVERLAP and overlaps(chip_of(logits.device))
    given: dict[str, Any] = dict(zip(_PARAMETERS, call.settings, strict=True))
    for name in ("counts", "bias", "allowed", "processed", "shares", "held", "held_tokens", "live"):
        given[name] = None
    given |= tensors
    given |= {name + "_stride": 0 for name in ("counts", "bias", "allowed", "processed")}
    given |= {name + "_stride": t.stride(0) for name, t in tensors.items() if t.dim() == 2}
    given |= {"vocab": vocab, "n_chunks": n_chunks, "n_groups": n_groups, "size": rows * n_chunks, "rows": rows}
    given |= {
        "n_top": call.n_logprobs,
        "QUADS": QUADS,
        "HELD": HELD,
        "BLOCK": BLOCK,
        "PART": min(PART, QUADS),
        "OVERLAP": overlap,
    }
    given |= {"CHUNKS": _power_of_2(n_chunks), "GROUPS": _power_of_2(n_groups), "FILTERED": "held" in tensors}
    given["PACKED"] = call.allowed is not None and call.allowed.dtype == torch.int32

    def run(kernel: Any, grid: int, options: dict[str, Any], **own: Any) -> Repeat | None:
        arguments = {name: value for name, value in (given | own).items() if name in kernel.arg_names}
        return repeated(kernel, (grid,), logits, arguments, options)

    # Rows of vector loads: a quad of tokens each.
    aligned = logits.stride(0) % 4 == 0 and logits.data_ptr() % 16 == 0
    stripes = _stripes(rows, n_chunks, SCAN_PROGRAMS, logits.device)
    warps = {} if "processed" in tensors else {"num_warps": SCAN_WARPS}
    yield run(kernels.scan_kernel, rows * stripes, OPTIONS | warps, stripes=stripes, ALIGNED=aligned)
    aligned |= read is not logits
    options = OPTIONS | ({"launch_pdl": True} if overlap else {})
    if "shares" in tensors:
        warps = {"num_warps": SHARE_WARPS["hip" if torch.version.hip else "cuda"]}
        yield run(kernels.share_kernel, rows, options | warps)
    yield run(kernels.draw_kernel, rows, options | {"num_warps": DRAW_WARPS})
    if "held" in tensors:
        for number in range(1, PASSES + 1):
            warps = {"num_warps": MEASURE_WARPS} if number == 1 else {}
            programs = MEASURE_PROGRAMS if number == 1 else VERIFY_PROGRAMS
            stripes = _stripes(rows, n_chunks, programs, logits.device)
            own = {"stripes": stripes, "PASS": number, "ALIGNED": aligned}
            yield run(kernels.verify_kernel, rows * stripes, options | warps, **own)
        yield run(kernels.finish_kernel, rows, options, PASS=PASSES, ALIGNED=aligned)
    if call.n_logprobs:
        yield run(kernels.top_kernel, rows, options)


def _stripes(rows: int, n_chunks: int, programs: int, device: torch.device) -> int:
    """Programs per row, of which each takes as many chunks as leave about that many programs for each processor."""
    each = -(-rows * n_chunks // (programs * _processors(device)))
    return -(-n_chunks // each)


@cache
def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132


def _power_of_2(n: int) -> int:
    return 1 << (n - 1).bit_length()


def sample(
    logits: Tensor,
    seed: int | Tensor,
    prompt: int | Tensor,
    sample: int | Tensor,
    step: int | Tensor,
    *,
    temperature: float | Tensor = 1.0,
    top_k: int | Tensor | None = None,
    top_p: float | Tensor | None = None,
    min_p: float | Tensor | None = None,
    order: str = "top_k_first",
    repetition_penalty: float | Tensor | None = None,
    presence_penalty: float | Tensor | None = None,
    frequency_penalty: float | Tensor | None = None,
    counts: Tensor | None = None,
    logit_bias: Tensor | None = None,
    allowed: Tensor | None = None,
    n_logprobs: int = 0,
) -> tuple[Tensor, ...]:
    """Draw one token per row.

    The first token to ring is drawn, where each rings after an exponential time whose rate is its weight. The times
    come from Philox4x32-10 at counters of (token, step, sample, prompt) under the row's seed, one for every 32 tokens
    and then those of the group that matters (:func:`t2fast_kernels.reference.sample.clocks`), so a row's token depends
    on its own logits, settings and keys alone: not on its place in the batch, nor on what else is in it.

    Logits pass through bias, penalties, allowed tokens, temperature, then top-k, top-p and min-p. Top-k keeps a token
    with fewer than k strictly more likely ones; top-p one with less than p of the probability on strictly more likely
    ones; min-p one at least ``min_p`` times as likely as the most likely. Equal logits share their fate. These are
    Hugging Face's rules, except that there top-p splits tokens of equal logit by their place in a sort.

    Parameters
    ----------
    logits : Tensor, [n_rows, vocab]
        float32, float16 or bfloat16; each row contiguous.
    seed, prompt, sample, step : int or Tensor, [n_rows] or one element
        The key of each row, int32 or int64. Of the seed 64 bits count, of the others 32.
    temperature : float or Tensor [n_rows], >= 0
        0 takes the most likely token, the lowest index on ties.
    top_k : int or Tensor [n_rows] (int32 or int64), optional
        None, 0 or anything from the size of the vocabulary on keep all.
    top_p : float or Tensor [n_rows], in (0, 1], optional
    min_p : float or Tensor [n_rows], in [0, 1], optional
    order : {"top_k_first", "joint"}
        What top-p takes a share of: "top_k_first" of the tokens that top-k keeps, as FlashInfer, Hugging Face and vLLM
        do; "joint" of all tokens (then both filters apply). They differ only where both are given.
    repetition_penalty : float or Tensor [n_rows], > 0, optional
        Divides the positive and multiplies the negative logits of tokens with ``counts != 0``.
    presence_penalty, frequency_penalty : float or Tensor [n_rows], optional
        Subtracted once, and once per occurrence, from the logits of tokens with ``counts > 0``.
    counts : Tensor, int32 [n_rows, vocab], optional
        How often each token occurred in the output; -1 for tokens that occurred in the prompt alone, which only the
        repetition penalty is to see. Needed by the penalties.
    logit_bias : Tensor, float32 [vocab] or [n_rows, vocab], optional
        Added to the logits.
    allowed : Tensor, optional
        Tokens that may be drawn: bool [n_rows, vocab], or int32 [n_rows, ceil(vocab / 32)] with token t in bit t % 32
        of word t // 32.
    n_logprobs : int
        How many of the most likely tokens to return with their log-probabilities, at most 128.

    Returns
    -------
    tokens : Tensor, int64 [n_rows]
    logprobs : Tensor, float32 [n_rows]
        Natural logarithm of the chosen token's probability under the softmax of the logits after bias, penalties,
        allowed tokens and temperature (1 where it is 0), over all tokens: the filters don't renormalise it.
    top_tokens, top_logprobs : Tensor, [n_rows, n_logprobs]
        Only if ``n_logprobs > 0``: in falling order under the same distribution, equal ones by index; where fewer
        tokens are possible, -1 and -inf.

    A row whose logits are all -inf gives token -1 and log-probability -inf; a row with NaN or +inf, which
    can't be refused without waiting for the device, gives token -1 and log-probability NaN.

    Raises
    ------
    KernelError
        For wrong shapes, types, devices and values outside their range. Values in device tensors are not looked at.

    Examples
    --------
    >>> import torch
    >>> from t2fast_kernels import sample
    >>> logits = torch.tensor([[2.0, 1.0, 0.5, -1.0]]).repeat(3, 1)
    >>> tokens, logprobs = sample(logits, 42, 7, torch.arange(3), 0, top_p=0.9)  # three samples of prompt 7
    >>> tokens.tolist()
    [1, 0, 1]
    >>> sample(logits[2:], 42, 7, 2, 0, top_p=0.9)[0].tolist()  # the third alone
    [1]
    """
    if logits.dim() != 2 or logits.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise KernelError(
            f"logits is {logits.dtype} {list(logits.shape)}; pass float32, float16 or bfloat16 [n_rows, vocab]"
        )
    rows, vocab = logits.shape
    if vocab == 0 or logits.stride(1) != 1:
        raise KernelError(
            f"logits has strides {logits.stride()} and vocabulary {vocab}; pass contiguous, non-empty rows"
        )
    if order not in ("joint", "top_k_first"):
        raise KernelError(f"order = {order!r} is unknown; pass 'top_k_first' or 'joint'")
    if not 0 <= n_logprobs <= min(128, vocab):
        raise KernelError(f"n_logprobs = {n_logprobs} is outside 0 to {min(128, vocab)}; ask for fewer")
    given = (temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty)
    settings, per_row = list(_OFF), [None] * len(_OFF)  # type: list[float], list[Tensor | None]
    for i, (name, value) in enumerate(zip(SETTINGS, given, strict=True)):
        if isinstance(value, Tensor):
            per_row[i] = _setting(name, value, rows, logits.device)
        elif value is not None:
            off, low, high = SETTINGS[name]
            if not low <= value <= high or (value == low and name in _OPEN) or value == float("inf"):
                raise KernelError(
                    f"{name} = {value} is outside {'(' if name in _OPEN else '['}{low:g}, {high:g}]; "
                    f"{off:g} leaves it off"
                )
            if name == "top_k" and value != int(value):
                raise KernelError(f"top_k = {value} is not a whole number; pass an int")
            settings[i] = float(value)
    penalised = settings[4:] != _OFF[4:] or any(row is not None for row in per_row[4:])
    if penalised and counts is None:
        raise KernelError("counts is missing; penalties need int32 [n_rows, vocab] occurrences")
    if counts is not None:
        _table("counts", counts, (torch.int32,), [[rows, vocab]], logits.device)
    if logit_bias is not None:
        _table("logit_bias", logit_bias, (torch.float32,), [[vocab], [rows, vocab]], logits.device)
    if allowed is not None:
        width = vocab if allowed.dtype == torch.bool else (vocab + 31) // 32
        _table("allowed", allowed, (torch.bool, torch.int32), [[rows, width]], logits.device)
    call = SampleCall(
        logits,
        seed=_key("seed", seed, rows, logits.device),
        prompt=_key("prompt", prompt, rows, logits.device),
        sample=_key("sample", sample, rows, logits.device),
        step=_key("step", step, rows, logits.device),
        settings=settings,
        per_row=per_row,
        top_k_first=order == "top_k_first",
        counts=counts if penalised else None,
        logit_bias=logit_bias,
        allowed=allowed,
        n_logprobs=n_logprobs,
    )
    compiled = native(logits)
    drawn = None if compiled is None else compiled.sample(call)
    results: tuple[Tensor, ...] = _op(*call) if drawn is None else drawn
    return results if n_logprobs else results[:2]


def _key(name: str, value: int | Tensor, rows: int, device: torch.device) -> Tensor:
    """A row key as a tensor with one element or one per row."""
    if not isinstance(value, Tensor):
        bits = 64 if name == "seed" else 32
        if not -(1 << bits - 1) <= value < 1 << bits:
            raise KernelError(f"{name} = {value} does not fit {bits} bits; pass a smaller one")
        signed = value - (1 << bits) if value >= 1 << bits - 1 else value
        return torch.full((1,), signed, dtype=torch.int64, device=device)
    if value.dtype not in (torch.int32, torch.int64) or value.dim() > 1 or value.numel() not in (1, rows):
        raise KernelError(
            f"{name} is {value.dtype} {list(value.shape)}; pass an int, or int32 or int64 with 1 or {rows} elements"
        )
    _same_device(name, value, device)
    return value.reshape(-1)


def _setting(name: str, value: Tensor, rows: int, device: torch.device) -> Tensor:
    """A setting given per row."""
    wanted = (torch.int32, torch.int64) if name == "top_k" else (torch.float32,)
    if value.dtype not in wanted or value.dim() > 1 or value.numel() not in (1, rows):
        types = " or ".join(str(t).removeprefix("torch.") for t in wanted)
        raise KernelError(f"{name} is {value.dtype} {list(value.shape)}; pass a number or {types} [{rows}]")
    _same_device(name, value, device)
    return value.reshape(-1)


def _table(
    name: str, value: Tensor, types: Sequence[torch.dtype], shapes: Sequence[Sequence[int]], device: torch.device
) -> None:
    """Check a table over the vocabulary."""
    if value.dtype not in types or list(value.shape) not in [list(s) for s in shapes] or value.stride(-1) != 1:
        wanted = " or ".join(str(t).removeprefix("torch.") for t in types)
        sizes = " or ".join(str(list(s)) for s in shapes)
        raise KernelError(
            f"{name} is {value.dtype} {list(value.shape)} with strides {value.stride()}; "
            f"pass {wanted} {sizes} with contiguous rows"
        )
    _same_device(name, value, device)


def _same_device(name: str, value: Tensor, device: torch.device) -> None:
    if value.device != device:
        raise KernelError(f"{name} is on {value.device}, logits on {device}; move it there")
