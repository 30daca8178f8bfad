"""A short comparison of every model with its own attention, which finds what no rule foresees.

Two texts of different lengths are continued by a few tokens, one of them longer than any sliding window that the model
declares, as far as the cost allows; then the model computes the same log-probabilities with its own attention.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import torch
from torch import nn

from t2fast.sampling.engine.call import Call
from t2fast.sampling.engine.config import Config
from t2fast.sampling.engine.prepared import Prepared
from t2fast.sampling.engine.replica import replica
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt

__all__ = ["complaint"]

#: Floating-point operations that a test may cost, on a CPU and on a GPU: a few seconds of either.
_FLOPS = {"cpu": 1e11, "cuda": 1e14}
#: Tokens of the short text, and of the long one at least; new tokens of each sample.
_SHORT, _LONG, _NEW = 5, 40, 4
#: Steps of rounding, at the size of the largest logit, by which mean log-probabilities may differ: sums in another
#: order over some tens of layers. In fp32 that is much less than any wrong attention makes.
_STEPS = {torch.float32: 1024.0, torch.float64: 1e6}
_NARROW = 4.0

#: Outcomes by what a model is: a message, or None where all is well.
_known: dict[str, str | None] = {}


def complaint(prepared: Prepared, model: nn.Module) -> str | None:
    """What is wrong with a model's log-probabilities here; None where they are its own up to rounding.

    The outcome is kept for models of the same kind: class, configuration, modules and type.
    """
    kinds = sorted({type(module).__qualname__ for module in model.modules()})
    config: Any = prepared.model.config
    key = json.dumps(
        [
            type(model).__qualname__,
            config.to_json_string(use_diff=False),
            kinds,
            str(prepared.shape),
            str(prepared.device),
        ]
    )
    if key not in _known:
        found, decisive = _compare(prepared, model)
        if not decisive:
            # Weights so small that any attention would pass.
            return found
        _known[key] = found
    return _known[key]


def _compare(prepared: Prepared, model: nn.Module) -> tuple[str | None, bool]:
    vocab, n_params = prepared.shape.vocab, sum(p.numel() for p in model.parameters())
    affordable = int(_FLOPS[prepared.device.type] / (6 * max(1, n_params)))
    longest = min(max(_LONG, prepared.shape.window + _LONG // 2), max(_LONG, affordable), prepared.context - _NEW - 1)
    if longest < 1:
        return None, False
    rng = np.random.default_rng(0)
    prompts = [
        Prompt("long", token_ids=rng.integers(0, vocab, longest).tolist()),
        Prompt("short", token_ids=rng.integers(0, vocab, min(_SHORT, longest)).tolist(), overrides={"k": 2}),
    ]
    params = SamplingParams(max_new_tokens=_NEW, logprobs=True, ignore_eos=True)
    small = Config(page_size=8, max_batch=4, graphs="none", prefill_tokens=max(16, longest // 2), ahead=0)
    with prepared.running():
        call = Call(dataclasses.replace(prepared, config=small), prompts, params)
        samples = [sample for some in call.steps() for sample in some]
    call.close()
    # Eager attention is the definition: transformers 5.17 leaves Gemma 2's soft cap out of "sdpa" without a word.
    own = replica(model, "eager" if getattr(model.config, "_attn_implementation", None) == "sdpa" else None)
    asked = {prompt.id: prompt.token_ids or () for prompt in prompts}
    differences: list[float] = []
    top = 0.0
    for sample in samples:
        begin = asked[sample.prompt_id]
        ids = torch.tensor([[*begin, *sample.token_ids]], device=prepared.device)
        with torch.no_grad(), prepared.running():
            logits = own(input_ids=ids, use_cache=False).logits[0, len(begin) - 1 : -1].float()
        chosen = logits.log_softmax(-1).gather(1, ids[0, len(begin) :, None])[:, 0].tolist()
        differences += [abs(a - b) for a, b in zip(chosen, sample.logprobs or (), strict=True)]
        top = max(top, float(logits.abs().max()))
    mean = sum(differences) / len(differences)
    allowed = _rounding(prepared) * max(1.0, top)
    decisive = top >= 1
    if mean <= allowed:
        return None, decisive
    return (
        f"{type(model).__name__}: with t2fast's attention its log-probabilities differ from those of its own by "
        f"{mean:.2g} nats on average, and rounding explains {allowed:.1g}"
    ), decisive


def _rounding(prepared: Prepared) -> float:
    kinds = {prepared.shape.dtype, *(p.dtype for p in prepared.model.parameters() if p.is_floating_point())}
    steps = max(torch.finfo(kind).eps * _STEPS.get(kind, _NARROW) for kind in kinds)
    if prepared.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
        steps = max(steps, 2.0**-10 * _NARROW)
    return steps
