"""The house's arrows: no import circle, lazy ones included, and nobody reaches up.

cli -> verbs -> laws, costs, data, results -> _core; the kernels know nothing of t2fast.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "t2fast"
KERNELS = ROOT / "kernels" / "t2fast_kernels"

#: Rooms from the bottom up. A room may use those of earlier lines and its own; `lab` joins the verbs of the line before it.
STOREYS = (
    ("_core",),
    ("errors",),
    ("text",),
    ("arguments", "results"),
    ("cluster", "files", "quantity"),
    ("costs",),
    ("rules",),
    ("laws", "data"),
    ("planning", "fitting", "passk", "sampling"),
    ("datasets", "plots", "choosing"),
    ("lab",),
    ("serve", "integrations"),
    ("cli",),
    ("app",),
)
#: The page asks with the command line's options and so stands above it; these commands open it.
OPENS = {"t2fast.cli.app", "t2fast.cli.plan"}


def modules():
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


#: The compiled core has no source here.
CORE = "t2fast._core"


class Imports(ast.NodeVisitor):
    """The modules that one imports when it is loaded or run, types apart."""

    def __init__(self, known):
        self.known, self.found = known, set()

    def visit_If(self, node):
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_Import(self, node):
        self.found |= {alias.name for alias in node.names}

    def visit_ImportFrom(self, node):
        assert node.level == 0, "imports are absolute in this house"
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            self.found.add(inner if inner in self.known else node.module)


@cache
def graph():
    """What each module of the package imports from it."""
    known = modules()
    edges = {}
    for name, path in known.items():
        visitor = Imports({*known, CORE})
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        edges[name] = {one for one in visitor.found if one == "t2fast" or one.startswith("t2fast.")} - {name}
    return edges


def circles(edges):
    """Sets of modules each of which reaches all others: Tarjan's strongly connected components."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(part) > 1:
                found.append(sorted(part))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_no_import_circle():
    assert circles(graph()) == []


def test_a_circle_would_be_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def room(name):
    return name.split(".")[1] if "." in name else ""


#: Who may draw without Result.plot: the laboratory's page is nothing but figures; passk.py is about to be split.
DRAW = {"t2fast.lab.page", "t2fast.passk"}
STOREY = {name: height for height, names in enumerate(STOREYS) for name in names}


@pytest.mark.parametrize("name", sorted(set(modules()) - {"t2fast", "t2fast.__main__"}))
def test_arrows_point_down(name):
    own = room(name)
    for other in graph()[name]:
        target = room(other)
        if not target:  # the package itself: its names come from every room
            assert own in ("cli", "plots", "lab", "serve", "app", "integrations"), f"{name} imports {other}"
            continue
        assert target in STOREY, f"{other}: not in the plan of the house"
        drawn = own == "plots" or name in DRAW
        assert drawn or target != "plots", f"{name} imports {other}: figures are reached through Result.plot"
        opens = target == "app" and name in OPENS
        below = target == own or target == "plots" or opens or STOREY[target] < STOREY[own]
        assert below, f"{name} imports {other}: rooms use only what stands below them"


def test_kernels_know_nothing_of_t2fast():
    for path in KERNELS.rglob("*.py"):
        visitor = Imports({})
        visitor.visit(ast.parse(path.read_text(encoding="utf-8")))
        assert not [one for one in visitor.found if one.split(".")[0] == "t2fast"], path
