"""Every public name has a docstring, every public callable an example that runs, and each stands on a page of docs/."""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import t2fast

ROOT = Path(__file__).parent.parent

#: The folders of the verbs and of what they stand on; commands, figures and the pages of the laboratory are not imported.
ROOMS = (
    "arguments",
    "choosing",
    "cluster",
    "costs",
    "data",
    "datasets",
    "errors",
    "fitting",
    "laws",
    "passk",
    "planning",
    "quantity",
    "results",
    "rules",
    "sampling",
    "serve",
    "lab",
    "text",
)

#: What needs an extra that may be absent.
EXTRAS = {
    "sampling": "transformers",
    "lab": "transformers",
    "serve": "uvicorn",
    "app": "plotly",
    "app.notebook": "anywidget",
    "integrations": "transformers",
    "integrations.inspect": "inspect_ai",
    "integrations.lm_eval": "lm_eval",
    "integrations.trl": "trl",
}

#: Public names that have no Examples section yet. It shrinks: an entry that is no longer needed fails the test.
WITHOUT_EXAMPLES: set[str] = set()

#: Public names that stand on no page of docs/ yet. It shrinks like the other.
WITHOUT_PAGE: set[str] = set()


def public():
    """Each public name of t2fast and of its rooms, with the object it stands for; the shortest path to an object wins."""
    found, seen = {}, set()
    modules = [t2fast]
    for room in ROOMS:
        if importlib.util.find_spec(f"t2fast.{room}") is None:
            continue
        if room in EXTRAS and importlib.util.find_spec(EXTRAS[room]) is None:
            continue
        modules.append(importlib.import_module(f"t2fast.{room}"))
    for module in modules:
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if inspect.ismodule(value) or id(value) in seen:
                continue
            seen.add(id(value))
            found[f"{module.__name__}.{name}"] = value
    return found


PUBLIC = public()
CALLABLE = {name: value for name, value in PUBLIC.items() if inspect.isclass(value) or inspect.isroutine(value)}


def is_type(value):
    """Classes that are caught or only describe types show nothing by being called."""
    return inspect.isclass(value) and issubclass(value, BaseException)


@pytest.mark.parametrize("name", CALLABLE)
def test_public_names_have_docstrings(name):
    text = inspect.getdoc(CALLABLE[name]) or ""
    assert len(text) > 10, f"{name} has no docstring"


def test_public_callables_have_examples():
    lacking = {
        name.rpartition(".")[2]
        for name, value in CALLABLE.items()
        if not is_type(value) and (getattr(value, "__module__", "") or "").startswith("t2fast.")
        and getattr(value, "__module__", "") != "t2fast._core"
        and not re.search(r"^Examples\n-{8}$", inspect.getdoc(value) or "", re.MULTILINE)
    }  # fmt: skip
    assert sorted(lacking - WITHOUT_EXAMPLES) == [], "write an Examples section in the docstrings of these"
    assert sorted(WITHOUT_EXAMPLES - lacking) == [], "these have examples now, or are gone: take them off the list"


def test_every_public_name_stands_on_a_page():
    pages = "\n".join(path.read_text(encoding="utf-8") for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"])
    words = set(re.findall(r"\w+", pages))
    lacking = {name.rpartition(".")[2] for name in PUBLIC} - words
    assert sorted(lacking - WITHOUT_PAGE) == [], "name these on the page of their verb"
    assert sorted(WITHOUT_PAGE - lacking) == [], "these stand on a page now, or are gone: take them off the list"


def modules():
    """All modules with doctests that import without an extra which is absent."""
    for found in pkgutil.walk_packages(t2fast.__path__, "t2fast."):
        parts = found.name.split(".")[1:]
        needs = {EXTRAS.get(".".join(parts[: n + 1])) for n in range(len(parts))} - {None}
        if any(importlib.util.find_spec(extra) is None for extra in needs):
            continue
        spec = importlib.util.find_spec(found.name)
        if spec.origin and spec.origin.endswith(".py") and ">>> " in Path(spec.origin).read_text(encoding="utf-8"):
            yield found.name


@pytest.mark.parametrize("name", list(modules()))
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A function may bear its module's name; the module is what is meant.
    importlib.import_module(name)
    with np.printoptions(legacy=False):
        found = doctest.testmod(
            sys.modules[name],
            optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL,
        )
    assert found.failed == 0
