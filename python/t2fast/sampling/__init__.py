"""Drawing samples from a model: k for every prompt, kept in a file that survives a crash."""

from __future__ import annotations

from t2fast.sampling.request import Prompt, Sample, SamplingParams, read_prompts
from t2fast.sampling.run import Progress, Run, draw
from t2fast.sampling.store import Store, StoreError, read_samples, write_parquet
from t2fast.sampling.verify import Verdict, Verifier, judge, load_verifier
from t2fast.sampling.workers import RayWorkers

__all__ = [
    "Progress",
    "Prompt",
    "RayWorkers",
    "Run",
    "Sample",
    "SamplingParams",
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
]
