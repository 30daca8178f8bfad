"""generate_batch with paged|t2fast: tokens and log-probabilities of paged|eager, the prefix read once."""

from __future__ import annotations

import copy
import inspect
from itertools import pairwise

import pytest
from tests.support.tiny import model, tokenizer, torch

from t2fast import T2Error

pytest.importorskip("transformers.generation.continuous_batching", reason="needs continuous batching")

from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching import cache

from t2fast.integrations import transformers as door
from t2fast.sampling import Prompt, Sampler, SamplingParams

TEXTS = ["The quick brown fox jumps over the lazy dog. The answer is", "Question: what is 3 + 4? Answer:", "def"]
PAGE = "page_size" if "page_size" in inspect.signature(ContinuousBatchingConfig).parameters else "block_size"
#: Whether forked requests are among the results.
FORKS = PAGE == "page_size"
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `paged|` prefix"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def ids():
    return tokenizer()(TEXTS)["input_ids"]


@pytest.fixture
def memory(monkeypatch):
    """A gigabyte: older versions cannot tell on the CPU, where their own attention would not run."""
    monkeypatch.setattr(cache.PagedAttentionMemoryHandler, "get_available_memory", lambda _: 1 << 30)


def generate(family, implementation, asked, n=1, new=12, page=8, **settings):
    """Tokens and log-probabilities of each result; sampled from the same seed where there are several of a prompt."""
    live = copy.deepcopy(model(family) if isinstance(family, str) else family)
    live.set_attn_implementation(implementation)
    batching = {PAGE: page, "num_blocks": 256, "max_batch_tokens": 256, "return_logprobs": True, **settings}
    how = GenerationConfig(
        max_new_tokens=new, do_sample=n > 1, num_return_sequences=n, top_k=0 if n > 1 else None, eos_token_id=-1,
        pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    found = live.generate_batch(
        asked, generation_config=how, continuous_batching_config=ContinuousBatchingConfig(**batching)
    )
    assert all(one.error is None for one in found.values())
    assert len(found) == len(asked) * (n if FORKS else 1)
    return [(one.generated_tokens, one.logprobs) for one in found.values()]


def same(found, expected):
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=5e-5)


@pytest.mark.parametrize(
    "family", ["llama", "llama-mqa", "qwen3", "qwen2-window", "mistral-window", "gemma3", "phi3-window", "gpt-oss"]
)
@pytest.mark.usefixtures("memory")
def test_equal_to_eager(family):
    same(generate(family, "paged|t2fast", ids(), 3), generate(family, "paged|eager", ids(), 3))


@pytest.mark.usefixtures("memory")
def test_soft_caps_hold():
    """Transformers' own paged attention leaves them out without a word, so the model's plain forward pass is asked."""
    own = copy.deepcopy(model("gemma2"))
    own.set_attn_implementation("eager")
    for asked, (tokens, logprobs) in zip(ids(), generate("gemma2", "paged|t2fast", ids()), strict=True):
        with torch.no_grad():
            logits = own(torch.tensor([asked + tokens])).logits[0, len(asked) - 1 : -1].float()
        best, chosen = logits.log_softmax(-1).max(-1)
        assert chosen.tolist() == tokens
        assert logprobs == pytest.approx(best.tolist(), abs=5e-5)


@pytest.mark.parametrize("settings", [{"max_batch_tokens": 9}, {"max_requests_per_batch": 2}, {"num_blocks": 12}])
@pytest.mark.usefixtures("memory")
def test_prompts_in_pieces_and_mixed_with_decoding(settings):
    same(generate("llama", "paged|t2fast", ids(), **settings), generate("llama", "paged|eager", ids()))


@pytest.mark.usefixtures("memory")
def test_bfloat16():
    live = copy.deepcopy(model()).bfloat16()
    ours, eager = (generate(live, one, ids()[:1], new=4)[0] for one in ("paged|t2fast", "paged|eager"))
    assert ours[1][0] == pytest.approx(eager[1][0], abs=0.05)


@pytest.fixture
def reads(monkeypatch):
    """Of each call in order: rows that decode, tokens read together and alone, their lengths; or None for prompts."""
    found, original, prompts = [], door.prefix_decode, door._prompts

    def counted(q, k_cache, v_cache, tables, lens, buffers, **named):
        made = buffers.planned
        shared = sum(end - begin for _, _, _, begin, end, *_ in made.items[: int(made.counts[0])].tolist())
        found.append((len(q), shared, int((lens - made.rows[: len(lens), 1]).sum()), lens.tolist()))
        return original(q, k_cache, v_cache, tables, lens, buffers, **named)

    def marked(*arguments):
        found.append(None)
        return prompts(*arguments)

    monkeypatch.setattr(door, "prefix_decode", counted)
    monkeypatch.setattr(door, "_prompts", marked)
    return found


PROMPT = (ids()[0] * 5)[:100]


@pytest.mark.usefixtures("memory")
@pytest.mark.parametrize(("implementation", "family", "full"), [("paged|t2fast", "llama", 4), ("t2fast", "gemma3", 2)])
def test_the_prefix_is_read_once_per_step(implementation, family, full, reads):
    generate(family, implementation, [PROMPT, PROMPT[::-1]], 6, new=5)
    decoding = [step for step in reads if step is not None and step[0] == 12]
    assert len(decoding) >= 4 * full
    for _, shared, alone, lens in decoding:
        # Of 99 tokens in pages of 8, 96 are on pages that the six of each prompt share.
        assert shared == 2 * 96
        assert alone == sum(lens) - 12 * 96


@pytest.mark.usefixtures("memory")
def test_prompts_beside_them_do_not_keep_samples_from_sharing(reads):
    """The second prompt is computed in pieces while the samples of the first draw."""
    settings = {"new": 12, "max_batch_tokens": 32, "scheduler_type": "fifo"}
    found = generate("llama", "paged|t2fast", [PROMPT, PROMPT[::-1]], 4, **settings)
    mixed = [step for step, after in pairwise(reads) if step is not None and after is None and step[0] >= 4]
    assert len(mixed) >= 4
    for rows, shared, alone, lens in mixed:
        assert (rows, shared, alone) == (4, 96, sum(lens) - 4 * 96)
    same(found, generate("llama", "paged|eager", [PROMPT, PROMPT[::-1]], 4, **settings))


def test_neighbours_are_found_wherever_they_stand():
    tables = torch.tensor([[7, 1, 2], [3, 4, 5], [7, 1, 9], [3, 4, 6], [7, 0, 0]], dtype=torch.int32)
    assert door._order(tables).tolist() == [1, 3, 4, 0, 2]
    assert door._order(tables[:, :0]).tolist() == [0, 1, 2, 3, 4]


def test_runs_where_transformers_cannot_tell_the_memory(monkeypatch):
    before = door._memory
    assert before(lambda _: 0, type("Handler", (), {"config": model().config, "cb_config": None})) == 0
    names = [module for module in (cache,) if hasattr(module, "get_device_and_memory_breakdown")]
    assert names
    for module in names:
        monkeypatch.setattr(module, "get_device_and_memory_breakdown", lambda: (torch.device("cpu"), 0, 0, 0))
    assert len(generate("llama", "paged|t2fast", ids()[:1], new=2)[0][0]) == 2


@pytest.mark.usefixtures("memory")
def test_what_it_does_not_do_is_refused():
    live = copy.deepcopy(model())
    live.set_attn_implementation("paged|t2fast")
    with pytest.raises(T2Error, match=r"serves generate_batch \(continuous batching\) only"):
        live(torch.tensor([[1, 2, 3]]))
    with pytest.raises(T2Error, match="knows no bias of positions"):
        door.attend(
            None, *torch.zeros(3, 1, 2, 4, 8), None, cu_seq_lens_k=torch.tensor([0, 4]), position_bias=torch.zeros(1)
        )
    for settings, message in (
        ({"use_cuda_graph": True}, "use_cuda_graph = True: paged|t2fast plans each step anew"),
        ({"default_compile_level": 1}, "default_compile_level = 1: paged|t2fast is not compiled"),
    ):
        with pytest.raises(T2Error, match=message.replace("|", r"\|")):
            generate("llama", "paged|t2fast", ids(), **settings)


@pytest.mark.usefixtures("memory")
def test_others_are_as_they_were():
    """The wrappers leave other implementations alone, and the sampler's own attention bears the same name."""
    plain = "sdpa" if FORKS else "paged|sdpa"
    same(generate("llama", plain, ids()), generate("llama", "paged|eager", ids()))
    samples = Sampler(model(), tokenizer()).sample([Prompt("a", TEXTS[0])], SamplingParams(temperature=0))
    [sample] = list(samples)
    tokens = list(sample.token_ids)[:12]
    assert tokens == generate("llama", "paged|t2fast", ids()[:1])[0][0][: len(tokens)]
