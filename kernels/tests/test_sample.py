"""The sampler: reference and kernels against fp64, its distribution, its invariance, its neighbours' rules."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

import sample_oracle as oracle
from conftest import DEVICE, TRITON
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


def logits_of(rows: int, vocab: int, device: torch.device, seed: int = 0, dtype=torch.float32) -> Tensor:
    noise = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))
    return (noise * torch.linspace(0.5, 4, rows)[:, None]).to(dtype).to(device)


def ids(*values: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.tensor(values, dtype=torch.int32, device=device)


def agrees(tokens, logprobs, logits, key, *, filters=({},), temperature=(1.0,), **processing) -> None:
    """Compare with the oracle, row by row; draws within 1e-5 of the winner count as ties."""
    for r, row in enumerate(logits.float().cpu().numpy()):
        own = {k: v[r] if isinstance(v, np.ndarray) and v.ndim == 2 else v for k, v in processing.items()}
        heat = temperature[r % len(temperature)]
        x = oracle.processed(row, heat, **own)
        score = x + (oracle.noise(len(x), *(int(k[r]) for k in key)) if heat > 0 else 0)
        keep = oracle.kept(x, **filters[r % len(filters)]) if heat > 0 else np.ones(len(x), bool)
        token = int(tokens[r])
        assert keep[token]
        assert score[token] >= score[keep].max() - 1e-5
        assert float(logprobs[r]) == pytest.approx(oracle.log_softmax(x)[token], abs=2e-5)


# The noise


def test_philox_known_answers() -> None:
    # Random123's published vectors for philox4x32, 10 rounds.
    zero = reference.philox([torch.tensor([0])] * 4, torch.tensor([0]))
    assert [int(w) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = reference.philox([torch.tensor([0xFFFFFFFF])] * 4, torch.tensor([-1]))
    assert [int(w) for w in ones] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter = [torch.tensor([c]) for c in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    digits = reference.philox(counter, torch.tensor([0x299F31D0 << 32 | 0xA4093822]))
    assert [int(w) for w in digits] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.skipif(not TRITON, reason="needs Triton: on a GPU, or with TRITON_INTERPRET=1")
def test_philox_is_tritons_bit_for_bit(device) -> None:
    import triton

    from philox_kernel import philox_kernel

    n = 256
    words = torch.randint(-(2**31), 2**31, (4, n), dtype=torch.int32, generator=torch.Generator().manual_seed(1)).to(
        device
    )
    for seed in (0, 7, -1, 2**62 + 12345, -(2**63)):
        out = torch.empty(4, n, dtype=torch.int32, device=device)
        philox_kernel[(triton.cdiv(n, 64),)](torch.tensor([seed], device=device), words, out, n, BLOCK=64)
        ours = reference.philox([w.long() & 0xFFFFFFFF for w in words.cpu()], torch.tensor([seed]))
        assert torch.equal(torch.stack(ours), out.cpu().long() & 0xFFFFFFFF)


def test_noise_is_the_oracles() -> None:
    keys = [torch.tensor(k) for k in ([0, -5], [3, 2**31 - 1], [1, -7], [0, 12])]
    noise = reference.gumbel(1001, *keys)
    for r in range(2):
        expected = oracle.noise(1001, *(int(k[r]) % (2**64 if i == 0 else 2**32) for i, k in enumerate(keys)))
        assert np.abs(noise[r].numpy() - expected).max() < 2e-6


def test_noise_is_exact_in_the_tails(monkeypatch) -> None:
    words = torch.tensor([[0, 1, 2**26 - 1, 2**26], [2**31, 2**32 - 2, 2**32 - 1, 12345]])
    monkeypatch.setattr(reference, "philox", lambda *_: list(words[:, None, :].unbind(2)))
    key = torch.zeros(2, dtype=torch.int64)
    u = (words.double() + 0.5) / 2**32
    noise = reference.gumbel(4, key, key, key, key).double()
    assert (noise + torch.log(-torch.log1p(-u))).abs().max() < 3e-7 * 23
    assert noise.isfinite().all()


def test_gumbel_moments() -> None:
    rows = torch.arange(64)
    noise = reference.gumbel(4096, torch.tensor([11]), rows, rows % 3, rows % 5).double()
    assert float(noise.mean()) == pytest.approx(0.57722, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, abs=0.03)
    assert np.abs(np.corrcoef(noise.numpy()) - np.eye(64)).max() < 0.09  # 5.7 standard deviations


# What is drawn

FILTERS = [
    {},
    {"top_k": 7},
    {"top_p": 0.8},
    {"min_p": 0.1},
    {"top_k": 30, "top_p": 0.7, "min_p": 0.02},
    {"top_k": 3, "top_p": 0.95},
    {"top_k": 1},
    {"top_p": 1e-6},
]


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
    joint = sample(logits, 1, rows, 0, 0, top_k=2, top_p=0.5)[0]
    first = sample(logits, 1, rows, 0, 0, top_k=2, top_p=0.5, order="top_k_first")[0]
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


# Its distribution

P_VALUE = 1e-3


def chi_square(tokens: Tensor, p: Tensor) -> float:
    """The p-value of the draws; tokens of probability 0 must not occur."""
    observed = torch.bincount(tokens.cpu(), minlength=len(p)).double()
    assert observed[p == 0].sum() == 0
    expected = p[p > 0] * len(tokens)
    assert expected.min() >= 5
    statistic = ((observed[p > 0] - expected) ** 2 / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(expected) - 1) / 2).double(), statistic / 2))


@pytest.mark.parametrize("varied", ["seed", "prompt", "sample", "step"])
@pytest.mark.parametrize("filters", [{}, {"top_p": 0.7, "top_k": 9, "min_p": 0.05}], ids=str)
def test_distribution(monkeypatch, filters, varied) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rows, vocab = 40_000, 24
    x = torch.randn(vocab, generator=torch.Generator().manual_seed(12)) * 0.8
    keys: dict[str, int | Tensor] = {"seed": 31, "prompt": 4, "sample": 15, "step": 9}
    keys[varied] = torch.arange(rows)
    tokens, _ = sample(x.expand(rows, vocab).contiguous(), **keys, **filters)
    p = x.double().exp() * torch.from_numpy(oracle.kept(x.double().numpy(), **filters))
    assert chi_square(tokens, p / p.sum()) > P_VALUE


def test_distribution_of_the_kernels(device) -> None:
    rows, vocab = 200, 120
    x = torch.randn(vocab, generator=torch.Generator().manual_seed(2)) * 2
    tokens, _ = sample(
        x.expand(rows, vocab).contiguous().to(device), 3, torch.arange(rows, device=device), 1, 0, top_k=6
    )
    p = x.double().exp() * torch.from_numpy(oracle.kept(x.double().numpy(), top_k=6))
    assert chi_square(tokens, p / p.sum()) > P_VALUE


def test_consecutive_steps_are_independent(monkeypatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rows = 20_000
    logits = torch.zeros(rows, 4)
    a, _ = sample(logits, 1, 0, torch.arange(rows), 0)
    for other in ({"step": 1}, {"prompt": 1}, {"seed": 2}):
        keys = {"seed": 1, "prompt": 0, "sample": torch.arange(rows), "step": 0} | other
        b, _ = sample(logits, **keys)
        assert chi_square(4 * a + b, torch.full((16,), 1 / 16, dtype=torch.float64)) > P_VALUE


# Its invariance


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.8}, {"top_k": 20, "top_p": 0.9, "order": "top_k_first"}], ids=str)
def test_neither_place_nor_company_matters(device, filters) -> None:
    rows, vocab = 9, 260
    logits = logits_of(rows, vocab, device, seed=9)
    key = [torch.arange(rows, device=device) // d for d in (7, 5, 1, 2)]
    whole = sample(logits, *key, n_logprobs=3, **filters)
    picked = torch.randperm(rows, generator=torch.Generator().manual_seed(1))[:4].to(device)
    part = sample(logits[picked], *(k[picked] for k in key), n_logprobs=3, **filters)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[picked], b)
    alone = sample(logits[4:5], *(k[4:5] for k in key), n_logprobs=3, **filters)
    for a, b in zip(whole, alone, strict=True):
        assert torch.equal(a[4:5], b)


@pytest.mark.parametrize("quads", [8, 128])
@pytest.mark.parametrize("passes", [1, 3])
def test_neither_chunks_nor_passes_matter(device, monkeypatch, quads, passes) -> None:
    logits = logits_of(4, 200, device, seed=10)
    rows = torch.arange(4, device=device)
    expected = [sample(logits, 5, rows, 0, 0, **f)[0] for f in FILTERS[2:5]]
    monkeypatch.setattr(operator, "QUADS", quads)
    monkeypatch.setattr(operator, "PASSES", passes)
    for filters, tokens in zip(FILTERS[2:5], expected, strict=True):
        assert torch.equal(sample(logits, 5, rows, 0, 0, **filters)[0], tokens)


def test_integers_and_tensors_are_one_key(device) -> None:
    logits = logits_of(4, 90, device)
    tokens = sample(logits, -3, 2**32 - 1, 2, 1)[0]
    again = sample(
        logits,
        torch.tensor(2**64 - 3 - 2**64, device=device),
        ids(-1, -1, -1, -1, device=device),
        2,
        ids(1, device=device),
    )[0]
    assert torch.equal(tokens, again)
    assert torch.equal(sample(logits, 2**64 - 3, -1, 2, 1)[0], tokens)


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
    noise = reference.gumbel(vocab, *key)
    assert torch.equal(ours, (theirs + noise).argmax(1))
    x = reference.processed(logits, 0.7, 1.4, 0.0, 0.0, counts, None, None)
    keep = x >= reference.threshold(x, 25, 0.85, 0.01, top_k_first=True)
    assert torch.equal(keep, theirs > -torch.inf)
    torch.testing.assert_close(x[keep], theirs[keep])


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
