"""Decoding many samples that share a prefix, and exact fused sampling: operators for PyTorch."""

from t2fast_kernels.append_kv import append_kv
from t2fast_kernels.attention import prefix_decode
from t2fast_kernels.buffers import DecodeBuffers
from t2fast_kernels.copy_pages import copy_pages
from t2fast_kernels.costs import CostModel
from t2fast_kernels.errors import KernelError
from t2fast_kernels.merge_state import merge_state
from t2fast_kernels.plan import Plan, plan
from t2fast_kernels.plan_shared import plan_shared
from t2fast_kernels.rms_norm import rms_norm
from t2fast_kernels.sample import sample
from t2fast_kernels.silu_mul import silu_mul

__all__ = [
    "CostModel",
    "DecodeBuffers",
    "KernelError",
    "Plan",
    "append_kv",
    "copy_pages",
    "merge_state",
    "plan",
    "plan_shared",
    "prefix_decode",
    "rms_norm",
    "sample",
    "silu_mul",
]
__version__ = "0.2.0"
