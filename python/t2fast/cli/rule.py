"""Options of the rule by which answers will be chosen, and how they become one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast.cli.options import number
from t2fast.errors import T2Error
from t2fast.rules import AnyCorrect, BestOf, Majority, Rule, Verifier, load_rule
from t2fast.text import near

_PANEL = "How one answer is chosen"

#: Rules by the words of the command line, each with the options that are its own.
_OWN = {
    "any-correct": (),
    "verifier": ("--false-positive", "--recall", "--slope", "--fallback"),
    "majority": ("--answers",),
    "best-of": ("--d-prime",),
}


def _number(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_PANEL, metavar="NUMBER")


def rule_or_votes(
    select: Annotated[
        str | None,
        typer.Option(
            "--select",
            help="any-correct (pass@k), verifier, majority or best-of.",
            rich_help_panel=_PANEL,
            metavar="RULE",
        ),
    ] = None,
    false_positive: Annotated[str | None, _number("--false-positive", "Share of wrong answers accepted.")] = None,
    recall: Annotated[str | None, _number("--recall", "Share of right answers accepted; 1 by default.")] = None,
    slope: Annotated[str | None, _number("--slope", "How false positives rise with the odds of p.")] = None,
    fallback: Annotated[
        str | None,
        typer.Option(
            "--fallback", help="If none is accepted: rejected or abstain.", rich_help_panel=_PANEL, metavar="WORD"
        ),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option("--answers", help="A rule's file, as fitted from answers.", rich_help_panel=_PANEL),
    ] = None,
    d_prime: Annotated[str | None, _number("--d-prime", "How far apart right and wrong answers score.")] = None,
    rule_file: Annotated[
        Path | None, typer.Option("--rule", help="A file of any rule.", rich_help_panel=_PANEL)
    ] = None,
    wrong_cost: Annotated[
        str | None, _number("--wrong-cost", "What a wrong answer costs, in right ones; silence is allowed then.")
    ] = None,
    stop_on_success: Annotated[
        bool,
        typer.Option(
            "--stop-on-success", help="Stop at the first accepted answer; pay for the mean.", rich_help_panel=_PANEL
        ),
    ] = False,
) -> dict[str, Any]:
    """``rule``, ``wrong_cost`` and ``stop_on_success``; a majority without --answers has no tail of wrong answers."""
    given = {
        "--false-positive": false_positive,
        "--recall": recall,
        "--slope": slope,
        "--fallback": fallback,
        "--answers": answers,
        "--d-prime": d_prime,
    }
    return {
        "rule": _rule(select, {flag: value for flag, value in given.items() if value is not None}, rule_file),
        "wrong_cost": number("--wrong-cost", wrong_cost) or 0.0,
        "stop_on_success": stop_on_success,
    }


@functools.wraps(rule_or_votes)
def rule(**given: Any) -> dict[str, Any]:
    """What ``plan`` and its relatives take, from the same options: votes need a tail, since no answers are at hand."""
    made = rule_or_votes(**given)
    if isinstance(made["rule"], Majority) and made["rule"].tail is None:
        for flag, file in (("--answers", given["answers"]), ("--rule", given["rule_file"])):
            if file is not None:
                raise T2Error(
                    f"{flag} {file}: holds no tail of wrong answers: fit one from answers "
                    "(t2fast fit SAMPLES --rule majority --out votes.json)"
                )
        raise T2Error(
            "--select majority needs --answers FILE, the tail of wrong answers as fitted: "
            "votes without answers say nothing"
        )
    return made


def _rule(select: str | None, given: dict[str, Any], file: Path | None) -> Rule | None:
    if file is not None:
        if select is not None or given:
            raise T2Error(f"--rule {file} says all of a rule: leave out {', '.join(['--select', *given])}")
        return load_rule(file)
    if select is None:
        if given:
            raise T2Error(f"{next(iter(given))} needs --select: one of {', '.join(_OWN)}")
        return None
    if select not in _OWN:
        raise T2Error(f"--select {select}: {near(select, _OWN)}")
    for flag in given:
        if flag not in _OWN[select]:
            allowed = ", ".join(_OWN[select]) or "no options"
            raise T2Error(f"{flag} is not of --select {select}, which takes {allowed}")
    if select == "verifier":
        if "--false-positive" not in given:
            raise T2Error("--select verifier needs --false-positive, for example --false-positive 0.01")
        numbers = {
            flag.removeprefix("--").replace("-", "_"): number(flag, text)
            for flag, text in given.items()
            if flag != "--fallback"
        }
        return Verifier(**numbers, fallback=given.get("--fallback", "rejected"))  # type: ignore[arg-type]
    if select == "best-of":
        if "--d-prime" not in given:
            raise T2Error("--select best-of needs --d-prime, for example --d-prime 1.2")
        return BestOf(number("--d-prime", given["--d-prime"]) or 0.0)
    if select == "majority":
        if "--answers" not in given:
            return Majority()
        found = load_rule(given["--answers"])
        if not isinstance(found, Majority):
            raise T2Error(f"--answers {given['--answers']}: holds a rule of kind {found.kind}, not a majority")
        return found
    return AnyCorrect()
