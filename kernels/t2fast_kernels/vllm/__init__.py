"""vLLM plug-in: decode attention that reads what samples share once. ``vllm serve ... --attention-backend CUSTOM``."""

from __future__ import annotations

import logging
import os

__all__ = ["register"]

#: Set to 1, it replaces vLLM's attention on the CPU, whose platform knows no CUSTOM backend.
CPU = "T2FAST_VLLM_CPU"


def register() -> None:
    """Tell vLLM where the backends are; its entry point ``vllm.general_plugins`` calls this in every process.

    Examples
    --------
    >>> from t2fast_kernels.vllm import register
    >>> register()  # doctest: +SKIP
    """
    from vllm.v1.attention.backends.registry import AttentionBackendEnum, register_backend

    register_backend(AttentionBackendEnum.CUSTOM, "t2fast_kernels.vllm.gpu.SharedPrefixBackend")
    if os.environ.get(CPU) == "1":
        register_backend(AttentionBackendEnum.CPU_ATTN, "t2fast_kernels.vllm.cpu.SharedPrefixCPUBackend")
        # Below vLLM's own logger, which is the one that prints.
        logging.getLogger("vllm.plugins.t2fast").info("%s=1: attention on the CPU is SharedPrefixCPUBackend", CPU)
