"""The training text of a laboratory: one file of token numbers, its tokenizer, and the search for leaked problems.

Every run reads the text from its beginning and none reads it twice, so that D counts fresh tokens.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from t2fast.lab.questions import END, PAD, Tasks
from t2fast.results import Progress, Report

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["find_leaks", "make_tokenizer", "open_corpus", "write_corpus"]

Corpus = NDArray[np.uint16]

#: Texts made by one stream of random numbers: stream i makes the i-th part whoever asks, and whenever.
_PART = 1 << 16
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def write_corpus(
    world: Tasks, path: Path, n_tokens: int, workers: int = 1, progress: Report | None = None
) -> tuple[str, list[int]]:
    """Write ``n_tokens`` tokens of text; the file appears whole or not at all.

    Returns
    -------
    The file's SHA-256, and the numbers of the held-out problems that occur in it: none, or the world is at fault.
    """
    unfinished = path.with_name(path.name + ".new")
    digest, done, leaks = hashlib.sha256(), 0, set[int]()
    with unfinished.open("wb") as file, ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        part = 0
        while done < n_tokens:
            for tokens, found in pool.map(_write_part, [world] * workers, range(part, part + workers)):
                data = tokens[: n_tokens - done].tobytes()
                file.write(data)
                digest.update(data)
                leaks.update(found)
                done += len(data) // tokens.itemsize
            part += workers
            if progress is not None:
                progress(Progress(done, n_tokens, "tokens"))
    unfinished.replace(path)
    return digest.hexdigest(), sorted(leaks)


def _write_part(world: Tasks, part: int) -> tuple[Corpus, list[int]]:
    """One part of the text, and the held-out problems in it."""
    rows = world.text(np.random.Generator(np.random.Philox(key=[world.seed, 1 + part])), _PART)
    # The end mark of each text is what the next begins with; no prompt holds one, so none lies in two parts.
    rows = np.concatenate([np.zeros((len(rows), 1), rows.dtype), rows], axis=1)
    tokens = rows[rows != PAD].astype("<u2")
    return tokens, find_leaks(tokens, world.prompts())


def open_corpus(path: Path) -> Corpus:
    """Map a corpus into memory."""
    return np.memmap(path, dtype="<u2", mode="r")


def find_leaks(tokens: Corpus, prompts: Sequence[NDArray[np.int32]]) -> list[int]:
    """Give the places of those prompts that occur anywhere in a text.

    Windows of each length are hashed all at once, and what has a prompt's hash is compared token by token.
    """
    by_length: dict[int, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(place)
    text = tokens.astype(np.uint64)
    windows, found = np.zeros(len(text), dtype=np.uint64), []
    for length in range(1, max(by_length) + 1):
        windows = windows[: len(text) - length + 1] * _MULTIPLIER + text[length - 1 :]
        for place in by_length.get(length, ()):
            value = np.zeros(1, dtype=np.uint64)
            for token in prompts[place].astype(np.uint64):
                value = value * _MULTIPLIER + token
            at = np.flatnonzero(windows == value)
            if any(np.array_equal(tokens[i : i + length], prompts[place]) for i in at.tolist()):
                found.append(place)
    return sorted(found)


def make_tokenizer(world: Tasks) -> PreTrainedTokenizerFast:
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
