"""A few of the same cases under pytest-benchmark: ``pytest bench/bench_kernels.py --benchmark-enable``.

On a GPU each call includes its launch from Python and a wait for the result; ``python -m bench.kernels`` times graph
replays instead, and is what results are quoted from.
"""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("t2fast_kernels", reason="t2fast-kernels is not installed: pip install ./kernels")

import numpy as np  # noqa: E402

from bench.kernels import attention, sampling  # noqa: E402
from bench.kernels.inputs import TOLERANCE, Inputs, error  # noqa: E402
from bench.kernels.shapes import CPU_SHAPES, SHAPES, Logits  # noqa: E402
from t2fast_kernels import CostModel, DecodeBuffers, plan  # noqa: E402

GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if GPU else "cpu")
DTYPE = torch.bfloat16 if GPU else torch.float32


def timed(benchmark, call):
    """Benchmark a call, the wait for its result included."""

    def whole():
        result = call()
        if GPU:
            torch.cuda.synchronize()
        return result

    with torch.inference_mode():
        return benchmark(whole)


@pytest.fixture(scope="module", params=SHAPES[1:4] if GPU else CPU_SHAPES, ids=str)
def inputs(request):
    return Inputs(request.param, DEVICE, DTYPE)


@pytest.mark.benchmark(group="prefix_decode")
@pytest.mark.parametrize("name", attention.METHODS)
def test_attention(benchmark, inputs, name):
    try:
        calls, _ = attention.METHODS[name](inputs)
    except attention.Missing as reason:
        pytest.skip(str(reason))
    found = timed(benchmark, calls[0])
    assert error(found[:2], inputs.exact([0, 1])) < TOLERANCE[DTYPE]


@pytest.mark.benchmark(group="sample")
@pytest.mark.parametrize("top_p", [None, 0.9])
@pytest.mark.parametrize("name", sampling.METHODS)
def test_sampling(benchmark, name, top_p):
    case = Logits(128 if GPU else 4, 131072 if GPU else 32000, top_p)
    try:
        calls, _ = sampling.METHODS[name](top_p, sampling.batches(case, DEVICE))
    except attention.Missing as reason:
        pytest.skip(str(reason))
    assert timed(benchmark, calls[0]).shape == (case.rows,)


@pytest.mark.benchmark(group="plan")
def test_planning(benchmark):
    """4,096 rows in 256 groups, planned for an H100 on this machine's processor."""
    buffers = DecodeBuffers(4096, 32, 8, 128, max_segments=256, block_m=64, costs=CostModel())
    buffers.on_triton, buffers.tile_rows = True, 16
    rows, one = np.arange(4096, dtype=np.int32), np.ones(256, np.int32)
    segments = np.stack([np.arange(256, dtype=np.int32), 0 * one, 2048 * one, 0 * one], 1)
    made = benchmark(plan, buffers, segments, (rows // 16)[:, None], rows + 256, 0 * rows, 0 * rows + 2048)
    assert made.n_items == 256
