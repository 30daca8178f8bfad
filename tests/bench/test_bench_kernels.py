"""The kernel benchmarks: what they count, check and write is right. Speeds are never asserted."""

# ruff: noqa: E402

import csv
import itertools
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytest.importorskip("t2fast_kernels", reason="t2fast-kernels is not installed: pip install ./kernels")

from bench.kernels import attention, sampling
from bench.kernels.__main__ import main
from bench.kernels.case import Budget, Case, OutOfTime, until
from bench.kernels.counting import Ceilings, Work, one_read, shared, unshared
from bench.kernels.inputs import Inputs, error
from bench.kernels.report import COLUMNS, losses
from bench.kernels.run import Runner
from bench.kernels.shapes import LOGITS, SHAPES, Heads, Logits, Shape

from t2fast_kernels.timing import Timing

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
TINY = Shape(2, 3, 32, 5, Heads(4, 2, 8))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads of small operators mostly wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TestCounting:
    @pytest.mark.parametrize("shape", [TINY, Shape(1, 1, 16, 1, Heads(1, 1, 3)), Shape(3, 2, 16, 4, Heads(6, 2, 4))])
    def test_matches_a_decode_step_written_out(self, shape):
        heads = shape.heads
        elements, flops, read = set(), 0, 0
        for prompt, sample in itertools.product(range(shape.prompts), range(shape.samples)):
            tokens = [("prefix", prompt, t) for t in range(shape.prefix)]
            tokens += [("suffix", prompt, sample, t) for t in range(shape.suffix)]
            for head in range(heads.query):
                elements |= {(name, prompt, sample, head, d) for name in ("q", "out") for d in range(heads.dim)}
                for token, d in itertools.product(tokens, range(heads.dim)):
                    elements |= {(name, token, head // heads.group, d) for name in ("k", "v")}
                    flops += 2 + 2  # score += q k; out += weight v
            read += 2 * heads.dim * (heads.kv * len(tokens) + heads.query)
        assert shared(shape, 2) == Work(2 * len(elements), flops)
        assert unshared(shape, 2) == Work(2 * read, flops)

    def test_published_table(self):
        """Megabytes and floors on an H100 as the project's specification of the kernels lists them."""
        h100 = Ceilings(3.0e12, 800e12)
        megabytes = [4.5, 25, 145, 170, 270, 1099, 405, 1627]
        floors = [1.5, 8.5, 48, 57, 90, 366, 135, 542]
        for shape, size, floor in zip(SHAPES, megabytes, floors, strict=False):
            work = shared(shape, 2)
            assert work.bytes / 1e6 == pytest.approx(size, rel=0.02)
            assert work.floor(h100) * 1e6 == pytest.approx(floor, rel=0.02)
        assert unshared(SHAPES[0], 2).floor(h100) * 1e6 == pytest.approx(12, rel=0.02)

    def test_the_slower_of_memory_and_matrix_units_is_the_floor(self):
        assert Work(100, 30).floor(Ceilings(10, 10)) == 10
        assert Work(100, 300).floor(Ceilings(10, 10)) == 30

    def test_logits(self):
        work = one_read(Logits(128, 131072))
        assert work.bytes / 128 == 131072 * 4 + 8
        assert work.floor(Ceilings(3.0e12, 1)) * 1e6 == pytest.approx(22.4, rel=0.01)


class TestShapes:
    def test_parse(self):
        assert Shape.parse("1/128/8192/256", Heads.parse("16/8/128")) in SHAPES
        assert Logits.parse("16/32000", 0.9) in LOGITS

    @pytest.mark.parametrize("text", ["1/2/3", "1/2/3/0", "1/2/3/x", "1/-2/3/4", "1/2/3/4/5"])
    def test_malformed(self, text):
        with pytest.raises(ValueError, match="PROMPTS/SAMPLES/PREFIX/SUFFIX"):
            Shape.parse(text)

    def test_heads_must_divide(self):
        with pytest.raises(ValueError, match="no multiple"):
            Heads.parse("6/4/64")

    def test_prefix_of_whole_pages(self, capsys):
        with pytest.raises(SystemExit):
            main(["--device", "cpu", "--shape", "1/2/33/4"])
        assert "multiple of --page-size 16" in capsys.readouterr().err


class TestTime:
    def test_an_alarm_ends_what_takes_too_long(self):
        with pytest.raises(OutOfTime), until(time.monotonic() + 0.05):
            time.sleep(5)
        time.sleep(0.1)  # and rings no more

    def test_no_time_left(self):
        with pytest.raises(OutOfTime), until(time.monotonic() - 1):
            pytest.fail("ran")

    def test_shares_of_what_remains(self, monkeypatch):
        now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        budget = Budget(100, [8, 1, 1])
        assert budget.open() == 180
        now = 120.0  # the first group needed 20 of its 80: the others share what it left
        assert budget.open() == 160
        now = 300.0
        assert budget.open() == 300


class TestInputs:
    @pytest.mark.parametrize("page_size", [1, 8, 16])
    def test_layouts_agree(self, page_size):
        inputs = Inputs(TINY, CPU, torch.float32, page_size)
        k, _ = inputs.caches[0]
        whole = inputs.whole(k)
        assert whole.shape == (6, 37, 2, 8)
        assert torch.equal(whole[:, :32], inputs.prefixes(k).repeat_interleave(3, dim=0))
        assert torch.equal(whole[:, 32:], inputs.suffixes(k))
        every = torch.cat([inputs.prefix_pages.flatten(), inputs.suffix_pages.flatten()])
        assert sorted(every.tolist()) == list(range(len(k)))

    def test_exact_is_attention(self):
        inputs = Inputs(TINY, CPU, torch.float32)
        k, v = (inputs.whole(cache)[4] for cache in inputs.caches[0])
        for head in range(4):
            weights = torch.softmax(k[:, head // 2].double() @ inputs.q[4, head].double() / 8**0.5, 0)
            assert torch.allclose(inputs.exact([4])[0, head], weights @ v[:, head // 2].double())

    def test_unwritten_rows_are_errors(self):
        wanted = torch.ones(3, 2)
        assert error(wanted, wanted) == 0
        assert error(torch.tensor([[1.0, 1], [1, 1], [torch.nan, 1]]), wanted) == float("inf")


@pytest.fixture
def runner():
    return Runner(CPU, torch.float32, 16, lambda _: None)


def later(seconds=60.0):
    return time.monotonic() + seconds


def by_method(cases):
    return {case.method: case for case in cases}


class TestChecks:
    def test_a_wrong_peer_is_not_timed(self, runner, monkeypatch):
        def slightly_off(inputs):
            calls, note = attention.sdpa_expanded(inputs)
            return [lambda: calls[0]() * 1.001], note

        monkeypatch.setitem(attention.METHODS, "off", slightly_off)
        found = by_method(runner.attention(TINY, later()))
        assert found["off"].status == "wrong"
        assert found["off"].timing is None
        assert "relative error 1.0e-03" in found["off"].note
        assert found["SDPA, expanded KV"].status == "ok"

    def test_ours_is_checked_too(self, runner, monkeypatch):
        monkeypatch.setitem(attention.METHODS, "t2fast", lambda _: ([lambda: torch.zeros(6, 4, 8)], ""))
        found = by_method(runner.attention(TINY, later()))
        assert found["t2fast"].status == "wrong"
        assert found["SDPA, expanded KV"].status == "ok"

    def test_a_failing_peer_is_a_line_of_the_report(self, runner, monkeypatch):
        def broken(_):
            raise RuntimeError("no kernel\n  image")

        monkeypatch.setitem(attention.METHODS, "broken", broken)
        case = by_method(runner.attention(TINY, later()))["broken"]
        assert (case.status, case.note) == ("failed", "RuntimeError: no kernel image")

    def test_a_slow_peer_is_left_out_from_then_on(self, runner, monkeypatch):
        monkeypatch.setattr(attention, "METHODS", {"slow": lambda _: time.sleep(5)})
        first, second = (runner.attention(TINY, later(0.1))[0] for _ in range(2))
        assert (first.status, second.status) == ("skipped", "skipped")
        assert "took too long at 2/3/32/5" in second.note

    @pytest.mark.parametrize("top_p", [None, 0.9])
    def test_samplers(self, top_p):
        case = Logits(4, 1000, top_p)
        for name, method in sampling.METHODS.items():
            if name != "FlashInfer" and not (name == "PyTorch, multinomial" and top_p):
                assert sampling.mistake(case, method, CPU) is None, name

    def test_wrong_samplers(self):
        def greedy(_, logits):
            return [lambda: logits[0].argmax(-1)] * len(logits), ""

        def outside(_, logits):
            return [lambda: torch.full((4,), -1)] * len(logits), ""

        def hotter(top_p, logits):
            return sampling.race(top_p, [batch / 1.3 for batch in logits])

        case = Logits(4, 1000, 0.9)
        assert "another distribution" in sampling.mistake(case, greedy, CPU)
        assert "outside the vocabulary" in sampling.mistake(case, outside, CPU)
        assert "nucleus" in sampling.mistake(case, lambda _, logits: sampling.race(None, logits), CPU)
        assert "another distribution" in sampling.mistake(Logits(4, 1000), hotter, CPU)


class TestReport:
    def test_losses(self):
        def case(method, cache, median):
            return Case("a", "s", "d", method, cache, "ok", "", Work(1, 1), Timing(median, median, median, 9, True))

        cases = [case("t2fast", "cold", 2.0), case("peer", "cold", 1.0), case("t2fast", "warm", 1.0)]
        assert losses([*cases, case("peer", "warm", 3.0)]) == ["a s, d, cold: peer takes 0.5 of our time"]

    def test_a_run_on_a_cpu(self, tmp_path, capsys):
        path = tmp_path / "new" / "kernels.csv"
        words = ["--device", "cpu", "--shape", "2/2/32/5", "--heads", "4/2/16", "--logits", "2/1000", "--top-p", "0.8"]
        assert main([*words, "--csv", str(path)]) == 0
        with path.open(encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        assert list(lines[0]) == COLUMNS
        assert {line["kind"] for line in lines} == {"attention", "sampling"}
        found = {(line["kind"], line["method"]): line for line in lines}
        for kind, method in [("attention", "t2fast"), ("attention", "Hydragen, matmul"), ("sampling", "PyTorch, race")]:
            line = found[kind, method]
            assert line["status"] == "ok"
            assert 0 < float(line["q1_us"]) <= float(line["median_us"]) <= float(line["q3_us"])
            floor = max(
                float(line["bytes"]) / float(line["bandwidth"]), float(line["flops"]) / float(line["matrix_flops"])
            )
            assert float(line["floor_us"]) == pytest.approx(floor * 1e6, rel=1e-3)
            assert float(line["floor_share"]) == pytest.approx(floor * 1e6 / float(line["median_us"]), rel=1e-3)
        assert float(found["attention", "t2fast"]["times_ours"]) == 1
        for line in lines:
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", line["date"])
            assert line["device"]
            assert line["commit"]
            assert f"torch {torch.__version__.split('+')[0]}" in line["versions"]
        assert found["attention", "FlashInfer cascade"]["status"] == "missing"
        shown = capsys.readouterr().out
        assert "ceilings measured" in shown
        assert "FlashInfer needs a GPU" in shown

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_without_a_gpu(self, capsys):
        assert main([]) == 2
        assert "--device cpu" in capsys.readouterr().err


class TestSplitKV:
    """The peer kernel, so that its first run on a GPU is no surprise."""

    pytestmark = pytest.mark.skipif(
        not sys.platform.startswith("linux") or bool(os.environ.get("TRITON_INTERPRET")),
        reason="Triton: Linux, compiled",
    )

    def test_in_the_interpreter(self):
        program = """
import torch
from bench.kernels.inputs import Inputs, error
from bench.kernels.shapes import Heads, Shape
from bench.kernels.split_kv import decoder
for heads, dtype, allowed in [
    (Heads(8, 2, 64), torch.float32, 2e-6), (Heads(4, 4, 72), torch.float32, 2e-6), (Heads(4, 1, 128), torch.float16, 1e-3)
]:
    inputs = Inputs(Shape(2, 2, 48, 5, heads), torch.device("cpu"), dtype)
    for block, pieces in [(32, 1), (32, 2), (16, 4)]:
        off = error(decoder(inputs, (block, 4, 3), pieces)[0](), inputs.exact([0, 1, 2, 3]))
        assert off <= allowed, (heads, dtype, block, pieces, off)
"""
        environment = os.environ | {"TRITON_INTERPRET": "1"}
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=True, timeout=300)

    def test_compiles_for_hopper_without_spills(self):
        import triton
        from bench.kernels.split_kv import TILES, decode_piece
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        pointers = dict.fromkeys(["q", "k_cache", "v_cache", "out"], "*bf16") | dict.fromkeys(
            ["partial", "lse"], "*fp32"
        )
        types = pointers | {"tables": "*i32", "lens": "*i32", "scale_log2": "fp32"}
        fixed = {"HEADS": 32, "GROUP": 4, "DIM": 128, "DIM_PADDED": 128, "PAGE": 16, "BLOCK_M": 16, "SINGLE": False}
        names = decode_piece.arg_names
        for block_n, warps, stages in TILES:
            constants = fixed | {"BLOCK_N": block_n}
            signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
            aligned = [
                i for i, name in enumerate(names) if name not in constants and name not in ("lens", "scale_log2")
            ]
            source = ASTSource(
                decode_piece,
                signature,
                {(names.index(name),): value for name, value in constants.items()},
                {(i,): [["tt.divisibility", 16]] for i in aligned},
            )
            kernel = triton.compile(
                source,
                target=GPUTarget("cuda", 90, 32),
                options={"num_warps": warps, "num_stages": stages, "enable_fp_fusion": True},
            )
            assert kernel.metadata.shared <= 227 * 1024
            assert "mma.sync" in kernel.asm["ptx"]
            assert "cp.async" in kernel.asm["ptx"]
            assert "st.local" not in kernel.asm["ptx"]
            assert _stack(kernel.asm["cubin"]) == 0, (block_n, warps, stages)


def _stack(cubin):
    """Bytes of stack and local memory of a kernel, as cuobjdump reads them."""
    import tempfile

    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [tool, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    return sum(int(n) for n in re.search(r"STACK:(\d+).*LOCAL:(\d+)", said).groups())
