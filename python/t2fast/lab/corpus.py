"""The training text of a laboratory: one file of token numbers, its tokenizer, and the proof that nothing leaked into it.

Every run reads the text from its beginning and none reads it twice, so that D counts fresh tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from t2fast.lab.tasks import END, PAD, World

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["find_leaks", "make_tokenizer", "open_corpus", "write_corpus"]

Corpus = NDArray[np.uint16]

#: Texts made by one stream of random numbers: stream i makes the i-th part whoever asks, and whenever.
_PART = 1 << 16
#: Tokens looked at together in the search for leaks.
_CHUNK = 1 << 22
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def write_corpus(world: World, path: Path, n_tokens: int, progress: Callable[[int, int], None] | None = None) -> str:
    """Write ``n_tokens`` tokens of text, and give the file's SHA-256; the file appears whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    digest, done, part = hashlib.sha256(), 0, 0
    with unfinished.open("wb") as file:
        while done < n_tokens:
            random = np.random.Generator(np.random.Philox(key=[world.seed, 1 + part]))
            rows = world.text(random, _PART)
            # The end mark of each text is what the next begins with.
            rows = np.concatenate([np.zeros((len(rows), 1), rows.dtype), rows], axis=1)
            tokens = rows[rows != PAD].astype("<u2")[: n_tokens - done]
            data = tokens.tobytes()
            file.write(data)
            digest.update(data)
            done, part = done + len(tokens), part + 1
            if progress is not None:
                progress(done, n_tokens)
    unfinished.replace(path)
    return digest.hexdigest()


def open_corpus(path: Path) -> Corpus:
    """Map a corpus into memory."""
    return np.memmap(path, dtype="<u2", mode="r")


def find_leaks(corpus: Corpus, prompts: Iterable[NDArray[np.int64]]) -> list[int]:
    """Give the places of those prompts that occur anywhere in a corpus.

    Windows of each length are hashed all at once, and what has a prompt's hash is compared token by token.
    """
    wanted = list(prompts)
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(wanted):
        by_length.setdefault(len(prompt), []).append(place)
    longest = max(by_length)
    found = set()
    for start in range(0, len(corpus), _CHUNK):
        tokens = np.asarray(corpus[start : start + _CHUNK + longest - 1]).astype(np.uint64)
        windows = np.zeros(len(tokens), dtype=np.uint64)
        for length in range(1, longest + 1):
            windows = windows[: len(tokens) - length + 1] * _MULTIPLIER + tokens[length - 1 :]
            for place in by_length.get(length, ()):
                prompt = wanted[place].astype(np.uint64)
                value = np.uint64(0)
                with np.errstate(over="ignore"):
                    for token in prompt:
                        value = value * _MULTIPLIER + token
                for at in np.flatnonzero(windows == value).tolist():
                    if np.array_equal(tokens[at : at + length], prompt):
                        found.add(place)
                        break
    return sorted(found)


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Make the tokenizer of a world: one token per word; prompts begin with the end mark, as texts do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    number = {word: i for i, word in enumerate(world.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(number, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, clean_up_tokenization_spaces=False
    )
