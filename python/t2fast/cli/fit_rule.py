"""``t2fast fit --rule``: how one of k samples becomes the answer, from single samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import fitting
from t2fast.cli import options as o
from t2fast.data import read_trials
from t2fast.errors import T2Error

_PANEL = "Rules (--rule)"


class RuleName(StrEnum):
    """The rules that samples say something about."""

    verifier = "verifier"
    majority = "majority"
    best_of = "best-of"


class Fallback(StrEnum):
    """What becomes of a question whose samples are all rejected."""

    rejected = "rejected"
    abstain = "abstain"


class Missing(StrEnum):
    """What a trial without a verdict is."""

    error = "error"
    drop = "drop"
    fail = "fail"


def _option(flag: str, text: str, **more: Any) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_PANEL, **more)


#: Options that belong to rules alone, and the rules that look at them.
_OWN = {
    "--extract": ("majority",),
    "--rates": ("majority",),
    "--rising": ("verifier",),
    "--constant": ("verifier",),
    "--fallback": ("verifier",),
    "--verdict": ("verifier", "majority", "best-of"),
    "--missing": ("verifier", "majority", "best-of"),
    "--threshold": ("verifier", "majority", "best-of"),
    "--filter": ("verifier", "majority", "best-of"),
}


@dataclass(frozen=True)
class Wanted:
    """The rule asked for, and how its samples are read."""

    rule: str
    reading: dict[str, Any]
    extract: str | None
    settings: dict[str, Any]

    def fit(
        self, files: Sequence[Path], columns: dict[str, str], n_resamples: int | None, seed: int, level: float
    ) -> Any:
        """The fit of the rule to the samples of some files."""
        own = dict(self.settings, seed=seed, confidence_level=level)
        if n_resamples is not None:
            own["n_resamples"] = n_resamples
        reading = self.reading | {"columns": columns}
        if self.rule == "verifier":
            return fitting.fit_verifier(read_trials(files, ["cheap"], **reading), **own)
        if self.rule == "best-of":
            return fitting.fit_scores(read_trials(files, ["scores", "verdicts"], **reading), **own)
        from t2fast.sampling import load_extractor, usual_extractor

        name = self.extract or usual_extractor(files)
        extract = None if name is None else load_extractor(name)
        return fitting.fit_tail(read_trials(files, ["answers"], extract=extract, **reading), **own)


def wanted(
    rule: Annotated[
        RuleName | None,
        _option(
            "--rule",
            "Fit a rule instead of a law: verifier (from a cheap and a trusted verdict of each sample), majority (from "
            "answers) or best-of (from scores).",
        ),
    ] = None,
    extract: Annotated[
        str | None,
        _option("--extract", "How the answer is found in a text: numeric, math, choice, normalised, exact, regex:..."),
    ] = None,
    rates: Annotated[
        str | None, _option("--rates", "Success rates at which to fit the tail: 0.1,0.5,0.9; all for one tail.")
    ] = None,
    rising: Annotated[
        bool | None, _option("--rising/--constant", "Whether false positives rise with the success rate.")
    ] = None,
    fallback: Annotated[
        Fallback, _option("--fallback", "When no sample is accepted: a rejected one, or no answer.")
    ] = Fallback.rejected,
    verdict: Annotated[
        str | None, _option("--verdict", "The trusted verdict of a log: its metric, scorer or column.")
    ] = None,
    missing: Annotated[Missing, _option("--missing", "What a sample without a verdict is.")] = Missing.error,
    threshold: Annotated[float | None, _option("--threshold", "Least score that counts as correct.")] = None,
    log_filter: Annotated[str | None, _option("--filter", "Filter of lm-evaluation-harness to take.")] = None,
) -> Wanted | None:
    """The rule that the options ask for; None without --rule."""
    if rule is None:
        o.no_effect("it needs --rule", *_OWN)
        return None
    o.no_effect(f"--rule {rule.value} does not look at it", *(f for f, of in _OWN.items() if rule.value not in of))
    if rule is RuleName.best_of:
        o.no_effect("--rule best-of has no figure", "--plot")
    settings: dict[str, Any] = {}
    if rule is RuleName.verifier:
        settings = {"rising": rising, "fallback": fallback.value}
    if rates is not None:
        settings["rates"] = [] if rates == "all" else [o.number("--rates", part) for part in rates.split(",")]
    reading = {"metric": verdict, "missing": missing.value, "threshold": threshold, "filter": log_filter}
    return Wanted(rule.value, reading, extract, settings)


def pairs(column: list[str] | None) -> dict[str, str]:
    """Roles and names of columns."""
    found = [item.partition("=") for item in column or ()]
    for name, equals, value in found:
        if not (name and equals and value):
            raise T2Error(f"--column {name}: write --column ROLE=NAME, for example cheap=base_passed")
    return {name.strip(): value for name, _, value in found}
