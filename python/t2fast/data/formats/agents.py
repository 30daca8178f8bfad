"""Benchmarks of agents: tau-bench, tau2-bench, SWE-bench."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from t2fast.data.streams import stem
from t2fast.data.tally import BadLineError, Tally
from t2fast.files import real

__all__ = [
    "claims_swe_bench",
    "claims_tau2",
    "claims_tau2_index",
    "read_swe_bench",
    "read_tau2",
    "read_tau2_index",
]


def claims_tau2(document: Mapping[str, Any]) -> bool:
    """Whether a document is a file of tau2-bench's simulations, or one simulation of a folder of them."""
    return isinstance(document.get("simulations"), list) or ("task_id" in document and "reward_info" in document)


def claims_tau2_index(document: Mapping[str, Any]) -> bool:
    """Whether a document is ``results.json`` of tau2-bench's folders, whose simulations are files of their own."""
    return isinstance(document.get("simulation_index"), list) and isinstance(document.get("info"), dict)


def read_tau2_index(document: Mapping[str, Any], tally: Tally) -> None:
    """Count the entries of the index: it repeats the reward of each file in ``simulations``."""
    tally.formats["tau2-bench"] = None
    for i, entry in enumerate(document["simulation_index"]):
        tally.place = f"simulation {i}"
        try:
            add_simulation(entry | {"reward_info": {"reward": entry.get("reward")}}, *_names(document), tally)
        except BadLineError as error:
            tally.bad(error)


def _names(document: Mapping[str, Any]) -> tuple[Any, Any]:
    """Model and domain."""
    info = document.get("info") or {}
    return (info.get("agent_info") or {}).get("llm"), (info.get("environment_info") or {}).get("domain_name")


def _metadata(path: Path) -> Mapping[str, Any]:
    """``results.json`` above the folder ``simulations`` that a simulation lies in."""
    try:
        found = json.loads((real(path).parent.parent / "results.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_tau2(document: Mapping[str, Any], tally: Tally) -> None:
    """Count simulations: ``reward_info.reward`` of each task and trial; one without it has no verdict."""
    tally.formats["tau2-bench"] = None
    if "simulations" not in document:
        add_simulation(document, *_names(_metadata(Path(tally.file))), tally)
        return
    model, benchmark = _names(document)
    for i, trial in enumerate(document["simulations"]):
        tally.place = f"simulation {i}"
        try:
            add_simulation(trial, model, benchmark, tally)
        except BadLineError as error:
            tally.bad(error)


def add_simulation(trial: Mapping[str, Any], model: Any, benchmark: Any, tally: Tally) -> None:
    """Count one simulation."""
    if "task_id" not in trial:
        raise BadLineError("a simulation without task_id")
    reward = (trial.get("reward_info") or {}).get("reward")
    key = tally.key(model, benchmark, trial["task_id"])
    number = trial.get("trial")
    identity = (number,) if number is not None else (trial.get("id"),)
    tally.trial(key, reward, identity, trial.get("id"))


def claims_swe_bench(document: Mapping[str, Any]) -> bool:
    """Whether a document is a report of SWE-bench's harness."""
    return isinstance(document.get("resolved_ids"), list) or (
        bool(document)
        and all(isinstance(one, dict) and isinstance(one.get("resolved"), bool) for one in document.values())
    )


def read_swe_bench(document: Mapping[str, Any], tally: Tally) -> None:
    """Count a report's instances, one trial each: resolved or not; those that ended in an error have no verdict."""
    tally.formats["SWE-bench"] = None
    # Reports are called MODEL.RUN.json, a slash in the model's name being two underscores.
    model, _, run = stem(Path(tally.file)).rpartition(".")
    name = model.replace("__", "/") or None
    if not isinstance(document.get("resolved_ids"), list):
        for instance, found in document.items():
            tally.trial(tally.key(None, None, instance), found["resolved"])
        return
    judged: dict[str, bool | None] = dict.fromkeys(document.get("error_ids") or ())
    for ids, verdict in (("unresolved_ids", False), ("empty_patch_ids", False), ("resolved_ids", True)):
        judged |= dict.fromkeys(document.get(ids) or (), verdict)
    for instance, found_verdict in judged.items():
        tally.place = f"instance {instance}"
        tally.trial(tally.key(name, None, instance), found_verdict, (run if model else None,))
