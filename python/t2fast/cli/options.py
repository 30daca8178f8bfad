"""Options that several verbs share, and how they become budgets and output."""

from __future__ import annotations

import functools
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from csv import DictWriter
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import typer

from t2fast.cli.spelling import spelled, spelled_warnings
from t2fast.cluster import Cluster
from t2fast.costs import Attention, Budget, Hardware, Workload
from t2fast.costs.flops import FLOPS, MONEY
from t2fast.errors import T2Error
from t2fast.files import check_output, replacing
from t2fast.quantity import parse_quantity
from t2fast.results import Progress, check_figure
from t2fast.text import printable

T = TypeVar("T")

_OUTPUT = "Output"


#: The flags that the user wrote, each with what stands after it ("on" for a switch), whatever the others' defaults are.
_WRITTEN: ContextVar[Mapping[str, str]] = ContextVar("written", default=MappingProxyType({}))

#: Flags whose file is written.
_OUTPUTS = frozenset({"--out", "--csv", "--plot", "--html", "--parquet"})


@contextmanager
def written(context: typer.Context) -> Iterator[None]:
    """Remember which flags a command line has, for :func:`no_effect` and :func:`texts`."""
    flags: dict[str, str] = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            value = context.params.get(parameter.name or "")
            for flag in (*parameter.opts, *parameter.secondary_opts):
                flags[flag] = "on" if value is True else str(value)
    _apart(context)
    with asked(flags):
        yield


def _apart(context: typer.Context) -> None:
    """Refuse an output that is one of the inputs, which it would replace, or another output."""
    seen: dict[str, str] = {}
    parameters = sorted(context.command.params, key=lambda one: not _OUTPUTS.isdisjoint(one.opts))
    for parameter in parameters:
        given = context.params.get(parameter.name or "")
        writes = not _OUTPUTS.isdisjoint(parameter.opts)
        for value in given if isinstance(given, list | tuple) else [given]:
            if not isinstance(value, str | Path) or not (os.path.isfile(value) or (writes and isinstance(value, Path))):
                continue
            place = os.path.realpath(value)
            flag = parameter.opts[0] if parameter.opts[0].startswith("-") else "an input"
            if writes and place in seen and not os.path.isdir(place) and str(value) not in ("-", os.devnull):
                raise T2Error(f"{flag} = '{value}': is also {seen[place]}, which it would replace; name another file")
            seen.setdefault(place, flag)


@contextmanager
def asked(flags: Mapping[str, str]) -> Iterator[None]:
    """The same for flags that were not read from a command line."""
    token = _WRITTEN.set(flags)
    try:
        yield
    finally:
        _WRITTEN.reset(token)


def texts(names: Iterable[str]) -> dict[str, str]:
    """What the user wrote after those of these options, named without dashes, that the command line has."""
    return {name: _WRITTEN.get()[f"--{name}"] for name in names if f"--{name}" in _WRITTEN.get()}


def no_effect(why: str, *flags: str) -> None:
    """Refuse flags that the user wrote and that this call would not look at.

    Raises
    ------
    T2Error
        Naming the first of them, and ``why`` it has no effect.
    """
    for flag in flags:
        if flag in _WRITTEN.get():
            raise T2Error(f"{flag}: has no effect here: {why}")


LawName = Annotated[str, typer.Option("--law", help="A preset's name or a JSON file.", metavar="NAME")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.", rich_help_panel=_OUTPUT)]


def _writable(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """Refuse an output that could not be written while the command line is read, before any work."""
    return check_output(path, param.opts[0])


def _drawable(param: typer.CallbackParam, path: Path | None) -> Path | None:
    """The same for figures, whose suffix names a format."""
    return check_figure(_writable(param, path), param.opts[0])


def figure(text: str, **more: Any) -> Any:
    """The option that names a figure to draw, checked before the command starts."""
    return typer.Option("--plot", help=text, callback=_drawable, **more)


def output(flag: str, text: str, **more: Any) -> Any:
    """An option that names a file to write, checked before the command starts."""
    return typer.Option(flag, help=text, callback=_writable, **more)


CsvFile = Annotated[Path | None, output("--csv", "Also write the designs to this CSV file.", rich_help_panel=_OUTPUT)]
PlotFile = Annotated[Path | None, figure("Also draw a figure to this file.", rich_help_panel=_OUTPUT)]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Threads to use; all by default.", rich_help_panel=_OUTPUT)
]


def number(flag: str, text: str | None) -> float | None:
    """A quantity given to a flag."""
    return None if text is None else parse_quantity(text, flag)


def on_ray(how: str, otherwise: str = "local") -> int | None:
    """The number of workers in ``ray:NUMBER``; None for ``ray``.

    Raises
    ------
    T2Error
        For anything else.
    """
    match = re.fullmatch(r"ray(?::(\d+))?", how)
    if match is None:
        raise T2Error(f"--workers {how}: must be {otherwise}, ray or ray:NUMBER")
    return None if match[1] is None else int(match[1])


@contextmanager
def cluster(how: str, otherwise: str = "local") -> Iterator[Cluster | None]:
    """The machines that do the work; None for this one."""
    if how == otherwise:
        yield None
        return
    with Cluster(on_ray(how, otherwise)) as found:
        yield found


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


#: Fields that are names, not numbers.
_WORDS = {item.name for of in (Workload, Budget, Hardware) for item in fields(of) if item.metadata.get("word")}


def _flags(of: type, panel: str, names: Iterable[str]) -> dict[str, inspect.Parameter]:
    """The command line's options for some fields of a dataclass, with the words that the fields carry."""
    options = {}
    for item in fields(of):
        if item.name not in names:
            continue
        flag, text = "--" + item.name.replace("_", "-"), item.metadata["help"]
        kind: Any
        default: Any
        if isinstance(item.default, bool):
            kind, default = bool, item.default
            option = typer.Option(flag, help=text, rich_help_panel=panel)
        elif item.name in _WORDS:
            kind, default = str | None, item.default
            option = typer.Option(flag, help=text, rich_help_panel=panel, metavar="NAME")
        else:
            kind, default = str | None, None if item.default is None else f"{item.default:g}"
            option = typer.Option(flag, help=text, rich_help_panel=panel, metavar="NUMBER")
        options[item.name] = inspect.Parameter(
            item.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
        )
    return options


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    """What was given, as numbers."""
    read = {
        name: number("--" + name.replace("_", "-"), value) if isinstance(value, str) and name not in _WORDS else value
        for name, value in given.items()
    }
    return {name: value for name, value in read.items() if value is not None}


def _maker(options: dict[str, inspect.Parameter], make: Callable[[dict[str, Any]], T]) -> Callable[..., T]:
    """A function of these options."""

    def call(**given: Any) -> T:
        return make(_numbers(given))

    call.__signature__ = inspect.Signature(list(options.values()))  # type: ignore[attr-defined]
    return call


def _workload(given: dict[str, Any]) -> Workload:
    if not given["attention"]:
        no_effect("attention is not counted; add --attention", *("--" + name.replace("_", "-") for name in _ATTENTION))
    terms = Attention(**{name: given.pop(name) for name in _ATTENTION})
    return Workload(**{name: given[name] for name in _USE}, attention=terms if given["attention"] else None)


_BUDGET_PANEL, _USE_PANEL = "Budget", "Use of the model"
_COSTS = (*FLOPS, *MONEY)
_LIMITS = tuple(item.name for item in fields(Budget) if item.metadata and item.name not in _COSTS)
_USE = tuple(item.name for item in fields(Workload) if item.metadata)
_ATTENTION = tuple(item.name for item in fields(Attention))
_COUNT_ATTENTION = inspect.Parameter(
    "attention",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[
        bool, typer.Option("--attention", help="Count attention in all costs.", rich_help_panel=_USE_PANEL)
    ],
)
_HARDWARE = tuple(item.name for item in fields(Hardware))
#: Options without defaults: any of them asks for dollars.
_HARDWARE_FLAGS = {
    name: one.replace(default=None) for name, one in _flags(Hardware, "Card and price", _HARDWARE).items()
}
_LIMIT_FLAGS = _flags(Budget, _BUDGET_PANEL, _LIMITS)
_USE_FLAGS = (
    _flags(Workload, _USE_PANEL, _USE) | {"attention": _COUNT_ATTENTION} | _flags(Attention, _USE_PANEL, _ATTENTION)
)


def hardware(given: dict[str, Any]) -> Hardware | None:
    """The hardware that its options describe, taken out of those given; ``None`` when none is."""
    chosen = {name: given.pop(name) for name in _HARDWARE if name in given}
    return Hardware(**chosen) if chosen else None


def _budget(given: dict[str, Any]) -> Budget:
    machine = hardware(given)
    use = _workload({name: given.pop(name) for name in tuple(given) if name in _USE_FLAGS})
    return Budget(workload=use, hardware=machine, **given)


def _use(given: dict[str, Any]) -> tuple[Workload, Hardware | None]:
    return _workload({name: given.pop(name) for name in _USE_FLAGS if name in given}), hardware(given)


#: The workload and the hardware that the options of those panels describe.
use = _maker(_USE_FLAGS | _HARDWARE_FLAGS, _use)
#: A budget without FLOP: how large N, D and k may be, and what inference costs are counted over.
limits = _maker(_LIMIT_FLAGS | _USE_FLAGS | _HARDWARE_FLAGS, _budget)
#: The budget that all options together describe.
budget = _maker(_flags(Budget, _BUDGET_PANEL, _COSTS) | _LIMIT_FLAGS | _USE_FLAGS | _HARDWARE_FLAGS, _budget)


def show(result: Any, as_json: bool, csv: Path | None = None, plot: Path | None = None) -> None:
    """Print a result to stdout; write its rows and draw its figure, if they were asked for."""
    if as_json:
        write_json(result.to_dict())
    else:
        write(result.summary())
    if csv is not None:
        write_csv(csv, result.rows())
    if plot is not None:
        result.plot(plot)


def write(text: str) -> None:
    """Print text to stdout; remedies are spelled as the command's options."""
    sys.stdout.write("\n".join(map(printable, spelled(text).split("\n"))) + "\n")


def write_json(data: Any) -> None:
    """Print JSON data to stdout; remedies in its warnings are spelled as the command's options."""
    sys.stdout.write(json.dumps(spelled_warnings(data), indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with replacing(path, "--csv") as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[..., None]]:
    """A progress bar on stderr, gone when the work is done and silent when stderr is no terminal."""
    # Rich takes a tenth of a second to import: only for those who wait.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(label, total=None)

        def show(done: Progress | float, total: float | None = None) -> None:
            if isinstance(done, Progress):
                words = " ".join(word for word in (label, done.note) if word)
                bar.update(task, completed=done.done, total=done.total, description=words)
            else:
                bar.update(task, completed=done, total=total)

        yield show
