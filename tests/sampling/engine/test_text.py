"""Prompts as they were meant, answers tokenized where they stand, tokenizers of several kinds."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.tiny import CORPUS, model, tokenizer, transformers

from t2fast.errors import T2Error
from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.sampling.engine.text import Tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
PARTS = (
    "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text }}|{% endfor %}{% endif %}{% endfor %}"
)
TOOLS = "{% for t in tools %}<{{ t.function.name }}>{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<s>"]


def made(template=CHATML, bos=None):
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers

    one = Backend(models.BPE())
    one.pre_tokenizer, one.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    one.train_from_iterator(CORPUS * 20, trainer)
    if bos:
        one.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, one.token_to_id(bos))]
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=one, eos_token="<|endoftext|>", bos_token=bos, chat_template=template
    )


def shown(tokenizer, prompt, **params):
    ids = Tokenizer(tokenizer, 320).encode([prompt], SamplingParams(**params))[0]
    return tokenizer.decode(ids.tolist())


def user(content, **more):
    return Prompt("x", messages=[{"role": "user", "content": content}], **more)


def test_a_first_token_is_not_doubled():
    one = made(bos="<s>")
    assert shown(one, Prompt("x", "The answer")) == "<s>The answer"
    assert shown(one, Prompt("x", "<s>The answer")) == "<s>The answer"
    assert shown(one, Prompt("x", "<s>The answer"), add_special_tokens=True) == "<s><s>The answer"
    assert shown(one, Prompt("x", "The answer"), add_special_tokens=False) == "The answer"
    # Another special token at the start is not the one that the tokenizer adds.
    assert shown(one, Prompt("x", "<|im_start|>user")) == "<s><|im_start|>user"
    # One prompt's own wish, among others.
    prompts = [Prompt("x", "The"), Prompt("y", "The", overrides={"add_special_tokens": False}), Prompt("z", "<s>The")]
    assert [one.decode(ids) for ids in Tokenizer(one, 320).encode(prompts)] == ["<s>The", "The", "<s>The"]


def test_content_parts():
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]
    assert shown(made(), user(parts)) == "<|im_start|>user\nhello\nthere<|im_end|>\n<|im_start|>assistant\n"
    assert shown(made(PARTS), user(parts)) == "[user]hello|there|"
    assert shown(made(PARTS), user("hello")) == "[user]hello"
    with pytest.raises(T2Error, match="content part of type 'image_url': t2fast reads text parts only"):
        user([{"type": "image_url", "image_url": {"url": "x"}}])


def test_arguments_of_the_template():
    thinking = {"enable_thinking": False}
    assert shown(made(), user("hi", chat_template_kwargs=thinking)).endswith("assistant\n<think>\n\n</think>\n\n")
    tools = [{"type": "function", "function": {"name": "add"}}]
    assert shown(made(TOOLS), user("hi", tools=tools)) == "<add>hi"
    with pytest.raises(T2Error, match="chat_template_kwargs cannot set tokenize"):
        shown(made(), user("hi", chat_template_kwargs={"tokenize": False}))


def test_a_last_turn_of_the_assistant():
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "Hello, I"}]
    assert shown(made(), Prompt("x", messages=turns)).endswith("assistant\nHello, I")
    new = Prompt("x", messages=turns, continue_final_message=False)
    assert shown(made(), new).endswith("Hello, I<|im_end|>\n<|im_start|>assistant\n")


def test_tokenizers_that_are_not_transformers_own():
    """What counts is that apply_chat_template works, not how."""

    class Own:
        """As mistral-common's in transformers: its template is code."""

        def __init__(self, answer):
            self.answer = answer

        def __call__(self, text, **_):
            return {"input_ids": [ord(c) for c in text]}

        def decode(self, ids, **_):
            return "".join(map(chr, ids))

        def apply_chat_template(self, messages, **_):
            return self.answer(messages[0]["content"])

    for answer in (lambda t: [1, *map(ord, t)], lambda t: "\x01" + t, lambda t: {"input_ids": [[1, *map(ord, t)]]}):
        assert Tokenizer(Own(answer), 320).encode([user("hi")])[0].tolist() == [1, 104, 105]
    assert len(Tokenizer(Own(None), 320).fingerprint()) == 16


def test_what_tokenizers_refuse():
    plain = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer)
    with pytest.raises(T2Error, match="prompt 'x': the chat template refuses it: .*no chat template"):
        shown(plain, user("hi"))
    with pytest.raises(T2Error, match="holds half of a character"):
        Prompt("x", "a\ud800")


def metaspace():
    """Like SentencePiece: a blank is put before a text."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, trainers

    one = Backend(models.BPE(unk_token="<unk>", byte_fallback=True))
    one.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    one.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    one.train_from_iterator(CORPUS * 20, trainer)
    template = "{% for m in messages %}<s>{{ m.content }}\n{% endfor %}"
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=one, eos_token="</s>", unk_token="<unk>", chat_template=template
    )


@pytest.mark.parametrize(
    ("prompt", "answer", "both"),
    [
        (Prompt("x", "The ans"), "wer", "The answer"),
        (Prompt("x", "The answer is"), " 42", "The answer is 42"),
        (Prompt("x", "Question"), ": what", "Question: what"),
        (user("Q"), "42", "<s>Q\n42"),
        (user("Q"), " 42", "<s>Q\n 42"),
        (Prompt("x", token_ids=[300, 301]), "東京", None),
    ],
)
@pytest.mark.parametrize("kind", [metaspace, made])
def test_prompt_and_answer_decode_to_their_texts(kind, prompt, answer, both):
    tokens = kind()
    ours = Tokenizer(tokens, len(tokens))
    asked = ours.encode([prompt])[0]
    found = tokens.decode(asked.tolist() + ours.continuation(prompt, asked, answer).tolist())
    assert found == (tokens.decode(asked.tolist()) + answer)
    if kind is metaspace and both is not None:
        assert found == both


def test_scores_of_answers_that_begin_no_text():
    tokens = metaspace()
    live = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, vocab_size=len(tokens)
    ))  # fmt: skip
    [score] = Sampler(live, tokens).score([Prompt("x", "The ans", answer="wer")])
    assert score.text == "wer"
    assert score.nll > 0
    assert score.to_dict()["n_answer_tokens"] == score.n_answer_tokens


def test_special_tokens_as_stop_texts():
    one = made()
    end = one.convert_tokens_to_ids("<|im_end|>")
    sampler = Sampler(model(), one)
    sampler.eos = ()
    params = SamplingParams(k=20, max_new_tokens=30, logit_bias={end: 2.0})

    def drawn(**changes):
        found = {s.sample: s for s in sampler.sample([Prompt("x", "The answer")], params.override(changes))}
        return [found[j] for j in range(20)]

    free, by_text, by_token = drawn(), drawn(stop="<|im_end|>"), drawn(stop_token_ids=[end])
    assert sum(end in s.token_ids for s in free) > 5
    assert by_text == by_token
    assert sum(s.finish_reason == "stop" for s in by_text) == sum(end in s.token_ids for s in free)
    # They are hidden in texts unless asked for, and verifiers see what the text shows.
    kept = drawn(skip_special_tokens=False)
    for a, b in zip(free, kept, strict=True):
        assert a.token_ids == b.token_ids
        visible = b.text
        for special in SPECIAL:
            visible = visible.replace(special, "")
        # Bytes of one character with a special token between them make a character only where that is hidden.
        assert [c for c in visible if c.isascii()] == [c for c in a.text if c.isascii()]
        assert ("<|im_end|>" in b.text) == (end in b.token_ids)
    # A stop text with a special token and more.
    more = [s for s in drawn(stop=["<|im_end|>e", "<|im_end|> "]) if s.finish_reason == "stop"]
    for s in more:
        assert end in s.token_ids[:-1]
        assert "<|im_end|>" not in s.text


@pytest.mark.parametrize("ids", [[0, 151645], -1, "tensor", None])
def test_end_tokens_outside_the_vocabulary_are_none(ids):
    import copy

    import torch

    live = transformers.LlamaForCausalLM(copy.deepcopy(model().config))
    live.generation_config.eos_token_id = torch.tensor([0, 5]) if ids == "tensor" else ids
    assert Sampler(live, tokenizer()).eos == ((0, 5) if ids == "tensor" else (0,))


def test_a_tokenizer_whose_added_tokens_are_a_method():
    """As that of mistral-common has them: a method that only raises."""

    class Own:
        all_special_tokens = ("<eos>",)

        def added_tokens_decoder(self):
            raise NotImplementedError

        def __getattr__(self, name):
            return getattr(tokenizer(), name)

        def __call__(self, *arguments, **keywords):
            return tokenizer()(*arguments, **keywords)

    one, known = Tokenizer(Own(), 320), Tokenizer(tokenizer(), 320)
    prompt = Prompt("a", "def add(a, b):")
    assert one.encode([prompt])[0].tolist() == known.encode([prompt])[0].tolist()
    assert one.special_token("<eos>") == 0


@pytest.mark.filterwarnings("ignore")
def test_the_tokenizer_of_mistral_common(tmp_path):
    common = pytest.importorskip("mistral_common")
    found = sorted(Path(common.__file__).parent.glob("data/tekken*.json"))
    if not found:
        pytest.skip("mistral-common came without a tokenizer")
    (tmp_path / "tekken.json").write_bytes(found[0].read_bytes())
    real = transformers.MistralCommonBackend.from_pretrained(tmp_path)
    one = Tokenizer(real, len(real))
    chat = Prompt("a", messages=({"role": "user", "content": "Hello"},))
    assert one.encode([chat])[0].tolist() == real.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=True, return_dict=False)  # fmt: skip
    ids = one.encode([Prompt("b", "Hello 東京 🙂")])[0]
    assert ids[0] == real.bos_token_id
    assert one.decode(ids[:1], ids[1:]) == "Hello 東京 🙂"
