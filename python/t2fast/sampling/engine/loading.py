"""Loading models from files that cannot run code."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from t2fast.errors import MissingExtraError, T2Error
from t2fast.files import is_file, read_object

__all__ = ["load"]


def load(
    path: str | Path, *, dtype: torch.dtype | str | None, device: torch.device, trust_remote_code: bool
) -> tuple[Any, Any]:
    """Load model and tokenizer; see :meth:`t2fast.sampling.Sampler.from_pretrained`."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = Path(path)
    if is_file(folder / "adapter_config.json") and not is_file(folder / "config.json"):
        return _adapted(folder, dtype, device, trust_remote_code)
    if os.path.isdir(folder):
        _check_files(folder)
    elif os.path.exists(folder) or str(path).startswith((".", "/", "~")):
        raise T2Error(f"{path}: no such folder with a model")
    if isinstance(dtype, str) and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise T2Error(f"dtype = {dtype!r}: must be a number type such as bfloat16, float16, float32")
    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        _plain(config)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            config=config,
            dtype=dtype or "auto",
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except Exception as error:  # a folder of others can make transformers raise anything
        raise T2Error(f"{path}: cannot be loaded: {_said(error)}") from error
    model, found = loaded
    for what in ("missing_keys", "mismatched_keys"):
        names = sorted(str(name) for name in found[what])
        if names:
            kind = what.removesuffix("_keys")
            raise T2Error(
                f"{path}: {len(names)} weights are {kind}, such as {names[0]}: the files are not this model's"
            )
    return model.to(device), tokenizer


def _adapted(
    folder: Path, dtype: torch.dtype | str | None, device: torch.device, trust_remote_code: bool
) -> tuple[Any, Any]:
    """A base model with an adapter of PEFT merged into its weights."""
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError:
        raise MissingExtraError(f"{folder}: is an adapter of PEFT, which needs it: pip install peft") from None
    base = read_object(folder / "adapter_config.json").get("base_model_name_or_path")
    if not (isinstance(base, str) and base):
        raise T2Error(
            f"{folder}: is an adapter of PEFT that does not name its base model; merge the two (merge_and_unload) and "
            "give the folder of the result"
        )
    if not (folder / "adapter_model.safetensors").is_file():
        raise T2Error(f"{folder}: holds no adapter_model.safetensors; other weights can run code when they are loaded")
    model, tokenizer = load(base, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
    try:
        adapted = peft.PeftModel.from_pretrained(model, folder)
        if not hasattr(adapted, "merge_and_unload"):
            raise T2Error(
                f"{folder}: adds tokens rather than weights (prompt tuning, for one), which t2fast cannot run"
            )
        merged = adapted.merge_and_unload()
    except T2Error:
        raise
    except Exception as error:  # whatever PEFT raises
        raise T2Error(f"{folder}: cannot be merged into {base}: {_said(error)}") from error
    if (folder / "tokenizer_config.json").is_file():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    return merged, tokenizer


def _plain(config: Any) -> None:
    """Let a configuration, and those inside it, name no implementation that transformers would fetch as a kernel.

    What is left is what transformers chooses by itself; attention is ours in the end.
    """
    for name in ("_attn_implementation_internal", "_experts_implementation_internal"):
        if getattr(config, name, None) not in (None, "eager", "sdpa"):
            setattr(config, name, None)
    for value in list(vars(config).values()):
        if hasattr(value, "_attn_implementation_internal"):
            _plain(value)


def _said(error: Exception) -> str:
    """What others' code raised, as one line of ours."""
    text = " ".join(str(error).split())
    if "ignore_mismatched_sizes" in text:  # transformers has only logged which weights these are
        return "its weights have other shapes than its config.json says"
    return text if isinstance(error, (OSError, ValueError, RuntimeError)) else f"{type(error).__name__}: {text}"


def _check_files(folder: Path) -> None:
    """See that the weights are there, whole, and safetensors, and that the settings beside them are possible."""
    if not is_file(folder / "config.json"):
        raise T2Error(f"{folder}: holds no config.json: not a model of transformers")
    settings = {
        name: read_object(folder / name)
        for name in ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
        if (folder / name).is_file()
    }
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        mapped = read_object(index).get("weight_map")
        if not isinstance(mapped, dict) or not all(isinstance(name, str) for name in mapped.values()):
            raise T2Error(f"{index}: is damaged: weight_map must be an object of file names")
        names = sorted(set(mapped.values()))
        for name in names:
            if Path(name).name != name:
                raise T2Error(f"{index}: names {name!r}, which is not a file of this folder")
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
    n_tensors = 0
    for name in names:
        try:
            with safe_open(folder / name, framework="pt") as weights:
                n_tensors += len(list(weights.keys()))
        except (SafetensorError, OSError) as error:
            raise T2Error(f"{folder / name}: is incomplete or damaged: {error}") from None
    _check_counts(folder / "config.json", settings["config.json"], n_tensors)


def _check_counts(file: Path, config: dict[str, Any], n_tensors: int) -> None:
    """Refuse counts that the weights cannot bear out before transformers builds as many of them."""
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    # Every layer has a tensor; nobody's head has more labels than a vocabulary has words.
    for name, most, why in (
        ("num_hidden_layers", n_tensors, f"the weights hold only {n_tensors} tensors"),
        ("n_layer", n_tensors, f"the weights hold only {n_tensors} tensors"),
        ("num_labels", 1 << 20, "more labels than any model has"),
    ):
        for part in parts:
            count = part.get(name)
            if isinstance(count, int) and count > most:
                raise T2Error(f"{file}: {name} = {count}: {why}")
