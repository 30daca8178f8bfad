"""Loading models from files that cannot run code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from t2fast.errors import T2Error

__all__ = ["load"]


def load(
    path: str | Path, *, dtype: torch.dtype | str | None, device: torch.device, trust_remote_code: bool
) -> tuple[Any, Any]:
    """Load model and tokenizer; see :meth:`t2fast.sampling.Sampler.from_pretrained`."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = Path(path)
    if folder.is_dir():
        _check_files(folder)
    elif folder.exists() or str(path).startswith((".", "/", "~")):
        raise T2Error(f"{path}: no such folder with a model")
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise T2Error(f"dtype = {dtype!r}: must be a number type such as bfloat16, float16, float32")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype or "auto",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError, SafetensorError, RuntimeError) as error:
        raise T2Error(f"{path}: cannot be loaded: {' '.join(str(error).split())}") from None
    model, found = loaded
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in found[what])
        if names:
            kind = what.removesuffix("_keys")
            raise T2Error(
                f"{path}: {len(names)} weights are {kind}, such as {names[0]}: the files are not this model's"
            )
    return model.to(device), tokenizer


def _check_files(folder: Path) -> None:
    """See that the weights are there, whole, and safetensors."""
    if not (folder / "config.json").is_file():
        raise T2Error(f"{folder}: holds no config.json: not a model of transformers")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise T2Error(f"{index}: is damaged: {error}") from None
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise T2Error(f"{folder}: {len(missing)} of {len(names)} weight files are missing, such as {missing[0]}")
    else:
        names = sorted(file.name for file in folder.glob("*.safetensors"))
        if not names:
            other = sorted(
                file.name for pattern in ("*.bin", "*.pt", "*.pth", "*.gguf") for file in folder.glob(pattern)
            )
            there = f"; {other[0]} can run code when it is loaded: convert it" if other else ""
            raise T2Error(f"{folder}: holds no safetensors{there}")
    for name in names:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise T2Error(f"{folder / name}: is incomplete or damaged: {error}") from None
