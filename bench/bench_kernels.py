"""A few of the same cases under pytest-benchmark: ``pytest bench/bench_kernels.py --benchmark-enable``.

On a GPU each call includes its launch from Python and a wait for the result; ``python -m bench.kernels`` times graph
replays instead, and is what results are quoted from.
"""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("t2fast_kernels", reason="t2fast-kernels is not installed: pip install ./kernels")

from bench.kernels import attention, sampling  # noqa: E402
from bench.kernels.inputs import TOLERANCE, Inputs, error  # noqa: E402
from bench.kernels.shapes import CPU_SHAPES, SHAPES, Logits  # noqa: E402

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
