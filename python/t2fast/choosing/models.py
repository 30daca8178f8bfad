"""Counts of several models from their files, and their prices: what the question is asked of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from t2fast import arguments
from t2fast.choosing.prices import Price, PromptBilling, read_prices
from t2fast.data import Counts, read_counts
from t2fast.errors import DataError, T2Error

__all__ = ["model_of", "one_budget", "prices_of", "read_models"]


def read_models(files: Sequence[str | Path], *, common: bool = False, **reading: Any) -> Counts:
    r"""Read the counts of several models, a file or more for each.

    Parameters
    ----------
    files
        What :func:`t2fast.data.read_counts` reads. A model that its file does not name goes by the file's name.
    common
        Keep the problems that all models have, and warn of how many were left out; by default they must be the same.
    **reading
        Passed on to :func:`t2fast.data.read_counts`.

    Raises
    ------
    DataError
        For files that cannot be read, or two files with counts of one model on the same problems.

    Examples
    --------
    >>> from pathlib import Path
    >>> for name, correct in (("small", 3), ("large", 7)):
    ...     rows = f"problem_id,n,c\na,10,{correct}\nb,10,{correct - 2}\n"
    ...     _ = Path(f"{name}.csv").write_text(rows)
    >>> read_models(["small.csv", "large.csv"]).model
    ('small', 'small', 'large', 'large')
    """
    if not files:
        raise T2Error("files: name at least one")
    parts = []
    for file in files:
        one = read_counts([file], **reading)
        parts.append(dataclasses.replace(one, model=tuple(model_of(name, file) for name in one.model)))
    counts = parts[0] if len(parts) == 1 else _joined(parts)
    return _common(counts) if common else counts


def model_of(name: str, file: str | Path) -> str:
    """A model's name, or that of its file where the file names none."""
    return name or Path(file).name.split(".")[0]


def _joined(parts: Sequence[Counts]) -> Counts:
    """The rows of several counts."""
    seen: dict[tuple[str, str, str], str] = {}
    for part in parts:
        for key in zip(part.model, part.benchmark, part.problem_id, strict=True):
            if key in seen:
                raise DataError(
                    f"{', '.join(part.files)}: has problem {key[2]!r} of model {key[0]!r}, and so has {seen[key]}: "
                    "give each file once, or read the files of one model together"
                )
        seen |= dict.fromkeys(
            zip(part.model, part.benchmark, part.problem_id, strict=True), ", ".join(part.files) or "another"
        )

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if all(value is None for value in values):
            return None
        filled = [
            np.full(len(part.model), False if name == "stopped" else 0 if name == "n_duplicates" else np.nan)
            if value is None
            else value
            for part, value in zip(parts, values, strict=True)
        ]
        return np.concatenate(filled)

    def words(name: str) -> tuple[Any, ...]:
        return tuple(item for part in parts for item in getattr(part, name))

    sources, files = [], 0
    for part in parts:
        sources += [tuple(place + files for place in each) for each in part.sources]
        files += len(part.files)
    return Counts(
        words("model"), words("benchmark"), words("problem_id"), column("n_samples"), column("n_correct"),
        column("n_params"), column("n_tokens"), column("stopped"), column("n_duplicates"), words("files"),
        tuple(sources), words("formats"), sum(part.skipped for part in parts), words("warnings"),
    )  # fmt: skip


def _common(counts: Counts) -> Counts:
    """The problems that all models have."""
    keys = list(zip(counts.benchmark, counts.problem_id, strict=True))
    known: dict[str, set[tuple[str, str]]] = {}
    for model, key in zip(counts.model, keys, strict=True):
        known.setdefault(model, set()).add(key)
    shared = set.intersection(*known.values())
    keep = np.array([key in shared for key in keys], dtype=bool)
    if keep.all():
        return counts
    if not keep.any():
        raise DataError("the models have no problem in common: compare models on the same problems")
    at = np.flatnonzero(keep).tolist()
    changes: dict[str, Any] = {}
    for item in dataclasses.fields(counts):
        value = getattr(counts, item.name)
        if isinstance(value, np.ndarray):
            changes[item.name] = value[keep]
        elif isinstance(value, tuple) and len(value) == len(keep) and item.name not in ("files", "formats", "warnings"):
            changes[item.name] = tuple(value[place] for place in at)
    left_out = len(set(keys)) - len(shared)
    warning = f"{left_out} problems that not all models have were left out, {len(shared)} are compared"
    return dataclasses.replace(counts, **changes, warnings=(*counts.warnings, warning))


def prices_of(
    counts: Counts,
    path: str | Path | None = None,
    *,
    input_tokens: float | None = None,
    output_tokens: float | None = None,
    prompt_billed: PromptBilling = "per_sample",
    gpu: str | None = None,
    dollars_per_hour: float | None = None,
) -> dict[str, Price]:
    """The price of each model: from a price list, or from the parameters that the counts name, on a card or in FLOP.

    Parameters
    ----------
    counts
        From :func:`read_models`.
    path
        As :func:`read_prices` reads it.
    input_tokens, output_tokens, prompt_billed
        As in :func:`read_prices`; without a price list ``output_tokens`` is needed.
    gpu, dollars_per_hour
        A card that all models run on, as :func:`t2fast.costs.cost` knows it, and what an hour of it costs.

    Raises
    ------
    T2Error
        When nothing says what a model's samples cost.

    Examples
    --------
    >>> prices_of(Counts.of(10, [3, 5], model="m", n_params=1e9), output_tokens=100)
    {'m': Price(fixed=0.0, per_sample=200000000000.0, unit='flops')}
    """
    if path is not None:
        if gpu is not None:
            raise T2Error("prices and gpu: give one of them")
        return read_prices(path, input_tokens=input_tokens, output_tokens=output_tokens, prompt_billed=prompt_billed)
    if counts.n_params is None or not np.isfinite(counts.n_params).all():
        raise T2Error("prices: give a price list; without one the logs must name n_params")
    if output_tokens is None:
        raise T2Error("output_tokens: needed without a price list; give the tokens of a sample")
    sizes = dict(zip(counts.model, counts.n_params.tolist(), strict=True))
    if gpu is not None:
        prompt = "shared" if prompt_billed == "once" else "recomputed"
        return {
            model: Price.of_card(
                n, gpu=gpu, dollars_per_hour=dollars_per_hour, input_tokens=input_tokens or 0.0,
                output_tokens=output_tokens, prompt=prompt,
            )
            for model, n in sizes.items()
        }  # fmt: skip
    return {
        model: Price.of_flops(
            n, input_tokens=input_tokens or 0.0, output_tokens=output_tokens, prompt_billed=prompt_billed
        )
        for model, n in sizes.items()
    }


def one_budget(
    prices: Mapping[str, Price], *, dollars: float | None = None, flops: float | None = None
) -> float | None:
    """The budget in the unit of the prices, ``None`` where none was given.

    Raises
    ------
    T2Error
        For a budget in another unit, or two of them.

    Examples
    --------
    >>> one_budget({"m": Price(0, 1e-3)}, dollars=0.02)
    0.02
    """
    if dollars is not None and flops is not None:
        raise T2Error("dollars_per_question and flops_per_question: give one of them")
    unit = next(iter(prices.values())).unit
    if dollars is not None and unit != "dollars":
        raise T2Error("dollars_per_question: needs prices in dollars; these are counted in FLOP")
    if flops is not None and unit != "flops":
        raise T2Error("flops_per_question: the prices are in dollars; give dollars_per_question")
    given = flops if dollars is None else dollars
    return None if given is None else arguments.number(f"{unit}_per_question", given, low=0, low_open=True)
