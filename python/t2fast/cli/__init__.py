"""The command line: one file per verb, no logic of its own."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from t2fast.errors import T2Error
from t2fast.text import printable

__all__ = ["build", "main"]

#: The verbs, in the order of the help page; each module offers ``register(app)``.
VERBS = (
    "plan",
    "fit",
    "regret",
    "sample",
    "serve",
    "score",
    "passk",
    "cost",
    "compare",
    "grid",
    "frontier",
    "choose",
    "presets",
    "lab",
    "app",
)

#: Exit code after Ctrl-C, as shells have it.
_INTERRUPTED = 130


class _Command(TyperCommand):
    """A command whose help shows flags without a type: there is nothing to write after them."""

    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        from t2fast.cli.options import written
        from t2fast.cli.spelling import running

        with written(ctx), running(self):
            return super().invoke(ctx)


class _Group(TyperGroup):
    """The same for commands of commands."""

    def get_params(self, ctx: Any) -> Any:
        return _plain(super().get_params(ctx))


def _plain(params: Any) -> Any:
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


def _version(asked: bool) -> None:
    if asked:
        import t2fast

        sys.stdout.write(f"t2fast {t2fast.__version__}\n")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works after any command, too.")
    ] = False,
) -> None:
    """Choose model size, training tokens and samples per problem together (Train-to-Test scaling laws)."""


def build(verbs: Sequence[str] = VERBS) -> typer.Typer:
    """The command line with some of its verbs; only their modules are imported."""
    app = typer.Typer(
        name="t2fast",
        cls=_Group,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in verbs:
        importlib.import_module(f"t2fast.cli.{verb}").register(app)
    for one in [app, *(group.typer_instance for group in app.registered_groups if group.typer_instance)]:
        for command in one.registered_commands:
            command.cls = _Command
    for group in app.registered_groups:
        group.cls = _Group
    return app


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
        # Most of the time to start is spent on importing verbs.
        app = build([arguments[0]] if arguments[0] in VERBS else VERBS)
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
    except (T2Error, typer.TyperException) as error:
        if debug:
            raise
        message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
        sys.stderr.write(f"t2fast: {printable(message)}\n")
        sys.exit(2)
    except MemoryError as error:
        if debug:
            raise
        sys.stderr.write(f"t2fast: not enough memory: {printable(str(error)) or 'ask for less at once'}\n")
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
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End at once: the interpreter takes more than a second of work to take torch apart, and Ctrl-C need not wait."""
    # What was registered (processes of verifiers, temporary folders) must still go, and atexit has no public way to ask
    # for it but the interpreter's own end, which waits first for every thread that is no daemon: one that hangs in a
    # verifier or a library would swallow the Ctrl-C.
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
