"""Quantised models have fingerprints too."""

import copy
import warnings

import torch
from tests.support.tiny import model, transformers

from t2fast.sampling.engine.fingerprint import fingerprint


def quantised(change=0.0):
    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    live.load_state_dict(model().state_dict())
    with torch.no_grad():
        live.lm_head.weight[3, 5] += change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(live, {torch.nn.Linear})


def test_quantised_models():
    assert fingerprint(quantised()) == fingerprint(quantised()) != fingerprint(quantised(0.5))


def test_types_of_several_sizes():
    layer = torch.nn.Linear(4, 4)
    seen = {fingerprint(copy.deepcopy(layer).to(dtype)) for dtype in (torch.float16, torch.float32, torch.float64)}
    layer.register_buffer("complex", torch.randn(3, dtype=torch.complex128))
    layer.register_buffer("bools", torch.tensor([True, False]))
    seen.add(fingerprint(layer))
    layer.bools[1] = True
    seen.add(fingerprint(layer))
    assert len(seen) == 5
