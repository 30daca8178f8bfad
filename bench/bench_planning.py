"""The same cases under pytest-benchmark: ``pytest bench/bench_planning.py --benchmark-enable``."""

import numpy as np
import pytest

import t2fast as t2
from bench import planning as p
from t2fast import _core
from t2fast.costs import Hardware


@pytest.fixture(scope="module")
def out():
    return np.zeros((len(p.N), len(p.D), len(p.K)))


@pytest.mark.benchmark(group="surface")
class TestSurface:
    def test_fill(self, benchmark, out):
        benchmark(out.fill, 0.5)

    def test_scipy_chunked(self, benchmark, out):
        benchmark.pedantic(p.surface_chunked, (out,), rounds=3)

    @pytest.mark.parametrize("threads", [1, p.CORES])
    def test_reused(self, benchmark, out, threads):
        benchmark(p.surface_into, out, threads)
        expected = p.pass_at_k(p.PASS, p.N[200], p.D[:, None], p.K)
        assert np.abs(out[200] - expected).max() < 1e-9

    @pytest.mark.parametrize("threads", [1, p.CORES])
    def test_fresh(self, benchmark, threads):
        benchmark(p.surface_fresh, threads)


@pytest.mark.benchmark(group="best pass@k")
class TestBestPass:
    def test_scipy_feasible_box(self, benchmark):
        benchmark.pedantic(p.best_in_box, rounds=3)

    def test_scipy_largest_k(self, benchmark):
        assert tuple(benchmark(p.best_largest_k)[1:]) == tuple(p.best_in_box()[1:])

    def test_t2fast(self, benchmark):
        assert tuple(benchmark(p.search, p.PASS).index[0]) == tuple(p.best_in_box()[1:])


@pytest.mark.benchmark(group="best loss")
class TestBestLoss:
    def test_numpy_searchsorted(self, benchmark):
        benchmark(p.best_frontier)

    def test_t2fast(self, benchmark):
        assert tuple(benchmark(p.search, p.LOSS).index[0]) == tuple(p.best_frontier()[1:])


@pytest.mark.benchmark(group="plan")
@pytest.mark.parametrize("law", [p.BARE, p.PASS, p.LOSS], ids=["t2-pass", "t2-pass with draws", "t2-loss"])
def test_plan(benchmark, law):
    assert benchmark(t2.plan, law, p.BUDGET).success


@pytest.mark.benchmark(group="plan in dollars, the core alone")
@pytest.mark.parametrize("spent", ["training and question", "total", "total, quick"])
def test_plan_in_dollars(benchmark, spent):
    use = t2.Workload(queries=1e6, prompt_tokens=1000, answer_tokens=150)
    limits = {
        "training and question": {"train_dollars": 1e4, "dollars_per_question": 1e-4},
        "total": {"total_dollars": 2e4},
        "total, quick": {"total_dollars": 2e4, "max_seconds": 5.0},
    }[spent]
    budget = t2.Budget(**limits, workload=use, hardware=Hardware("h100", price=2.5))
    law = t2.load_law("pythia-gsm8k")
    assert benchmark(_core.plan_budget, law._handle, budget._handle).best.value > 0
