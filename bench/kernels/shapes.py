"""What is measured: decode steps over shared prefixes, and rows of logits to sample from."""

from __future__ import annotations

from dataclasses import dataclass


def _numbers(text: str, names: str) -> list[int]:
    """Positive whole numbers between slashes."""
    parts, wanted = text.split("/"), names.split("/")
    if len(parts) != len(wanted) or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r}: expected positive whole numbers {names}")
    return [int(part) for part in parts]


@dataclass(frozen=True, slots=True)
class Heads:
    """Query heads, KV heads and their size."""

    query: int
    kv: int
    dim: int

    @classmethod
    def parse(cls, text: str) -> Heads:
        """From ``32/8/128``."""
        heads = cls(*_numbers(text, "QUERY/KV/DIM"))
        if heads.query % heads.kv:
            raise ValueError(f"{text!r}: {heads.query} query heads are no multiple of {heads.kv} KV heads")
        return heads

    @property
    def group(self) -> int:
        """Query heads per KV head."""
        return self.query // self.kv

    def __str__(self) -> str:
        return f"{self.query}/{self.kv}/{self.dim}"


LLAMA_8B = Heads(32, 8, 128)
QWEN_0_6B = Heads(16, 8, 128)


@dataclass(frozen=True, slots=True)
class Shape:
    """One decode step of one layer: each of ``prompts`` prefixes is shared by ``samples`` rows with suffixes of their own."""

    prompts: int
    samples: int
    prefix: int
    suffix: int
    heads: Heads = LLAMA_8B

    @classmethod
    def parse(cls, text: str, heads: Heads = LLAMA_8B) -> Shape:
        """From ``1/128/8192/256``."""
        prompts, samples, prefix, suffix = _numbers(text, "PROMPTS/SAMPLES/PREFIX/SUFFIX")
        return cls(prompts, samples, prefix, suffix, heads)

    @property
    def rows(self) -> int:
        """Sequences decoded at once."""
        return self.prompts * self.samples

    def __str__(self) -> str:
        return f"{self.prompts}/{self.samples}/{self.prefix}/{self.suffix}"


@dataclass(frozen=True, slots=True)
class Logits:
    """Rows of normally distributed fp32 logits; a standard deviation of 4 is as peaked as a language model's."""

    rows: int
    vocab: int
    top_p: float | None = None
    spread: float = 4.0

    @classmethod
    def parse(cls, text: str, top_p: float | None) -> Logits:
        """From ``128/131072``."""
        rows, vocab = _numbers(text, "ROWS/VOCAB")
        return cls(rows, vocab, top_p)

    def __str__(self) -> str:
        return f"{self.rows}/{self.vocab}"


SHAPES = [
    Shape(1, 16, 512, 32),
    Shape(1, 16, 2048, 256),
    Shape(1, 128, 2048, 256),
    Shape(1, 128, 8192, 256),
    Shape(1, 128, 32768, 256),
    Shape(1, 1024, 2048, 256),
    Shape(8, 16, 8192, 256),
    Shape(64, 16, 2048, 256),
    Shape(1, 128, 8192, 256, QWEN_0_6B),
    Shape(1, 2, 16, 1),  # next to no work: what launching takes
]
# The last two are the hard case for methods that search for the nucleus: at temperature 1 of so flat a distribution, half
# the vocabulary is in it.
LOGITS = [
    *(Logits(rows, vocab, p) for p in (None, 0.9) for vocab in (32000, 131072, 151936) for rows in (1, 16, 128, 512)),
    *(Logits(rows, 131072, 0.9, spread=1.0) for rows in (16, 128)),
]

# For --device cpu: the reference operators, seconds in all.
SMALL = Heads(8, 2, 64)
CPU_SHAPES = [Shape(1, 8, 256, 32, SMALL), Shape(1, 32, 512, 32, SMALL), Shape(4, 4, 128, 16, SMALL)]
CPU_LOGITS = [Logits(rows, 32000, p) for p in (None, 0.9) for rows in (1, 16)]
