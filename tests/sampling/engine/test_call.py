"""A prompt can be cancelled while others go on."""

from __future__ import annotations

import threading

import pytest
from tests.support.tiny import model, tokenizer

from t2fast.sampling import Prompt, Sampler, SamplingParams, read_samples, sample_to_file

PROMPTS = [Prompt(name, "The quick brown fox jumps over the lazy dog. " * 2 + name) for name in ("a", "b", "c")]
PARAMS = SamplingParams(k=6, max_new_tokens=20, ignore_eos=True)


def tokens(samples):
    return {(s.prompt_id, s.sample): s.token_ids for s in samples}


def never(prompt, text):  # noqa: ARG001
    return False


@pytest.fixture(scope="module")
def whole():
    return tokens(Sampler(model(), tokenizer()).sample(PROMPTS, PARAMS))


@pytest.mark.parametrize("batch", [4, 18])
def test_cancelling_from_a_callback(whole, batch):
    one = Sampler(model(), tokenizer(), max_batch=batch, page_size=4)
    used = []

    def seen(prompt, _, ids):
        if prompt.id == "a" and len(ids) == 10 and not one.cancelled:
            assert one.cancel("a")
        used.append((one.stats.steps, one.stats.pages_used, one.stats.cancelled))

    found = tokens(one.sample(PROMPTS, PARAMS, on_tokens=seen))
    assert found == {key: value for key, value in whole.items() if key[0] != "a"}
    assert one.stats.cancelled == 6
    assert one.stats.samples == one.stats.total == 12
    assert set(one.cancelled) == {"a"}
    # Its pages are free before the next step.
    before = max(pages for step, pages, dropped in used if not dropped)
    after = next(pages for step, pages, dropped in used if dropped)
    assert after < before
    assert one.stats.pages_used == 0
    assert not one.cancel("b")  # nothing is under way


def test_cancelling_from_a_thread_and_what_is_finished(whole):
    one = Sampler(model(), tokenizer(), max_batch=2)
    found = []
    for sample in one.sample(PROMPTS, PARAMS):
        found.append(sample)
        if sample.prompt_id == "b":
            thread = threading.Thread(target=one.cancel, args=("b",))
            thread.start()
            thread.join()
    got = tokens(found)
    assert got == {key: whole[key] for key in got}
    n_b = sum(name == "b" for name, _ in got)
    assert 1 <= n_b <= 4
    assert len(got) == 12 + n_b == one.stats.total
    assert one.stats.cancelled == 6 - n_b


def test_cancelling_a_prompt_that_stops_at_its_first_success():
    one = Sampler(model(), tokenizer(), max_batch=4)
    params = PARAMS.override({"stop_on_success": True})
    found = []
    for sample in one.sample(PROMPTS, params, verifier=never):
        found.append(sample)
        if (sample.prompt_id, sample.sample) == ("a", 1):
            one.cancel("a")
    numbers = [s.sample for s in found if s.prompt_id == "a"]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 6
    assert one.stats.total == len(found) == 12 + len(numbers)


def test_a_file_says_what_was_cancelled_and_resumes(tmp_path, whole):
    one, out = Sampler(model(), tokenizer(), max_batch=2), tmp_path / "samples.jsonl"
    run = sample_to_file(one, PROMPTS, PARAMS, out, on_sample=lambda _: one.cancel("c"))
    assert "1 prompts were cancelled, such as 'c'" in run.summary().replace("\n  ", " ")
    assert run.n_samples < 18
    run = sample_to_file(one, PROMPTS, PARAMS, out, resume=True)
    assert run.warnings == ()
    assert tokens(read_samples(out)) == whole
