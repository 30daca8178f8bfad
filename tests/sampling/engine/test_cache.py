"""Texts read for the first time by the compiled core, against PyTorch's own attention."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.tiny import torch

from t2fast.errors import T2Error
from t2fast.sampling.engine import native
from t2fast.sampling.engine.cache import Pool, Prefill, Span
from t2fast.sampling.engine.probe import Shape
from t2fast_kernels.backend import use_native

pytestmark = pytest.mark.skipif(native._core.vector_lanes() < native._LANES, reason="registers too narrow")


def read(dim, group, dtype=torch.float32, *, exact=False, **options):
    """Two texts: the first in two spans, the second after tokens that were there before; by PyTorch in fp64 if exact."""
    generator = torch.Generator().manual_seed(dim)
    rng = np.random.default_rng(0)
    kind = torch.float64 if exact else dtype
    pool = Pool(Shape(1, 2 * group, 2, dim, kind, 100), 80, 8, torch.device("cpu"))
    pool.data.copy_(torch.randn(pool.data.shape, generator=generator).to(dtype))
    free = torch.from_numpy(rng.permutation(640))
    first, second = free[:230], free[230:500]
    spans = [Span(0, 90, first[:90]), Span(90, 230, first), Span(230, 367, second)]
    places = torch.cat([first, second[-137:]])
    q, k, v = (
        (torch.randn(heads, 367, dim, generator=generator) * 2).to(dtype).to(kind).transpose(0, 1)
        for heads in (2 * group, 2, 2)
    )
    given = {"scale": dim**-0.5, "window": None, "soft_cap": None, "sinks": None} | options
    return Prefill(pool, places, spans)(0, q, k, v, **given)


def check(dim, group, dtype, **options):
    exact = read(dim, group, dtype, exact=True, **options)
    ours = read(dim, group, dtype, **options)
    if options.get("window") != 1:  # a token that sees itself alone gives its value back, whoever reads
        use_native(None)
        try:
            assert not torch.equal(ours, read(dim, group, dtype, **options)), "the core declined"
        finally:
            native.install()
    # As for the kernels: the error's norm over the result's.
    assert (ours.double() - exact).norm() <= (1e-6 if dtype == torch.float32 else 4e-3) * exact.norm()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"window": 1},
        {"window": 50},
        {"window": 400},
        {"soft_cap": 2.0, "window": 130},
        {"sinks": torch.tensor([0.0, 4.0, -torch.inf, -1.0])},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_texts(options, dtype):
    check(32, 2, dtype, **options)


@pytest.mark.parametrize(("dim", "group"), [(8, 1), (33, 3), (80, 8), (256, 1)])
def test_texts_of_any_shape(dim, group):
    check(dim, group, torch.float32, window=100)


def test_threads_change_nothing():
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            found.append(read(64, 2))
        finally:
            torch.set_num_threads(before)
    assert torch.equal(*found)


def test_places_that_do_not_exist():
    pool = Pool(Shape(1, 2, 2, 8, torch.float32, 100), 2, 8, torch.device("cpu"))
    x, out = torch.ones(4, 2, 8), torch.empty(4, 2, 8)
    for places, spans in (([0, 1, 2, 16], [[0, 4]]), ([0, 1, -1, 2], [[0, 4]]), ([0, 1], [[0, 4]]), ([0, 1, 2], [[0, 3]])):  # fmt: skip
        with pytest.raises(T2Error, match="places|spans"):
            native.read_texts(
                x, pool.keys[0], pool.values[0], spans, [torch.tensor(places)], None, out, 1.0, None, None
            )


def test_what_steps_write_to_is_no_view():
    """torch.compile of PyTorch 2.11 misplaces writes to parts of larger tensors."""
    pool = Pool(Shape(2, 4, 2, 8, torch.bfloat16, 100), 3, 4, torch.device("cpu"))
    for layer in range(2):
        for i, part in enumerate((pool.keys[layer], pool.values[layer])):
            assert part.storage_offset() == 0
            assert part.untyped_storage().nbytes() == part.nbytes
            assert part.data_ptr() == pool.data[layer, i].data_ptr()
