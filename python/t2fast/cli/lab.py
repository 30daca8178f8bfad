"""``t2fast lab``: the train-to-test study in miniature."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from t2fast.cli import options as o
from t2fast.errors import MissingExtraError
from t2fast.results import Progress

__all__ = ["register"]

_Out = Annotated[Path, typer.Option("--out", help="Folder of the laboratory.")]
_Report = Annotated[Path, typer.Option("--report", help="Folder of the report.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.add_typer(_lab, name="lab")


_lab = typer.Typer(help="Train a suite of small models, sample, fit, plan, and check the prediction.")


def _needs(*modules: str) -> None:
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(f"t2fast lab needs {module}: pip install 't2fast[lab]'")


@_lab.command("run")
def _run(
    preset: Annotated[str, typer.Option(help="tiny, small (CPU), h100 (one GPU), or a JSON file.")] = "tiny",
    out: _Out = Path("lab"),
    report: _Report = Path("lab_report"),
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the GPU if there is one.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Models trained side by side, one per core by default; or ray: a Ray cluster that sees --out; ray:8.",
            metavar="NUMBER|ray",
        ),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Run a laboratory from text to report; after an interruption, the same command continues where it stopped."""
    _needs("torch", "transformers", "t2fast_kernels", "matplotlib")
    from t2fast.lab.study import run_study

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("laboratory", total=None)

        def say(now: Progress) -> None:
            bar.update(task, completed=now.done, total=now.total)
            if now.note:
                console.print(now.note, highlight=False, soft_wrap=True)

        if workers is None or workers.isdecimal():
            number = None if workers is None else int(workers)
            found = run_study(preset, out, report, device=device, workers=number, progress=say)
        else:
            with o.cluster(workers, "a number") as cluster:
                found = run_study(preset, out, report, device=device, cluster=cluster, progress=say)
    o.show(found, as_json)
    console.print(f"report: {report / 'index.html'}", highlight=False, soft_wrap=True)


@_lab.command("report")
def _write(
    out: Annotated[
        Path | None, typer.Argument(help="Folder of a laboratory, or a table of t2fast: tiny (the default), small.")
    ] = None,
    report: _Report = Path("lab_report"),
    as_json: o.AsJson = False,
) -> None:
    """Judge the stored table of a laboratory and write its report."""
    _needs("matplotlib")
    from t2fast.lab.study import judge_study

    o.show(judge_study(out, report), as_json)
