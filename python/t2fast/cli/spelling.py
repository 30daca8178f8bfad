"""What messages call arguments of Python, in the spelling of the command that is running.

The package's messages name a remedy as Python has it: ``missing='drop'``. A command shows each as its own option:
``--missing drop``. This is done in one place for errors (where commands are invoked) and for warnings (where results
are written), so that no message needs to know who reads it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from t2fast.errors import T2Error

__all__ = ["REMEDIES", "running", "spelled", "spelled_warnings"]

_RUNNING: ContextVar[Any] = ContextVar("running", default=None)

#: Arguments that messages name as remedies, and the parameters of commands that stand for them: the first there is.
REMEDIES = {
    "benchmark": ("benchmark",),
    "budgets": ("isoflop_budgets",),
    "columns": ("column",),
    "extract": ("extract",),
    "extrapolate_with": ("extrapolate",),
    "filter": ("log_filter",),
    "group": ("group",),
    "malformed": ("skip_malformed",),
    "max_k": ("max_k",),
    "metric": ("verdict",),
    "missing": ("missing",),
    "model": ("model",),
    "n_resamples": ("n_resamples", "bootstrap"),
    "scope": ("scope",),
    "tau": ("tau",),
    "threshold": ("threshold",),
    "tolerance": ("isoflop_tolerance",),
    "units": ("unit",),
}
_REMEDY = re.compile(
    rf"(?<![\w.\-/(@'])({'|'.join(REMEDIES)})="
    r"""('[^']*'|"[^"]*"|\{[^{}]*\}|\[[^\[\]]*\]|\.\.\.|[\w/+-]+(?:\.\w+)*(?:/\.\.\.)?|(?=[\s,;:.)]|$))"""
)
_PAIR = re.compile(r"'([^']*)':\s*('[^']*'|[^,{}]+)")


@contextmanager
def running(command: Any) -> Iterator[None]:
    """Spell the messages of errors, and what :func:`spelled` is asked for, as this command has it."""
    token = _RUNNING.set(command)
    try:
        yield
    except T2Error as error:
        error.args = (spelled(str(error)),)
        raise
    finally:
        _RUNNING.reset(token)


def spelled(text: str, command: Any = None) -> str:
    """A message in the spelling of a command's options, by default of the command that is running."""
    command = command or _RUNNING.get()
    if command is None:
        return text
    options = {one.name: one for one in command.params if one.param_type_name == "option"}

    def option(name: str) -> Any:
        return next((options[one] for one in (*REMEDIES.get(name, ()), name) if one in options), None)

    def remedy(found: re.Match[str]) -> str:
        one = option(found[1])
        return found[0] if one is None else _written(one, found[2])

    return _REMEDY.sub(remedy, text)


def spelled_warnings(data: Any) -> Any:
    """JSON data with its warnings so spelled."""
    if isinstance(data, dict):
        return {
            key: [spelled(one) if isinstance(one, str) else one for one in value]
            if key == "warnings" and isinstance(value, list | tuple)
            else spelled_warnings(value)
            for key, value in data.items()
        }
    return [spelled_warnings(one) for one in data] if isinstance(data, list | tuple) else data


def _flag(option: Any) -> str:
    return str(max(option.opts, key=len))


def _written(option: Any, value: str) -> str:
    """An option with its value, as it is typed."""
    flag = _flag(option)
    if getattr(option, "is_flag", False) or not value:
        return flag
    if value.startswith("{"):
        pairs = [f"{name}={inner.strip().strip(chr(39))}" for name, inner in _PAIR.findall(value)]
        return " ".join(f"{flag} {_quoted(pair)}" for pair in pairs) or flag
    if value.startswith("["):
        return f"{flag} {value[1:-1].replace(' ', '')}"
    return f"{flag} {_quoted(value[1:-1] if value[0] in chr(39) + chr(34) else value)}"


def _quoted(text: str) -> str:
    """Quoted where a shell would need it; placeholders stay bare."""
    return text if "..." in text else shlex.quote(text)
