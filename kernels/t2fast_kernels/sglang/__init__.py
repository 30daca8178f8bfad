"""SGLang plug-in: decode attention that reads what samples share once. ``--attention-backend t2fast``."""

from __future__ import annotations

from typing import Any

__all__ = ["NAME", "register"]

#: As users write it.
NAME = "t2fast"


def register() -> None:
    """Tell SGLang of the backend; its entry point ``sglang.srt.plugins`` calls this in every process.

    Examples
    --------
    >>> from t2fast_kernels.sglang import register
    >>> register()  # doctest: +SKIP
    """
    from sglang.srt.arg_groups.choices import ATTENTION_BACKEND_CHOICES, add_attention_backend_choices
    from sglang.srt.layers.attention.attention_registry import register_attention_backend

    if NAME not in ATTENTION_BACKEND_CHOICES:
        add_attention_backend_choices([NAME])

    @register_attention_backend(NAME)
    def create(runner: Any) -> Any:
        from t2fast_kernels.sglang.backend import SharedPrefixBackend

        return SharedPrefixBackend(runner)
