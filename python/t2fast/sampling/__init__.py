"""Drawing samples from a model: k for every prompt, kept in a file that survives a crash."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2fast.errors import MissingExtraError
from t2fast.sampling.endpoint import Endpoint, EndpointError
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.parquet import write_parquet
from t2fast.sampling.prompts import Prompt, read_prompts
from t2fast.sampling.sample_file import SampledFile, SamplingProgress, sample_to_file
from t2fast.sampling.samples import Sample, read_samples
from t2fast.sampling.score_file import ScoredFile, score_to_file
from t2fast.sampling.store import Store, StoreError
from t2fast.sampling.verify import Verdict, Verifier, judge, load_extractor, load_verifier, usual_extractor
from t2fast.sampling.workers import RayWorkers

if TYPE_CHECKING:
    from t2fast.sampling.engine.call import Stats
    from t2fast.sampling.engine.generate import GenerateSampler
    from t2fast.sampling.engine.sampler import Sampler
    from t2fast.sampling.engine.score import Score

__all__ = [
    "Endpoint",
    "EndpointError",
    "GenerateSampler",
    "Prompt",
    "RayWorkers",
    "Sample",
    "SampledFile",
    "Sampler",
    "SamplingParams",
    "SamplingProgress",
    "Score",
    "ScoredFile",
    "Stats",
    "Store",
    "StoreError",
    "Verdict",
    "Verifier",
    "judge",
    "load_extractor",
    "load_verifier",
    "read_prompts",
    "read_samples",
    "sample_to_file",
    "score_to_file",
    "usual_extractor",
    "write_parquet",
]

#: Names whose modules need torch: loaded on first use.
_LAZY = {
    "GenerateSampler": "engine.generate",
    "Sampler": "engine.sampler",
    "Score": "engine.score",
    "Stats": "engine.call",
}


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
