"""The manifest: what a file of samples depends on, written beside it, and what may not change when it is continued."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from t2fast.arguments import number
from t2fast.files import real

__all__ = ["SCHEMA", "changes", "described_model", "manifest_path", "versions"]

SCHEMA = "t2fast-samples/1"
#: Distributions whose versions a manifest names.
_VERSIONS = ("t2fast", "t2fast-kernels", "torch", "transformers")
#: Parts of a manifest that may differ when a run goes on: they don't touch the samples.
_FREE = ("prompts.file", "begun")
#: Settings added since the first version, and what files without them were made with.
_ADDED: dict[str, Any] = {
    "params.min_new_tokens": 0,
    "params.skip_special_tokens": True,
    "params.ignore_eos": False,
    "params.add_special_tokens": None,
    "params.allowed_token_ids": None,
    "params.bad_words": [],
    "params.bad_token_ids": [],
    "params.top_logprobs": 0,
    "params.prompt_logprobs": False,
    "params.max_thinking_tokens": None,
    "params.thinking_end": "</think>",
}


def manifest_path(path: str | Path) -> Path:
    """Where a file's manifest is: ``samples.jsonl.manifest.json``.

    Examples
    --------
    >>> manifest_path("samples.jsonl").name
    'samples.jsonl.manifest.json'
    """
    return Path(f"{path}.manifest.json")


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two manifests and forbids to continue, one line each; ``params.k`` may grow.

    Examples
    --------
    >>> changes({"params": {"temperature": 0.8}}, {"params": {"temperature": 0.9}})
    ['params.temperature changed from 0.8 to 0.9']
    """
    # Through JSON, so that a tuple equals the list that it became.
    before, after = dict(_flat(json.loads(json.dumps(old)))), dict(_flat(json.loads(json.dumps(new))))
    before = {name: value for name, value in _ADDED.items() if name in after} | before
    return [
        f"{name} changed from {json.dumps(before.get(name))} to {json.dumps(after.get(name))}"
        for name in dict.fromkeys([*before, *after])
        if name not in _FREE
        and before.get(name) != after.get(name)
        and not (name == "params.k" and after.get(name, 0) > before.get(name, 0))
    ]


def versions() -> dict[str, str]:
    """The versions of what draws samples, for the manifest."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def described_model(
    identity: Mapping[str, Any], name: str | None, n_params: float | None, n_tokens: float | None
) -> dict[str, Any]:
    """A model's identity with what tables of several models tell them apart by.

    Raises
    ------
    T2Error
        When a size is not positive.
    """
    for label, value in (("n_params", n_params), ("n_tokens", n_tokens)):
        if value is not None:
            number(label, value, low=0, low_open=True, high=math.inf)
    own = str(identity.get("name", ""))
    # A folder's place is not the model's name.
    own = real(own).name if os.path.isdir(own) else own
    sizes = {"n_params": n_params or identity.get("n_params"), "n_tokens": n_tokens}
    return {**identity, "name": name or own, **sizes}
