"""Decoding many samples that share a prefix, and exact fused sampling: operators for PyTorch."""

from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.costs import CostModel
from t2fast_kernels.errors import KernelError
from t2fast_kernels.plan import DecodeBuffers, Plan, plan

__all__ = ["CostModel", "DecodeBuffers", "KernelError", "Plan", "plan", "prefix_decode"]
