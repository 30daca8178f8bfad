"""Drawing samples from a model: k for every prompt, kept in a file that survives a crash."""

from __future__ import annotations

from t2fast.sampling.request import Prompt, Sample, SamplingParams, read_prompts

__all__ = ["Prompt", "Sample", "SamplingParams", "read_prompts"]
