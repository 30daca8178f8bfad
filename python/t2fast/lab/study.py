"""A whole study: prepare, train and measure the grid, plan, hold the duel, judge, write the page."""

from __future__ import annotations

import os
from pathlib import Path

from t2fast import arguments
from t2fast.cluster import Cluster
from t2fast.datasets import Lab, lab_names, load_lab
from t2fast.lab.answers import ANSWERS, Answers, load_answers
from t2fast.lab.findings import Findings, find
from t2fast.lab.fits import advised, fit_laws, propose
from t2fast.lab.page import write_page
from t2fast.lab.preset import Preset, load_preset
from t2fast.results import Progress, Report

__all__ = ["judge_study", "run_study"]


def run_study(
    preset: str | Path,
    folder: str | Path,
    page_folder: str | Path,
    *,
    device: str | None = None,
    workers: int | None = None,
    cluster: Cluster | None = None,
    progress: Report | None = None,
) -> Findings:
    """Run a study, or go on with one.

    Parameters
    ----------
    preset
        A preset's name, or a JSON file.
    folder, page_folder
        Where the runs lie, and where the page with its figures goes.
    device
        ``"cpu"`` or ``"cuda"``; by default the GPU if there is one.
    workers
        Models trained side by side; by default one per core. Results do not depend on it.
    cluster
        Machines that train and measure, instead of this one; they must see ``folder`` under the same path, and have a
        GPU each where ``device`` is ``"cuda"``.
    progress
        Called with :class:`t2fast.results.Progress`: FLOP of training done and in all, of the grid and then of the
        duel; ``note`` is a line on what was finished or begins.

    Raises
    ------
    T2Error
        When the preset cannot work (before anything is trained), the folder holds another laboratory, or a run fails.

    Examples
    --------
    >>> found = run_study("tiny", "lab", "lab_report")  # doctest: +SKIP
    >>> found.claims[0].holds  # doctest: +SKIP
    True
    """
    import torch

    from t2fast.lab import jobs, suite

    chosen, place = load_preset(preset), Path(folder)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    workers = _cores() if workers is None else arguments.whole("workers", workers, least=1)
    hands = cluster or workers

    def say(note: str) -> None:
        if progress is not None:
            progress(Progress(0, 1, "FLOP", note))

    jobs.check(chosen, jobs.grid_jobs(chosen))
    say(f"making a text of {chosen.corpus_tokens} tokens and searching it for held-out problems")
    suite.prepare(chosen, place, workers, progress)
    suite.run_jobs(jobs.rate_jobs(chosen), place, device, hands, progress)
    rates = suite.tuned_rates(chosen, place)
    grid = jobs.grid_jobs(chosen, rates)
    suite.run_jobs(grid, place, device, hands, progress)
    tuned = jobs.lesson_jobs(chosen, grid)
    suite.run_jobs(tuned, place, device, hands, progress)
    lab = suite.table(chosen, place, [*grid, *tuned], device)
    say("fitting laws, planning")
    if chosen.verdict is not None:
        designs = advised(lab, chosen, _answers(place) if chosen.verdict.majority else None)
    else:
        planned, rival, _ = propose(fit_laws(lab), chosen)
        designs = {"planned": planned, "chinchilla": rival}
    contest = jobs.duel_jobs(chosen, designs, rates)
    say(f"duel: {'; '.join(f'{stage} {design}' for stage, design in designs.items())}")
    suite.run_jobs([job for job in contest if job.base is None], place, device, hands, progress)
    suite.run_jobs([job for job in contest if job.base is not None], place, device, hands, progress)
    lab = suite.table(chosen, place, [*grid, *tuned, *contest], device)
    return _judge(lab, chosen, _answers(place), Path(page_folder), progress)


def judge_study(folder: str | Path | None, page_folder: str | Path, *, progress: Report | None = None) -> Findings:
    """Judge a stored table anew and write its page: a folder's, or one that comes with t2fast by its name.

    Raises
    ------
    DataError
        When the folder holds no table.
    T2Error
        When the page cannot be written.
    """
    shipped = "tiny" if folder is None else str(folder)
    if shipped in lab_names() and not Path(shipped).is_dir():
        lab, answers = load_lab(shipped), load_answers(shipped)
    else:
        lab, answers = Lab.read(Path(shipped) / "table.json"), _answers(Path(shipped))
    return _judge(lab, Preset.from_dict(lab.manifest["preset"]), answers, Path(page_folder), progress)


def _answers(folder: Path) -> Answers | None:
    """The answers beside a table; older tables have none."""
    place = folder / ANSWERS
    return Answers.read(place) if place.is_file() else None


def _judge(lab: Lab, preset: Preset, answers: Answers | None, folder: Path, progress: Report | None) -> Findings:
    found = find(lab, preset, progress, answers=answers)
    write_page(found, folder)
    return found


def _cores() -> int:
    """Cores that this process may use; where the system does not say, all of them."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
