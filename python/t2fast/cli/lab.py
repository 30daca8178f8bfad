"""``t2fast lab``: the train-to-test study in miniature."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from t2fast.cli import options as o
from t2fast.errors import MissingExtraError

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
    preset: Annotated[str, typer.Option(help="tiny (CPU), h100 (one GPU), or a JSON file of your own.")] = "tiny",
    out: _Out = Path("lab"),
    report: _Report = Path("lab_report"),
    device: Annotated[str | None, typer.Option(help="cpu or cuda; the GPU if there is one.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Models trained side by side; one per core.")] = None,
    as_json: o.AsJson = False,
) -> None:
    """Run a laboratory from text to report; interrupted, the same command goes on where it was."""
    _needs("torch", "transformers", "t2fast_kernels", "matplotlib")
    from t2fast.lab import run

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("laboratory", total=None)

        def say(done: float, total: float, line: str) -> None:
            bar.update(task, completed=done, total=total)
            if line:
                console.print(line, highlight=False, soft_wrap=True)

        found = run.run(preset, out, report, device=device, workers=workers, progress=say)
    o.show(found, as_json)
    console.print(f"report: {report / 'index.html'}", highlight=False, soft_wrap=True)


@_lab.command("report")
def _write(
    out: Annotated[Path | None, typer.Argument(help="Folder of a laboratory; the one that comes with t2fast.")] = None,
    report: _Report = Path("lab_report"),
    as_json: o.AsJson = False,
) -> None:
    """Write the report of a laboratory anew from its stored table."""
    _needs("matplotlib")
    from t2fast.lab import run

    o.show(run.report(out, report), as_json)
