"""The sampler as its users meet it, on small random models."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tests.support.tiny import model, tokenizer, torch, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.schedule import Job, Schedule
from t2fast.sampling.engine.tree import build_tree

HEADER = "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. "
PROMPTS = [
    Prompt("one", HEADER + "Question: what is 3 + 4? Answer:"),
    Prompt("two", HEADER + "Question: what is 12 * 3? Answer:"),
    Prompt("three", HEADER),
    Prompt("four", "def add(a, b):"),
    Prompt("five", "Q"),
    Prompt("six", "def add(a, b):"),
]
PARAMS = SamplingParams(k=5, max_new_tokens=24, logprobs=True)


def sampler(family="llama", **options):
    return Sampler(model(family), tokenizer(), **options)


def drawn(one, prompts=PROMPTS, params=PARAMS, **options):
    samples = list(one.sample(prompts, params, **options))
    found = {(s.prompt_id, s.sample): s for s in samples}
    assert len(found) == len(samples)
    return found


def tokens(found):
    return {key: sample.token_ids for key, sample in found.items()}


@pytest.fixture(scope="module")
def reference():
    return drawn(sampler(), seed=7)


def test_every_sample_is_drawn(reference):
    assert set(reference) == {(p.id, j) for p in PROMPTS for j in range(5)}
    # A random model is unsure enough that no two of its samples are alike, those of the prompt asked twice included.
    assert len(set(tokens(reference).values())) == 30
    for sample in reference.values():
        assert len(sample.token_ids) == len(sample.logprobs) <= 24
        assert (sample.finish_reason == "stop") == (sample.token_ids[-1] == 0)
        assert "<eos>" not in sample.text


@pytest.mark.parametrize(
    "options",
    [
        {"max_batch": 1},
        {"max_batch": 7},
        {"page_size": 1},
        {"page_size": 64, "max_batch": 4},
        {"prefill_tokens": 9},
        {"max_batch": 6, "pages": 24},  # too few: samples are paused
    ],
)
def test_samples_do_not_depend_on_the_batch(reference, options):
    pages = options.pop("pages", None)
    if pages:
        options["kv_memory"] = pages * sampler().shape.page_bytes(2)
        options["page_size"] = 2
        one = sampler(**options)
        # The long prompts would not fit at all.
        found = drawn(one, PROMPTS[3:], seed=7)
        assert one.stats.preemptions > 0
        assert tokens(found) == {key: value for key, value in tokens(reference).items() if key in found}
    else:
        assert tokens(drawn(sampler(**options), seed=7)) == tokens(reference)


@pytest.mark.parametrize("pages", [None, 24])
def test_steps_ahead_of_the_host_change_nothing(pages):
    """As on a GPU: a step is launched before what the last one drew is known."""
    params = SamplingParams(k=5, max_new_tokens=24, stop=("e", "\n"), repetition_penalty=1.2)
    expected = drawn(sampler(), PROMPTS[3:], params, seed=7)
    one = sampler(max_batch=6, page_size=2)
    one.config = replace(one.config, ahead=1)
    if pages:
        one.config = replace(one.config, kv_memory=pages * one.shape.page_bytes(2))
    assert drawn(one, PROMPTS[3:], params, seed=7) == expected
    assert (one.stats.preemptions > 0) == bool(pages)


def test_samples_do_not_depend_on_order_company_or_resume(reference):
    one = sampler()
    assert tokens(drawn(one, PROMPTS[::-1], seed=7)) == tokens(reference)
    assert tokens(drawn(one, PROMPTS[1:2], seed=7)) == {k: v for k, v in tokens(reference).items() if k[0] == "two"}
    half = {"one": {0, 1, 2, 3, 4}, "two": {1, 3}, "four": [4, 9]}
    rest = drawn(one, seed=7, skip=lambda name: half.get(name, ()))
    assert set(rest) == {key for key in reference if key[1] not in half.get(key[0], ())}
    assert all(rest[key].token_ids == reference[key].token_ids for key in rest)
    assert one.stats.total == one.stats.samples == len(rest)
    # Fewer or more samples of a prompt change none of the others.
    more = drawn(one, [Prompt("two", PROMPTS[1].text, overrides={"k": 9})], seed=7)
    assert all(more["two", j].token_ids == reference["two", j].token_ids for j in range(5))
    assert tokens(drawn(one, seed=8)) != tokens(reference)


def test_prefixes_are_computed_once(reference):
    one = sampler(max_batch=4)
    drawn(one, seed=7)
    ids = [tokenizer()(p.text)["input_ids"] for p in PROMPTS]
    shared = len(tokenizer()(HEADER)["input_ids"])
    # "six" repeats "four"; the headers of "one", "two" and "three" are one text.
    alone = sum(len(x) - 1 for x in ids)
    once = alone - (len(ids[5]) - 1)
    assert once - 2 * shared - 5 <= one.stats.prefilled <= once - 2 * (shared - 1) + 5
    assert one.stats.preemptions == 0
    assert one.stats.tokens == sum(len(t) for t in tokens(reference).values())


def test_greedy_samples_are_equal():
    found = drawn(sampler(), params=SamplingParams(k=3, temperature=0.0, max_new_tokens=12))
    for prompt in PROMPTS:
        assert len({found[prompt.id, j].token_ids for j in range(3)}) == 1


def test_logprobs_are_those_of_the_model():
    one = sampler("qwen3")
    found = drawn(one, params=SamplingParams(k=2, temperature=0.7, max_new_tokens=20, logprobs=True))
    for sample in found.values():
        prompt = next(p for p in PROMPTS if p.id == sample.prompt_id)
        ids = tokenizer()(prompt.text)["input_ids"]
        assert sample.n_prompt_tokens == len(ids)
        with torch.no_grad():
            logits = one.model(torch.tensor([ids + list(sample.token_ids)])).logits[0, len(ids) - 1 : -1]
        expected = (logits.double() / 0.7).log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        assert sample.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


# ------------------------------------------------------------------------------------------------ controls


def test_settings_of_a_prompt_hold_for_it_alone():
    changes = [
        {},
        {"temperature": 0.3, "top_k": 5},
        {"top_p": 0.5, "k": 2},
        {"min_p": 0.2, "max_new_tokens": 5},
        {"repetition_penalty": 1.7, "presence_penalty": 0.5},
        {"frequency_penalty": 2.0, "temperature": 0.0},
    ]
    prompts = [Prompt(p.id, p.text, overrides=change) for p, change in zip(PROMPTS, changes, strict=True)]
    one = sampler(max_batch=5)
    together = drawn(one, prompts, seed=2)
    for prompt in prompts:
        alone = drawn(one, [Prompt(prompt.id, prompt.text)], prompt.params(PARAMS), seed=2)
        assert tokens(alone) == {key: value for key, value in tokens(together).items() if key[0] == prompt.id}
    assert {j for name, j in together if name == "three"} == {0, 1}
    assert all(len(together["four", j].token_ids) <= 5 for j in range(5))


def test_top_k_of_one_is_greedy():
    one = sampler()
    params = SamplingParams(max_new_tokens=12, top_k=1)
    assert tokens(drawn(one, params=params)) == tokens(
        drawn(one, params=SamplingParams(max_new_tokens=12, temperature=0.0))
    )


@pytest.mark.parametrize("pages", [None, 20])
def test_penalties_are_those_of_transformers(pages):
    one = sampler(page_size=2)
    if pages:
        one.config = replace(one.config, kv_memory=pages * one.shape.page_bytes(2))
        one.max_batch = 3
    params = SamplingParams(temperature=0.0, repetition_penalty=1.4, max_new_tokens=20)
    one.eos = ()
    prompts = PROMPTS[3:]
    for (name, _), sample in drawn(one, prompts, params).items():
        ids = torch.tensor([tokenizer()(next(p for p in prompts if p.id == name).text)["input_ids"]])
        out = one.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, repetition_penalty=1.4, max_new_tokens=20,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert list(sample.token_ids) == out[0, ids.shape[1] :].tolist()
    assert (one.stats.preemptions > 0) == bool(pages)


@pytest.mark.parametrize("stop", ["e", "\n", " ", "he", "東", "\ufffd"])
def test_stop_strings_end_a_sample_where_they_appear(reference, stop):
    """However tokens cut them: a sample ends with the first token after which its text holds the string."""
    one = sampler()
    found = drawn(one, params=SamplingParams(k=5, max_new_tokens=24, stop=(stop, "never there")), seed=7)
    ended = 0
    for key, sample in found.items():
        full = reference[key].token_ids
        asked = tokenizer()(next(p for p in PROMPTS if p.id == key[0]).text)["input_ids"]
        head = tokenizer().decode(asked)

        def text(n, full=full, asked=asked, head=head):
            return tokenizer().decode(asked + list(full[:n]), skip_special_tokens=True)[len(head) :]

        first = next((n for n in range(1, len(full) + 1) if stop in text(n)), None)
        if first is None:
            assert sample.token_ids == full
            assert stop not in sample.text
        else:
            ended += 1
            assert sample.token_ids == full[:first]
            assert sample.text == text(first).partition(stop)[0]
            assert sample.finish_reason == "stop"
    assert ended or stop in ("東", "he")


def test_long_stop_strings_over_many_tokens(reference):
    full = reference["two", 0]
    stop = full.text[3:9]
    assert len(stop) == 6
    [sample] = sampler().sample(PROMPTS[1:2], SamplingParams(k=1, max_new_tokens=24, stop=(stop,)), seed=7)
    assert sample.text == full.text.partition(stop)[0]
    assert len(sample.token_ids) < len(full.token_ids)


def test_stop_tokens_and_lengths(reference):
    one = sampler()
    target = reference["four", 0].token_ids[2]
    found = drawn(one, params=SamplingParams(k=5, max_new_tokens=24, stop_token_ids=(target,)), seed=7)
    for key, sample in found.items():
        full = reference[key].token_ids
        cut = full[: full.index(target) + 1] if target in full else full
        assert sample.token_ids == cut
        if target in full:
            assert sample.finish_reason == "stop"
    assert found["four", 0].finish_reason == "stop"
    one.eos = ()
    prompt = Prompt("context", token_ids=tuple(range(4, 304)) + tuple(range(4, 204)))
    [sample] = one.sample([prompt], SamplingParams(max_new_tokens=50))
    assert (sample.finish_reason, len(sample.token_ids)) == ("context", 12)
    [sample] = one.sample([prompt], SamplingParams(max_new_tokens=12))
    assert sample.finish_reason == "length"


def test_chats_go_through_the_template():
    one = sampler()
    chat = Prompt("same", messages=({"role": "user", "content": "what is 3 + 4?"},))
    text = Prompt("same", "<|user|>what is 3 + 4?\n<|assistant|>")
    assert tokens(drawn(one, [chat])) == tokens(drawn(one, [text]))
    ids = tuple(tokenizer()(text.text)["input_ids"])
    assert tokens(drawn(one, [Prompt("same", token_ids=ids)])) == tokens(drawn(one, [text]))


def test_text_continues_the_prompt():
    """What a tokenizer does at the start of a text does not happen in the middle of it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {piece: i for i, piece in enumerate(["<eos>", "\u2581a", "\u2581b", "c"])}
    one = Tokenizer(models.WordLevel(vocab, unk_token="<eos>"))
    one.pre_tokenizer, one.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    words = transformers.PreTrainedTokenizerFast(tokenizer_object=one, eos_token="<eos>")
    assert words.decode([1, 2]) == "a b"
    sampled = Sampler(model(vocab_size=4), words).sample(
        [Prompt("x", token_ids=(1,))], SamplingParams(k=20, max_new_tokens=4)
    )
    pieces = {0: "", 1: " a", 2: " b", 3: "c"}
    for sample in sampled:
        assert sample.text == "".join(pieces[t] for t in sample.token_ids)


# ------------------------------------------------------------------------------------------------ verifiers


def lucky(_prompt, text):
    """Accepts about a third."""
    return sum(map(ord, text)) % 3 == 0


def test_verdicts(reference):
    found = drawn(sampler(), seed=7, verifier=lucky)
    assert tokens(found) == tokens(reference)
    assert all(s.correct == lucky(None, s.text) for s in found.values())
    scored = drawn(sampler(), seed=7, verifier=lambda _, text: len(text) / 100)
    assert all(s.score == len(s.text) / 100 for s in scored.values())

    def failing(_prompt, text):
        if "e" in text:
            raise RuntimeError("no idea")
        return True

    for sample in drawn(sampler(), seed=7, verifier=failing).values():
        assert (sample.verifier_error is not None) == ("e" in sample.text)


@pytest.mark.parametrize(("batch", "ahead"), [(1, 0), (3, 0), (64, 0), (3, 1)])
def test_a_prompt_ends_with_its_first_success(reference, batch, ahead):
    params = SamplingParams(k=5, max_new_tokens=24, logprobs=True, stop_on_success=True)
    one = sampler(max_batch=batch)
    one.config = replace(one.config, ahead=ahead)
    order = {}
    for sample in one.sample(PROMPTS, params, seed=7, verifier=lucky):
        order.setdefault(sample.prompt_id, []).append(sample)
    for prompt in PROMPTS:
        verdicts = [lucky(None, reference[prompt.id, j].text) for j in range(5)]
        n = verdicts.index(True) + 1 if True in verdicts else 5
        assert [s.sample for s in order[prompt.id]] == list(range(n))
        assert [s.token_ids for s in order[prompt.id]] == [reference[prompt.id, j].token_ids for j in range(n)]
    assert one.stats.total == one.stats.samples < 30
    if batch == 1:
        # One after the other, no time is spent on what nobody needs.
        assert one.stats.tokens == sum(len(s.token_ids) for some in order.values() for s in some)


def test_a_slow_verifier_does_not_hold_up_the_model():
    go, one = threading.Event(), sampler()
    steps = []

    def slow(_prompt, _text):
        return go.wait(30)

    def progress(stats):
        steps.append(stats.steps)
        if stats.tokens and len(one_asked := [s for s in steps if s]) > 20:
            del one_asked
            go.set()

    found = drawn(one, params=SamplingParams(k=5, max_new_tokens=24), verifier=slow, progress=progress)
    assert len(found) == 30
    assert all(s.correct for s in found.values())


def test_callbacks(reference):
    seen, streamed, one = [], {}, sampler()

    def on_tokens(prompt, sample, ids):
        assert ids[:-1] == streamed.get((prompt.id, sample), [])
        streamed[prompt.id, sample] = ids

    samples = list(one.sample(PROMPTS, PARAMS, seed=7, on_sample=seen.append, on_tokens=on_tokens))
    assert seen == samples
    assert {key: tuple(ids) for key, ids in streamed.items()} == tokens(reference)


# ------------------------------------------------------------------------------------------------ the model


def test_a_live_model_is_left_as_it_was(reference):
    one = sampler()
    live = one.model
    live.train()
    live.model.layers[1].eval()
    before = [module.training for module in live.modules()]
    attention = live.config._attn_implementation
    weights = {name: value.clone() for name, value in live.state_dict().items()}

    def unchanged():
        assert [module.training for module in live.modules()] == before
        assert live.config._attn_implementation == attention
        assert torch.is_grad_enabled()

    try:
        for sample in one.sample(PROMPTS, PARAMS, seed=7):
            # In between as well.
            unchanged()
            assert sample.token_ids == reference[sample.prompt_id, sample.sample].token_ids
        next(iter(one.sample(PROMPTS, PARAMS)))
        unchanged()

        def wrong(*_):
            raise RuntimeError("stop it")

        with pytest.raises(RuntimeError, match="stop it"):
            list(one.sample(PROMPTS, PARAMS, on_tokens=wrong))
        unchanged()
        list(one.score([Prompt("x", "T", answer="h")]))
        unchanged()
    finally:
        live.eval()
    assert all(torch.equal(value, weights[name]) for name, value in live.state_dict().items())
    loss = live(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss
    loss.backward()
    assert all(p.grad is not None for p in live.parameters())
    live.zero_grad()


def test_weights_are_read_anew():
    live = transformers.LlamaForCausalLM(model().config)
    one = Sampler(live, tokenizer())
    first, identity = tokens(drawn(one)), one.identity()
    with torch.no_grad():
        live.lm_head.weight.mul_(-1)
    assert tokens(drawn(one)) != first
    changed = one.identity()
    assert {key for key in identity if identity[key] != changed[key]} == {"weights"}


def test_the_fingerprint_sees_where_values_are():
    live = transformers.LlamaForCausalLM(model().config)
    one = Sampler(live, tokenizer())
    before = one.identity()["weights"]
    with torch.no_grad():
        live.lm_head.weight[:2] = live.lm_head.weight[:2].flip(0).clone()
    swapped = one.identity()["weights"]
    assert swapped != before
    with torch.no_grad():
        live.lm_head.weight[:2] = live.lm_head.weight[:2].flip(0).clone()
    assert one.identity()["weights"] == before


def test_torch_compile(reference, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    found = drawn(sampler(graphs="compile", max_batch=8), PROMPTS[:4], seed=7)
    assert tokens(found) == {key: value for key, value in tokens(reference).items() if key in found}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types(dtype):
    live = transformers.LlamaForCausalLM(model().config).to(getattr(torch, dtype))
    live.load_state_dict(model().state_dict())
    one = Sampler(live, tokenizer())
    assert one.identity()["dtype"] == dtype
    found = drawn(one, params=SamplingParams(k=2, max_new_tokens=8, logprobs=True))
    for (name, _), sample in found.items():
        ids = tokenizer()(next(p for p in PROMPTS if p.id == name).text)["input_ids"]
        with torch.no_grad():
            logits = live(torch.tensor([ids + list(sample.token_ids)])).logits[0, len(ids) - 1 : -1]
        expected = logits.float().log_softmax(-1).gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]
        assert sample.logprobs == pytest.approx(expected.tolist(), abs=0.3 if dtype == "bfloat16" else 0.05)


# ------------------------------------------------------------------------------------------------ what cannot be


def test_bad_prompts():
    one = sampler()
    cases = [
        ([Prompt("x", "a"), Prompt("x", "b")], {}, "two prompts have the id 'x'"),
        ([Prompt("x", token_ids=(5,) * 512)], {}, "'x': has 512 tokens, and the model's context of 512"),
        ([Prompt("x", token_ids=(320,))], {}, "token 320 is not among the model's 320"),
        ([Prompt("x", "a", overrides={"stop_on_success": True})], {}, "needs a verifier"),
        ([Prompt("x", "a")], {"seed": 1 << 64}, "seed = 18446744073709551616"),
        ([Prompt("x", "a", overrides={"stop_token_ids": (999,)})], {}, "token 999"),
    ]
    for prompts, options, message in cases:
        with pytest.raises(T2Error, match=message):
            one.sample(prompts, PARAMS, **options)
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer, eos_token="<eos>")
    with pytest.raises(T2Error, match="no chat template"):
        Sampler(model(), plain).sample([Prompt("x", messages=({"role": "user", "content": "a"},))], PARAMS)
    assert list(one.sample([], PARAMS)) == []


def test_too_little_memory():
    one = sampler(kv_memory=2 * sampler().shape.page_bytes(16))
    with pytest.raises(T2Error, match="kv_memory: .* cannot hold the longest prompt"):
        one.sample(PROMPTS, PARAMS)


def test_broken_weights_are_noticed():
    live = transformers.LlamaForCausalLM(model().config)
    with torch.no_grad():
        live.lm_head.weight[5] = torch.nan
    with pytest.raises(T2Error, match="logits are not finite"):
        list(Sampler(live, tokenizer()).sample(PROMPTS, PARAMS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "max_batch = 0"),
        ({"page_size": 1.5}, "page_size = 1.5"),
        ({"graphs": "fast"}, "graphs = 'fast'"),
        ({"graphs": "cuda"}, "CUDA graphs need a GPU"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(T2Error, match=message):
        sampler(**options)


def test_models_that_do_not_fit():
    # A tokenizer may know more tokens than the model, while they do not occur.
    small = Sampler(model(vocab_size=300), tokenizer())
    assert len(list(small.sample([Prompt("x", token_ids=(1, 2))], SamplingParams(k=3, max_new_tokens=2)))) == 3
    with pytest.raises(T2Error, match="token 319 is not among the model's 300: do tokenizer and model belong"):
        small.sample([Prompt("x", token_ids=(319,))])
    small = transformers.MambaConfig(hidden_size=16, num_hidden_layers=1, vocab_size=320, state_size=4)
    with pytest.raises(T2Error, match="MambaForCausalLM does not take another attention function"):
        Sampler(transformers.MambaForCausalLM(small), tokenizer())


def test_bookkeeping_is_small():
    rng = np.random.default_rng(0)
    jobs = [Job(i, rng.integers(0, 1000, 200).astype(np.int32), 100, 64) for i in range(10_000)]
    tracemalloc.start()
    for job, leaf in zip(jobs, build_tree([job.tokens[:-1] for job in jobs], 32, 4), strict=True):
        job.leaf = leaf
    schedule = Schedule(jobs, n_pages=4000, page_size=16, slots=64, node_tables=256)
    begun = 0
    while True:
        _, rows = schedule.admit()
        begun += len(rows)
        for row in rows:
            schedule.finish(row)
        if not rows or begun > 100_000:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
