"""What models are made of: named ones, those of a configuration file, and families as a function of N."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

from t2fast import _core
from t2fast.arguments import number, shown
from t2fast.errors import T2Error
from t2fast.files import is_file, read_object
from t2fast.quantity import format_quantity, parse_quantity
from t2fast.text import near

__all__ = ["Architecture", "Family", "architectures", "families", "load_architecture", "load_family"]


@dataclass(frozen=True)
class Architecture:
    """A transformer as its costs see it.

    Parameters
    ----------
    n_params
        All parameters.
    layers, d_model, heads, kv_heads, head_dim, vocab
        Its shape; ``kv_heads`` below ``heads`` are grouped heads.
    tied
        Whether one matrix serves as input embedding and as output.
    experts, experts_per_token, active_params
        Of a mixture: experts in each layer, those a token passes through, and all parameters that work on a token,
        embeddings included.
    window, windowed
        Tokens of a sliding window, and the share of layers that have one.
    name
        What it is called.

    Raises
    ------
    T2Error
        For numbers out of range or in contradiction.

    Examples
    --------
    >>> Architecture(8.03e9, 32, 4096, 32, 8, 128, 128256, name="8B").multiplying_params
    7504663424.0
    """

    n_params: float
    layers: float
    d_model: float
    heads: float
    kv_heads: float
    head_dim: float
    vocab: float
    tied: bool = False
    experts: float | None = None
    experts_per_token: float | None = None
    active_params: float | None = None
    window: float = 0.0
    windowed: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        mixture = (self.experts, self.experts_per_token, self.active_params)
        if any(part is None for part in mixture) and any(part is not None for part in mixture):
            raise T2Error(
                f"{self.name or 'architecture'}: a mixture of experts needs experts, experts_per_token and "
                "active_params together"
            )
        for item in fields(self):
            value = getattr(self, item.name)
            optional = value is None and item.default is None
            if item.name not in ("name", "tied") and not optional:
                number(item.name, value)
        _ = self._handle  # checks the numbers

    @cached_property
    def _handle(self) -> _core.Shape:
        mixture = None
        if self.experts is not None and self.experts_per_token is not None and self.active_params is not None:
            mixture = (self.experts, self.experts_per_token, self.active_params)
        return _core.Shape(
            self.n_params,
            self.layers,
            self.d_model,
            self.heads * self.head_dim,
            self.kv_heads * self.head_dim,
            self.vocab,
            self.tied,
            mixture,
            self.windowed,
            self.window,
        )

    @property
    def multiplying_params(self) -> float:
        """Parameters that are matrices to multiply by: all but an input embedding of its own, which is a look-up."""
        return self._handle.multiplying

    def kv_bytes(self, bytes_per_number: float) -> float:
        """Bytes of keys and values that one token of context leaves."""
        return self._handle.kv_bytes(bytes_per_number)

    def to_dict(self) -> dict[str, Any]:
        """The shape as JSON data, as :func:`load_architecture` reads it."""
        return {name: value for name, value in asdict(self).items() if value is not None and value != ""}

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __str__(self) -> str:
        """Size, layers, width and heads on one line."""
        size = format_quantity(self.n_params)
        parts = [f"{self.layers:.4g} layers of {self.d_model:.4g}"]
        if self.kv_heads < self.heads:
            parts.append(f"{self.heads / self.kv_heads:.3g} query heads to each KV head")
        if self.experts is not None and self.active_params is not None:
            parts.append(f"{self.experts:g} experts, {format_quantity(self.active_params)} active")
        said = f"{self.name}: " if self.name and self.name != size else ""
        return f"{said}{size} parameters, {', '.join(parts)}"


@dataclass(frozen=True)
class Family:
    """Shapes as a function of N: ``layers = depth d^slope`` and ``N = block layers d^2 + embeddings``.

    Parameters
    ----------
    depth, slope
        How layers follow from the width d.
    block
        Parameters of a layer over d^2.
    vocab
        Entries of the vocabulary; 0 leaves embeddings out.
    tied
        Whether one matrix serves as input embedding and as output.
    kv_group
        Query heads for each KV head; 1 for ordinary attention.
    name
        What it is called.

    Examples
    --------
    >>> Family(depth=1 / 128, slope=1.0, block=12.0, vocab=0).architecture(1e9).multiplying_params
    1000000000.0
    """

    depth: float
    slope: float
    block: float
    vocab: float
    tied: bool = False
    kv_group: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        for name in ("depth", "slope", "block", "vocab", "kv_group"):
            number(name, getattr(self, name))
        _ = self._handle

    @cached_property
    def _handle(self) -> _core.Family:
        return _core.Family(self.depth, self.slope, self.block, self.vocab, self.tied, self.kv_group)

    def architecture(self, n_params: float) -> Architecture:
        """The shape at N parameters; layers and widths are real numbers, heads have a dimension of 64.

        Examples
        --------
        >>> round(load_family("pythia").architecture(6.9e9).d_model)
        4078
        """
        shape = self._handle.shape(number("n_params", n_params, low=0, low_open=True))
        return Architecture(
            n_params=float(n_params),
            layers=shape.layers,
            d_model=shape.d_model,
            heads=shape.d_model / 64,
            kv_heads=shape.kv_width / 64,
            head_dim=64.0,
            vocab=self.vocab,
            tied=self.tied,
            name=f"{self.name} {format_quantity(n_params)}".strip(),
        )

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}


@functools.cache
def _read(file: str, part: str) -> dict[str, dict[str, Any]]:
    data = json.loads((resources.files("t2fast.costs") / file).read_text(encoding="utf-8"))
    # What each entry says of its source is for those who read the file.
    return {name: {key: value for key, value in one.items() if key != "source"} for name, one in data[part].items()}


def architectures() -> dict[str, Architecture]:
    """The models that come with t2fast, by name.

    Examples
    --------
    >>> architectures()["pythia-70m"].layers
    6
    """
    return {name: Architecture(**data, name=name) for name, data in _read("models.json", "models").items()}


def families() -> dict[str, Family]:
    """The families of shapes that come with t2fast, by name.

    Examples
    --------
    >>> list(families())
    ['pythia', 'llama', 'qwen', 'kaplan']
    """
    return {name: Family(**data, name=name) for name, data in _read("families.json", "families").items()}


def load_family(name: str | Family, kv_group: float | None = None) -> Family:
    """A family of shapes by name, on request with another number of query heads per KV head.

    Raises
    ------
    T2Error
        For an unknown name, or a group below 1.

    Examples
    --------
    >>> load_family("pythia", kv_group=8).kv_group
    8
    """
    if isinstance(name, Family):
        found = name
    else:
        known = _read("families.json", "families")
        if not isinstance(name, str) or name not in known:
            raise T2Error(f"family = {shown(name)}: {near(str(name), known)}")
        found = Family(**known[name], name=name)
    return found if kv_group is None else replace(found, kv_group=kv_group)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def load_architecture(
    model: Architecture | str | float | PathLike[str],
    family: str | Family = "llama",
    kv_group: float | None = None,
) -> Architecture:
    """A model's shape: by name, from a file, or a size in the shape of a family.

    Parameters
    ----------
    model
        A name of :func:`architectures` (case and punctuation do not matter); a JSON file with ``layers, d_model, heads,
        kv_heads, head_dim, vocab, n_params`` or a Hugging Face ``config.json``; or a size, ``"8B"`` or ``8e9``.
    family
        The family that gives a size its shape.
    kv_group
        Query heads for each KV head, instead of the family's.

    Raises
    ------
    T2Error
        For a name, file or size that is none.

    Examples
    --------
    >>> print(load_architecture("llama-3.1-8b"))
    llama-3.1-8b: 8.03B parameters, 32 layers of 4096, 4 query heads to each KV head
    >>> print(load_architecture("8B", family="pythia"))
    pythia 8B: 8B parameters, 33.64 layers of 4329
    """
    if isinstance(model, Architecture):
        return model
    if isinstance(model, int | float) and not isinstance(model, bool):
        return load_family(family, kv_group).architecture(model)
    if not isinstance(model, str | PathLike):
        raise T2Error(f"model = {shown(model)}: must be a size such as 8B, a name, or a JSON file")
    text = str(model)
    if text.endswith(".json") or is_file(text):
        return _from_file(Path(text))
    known = _read("models.json", "models")
    plain = {_plain(name): name for name in known}
    if _plain(text) in plain:
        name = plain[_plain(text)]
        return Architecture(**known[name], name=name)
    try:
        size = parse_quantity(text, "model")
    except T2Error:
        raise T2Error(
            f"model = {text!r}: no size such as 8B, no JSON file, and no known name: {near(text.lower(), known)}"
        ) from None
    return load_family(family, kv_group).architecture(size)


def _from_file(path: Path) -> Architecture:
    data = read_object(path)
    try:
        return _from_config(data) if "d_model" not in data or "layers" not in data else _from_fields(data)
    except T2Error as error:
        raise T2Error(f"{path}: {error}") from None


def _from_fields(data: Mapping[str, Any]) -> Architecture:
    names = [item.name for item in fields(Architecture)]
    known = {name: value for name, value in data.items() if name in names}
    missing = [name for name in names[:7] if name not in known and name not in ("kv_heads", "head_dim")]
    if missing:
        raise T2Error(f"{', '.join(missing)}: missing; an architecture needs {', '.join(names[:7])}")
    known.setdefault("kv_heads", known["heads"])
    if "head_dim" not in known:
        known["head_dim"] = number("d_model", known["d_model"]) / number("heads", known["heads"], low=0, low_open=True)
    return Architecture(**known)


def _from_config(config: Mapping[str, Any]) -> Architecture:
    """The shape in a Hugging Face configuration; parameters are counted from it unless it names them."""
    text = config.get("text_config", config)

    def find(*names: str, default: float | None = None) -> float:
        for name in names:
            if text.get(name) is not None:
                return number(name, text[name], low=0)
        if default is None:
            raise T2Error(
                f"{names[0]}: missing; neither an architecture (layers, d_model, heads, kv_heads, head_dim, vocab, "
                "n_params) nor a Hugging Face config.json"
            )
        return default

    d = find("hidden_size", "n_embd", "d_model")
    layers = find("num_hidden_layers", "n_layer", "num_layers")
    heads = find("num_attention_heads", "n_head", "num_heads")
    if heads == 0:
        raise T2Error("num_attention_heads = 0: must be at least 1")
    kv_heads = find("num_key_value_heads", "num_kv_heads", "n_head_kv", default=heads)
    head_dim = find("head_dim", default=d / heads)
    vocab = find("vocab_size")
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    experts = find("num_local_experts", "num_experts", "n_routed_experts", default=0)
    chosen = find("num_experts_per_tok", "experts_per_token", "moe_topk", default=0)
    inner = find("intermediate_size", "n_inner", "ffn_hidden_size", default=4 * d)
    if experts:
        inner = find("moe_intermediate_size", default=inner)
    # Gated feed-forward layers have three matrices: the activations that gate are the SiLU family in published models.
    matrices = 3 if "sil" in str(text.get("hidden_act", "")) or "swi" in str(text.get("hidden_act", "")) else 2
    attention = 2 * d * head_dim * (heads + kv_heads)
    one = matrices * d * inner
    shared = one * find("n_shared_experts", default=0) if experts else 0.0
    embeddings = vocab * d * (1 if tied else 2)
    counted = embeddings + layers * (attention + shared + one * max(experts, 1.0))
    active = embeddings + layers * (attention + shared + one * chosen)
    window = find("sliding_window", default=0)
    kinds = text.get("layer_types")
    if isinstance(kinds, list) and kinds:
        windowed = sum("sliding" in str(kind) for kind in kinds) / len(kinds)
    else:
        windowed = 1.0 if window and text.get("use_sliding_window", True) else 0.0
    name = str(config.get("_name_or_path") or config.get("model_type") or "")
    return Architecture(
        n_params=find("n_params", default=counted),
        layers=layers,
        d_model=d,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=vocab,
        tied=tied,
        experts=experts or None,
        experts_per_token=chosen if experts else None,
        active_params=active if experts else None,
        window=window if windowed else 0.0,
        windowed=windowed if math.isfinite(windowed) else 0.0,
        name=name,
    )
