"""Running a laboratory: text, models side by side, samples; whatever is done stays done.

Everything lies in one folder. A run that has its ``result.json`` is not repeated, one that has a checkpoint goes on
from there; a folder made with another preset is refused.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import shutil
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from t2fast.cluster import Cluster
from t2fast.datasets import Checkpoint, Lab
from t2fast.errors import T2Error
from t2fast.lab import train
from t2fast.lab.answers import ANSWERS, VOTES, Answers
from t2fast.lab.corpus import make_tokenizer, open_corpus, write_corpus
from t2fast.lab.jobs import LabRun, rate_jobs, seed_of, world_of
from t2fast.lab.preset import Preset, load_preset
from t2fast.lab.questions import Problem, Tasks
from t2fast.lab.rates import Rates, best_rates
from t2fast.lab.train import count_params, finetune, load, pretrain
from t2fast.quantity import format_quantity
from t2fast.results import Progress, Report

__all__ = ["prepare", "run_jobs", "table", "tuned_rates"]

_TABLE = "table.json"
#: What fine-tuned models are asked.
_LESSON_PROBLEMS = "lesson_problems.jsonl"


def prepare(preset: Preset, folder: Path, workers: int = 1, progress: Report | None = None) -> None:
    """Make text, tokenizer and problems, and make sure that no problem occurs in the text.

    Raises
    ------
    T2Error
        When the folder holds another laboratory, and should a problem have leaked.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "preset.json"
    if place.is_file():
        before = load_preset(place).to_dict()
        different = [key for key, value in preset.to_dict().items() if before[key] != value]
        if different:
            raise T2Error(
                f"{folder}: holds a laboratory with another {', '.join(different)}: choose another folder (--out)"
            )
    elif any(folder.iterdir()):
        raise T2Error(f"{folder}: holds other files: choose a new or empty folder (--out)")
    else:
        _write_json(place, preset.to_dict())
    if (folder / "text.json").is_file():
        return
    world = world_of(preset)
    problems = world.problems()
    digest, leaks = write_corpus(world, folder / "text.bin", preset.corpus_tokens, workers, progress)
    if leaks:
        raise T2Error(f"{len(leaks)} held-out problems occur in the text, the first: {problems[leaks[0]].prompt!r}")
    make_tokenizer(world).save_pretrained(folder / "tokenizer")
    _write_problems(folder / "problems.jsonl", problems)
    if preset.lessons is not None:
        _write_problems(folder / _LESSON_PROBLEMS, [one for one in problems if one.family == preset.lessons.family])
    # Last: its presence says that all of the above is whole.
    _write_json(folder / "text.json", {"sha256": digest, "tokens": preset.corpus_tokens, "leaks": 0})


def _write_problems(path: Path, problems: Iterable[Problem]) -> None:
    lines = [
        {"id": one.id, "prompt": one.prompt, "answer": one.answer, "family": one.family, "grade": one.grade}
        for one in problems
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _problems(folder: Path) -> Path:
    """The file of the problems; older laboratories call it otherwise."""
    old = folder / "questions.jsonl"
    return old if old.is_file() else folder / "problems.jsonl"


def _write_json(path: Path, data: Any) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


# ----------------------------------------------------------------------------------------------------------- the models


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("t2fast", "torch", "transformers", "numpy")}


@cache
def _shared(folder: Path) -> tuple[Preset, Tasks, Any, Any]:
    """What all jobs of a process share."""
    preset = load_preset(folder / "preset.json")
    world = world_of(preset)
    return preset, world, open_corpus(folder / "text.bin"), make_tokenizer(world)


def _manifest(job: LabRun, folder: Path, device: str) -> dict[str, Any]:
    text = json.loads((folder / "text.json").read_text(encoding="utf-8"))
    return {
        "run": job.name,
        "stage": job.stage,
        "base": job.base,
        "recipe": asdict(job.recipe),
        "text": text["sha256"],
        "device": device.partition(":")[0],
        "versions": _versions(),
    }


def _work(job: LabRun, folder: Path, device: str) -> str:
    """Train and measure one model, in a process of its own; returns one line on it."""
    import torch
    import transformers

    from t2fast.lab.measure import measure

    transformers.utils.logging.disable_progress_bar()
    if device == "cpu":
        # Models this small are faster one per core than one on all of them, and one thread adds up in one order.
        torch.set_num_threads(1)
    preset, world, corpus, tokenizer = _shared(folder)
    place = folder / "runs" / job.name
    place.mkdir(parents=True, exist_ok=True)
    manifest = _manifest(job, folder, device)
    made = place / "manifest.json"
    if made.is_file() and (old := json.loads(made.read_text(encoding="utf-8"))) != manifest:
        changed = [key for key in manifest if old.get(key) != manifest[key]]
        raise T2Error(
            f"{place}: was begun with another {', '.join(changed)}: remove it, or choose another folder (--out)"
        )
    _write_json(made, manifest)
    if job.base is not None:
        model = load(folder / "runs" / job.base / "model", device)
        _teach(model, job, preset, world, device)
        model.save_pretrained(place / "model")
        tokenizer.save_pretrained(place / "model")
    elif (place / "model" / "config.json").is_file() and not (place / "checkpoint.pt").is_file():
        model = load(place / "model", device)
    else:
        model = pretrain(job.recipe, corpus, tokenizer, place, device=device)
    result: dict[str, Any] = {
        "run": job.name,
        "stage": job.stage,
        "tuned": job.base is not None,
        "n_params": count_params(job.recipe),
        "n_tokens": job.recipe.n_tokens,
        "seed": job.recipe.seed,
        "loss": None,
    }
    n, d = format_quantity(count_params(job.recipe)), format_quantity(job.recipe.n_tokens)
    said = f"{job.name}: N {n}, D {d}"
    if job.base is None:
        loss = round(train.evaluate(model, corpus, preset.validation_rows, preset.context, device), 6)
        result["loss"] = loss
        said += f", loss {loss:.3f}"
    if job.stage == "rate":
        # Of these runs nothing but the loss is asked.
        shutil.rmtree(place / "model")
    else:
        # A seed of its own: under one seed, models would share the luck of their draws.
        luck = seed_of(preset, f"{job.name}/samples")
        asked = folder / _LESSON_PROBLEMS if job.stage == "tuned" else _problems(folder)
        nll, correct = measure(place, asked, preset.n_samples, luck, device)
        result |= {"answer_nll": [round(value, 3) for value in nll], "n_correct": correct}
        said += f", pass@1 {sum(correct) / (preset.n_samples * len(correct)):.3f}"
    _write_json(place / "result.json", result)
    return said


def _teach(model: Any, job: LabRun, preset: Preset, world: Tasks, device: str) -> None:
    """Fine-tune a model on questions with answers, of one family or, for the duel, of all."""
    random = np.random.Generator(np.random.Philox(key=[job.recipe.seed, 1]))
    lessons, duel = preset.lessons, preset.duel
    if job.stage == "tuned" and lessons is not None:
        asked = world.lessons(random, lessons.n_problems, lessons.family)
        finetune(model, *asked, lessons.rate * job.recipe.learning_rate, lessons.batch_rows, device)
    else:
        asked = world.lessons(random, duel.finetune_problems)
        finetune(model, *asked, duel.finetune_rate * job.recipe.learning_rate, job.recipe.batch_rows, device)


def tuned_rates(preset: Preset, folder: Path) -> Rates | None:
    """The learning rates that the finished runs of :func:`rate_jobs` speak for, kept in ``rates.json``."""
    if preset.rates is None:
        return None
    jobs = rate_jobs(preset)
    losses = [json.loads((folder / "runs" / job.name / "result.json").read_text("utf-8"))["loss"] for job in jobs]
    found = best_rates(
        [(job.recipe.width, job.recipe.learning_rate, loss) for job, loss in zip(jobs, losses, strict=True)]
    )
    _write_json(folder / "rates.json", found.to_dict())
    return found


def run_jobs(
    jobs: Iterable[LabRun], folder: Path, device: str, workers: int | Cluster, progress: Report | None = None
) -> None:
    """Train and measure models, several side by side; those that are done are passed over.

    Ctrl-C ends the workers at once; what they had reached stays. On a cluster, whose machines must see the folder under
    the same path, a run whose machine dies goes on elsewhere from its checkpoint.

    Raises
    ------
    T2Error
        As the first job that fails.
    """
    jobs = list(jobs)
    done = [job for job in jobs if _finished(job, folder)]
    todo = [job for job in jobs if job not in done]
    total, spent = sum(job.flops for job in jobs), sum(job.flops for job in done)
    if progress is not None:
        note = f"{len(done)} of {len(jobs)} runs were done before" if done else ""
        progress(Progress(spent, total, "FLOP", note))
    if not todo:
        return
    with closing(_lines(todo, folder, device, workers)) as lines:
        for number, line in lines:
            spent += todo[number].flops
            if progress is not None:
                progress(Progress(spent, total, "FLOP", line))


def _lines(todo: Sequence[LabRun], folder: Path, device: str, workers: int | Cluster) -> Generator[tuple[int, str]]:
    """Work on these jobs; number and line of each as it is done."""
    if not isinstance(workers, int):
        gpu = device.startswith("cuda")
        yield from workers.run(_work, [(job, folder.absolute(), device) for job in todo], gpu=gpu)
        return
    # Forked children would inherit torch's threads in an unknown state.
    pool = ProcessPoolExecutor(min(workers, len(todo)), mp_context=multiprocessing.get_context("spawn"))
    try:
        running = {pool.submit(_work, job, folder, device): number for number, job in enumerate(todo)}
        while running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield running.pop(future), future.result()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    pool.shutdown()


def _finished(job: LabRun, folder: Path) -> bool:
    return (folder / "runs" / job.name / "result.json").is_file()


def table(preset: Preset, folder: Path, jobs: Iterable[LabRun], device: str) -> Lab:
    """Gather the results of finished jobs by name and keep them: ``table.json``, and ``answers.npz`` beside it."""
    names = sorted(job.name for job in jobs)
    results = [json.loads((folder / "runs" / name / "result.json").read_text(encoding="utf-8")) for name in names]
    problems = [json.loads(line) for line in _problems(folder).read_text(encoding="utf-8").splitlines()]
    manifest = {
        "preset": preset.to_dict(),
        "text": json.loads((folder / "text.json").read_text(encoding="utf-8")),
        "device": device,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": _versions(),
        "families": list(preset.families),
    }
    lab = Lab(
        tuple(Checkpoint.from_dict(one) for one in results),
        tuple(one["id"] for one in problems),
        tuple(one["family"] for one in problems),
        preset.n_samples,
        manifest,
    )
    lab.write(folder / _TABLE)
    asked = [one.run for one in lab.checkpoints if one.stage != "tuned"]
    # Older laboratories threw their answers away.
    if all((folder / "runs" / run / VOTES).is_file() for run in asked):
        Answers.of_runs(folder / "runs", asked, lab.problem_ids).write(folder / ANSWERS)
    return lab
