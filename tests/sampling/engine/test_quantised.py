"""Weights that transformers loads quantised: right, or refused in one line."""

from __future__ import annotations

import warnings

import pytest
from tests.support.tiny import model, tokenizer, torch, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams

PROMPT = Prompt("one", "The quick brown fox jumps over")


def check(quantised, within):
    """Samples have the log-probabilities that the quantised model gives them by itself."""
    found = list(Sampler(quantised, tokenizer()).sample([PROMPT], SamplingParams(k=4, max_new_tokens=8, logprobs=True)))
    ids = tokenizer()(PROMPT.text)["input_ids"]
    for sample in found:
        with torch.no_grad():
            logits = quantised(torch.tensor([ids + list(sample.token_ids)])).logits[0, len(ids) - 1 : -1].float()
        expected = logits.log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        assert sample.logprobs == pytest.approx(expected.tolist(), abs=within)
    assert len(found) == 4


@pytest.fixture
def folder(tmp_path):
    # bitsandbytes computes no matrix whose sides are no multiples of 64.
    model(intermediate_size=128).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore")
def test_torchao(folder, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization = pytest.importorskip("torchao.quantization")
        pytest.importorskip("accelerate")
    config = transformers.TorchAoConfig(quantization.Int8WeightOnlyConfig())
    load = transformers.AutoModelForCausalLM.from_pretrained
    quantised = load(folder, quantization_config=config, dtype=torch.float32)
    assert type(quantised.model.layers[0].mlp.up_proj.weight) is not torch.nn.Parameter
    check(quantised, 1e-3)
    # Other weights than the full ones, and their own fingerprint; a folder of them loads too.
    assert Sampler(quantised, tokenizer()).identity() != Sampler(model(intermediate_size=128), tokenizer()).identity()
    quantised.save_pretrained(tmp_path / "quantised")
    tokenizer().save_pretrained(tmp_path / "quantised")
    check(Sampler.from_pretrained(tmp_path / "quantised").model, 1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("four", ["nf4", "fp4"])
def test_bitsandbytes_4_bit(folder, tmp_path, four):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    pytest.importorskip("accelerate")
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=four, bnb_4bit_compute_dtype=torch.float32
    )
    load = transformers.AutoModelForCausalLM.from_pretrained
    quantised = load(folder, quantization_config=config, dtype=torch.float32)
    assert type(quantised.model.layers[0].mlp.up_proj) is bitsandbytes.nn.Linear4bit
    check(quantised, 0.01)
    full = model(intermediate_size=128)
    assert Sampler(quantised, tokenizer()).identity()["weights"] != Sampler(full, tokenizer()).identity()["weights"]
    # A folder of such weights loads too.
    quantised.save_pretrained(tmp_path / "quantised")
    tokenizer().save_pretrained(tmp_path / "quantised")
    check(Sampler.from_pretrained(tmp_path / "quantised").model, 0.01)


@pytest.mark.filterwarnings("ignore")
def test_bitsandbytes_8_bit_is_refused(folder):
    """Its products depend on all rows of a batch, so that no sample could be the same twice: a reason, in one line."""
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("accelerate")
    config = transformers.BitsAndBytesConfig(load_in_8bit=True)
    quantised = transformers.AutoModelForCausalLM.from_pretrained(folder, quantization_config=config)
    with pytest.raises(T2Error) as refused:
        Sampler(quantised, tokenizer())
    assert "--engine generate can" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.filterwarnings("ignore")
def test_dynamic_int8_is_refused(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization = pytest.importorskip("torchao.quantization")
        pytest.importorskip("accelerate")
    config = transformers.TorchAoConfig(quantization.Int8DynamicActivationInt8WeightConfig())
    load = transformers.AutoModelForCausalLM.from_pretrained
    quantised = load(folder, quantization_config=config, dtype=torch.float32)
    with pytest.raises(T2Error) as refused:
        Sampler(quantised, tokenizer())
    assert "--engine generate can" in str(refused.value)
    assert "\n" not in str(refused.value)


class Packed(torch.Tensor):
    """A weight that passes for fp32 and knows linear layers alone, as quantised ones do."""

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), keywords=None):
        with torch._C.DisableTorchFunctionSubclass():
            if "_linear_pointwise" in str(function):
                raise NotImplementedError("not for packed weights")
            out = function(*arguments, **(keywords or {}))
        return out.as_subclass(cls) if function is torch.Tensor.detach else out


def test_weights_of_other_types_keep_their_own_product(monkeypatch):
    monkeypatch.setattr("t2fast.sampling.engine.linear._faster", lambda: True)
    other = transformers.AutoModelForCausalLM.from_config(model().config)
    other.load_state_dict(model().state_dict())
    for layer in other.modules():
        if type(layer) is torch.nn.Linear:
            layer.weight = torch.nn.Parameter(layer.weight.detach().clone().as_subclass(Packed), requires_grad=False)
    check(other.eval(), 1e-4)


def test_a_model_that_cannot_compute_is_one_line():
    class Broken(torch.nn.Module):
        def forward(self, _):
            raise RuntimeError("shape '[64, 1]' is invalid\nfor input of size 96")

    other = transformers.AutoModelForCausalLM.from_config(model().config).eval()
    other.model.layers[0].mlp.act_fn = Broken()
    with pytest.raises(
        T2Error, match=r"LlamaForCausalLM: cannot compute a short text: shape '\[64, 1\]' is invalid for"
    ):
        Sampler(other, tokenizer())
