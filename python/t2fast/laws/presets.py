"""Finding laws: those that come with t2fast, law files, and whichever of them a caller names."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Protocol, runtime_checkable

from t2fast.arguments import shown
from t2fast.errors import LawError
from t2fast.files import is_file, object_from, read_object
from t2fast.laws.law import Law
from t2fast.text import near

__all__ = ["DEFAULT_LAW", "Fitted", "as_law", "load_law", "presets"]

#: The preset that commands plan with when none is named.
DEFAULT_LAW = "pythia-gsm8k-average"


@runtime_checkable
class Fitted(Protocol):
    """A fit or its bootstrap (:mod:`t2fast.fitting`): what has a law with the draws that say how sure it is.

    Examples
    --------
    >>> from t2fast.fitting import FitResult
    >>> issubclass(FitResult, Fitted)  # so that t2fast.plan(fit, budget) plans with its law
    True
    """

    def law_with_draws(self) -> Law:
        """The law."""


@cache
def _names() -> tuple[str, ...]:
    """Names of the presets, which their files bear."""
    files = resources.files("t2fast").joinpath("presets").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


@cache
def _preset(name: str) -> Law:
    """One preset, read when it is first asked for: some carry many draws."""
    file = resources.files("t2fast").joinpath("presets", f"{name}.json")
    return _read(file.read_text(encoding="utf-8"), file.name)


def presets() -> dict[str, Law]:
    """The laws that come with t2fast, by name; each carries its source, its data's range and its warnings.

    The dict is the caller's own, and laws cannot be changed.

    Examples
    --------
    >>> presets()["hoffmann"].alpha
    0.33917084
    """
    laws = sorted(map(_preset, _names()), key=lambda law: (law.kind, law.name))
    return {law.name: law for law in laws}


def load_law(name: str | Path) -> Law:
    """Load a law by a preset's name or from a JSON file.

    Raises
    ------
    LawError
        When neither a preset nor a file has that name, or the file is malformed (the message names the key).

    Examples
    --------
    >>> load_law("pythia-gsm8k").kind
    't2-pass'
    """
    if isinstance(name, str) and name in _names():
        return _preset(name)
    path = Path(name)
    if is_file(path):
        return Law.from_dict(read_object(path, LawError), str(path))
    if path.suffix == ".json":
        raise LawError(f"{path}: no such file")
    raise LawError(f"law = {str(name)!r}: no preset of that name and no such file; {near(str(name), _names())}")


def as_law(law: Law | str | Path | Fitted) -> Law:
    """The law that a caller means: a law itself, a preset's name, the path of a law file, or what was fitted.

    Every function that takes a law calls this first.

    Raises
    ------
    LawError
        As :func:`load_law`; or when ``law`` is none of these.

    Examples
    --------
    >>> as_law("hoffmann") is load_law("hoffmann")
    True
    """
    if isinstance(law, Law):
        return law
    if isinstance(law, str | Path):
        return load_law(law)
    if isinstance(law, Fitted):
        return law.law_with_draws()
    raise LawError(f"law = {shown(law)}: must be a law, the name of a preset or the path of a law file")


def _read(text: str, origin: str) -> Law:
    return Law.from_dict(object_from(text, origin, LawError), origin)
