"""Times of kernels, in files that the benchmark's own writer wrote."""

import pytest

import t2fast as t2
from t2fast import costs

pytest.importorskip("torch")


def kernels(path, bandwidth=0.8, rate=0.7):
    """What bench.kernels writes of an H100 that reaches given shares of its peaks."""
    from bench.kernels.case import Case
    from bench.kernels.counting import Ceilings, one_read, shared
    from bench.kernels.report import Origin, write
    from bench.kernels.shapes import Logits, Shape

    from t2fast_kernels.timing import Timing

    ceilings = Ceilings(3.35e12 * 0.9, 9.89e14 * rate)
    origin = Origin("NVIDIA H100 80GB HBM3", ceilings, "torch 2.11", "2026-01-01", "abc")
    for shape in (Shape(1, 128, 8192, 256), Shape(8, 16, 1024, 64), Logits(128, 131072)):
        kind, work = ("sampling", one_read(shape)) if isinstance(shape, Logits) else ("attention", shared(shape, 2))
        cases = []
        for method, slower in (("t2fast", 1.0), ("sdpa", 3.0)):
            for cache, factor in (("warm", 0.5), ("cold", 1.0)):
                seconds = slower * factor * work.bytes / (3.35e12 * bandwidth)
                timing = Timing(seconds, seconds * 0.9, seconds * 1.1, 20, True)
                cases.append(Case(kind, str(shape), "bf16", method, cache, "ok", "", work, timing))
        cases.append(Case(kind, str(shape), "bf16", "flashinfer", "", "missing", "not installed", work))
        write(path, cases, origin)
    return path


def test_shares_of_the_peaks_are_found_again(tmp_path):
    rows = costs.read_results(kernels(tmp_path / "kernels.csv"), "h100")
    assert len(rows) == 4  # three kernels with cold caches and the matrix product
    found = costs.calibrate(rows, "h100")
    assert found.card.constants.names == ("compute", "memory")
    # As far as the priors let go.
    assert found.card.constants.memory == pytest.approx(0.8, abs=0.02)
    assert found.card.constants.compute == pytest.approx(0.7, abs=0.02)
    assert found.card.constants.layer_seconds == costs.default_constants().layer_seconds
    assert found.coverage == 1.0


def test_kernels_and_tokens_per_second_are_fitted_together(tmp_path):
    rows = costs.read_results(kernels(tmp_path / "kernels.csv", bandwidth=0.6), "h100")
    model, card = costs.load_architecture("llama-3.1-8b"), costs.load_card("h100")
    speeds = [costs.Measurement(model, card, 100, 200, s, batch=b) for b, s in ((1, 120.0), (16, 1700.0), (64, 5000.0))]
    found = costs.calibrate([*rows, *speeds], "h100")
    assert "activations" in found.card.constants.names
    assert len(found.measured) == 7


HEAD = "kind,shape,detail,method,cache,status,bytes,flops,median_us,matrix_flops\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD, "no kernel of t2fast ran"),
        (HEAD + "attention,1,x,t2fast,,failed,1,1,,7e14\n", "no kernel of t2fast ran"),
        (HEAD + "attention,1,x,t2fast,cold,ok,1,1,fast,7e14\n", "line 2: median_us = 'fast'"),
        (HEAD + "attention,1,x,t2fast,cold,ok,1,1,0,7e14\n", "line 2: median_us = 0"),
        ("a,b\n1,2\n", "no column model"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path, text, message):
    path = tmp_path / "kernels.csv"
    path.write_text(text)
    with pytest.raises(t2.T2Error, match=message):
        costs.read_results(path, "h100")
    path.write_text(HEAD)
    with pytest.raises(t2.T2Error, match="--gpu"):
        costs.read_results(path)


def test_one_kernel_is_too_few(tmp_path):
    path = tmp_path / "kernels.csv"
    path.write_text(HEAD + "attention,1,x,t2fast,cold,ok,1e9,1,500,7e14\n")
    with pytest.raises(t2.T2Error, match="2 rows are too few to calibrate 2 constants"):
        costs.calibrate(costs.read_results(path, "h100"))
