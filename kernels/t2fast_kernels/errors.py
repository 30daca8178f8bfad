"""The one exception that the operators raise for bad input, before anything is launched."""

from __future__ import annotations

__all__ = ["KernelError"]


class KernelError(ValueError):
    """An argument cannot be used; the message names it, the value met and the remedy."""
