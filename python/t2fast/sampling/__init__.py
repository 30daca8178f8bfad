"""Drawing samples from a model: k for every prompt, kept in a file that survives a crash."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2fast.errors import MissingExtraError
from t2fast.sampling.likelihoods import Scores, write_scores
from t2fast.sampling.request import Prompt, Sample, SamplingParams, read_prompts
from t2fast.sampling.run import Progress, Run, draw
from t2fast.sampling.store import Store, StoreError, read_samples, write_parquet
from t2fast.sampling.verify import Verdict, Verifier, judge, load_verifier
from t2fast.sampling.workers import RayWorkers

if TYPE_CHECKING:
    from t2fast.sampling.engine import Sampler, Stats
    from t2fast.sampling.score import Score

__all__ = [
    "Progress",
    "Prompt",
    "RayWorkers",
    "Run",
    "Sample",
    "Sampler",
    "SamplingParams",
    "Score",
    "Scores",
    "Stats",
    "Store",
    "StoreError",
    "Verdict",
    "Verifier",
    "draw",
    "judge",
    "load_verifier",
    "read_prompts",
    "read_samples",
    "write_parquet",
    "write_scores",
]

#: Names whose modules need torch: loaded on first use.
_LAZY = {"Sampler": "engine", "Score": "score", "Stats": "engine"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("torch", "transformers", "safetensors", "t2fast_kernels", "tokenizers"):
            raise
        raise MissingExtraError(f"sampling needs {missing}: pip install 't2fast[sample]'") from None
