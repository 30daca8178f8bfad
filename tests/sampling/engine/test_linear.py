"""Linear layers by oneDNN: the same products, in the double alone, and only where nothing stands in the way."""

from __future__ import annotations

import pytest
from tests.support.tiny import torch

from t2fast.sampling.engine import linear
from t2fast.sampling.engine.replica import replica

nn = torch.nn

pytestmark = pytest.mark.skipif(
    not hasattr(torch.ops.mkldnn, "_linear_pointwise") or not torch.backends.mkldnn.is_available(),
    reason="PyTorch without oneDNN",
)


@pytest.fixture(autouse=True)
def anywhere(monkeypatch):
    """The products are right on every processor, also where they are not faster."""
    monkeypatch.setattr(linear, "_faster", lambda: True)


class Tied(nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.up = nn.Linear(96, 160, dtype=dtype)
        self.down = nn.Linear(160, 96, bias=False, dtype=dtype)
        self.head = nn.Linear(96, 160, bias=False, dtype=dtype)
        self.head.weight = self.up.weight
        self.small = nn.Linear(96, 3, dtype=dtype)

    def forward(self, x):
        return self.head(self.down(torch.relu(self.up(x)))), self.small(x)


def doubled(model, *, packed):
    double = replica(model, None)
    linear.quicken(double)
    if packed:
        linear.pack(double, 1 << 40)
    return double


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
@torch.no_grad()
def test_products_are_the_models(dtype, close, packed):
    torch.manual_seed(0)
    model = Tied(dtype)
    double = doubled(model, packed=packed)
    assert all("forward" in layer.__dict__ for layer in (double.up, double.down, double.head))
    # Small layers stay, and so does the model.
    assert "forward" not in double.small.__dict__
    assert not any("forward" in layer.__dict__ or "packed" in layer.__dict__ for layer in model.modules())
    for shape in ((1, 96), (7, 96), (1, 64, 96), (2, 3, 96), (0, 96)):
        x = torch.randn(shape, dtype=dtype)
        for ours, theirs in zip(double(x), model(x), strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.shape == theirs.shape
            torch.testing.assert_close(ours, theirs, atol=close, rtol=close)


def test_where_gradients_or_autocast_are_wanted_the_layer_is_its_own():
    double, x = doubled(Tied(), packed=True), torch.randn(5, 96)
    assert double.up(x).requires_grad
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert double.up(x).dtype == torch.bfloat16
    with torch.no_grad():
        assert double.up(x.double().float()).dtype == torch.float32


def test_changed_layers_stay():
    class Own(nn.Linear):
        pass

    model = nn.ModuleList([Own(96, 160), nn.Linear(96, 160), nn.Linear(96, 160).double(), nn.Linear(96, 160)])
    model[1].forward = lambda x: x
    double = nn.ModuleList(list(model))
    linear.quicken(double)
    assert [linear.quick(layer) for layer in double] == [False, False, False, True]


@torch.no_grad()
def test_weights_are_packed_for_a_call_and_only_where_there_is_room():
    model = Tied()
    short = doubled(model, packed=False)
    linear.pack(short, model.up.weight.numel() * 4)
    assert "packed" not in short.up.__dict__
    first = doubled(model, packed=True)
    assert first.up.packed is first.head.packed
    x = torch.randn(4, 96)
    before = first(x)[0]
    model.up.weight.mul_(2)
    assert torch.equal(first(x)[0], before)  # the call goes on as it began
    torch.testing.assert_close(doubled(model, packed=True)(x)[0], model(x)[0])  # the next call sees the change
