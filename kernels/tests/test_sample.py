"""The sampler: reference and kernels against fp64, its borders, its neighbours' rules."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import DEVICE
from kit import sample_oracle as oracle
from kit.draws import FILTERS, agrees, logits_of
from t2fast_kernels.errors import KernelError
from t2fast_kernels.reference import sample as reference
from t2fast_kernels.sample import sample

operator = importlib.import_module("t2fast_kernels.sample")


@pytest.fixture
def device() -> torch.device:
    return torch.device(DEVICE)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch, poison):  # noqa: ARG001
    """Many chunks in small vocabularies; the shipped size has tests of its own."""
    monkeypatch.setattr(operator, "QUADS", 32)


def ids(*values: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)


# What is drawn


@pytest.mark.parametrize(
    ("filters", "order"),
    [(f, "joint") for f in FILTERS] + [(f, "top_k_first") for f in FILTERS if len(f) > 1],
    ids=str,
)
def test_against_fp64(device, filters, order) -> None:
    rows, vocab = 4, 270
    logits = logits_of(rows, vocab, device)
    key = [torch.full((rows,), 99), *(torch.arange(rows, dtype=torch.int32) // d for d in (4, 1, 3))]
    tokens, logprobs = sample(logits, *(k.to(device) for k in key), order=order, **filters)
    agrees(tokens, logprobs, logits, key, filters=[filters | {"top_k_first": order == "top_k_first"}])


@pytest.mark.parametrize("order", ["joint", "top_k_first"])
def test_settings_per_row(device, order) -> None:
    rows, vocab = 8, 200
    logits = logits_of(rows, vocab, device, seed=3)
    heat = [0.0, 0.7, 1.0, 1.6]
    key = [torch.arange(rows) * 2**40 - 5, *(torch.arange(rows, dtype=torch.int32) for _ in range(3))]

    def column(name: str, off: float, dtype: torch.dtype) -> Tensor:
        return torch.tensor([FILTERS[r % 8].get(name, off) for r in range(rows)], dtype=dtype, device=device)

    tokens, logprobs = sample(
        logits,
        *(k.to(device) for k in key),
        temperature=torch.tensor(heat).repeat(rows // 4).to(device),
        top_k=column("top_k", 0, torch.int32),
        top_p=column("top_p", 1.0, torch.float32),
        min_p=column("min_p", 0.0, torch.float32),
        order=order,
    )
    filters = [f | {"top_k_first": order == "top_k_first"} for f in FILTERS]
    agrees(tokens, logprobs, logits, key, filters=filters, temperature=heat)


@pytest.mark.parametrize("packed", [False, True])
def test_bias_penalties_and_allowed_tokens(device, packed) -> None:
    rows, vocab = 6, 150
    generator = torch.Generator().manual_seed(5)
    logits = logits_of(rows, vocab, device, seed=4)
    counts = torch.randint(-1, 4, (rows, vocab), dtype=torch.int32, generator=generator)
    bias = torch.randn(rows, vocab, generator=generator)
    allowed = torch.rand(rows, vocab, generator=generator) < 0.4
    mask = allowed
    if packed:
        bits = torch.nn.functional.pad(allowed, (0, -vocab % 32)).reshape(rows, -1, 32).long()
        mask = (bits << torch.arange(32)).sum(2).to(torch.int32)
    key = [torch.arange(rows) for _ in range(4)]
    tokens, logprobs = sample(
        logits,
        *(k.to(device) for k in key),
        temperature=0.8,
        top_p=0.9,
        repetition_penalty=1.3,
        presence_penalty=0.4,
        frequency_penalty=torch.full((rows,), 0.2).to(device),
        counts=counts.to(device),
        logit_bias=bias.to(device),
        allowed=mask.to(device),
    )
    assert allowed.gather(1, tokens.cpu()[:, None]).all()
    processing = {"repetition": 1.3, "presence": 0.4, "frequency": 0.2}
    tables = {"counts": counts.numpy(), "bias": bias.numpy(), "allowed": allowed.numpy()}
    agrees(tokens, logprobs, logits, key, filters=[{"top_p": 0.9}], temperature=[0.8], **processing, **tables)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("vocab", [1, 2, 31, 33, 127, 128, 129])
def test_narrow_types_and_awkward_sizes(device, dtype, vocab) -> None:
    rows = 3
    logits = logits_of(rows, vocab + 5, device, dtype=dtype)[:, :vocab]  # rows that don't follow one another
    key = [torch.full((rows,), k) for k in (1, 2, 3, 4)]
    tokens, logprobs = sample(logits, 1, 2, 3, 4, top_p=0.9)
    agrees(tokens, logprobs, logits, key, filters=[{"top_p": 0.9}])


def test_no_rows(device) -> None:
    tokens, logprobs, top_tokens, _ = sample(torch.empty(0, 9, device=device), 1, 2, 3, 4, n_logprobs=2)
    assert tokens.shape == logprobs.shape == (0,)
    assert top_tokens.shape == (0, 2)


def test_shipped_chunks(device, monkeypatch) -> None:
    monkeypatch.undo()
    assert operator.QUADS == 1024
    rows, vocab = 3, 4 * operator.QUADS + 37
    logits = logits_of(rows, vocab, device, seed=8)
    key = [torch.full((rows,), 5), *(torch.arange(rows) for _ in range(3))]
    tokens, logprobs = sample(logits, *(k.to(device) for k in key), top_p=0.9, top_k=40, order="top_k_first")
    agrees(tokens, logprobs, logits, key, filters=[{"top_p": 0.9, "top_k": 40, "top_k_first": True}])


@pytest.mark.parametrize("shift", [-(2.0**24), 2.0**10, 2.0**20])
@pytest.mark.parametrize("filters", [{}, {"top_k": 7, "top_p": 0.9}, {"min_p": 0.1}], ids=str)
def test_a_number_added_to_all_logits_changes_nothing(device, shift, filters) -> None:
    # Multiples of the shift's rounding, so that the sums are exact.
    logits = logits_of(6, 270, device).round() * 4
    key = (3, torch.arange(6, device=device), 1, 0)
    for temperature in (0.7, 0.0):
        options = {"temperature": temperature, "n_logprobs": 3, **filters}
        for moved, still in zip(sample(logits + shift, *key, **options), sample(logits, *key, **options), strict=True):
            assert torch.equal(moved, still)


def test_masks_of_the_smallest_float_are_equal_logits(device) -> None:
    for value in (0.0, -1e30, torch.finfo(torch.float32).min):
        _, logprobs = sample(torch.full((2, 100), value, device=device), 1, 0, 0, 0)
        assert logprobs.tolist() == pytest.approx([-np.log(100)] * 2, abs=1e-6)  # a few roundings of a sum of 100 ones


@pytest.mark.parametrize("held", [1, 2, 64])
def test_the_search_for_top_k_holds_what_it_can(device, held, monkeypatch) -> None:
    monkeypatch.setattr(operator, "HELD", held)
    logits = logits_of(4, 270, device, seed=5)
    logits[0] = logits[0].round()  # ties at the border
    key = [torch.full((4,), k) for k in (1, 2, 3, 4)]
    for k in (1, 2, 5, 70):
        tokens, logprobs = sample(logits, 1, 2, 3, 4, top_k=k, top_p=0.7)
        agrees(tokens, logprobs, logits, key, filters=[{"top_k": k, "top_p": 0.7, "top_k_first": True}])


# Borders


def test_greedy_takes_the_lowest_index_on_ties(device) -> None:
    logits = torch.zeros(2, 300, device=device)
    logits[0, [7, 200]] = 3.0
    logits[1, [299, 131, 130]] = 1e-3
    tokens, logprobs = sample(logits, 1, 2, 3, 4, temperature=0.0, top_k=2, top_p=0.1)
    assert tokens.tolist() == [7, 130]
    assert float(logprobs[0]) == pytest.approx(3 - np.log(2 * np.exp(3) + 298), abs=1e-5)


def test_equal_logits_share_their_fate(device) -> None:
    logits = torch.tensor([3.0, 3.0, 3.0, 2.0, 2.0, -9.0], device=device).expand(16, 6).contiguous()
    rows = torch.arange(16, dtype=torch.int32, device=device)
    for filters, support in (
        ({"top_k": 2}, {0, 1, 2}),
        ({"top_k": 4}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.3}, {0, 1, 2}),
        ({"top_p": 0.9}, {0, 1, 2, 3, 4}),
        ({"top_k": 3, "top_p": 0.999999, "order": "top_k_first"}, {0, 1, 2}),
    ):
        assert set(sample(logits, 0, rows, 0, 0, **filters)[0].tolist()) == support


def test_share_of_top_k_differs_from_share_of_all(device) -> None:
    # Probabilities 0.4, 0.2, 0.1, ...: of all, 0.5 stops after two tokens; of the two that top-k keeps, after one.
    p = torch.tensor([0.4, 0.2] + [0.04] * 10, device=device)
    logits = p.log().expand(40, 12).contiguous()
    rows = torch.arange(40, dtype=torch.int32, device=device)
    joint = sample(logits, 1, rows, 0, 0, top_k=2, top_p=0.5, order="joint")[0]
    first = sample(logits, 1, rows, 0, 0, top_k=2, top_p=0.5)[0]
    assert set(joint.tolist()) == {0, 1}
    assert set(first.tolist()) == {0}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter's NumPy remarks on NaN
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("filters", [{}, {"top_k": 3}, {"top_p": 0.5, "top_k": 3, "order": "top_k_first"}], ids=str)
def test_rows_that_cannot_be_drawn_from(device, temperature, filters) -> None:
    logits = logits_of(4, 300, device)
    logits[0, 5] = torch.nan
    logits[1, 299] = torch.inf
    logits[2] = -torch.inf
    logits[3, :200] = -torch.inf
    tokens, logprobs, tops, top_logprobs = sample(
        logits, 1, 2, 3, 4, temperature=temperature, n_logprobs=120, **filters
    )
    assert tokens[:3].tolist() == [-1, -1, -1]
    assert logprobs[:2].isnan().all()
    assert logprobs[2] == -torch.inf
    assert 200 <= tokens[3] < 300
    assert (tops[:3] == -1).all()
    assert top_logprobs[:2].isnan().all()
    assert sorted(tops[3, :100].tolist()) == list(range(200, 300))
    assert (tops[3, 100:] == -1).all()
    assert (top_logprobs[2:, 100:] == -torch.inf).all()


def test_top_logprobs(device) -> None:
    logits = logits_of(5, 250, device, seed=6)
    logits[0] = logits[0].round()  # many ties
    tokens, logprobs, tops, top_logprobs = sample(logits, 1, 2, 3, 4, temperature=0.9, top_k=5, n_logprobs=30)
    exact = torch.log_softmax(logits.double() / 0.9, 1)
    order = torch.sort(logits, dim=1, descending=True, stable=True).indices[:, :30]
    assert torch.equal(tops, order)
    torch.testing.assert_close(top_logprobs.double(), exact.gather(1, order), atol=1e-5, rtol=0)
    torch.testing.assert_close(logprobs.double(), exact.gather(1, tokens[:, None])[:, 0], atol=1e-5, rtol=0)


# Hugging Face's rules


def test_hugging_face_processors(device) -> None:
    transformers = pytest.importorskip("transformers")
    rows, vocab = 6, 160
    logits = logits_of(rows, vocab, torch.device("cpu"), seed=13)
    prompt = torch.randint(0, vocab, (rows, 12), generator=torch.Generator().manual_seed(3))
    processors = transformers.LogitsProcessorList(
        [
            transformers.RepetitionPenaltyLogitsProcessor(1.4),
            transformers.TemperatureLogitsWarper(0.7),
            transformers.TopKLogitsWarper(25),
            transformers.TopPLogitsWarper(0.85),
            transformers.MinPLogitsWarper(0.01),
        ]
    )
    theirs = processors(prompt, logits.clone())
    counts = torch.zeros(rows, vocab, dtype=torch.int32).scatter_(1, prompt, -1)
    key = [torch.arange(rows) for _ in range(4)]
    ours = sample(
        logits.to(device),
        *(k.to(device) for k in key),
        temperature=0.7,
        top_k=25,
        top_p=0.85,
        min_p=0.01,
        order="top_k_first",
        repetition_penalty=1.4,
        counts=counts.to(device),
    )[0].cpu()
    x = reference.heated(reference.processed(logits, 1.4, 0.0, 0.0, counts, None, None), 0.7)
    keep = x >= reference.threshold(x, 25, 0.85, 0.01, top_k_first=True)
    assert torch.equal(keep, theirs > -torch.inf)
    assert torch.equal(ours, reference.clocks(x, *key).masked_fill(theirs == -torch.inf, -torch.inf).argmax(1))
    theirs = theirs - theirs.amax(1, keepdim=True)
    # Quotients rounded at 10, then their difference: four steps of 2^-21.
    torch.testing.assert_close(x[keep], theirs[keep], atol=2e-6, rtol=0)


def test_reference_beyond_its_head() -> None:
    # The threshold lies beyond the part that is sorted first.
    x = torch.randn(3, 5000, generator=torch.Generator().manual_seed(7)) * 0.3
    for filters in ({"top_k": 3000}, {"top_p": 0.9}, {"top_k": 2000, "top_p": 0.95, "top_k_first": True}):
        arguments = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "top_k_first": False} | filters
        keep = x >= reference.threshold(x, **arguments)
        for r in range(3):
            assert np.array_equal(keep[r].numpy(), oracle.kept(x[r].double().numpy(), **filters))


# Its place in PyTorch


def test_opcheck(device) -> None:
    logits = logits_of(3, 70, device)
    keys = [torch.arange(3, device=device) for _ in range(4)]
    torch.library.opcheck(
        torch.ops.t2fast.sample.default,
        (logits, *keys, [1.0, 5.0, 0.9, 0.0, 1.0, 0.0, 0.0], [None] * 7, True, None, None, None, 2),
    )


def test_compiles_whole(device) -> None:
    def step(logits: Tensor, rows: Tensor, heat: Tensor) -> tuple[Tensor, ...]:
        return sample(logits * 1.5, 9, rows, rows, 3, temperature=heat, top_p=0.9, n_logprobs=2)

    logits, rows = logits_of(4, 80, device), torch.arange(4, device=device)
    heat = torch.full((4,), 0.8, device=device)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(logits, rows, heat), step(logits, rows, heat), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs need a GPU")
@pytest.mark.parametrize("filters", [{}, {"top_p": 0.9}, {"top_k": 20, "top_p": 0.9, "order": "top_k_first"}], ids=str)
def test_graph_capture(device, filters) -> None:
    logits, rows = logits_of(8, 5000, device), torch.arange(8, device=device)
    step = torch.zeros(8, dtype=torch.int32, device=device)
    sample(logits, 1, rows, rows, step, **filters)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tokens, logprobs = sample(logits, 1, rows, rows, step, **filters)
    for i in range(5):
        step.fill_(i)
        graph.replay()
        expected = sample(logits, 1, rows, rows, step, **filters)
        assert torch.equal(tokens, expected[0])
        assert torch.equal(logprobs, expected[1])


def test_errors_name_argument_value_and_remedy() -> None:
    good = torch.zeros(2, 40)
    for change, words in (
        ({"logits": torch.zeros(2, 3, 4)}, "logits"),
        ({"logits": torch.zeros(2, 40, dtype=torch.float64)}, "float64"),
        ({"logits": torch.zeros(40, 2).T}, "strides"),
        ({"seed": 2**64}, "seed = 18446744073709551616"),
        ({"step": torch.zeros(3, dtype=torch.int32)}, r"step is torch.int32 \[3\]"),
        ({"prompt": torch.zeros(2)}, "prompt is torch.float32"),
        ({"temperature": -0.5}, "temperature = -0.5"),
        ({"temperature": float("nan")}, "temperature = nan"),
        ({"temperature": torch.zeros(3)}, r"temperature is torch.float32 \[3\]"),
        ({"top_k": 2.5}, "top_k = 2.5 is not a whole number"),
        ({"top_k": -1}, "top_k = -1"),
        ({"top_k": torch.zeros(2)}, "top_k is torch.float32"),
        ({"top_p": 0.0}, "top_p = 0"),
        ({"top_p": 1.01}, "top_p = 1.01"),
        ({"min_p": -0.1}, "min_p = -0.1"),
        ({"order": "hf"}, "order = 'hf'"),
        ({"repetition_penalty": 0.0}, "repetition_penalty = 0"),
        ({"presence_penalty": 1.0}, "counts is missing"),
        ({"counts": torch.zeros(2, 40)}, "counts is torch.float32"),
        ({"logit_bias": torch.zeros(41)}, r"logit_bias is torch.float32 \[41\]"),
        ({"allowed": torch.zeros(2, 40, dtype=torch.int32)}, r"pass bool or int32 \[2, 2\]"),
        ({"n_logprobs": 41}, "n_logprobs = 41"),
        ({"step": torch.zeros(2, dtype=torch.int32, device="meta")}, "step is on meta"),
    ):
        arguments = {"logits": good, "seed": 1, "prompt": 2, "sample": 3, "step": 4} | change
        with pytest.raises(KernelError, match=words):
            sample(**arguments)
