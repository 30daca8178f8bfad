"""OpenCompass: ``results/MODEL/DATASET.json`` with details of each example; ``predictions`` hold no verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from t2fast.data.streams import stem
from t2fast.data.tally import BadLineError, Tally
from t2fast.errors import DataError
from t2fast.files import real

__all__ = ["claims", "claims_predictions", "read", "refuse_predictions"]

#: What OpenCompass itself takes for the verdict, in this order (``BaseEvaluator.evaluate``).
_VERDICTS = ("correct", "is_correct", "cascade_correct")


def claims(document: Mapping[str, Any]) -> bool:
    """Whether a document holds results with details."""
    details = document.get("details")
    found = list(details.values()) if isinstance(details, dict) else details
    return isinstance(found, list) and bool(found) and any(isinstance(one, dict) for one in found)


def read(document: Mapping[str, Any], tally: Tally) -> None:
    """Count examples: one verdict, or a list of them where the dataset was run n times."""
    tally.formats["OpenCompass"] = None
    details = document["details"]
    # Files are called results/MODEL/DATASET.json.
    path = real(tally.file)
    model = path.parent.name if path.parent.parent.name == "results" else None
    benchmark = stem(path) if model else None
    items = list(details.items() if isinstance(details, dict) else enumerate(details))
    seen = 0
    for place, detail in items:
        tally.place = f"example {place}"
        if not isinstance(detail, dict):
            continue
        verdict = next((name for name in _VERDICTS if detail.get(name) is not None), None)
        if verdict is None:
            continue
        seen += 1
        key = tally.key(model, benchmark, detail.get("example_abbr", place))
        given = detail[verdict]
        trials = given if isinstance(given, list) else [given]
        if not trials:
            tally.no_trials(key)
        for trial in trials:
            try:
                tally.trial(key, trial)
            except BadLineError as error:
                tally.bad(error)
    examples = sum(isinstance(detail, dict) for _, detail in items)
    if seen < examples:
        tally.place = ""
        raise DataError(
            f"{examples - seen} of {examples} examples of OpenCompass have none of {', '.join(_VERDICTS)}: its "
            "evaluator gives no verdict for each example"
        )


def claims_predictions(document: Mapping[str, Any]) -> bool:
    """Whether a document is a file of ``predictions``."""
    return bool(document) and all(
        isinstance(one, dict) and "prediction" in one and "origin_prompt" in one for one in document.values()
    )


def refuse_predictions(document: Mapping[str, Any], tally: Tally) -> None:  # noqa: ARG001
    """Say where the verdicts are."""
    raise DataError(
        "holds predictions of OpenCompass without verdicts: give the file of the same name under results/, made "
        "with --dump-eval-details"
    )
