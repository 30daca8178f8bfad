"""An OpenAI-compatible server over the sampler: all clients share one batch and one tree of prefixes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2fast.errors import MissingExtraError
from t2fast.serve.limits import Limits

if TYPE_CHECKING:
    from t2fast.serve.app import Service
    from t2fast.serve.batch import prompt_id
    from t2fast.serve.run import serve

__all__ = ["Limits", "Service", "prompt_id", "serve"]

#: What the extra brings.
_EXTRA = ("starlette", "uvicorn", "torch", "transformers", "safetensors", "t2fast_kernels", "tokenizers")
_PLACES = {"Service": "app", "prompt_id": "batch", "serve": "run"}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        raise MissingExtraError(f"serving needs {missing}: pip install 't2fast[serve]'") from None
