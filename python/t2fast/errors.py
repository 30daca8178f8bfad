"""The exceptions that t2fast raises: all derive from :class:`T2Error`, itself a :class:`ValueError`."""

from __future__ import annotations

from t2fast._core import InfeasibleError, T2Error

__all__ = ["DataError", "InfeasibleError", "LawError", "MissingExtraError", "T2Error"]


class LawError(T2Error):
    """A law's name, file or coefficients cannot be used."""


class DataError(T2Error):
    """A table or log cannot be read; the message names file and line, or the column."""


class MissingExtraError(T2Error, ImportError):
    """An optional dependency is needed and not installed; the message says what to install."""
