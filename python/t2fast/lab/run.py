"""A whole laboratory: prepare, train and measure the grid, plan, hold the duel, judge, report."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from t2fast.datasets import Lab, load_lab
from t2fast.lab import verdicts
from t2fast.lab.preset import Preset, load_preset
from t2fast.lab.report import write_report

__all__ = ["report", "run"]


def run(
    preset: str | Path,
    folder: str | Path,
    report_folder: str | Path,
    *,
    device: str | None = None,
    workers: int | None = None,
    progress: Callable[[float, float, str], None] | None = None,
) -> verdicts.Findings:
    """Run a laboratory, or go on with one.

    Parameters
    ----------
    preset
        A preset's name, or a JSON file.
    folder, report_folder
        Where the runs lie, and where the report goes.
    device
        ``"cpu"`` or ``"cuda"``; by default the GPU if there is one.
    workers
        Models trained side by side; by default one per core. Results do not depend on it.
    progress
        Called with (training FLOP done, FLOP in all, a line on what was finished or begins).

    Raises
    ------
    T2Error
        When the folder holds another laboratory, or a run fails.
    """
    import torch

    from t2fast.lab import suite

    chosen, place = load_preset(preset), Path(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    workers = workers or len(os.sched_getaffinity(0))
    say = progress or (lambda *_: None)
    grid = suite.grid_jobs(chosen)
    say(0, 1, f"text of {chosen.corpus_tokens} tokens, and the search for questions in it")
    suite.prepare(chosen, place, workers)
    suite.run_jobs(grid, place, device, workers, say)
    lab = suite.table(chosen, place, grid, device)
    say(0, 1, "fitting laws, planning")
    planned, rival, _ = verdicts.propose(verdicts.fit_laws(lab), chosen)
    contest = suite.duel_jobs(chosen, planned, rival)
    say(0, 1, f"duel: planned {planned}; Chinchilla-style {rival}")
    suite.run_jobs([job for job in contest if job.base is None], place, device, workers, say)
    suite.run_jobs([job for job in contest if job.base is not None], place, device, workers, say)
    lab = suite.table(chosen, place, [*grid, *contest], device)
    return _judge(lab, chosen, Path(report_folder), lambda line: say(1, 1, line))


def report(folder: str | Path | None, report_folder: str | Path) -> verdicts.Findings:
    """Judge a stored table anew and write its report; without a folder, the table that comes with t2fast."""
    lab = load_lab() if folder is None else Lab.read(Path(folder) / "table.json")
    return _judge(lab, Preset.from_dict(lab.manifest["preset"]), Path(report_folder), None)


def _judge(lab: Lab, preset: Preset, folder: Path, say: Callable[[str], None] | None) -> verdicts.Findings:
    found = verdicts.find(lab, preset, say)
    write_report(found, folder)
    return found
