"""The command line: one file per verb, no logic of its own."""

from __future__ import annotations

import importlib
import sys

import typer

from t2fast.errors import T2Error

__all__ = ["app", "main"]

#: The verbs, in the order of the help page; each module offers ``register(app)``.
_VERBS = ("plan", "fit", "sample", "score", "passk", "cost", "compare", "grid", "frontier", "presets", "lab")

#: Exit code after Ctrl-C, as shells have it.
_INTERRUPTED = 130

app = typer.Typer(
    name="t2fast",
    help="Choose model size, training tokens and samples per question together (Train-to-Test scaling laws).",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verb in _VERBS:
    importlib.import_module(f"t2fast.cli.{_verb}").register(app)


def main() -> None:
    """Run the command line: bad input gets one line on stderr and exit code 2, Ctrl-C 130; --debug shows tracebacks."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"] or ["--help"]
    try:
        code = app(arguments, standalone_mode=False)
    except (T2Error, typer.TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        sys.stderr.write(f"t2fast: {message}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # Typer turns Ctrl-C into this code without a word.
        sys.stderr.write("t2fast: interrupted\n")
    sys.exit(code)
