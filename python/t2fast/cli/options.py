"""Options that several verbs share, and how they become budgets and output."""

from __future__ import annotations

import csv
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from t2fast.costs import Attention, Budget, Workload
from t2fast.errors import T2Error
from t2fast.planning import Progress
from t2fast.quantity import parse_quantity

T = TypeVar("T")

_BUDGET, _USE, _OUTPUT = "Budget", "Use of the model", "Output"


def _quantity(flag: str, text: str, panel: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=panel, metavar="NUMBER")


LawName = Annotated[str, typer.Option("--law", help="A preset's name or a JSON file.", metavar="NAME")]
TrainFlops = Annotated[str | None, _quantity("--train-flops", "FLOP of training, 6ND.", _BUDGET)]
InferenceFlops = Annotated[
    str | None, _quantity("--inference-flops", "FLOP of inference; 2Nk per generated token by default.", _BUDGET)
]
TotalFlops = Annotated[str | None, _quantity("--total-flops", "FLOP of training and inference together.", _BUDGET)]
MaxParams = Annotated[str | None, _quantity("--max-params", "Largest N.", _BUDGET)]
MaxTokens = Annotated[str | None, _quantity("--max-tokens", "Largest D, repeats included.", _BUDGET)]
MaxK = Annotated[str | None, _quantity("--max-k", "Largest k.", _BUDGET)]
UniqueTokens = Annotated[
    str | None, _quantity("--unique-tokens", "Tokens that exist; repeats of them count for less.", _BUDGET)
]
Queries = Annotated[str, _quantity("--queries", "Questions over the model's life.", _USE)]
PromptTokens = Annotated[str, _quantity("--prompt-tokens", "Tokens of each prompt.", _USE)]
AnswerTokens = Annotated[str, _quantity("--answer-tokens", "Tokens of each sampled answer.", _USE)]
Prompt = Annotated[
    str,
    typer.Option(
        "--prompt",
        help="How k samples treat their prompt: recomputed, cached, or shared (read once for all k).",
        rich_help_panel=_USE,
    ),
]
CountAttention = Annotated[
    bool, typer.Option("--attention", help="Count attention in all costs.", rich_help_panel=_USE)
]
AspectRatio = Annotated[str, _quantity("--aspect-ratio", "d_model / n_layers, for --attention.", _USE)]
TrainContext = Annotated[str, _quantity("--train-context", "Training sequence length, for --attention.", _USE)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=_OUTPUT)]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", help="Also write the designs to this CSV file.", rich_help_panel=_OUTPUT)
]
PlotFile = Annotated[
    Path | None, typer.Option("--plot", help="Also draw a figure to this file.", rich_help_panel=_OUTPUT)
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Threads to use; all by default.", rich_help_panel=_OUTPUT)
]


def number(flag: str, text: str | None) -> float | None:
    """A quantity given to a flag."""
    return None if text is None else parse_quantity(text, flag)


def shared(**parts: Callable[..., object]) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command, for each argument named here, the options of the function that makes it."""

    def decorate(command: Callable[..., T]) -> Callable[..., T]:
        options = {name: inspect.signature(part, eval_str=True).parameters for name, part in parts.items()}
        parameters: list[inspect.Parameter] = []
        for name, own in inspect.signature(command, eval_str=True).parameters.items():
            parameters += options[name].values() if name in options else (own,)

        @functools.wraps(command)
        def call(**given: object) -> T:
            for name, part in parts.items():
                given[name] = part(**{option: given.pop(option) for option in options[name]})
            return command(**given)

        # Keywords alone, since options with and without defaults come in any order.
        keywords = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        call.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in keywords}
        return call

    return decorate


def workload(
    queries: Queries = "1",
    prompt_tokens: PromptTokens = "0",
    answer_tokens: AnswerTokens = "1",
    prompt: Prompt = "shared",
    attention: CountAttention = False,
    aspect_ratio: AspectRatio = "128",
    train_context: TrainContext = "2048",
) -> Workload:
    """The workload that the options of that panel describe."""
    terms = Attention(parse_quantity(aspect_ratio, "--aspect-ratio"), parse_quantity(train_context, "--train-context"))
    return Workload(
        parse_quantity(queries, "--queries"),
        parse_quantity(prompt_tokens, "--prompt-tokens"),
        parse_quantity(answer_tokens, "--answer-tokens"),
        prompt,
        terms if attention else None,
    )


@shared(use=workload)
def limits(
    max_params: MaxParams = None,
    max_tokens: MaxTokens = None,
    max_k: MaxK = None,
    unique_tokens: UniqueTokens = None,
    *,
    use: Workload,
) -> Budget:
    """A budget without FLOP: how large N, D and k may be, and what inference costs are counted over."""
    given = {"max_params": max_params, "max_tokens": max_tokens, "max_k": max_k, "unique_tokens": unique_tokens}
    return replace(Budget(workload=use), **_numbers(given))


@shared(within=limits)
def budget(
    train_flops: TrainFlops = None,
    inference_flops: InferenceFlops = None,
    total_flops: TotalFlops = None,
    *,
    within: Budget,
) -> Budget:
    """The budget that all options together describe."""
    given = {"train_flops": train_flops, "inference_flops": inference_flops, "total_flops": total_flops}
    return replace(within, **_numbers(given))


def _numbers(given: Mapping[str, str | None]) -> dict[str, Any]:
    numbers = {name: number("--" + name.replace("_", "-"), text) for name, text in given.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def show(result: Any, as_json: bool, **more: Any) -> None:
    """Print a result to stdout; ``more`` results follow it, in JSON under their names."""
    if as_json:
        text = json.dumps(result.to_dict() | {name: one.to_dict() for name, one in more.items()}, indent=2)
    else:
        text = "\n\n".join(one.summary() for one in (result, *more.values()))
    sys.stdout.write(text + "\n")


def write_csv(path: Path | None, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file, if one was asked for."""
    if path is None:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise T2Error(f"--csv {path}: cannot be written: {error.strerror}") from None


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar on stderr, gone when the work is done and silent when stderr is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
