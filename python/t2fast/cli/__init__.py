"""The command line: one file per verb, no logic of its own."""

from __future__ import annotations

import importlib
import io
import os
import sys

import typer

from t2fast.errors import T2Error
from t2fast.text import printable

__all__ = ["app", "main"]

#: The verbs, in the order of the help page; each module offers ``register(app)``.
_VERBS = ("plan", "fit", "sample", "score", "passk", "compare", "grid", "frontier", "presets", "lab")

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is no reason to lose a result.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (T2Error, typer.TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        sys.stderr.write(f"t2fast: {printable(message)}\n")
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except OSError as error:
        if debug:
            raise
        # What is left in the buffer would fail once more as the interpreter ends.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if not isinstance(error, BrokenPipeError):  # whoever read the results, head for instance, has had enough
            sys.stderr.write(f"t2fast: {error.filename or 'standard output'}: {error.strerror or error}\n")
        sys.exit(2)
    if code == _INTERRUPTED:
        # Typer turns Ctrl-C into this code without a word.
        sys.stderr.write("t2fast: interrupted\n")
    sys.exit(code)
