"""The exception that every operator raises before any launch."""

from __future__ import annotations

__all__ = ["KernelError"]


class KernelError(ValueError):
    """An argument cannot be used: the message names the argument, the value met and the remedy."""
