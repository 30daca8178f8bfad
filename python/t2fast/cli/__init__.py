"""The command line: one file per verb, no logic of its own."""

from __future__ import annotations

import importlib
import sys

import typer
from rich.console import Console

from t2fast.errors import T2Error

__all__ = ["app", "main"]

#: The verbs, in the order of the help page; each module offers ``register(app)``.
_VERBS = ("plan",)

app = typer.Typer(
    name="t2fast",
    help="Choose model size, training tokens and samples per question together (Train-to-Test scaling laws).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _verb in _VERBS:
    importlib.import_module(f"t2fast.cli.{_verb}").register(app)


def main() -> None:
    """Run the command line: exit code 2 and one line on stderr for bad input, 130 for Ctrl-C."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except T2Error as error:
        if debug:
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"t2fast: {error}", markup=False)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        if debug:
            raise
        Console(stderr=True).print("t2fast: interrupted", markup=False)
        raise SystemExit(130) from None
