"""Decoding many samples that share a prefix, and exact fused sampling: operators for PyTorch."""

from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.copy_pages import copy_pages
from t2fast_kernels.costs import CostModel
from t2fast_kernels.errors import KernelError
from t2fast_kernels.merge_states import merge_states
from t2fast_kernels.plan import DecodeBuffers, Plan, plan
from t2fast_kernels.sample import sample

__all__ = [
    "CostModel",
    "DecodeBuffers",
    "KernelError",
    "Plan",
    "append_kv",
    "copy_pages",
    "merge_states",
    "plan",
    "prefix_decode",
    "sample",
]
