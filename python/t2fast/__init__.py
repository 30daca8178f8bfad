"""Train-to-Test scaling laws: choose model size N, training tokens D and samples per problem k together.

The names here are the public ones; each verb has its module (:mod:`t2fast.planning`, ...) and its command. Modules load
when one of their names is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from t2fast.costs import Attention, Budget, Workload, inference_flops, train_flops
from t2fast.errors import DataError, InfeasibleError, LawError, MissingExtraError, T2Error
from t2fast.laws import ChinchillaLaw, DataRange, Law, LawAverage, T2LossLaw, T2PassLaw, load_law, presets
from t2fast.results import Progress, Result

if TYPE_CHECKING:
    from t2fast import costs, datasets, fitting, passk, planning, rules
    from t2fast.app.notebook import explore
    from t2fast.choosing import ModelChoice, Price, choose, read_prices
    from t2fast.planning import (
        Design,
        DesignComparison,
        Frontier,
        Grid,
        IsoFlop,
        Plan,
        Point,
        cheapest,
        compare,
        frontier,
        grid_search,
        isoflop,
        plan,
    )
    from t2fast.rules import AnyCorrect, BestOf, Majority, Rule, Tail, Verifier, load_rule

#: Where names are found that load on first use; ``None`` for a module itself.
_LAZY = {
    "datasets": None,
    "fitting": None,
    "passk": None,
    "planning": None,
    "sampling": None,
    "rules": None,
    "Design": "planning",
    "DesignComparison": "planning",
    "Frontier": "planning",
    "Grid": "planning",
    "IsoFlop": "planning",
    "Plan": "planning",
    "Point": "planning",
    "ModelChoice": "choosing",
    "Price": "choosing",
    "AnyCorrect": "rules",
    "BestOf": "rules",
    "Majority": "rules",
    "Rule": "rules",
    "Tail": "rules",
    "Verifier": "rules",
    "cheapest": "planning",
    "choose": "choosing",
    "explore": "app.notebook",
    "compare": "planning",
    "load_rule": "rules",
    "frontier": "planning",
    "grid_search": "planning",
    "isoflop": "planning",
    "plan": "planning",
    "read_prices": "choosing",
}

__all__ = [
    "AnyCorrect",
    "Attention",
    "BestOf",
    "Budget",
    "ChinchillaLaw",
    "DataError",
    "DataRange",
    "Design",
    "DesignComparison",
    "Frontier",
    "Grid",
    "InfeasibleError",
    "IsoFlop",
    "Law",
    "LawAverage",
    "LawError",
    "Majority",
    "MissingExtraError",
    "ModelChoice",
    "Plan",
    "Point",
    "Price",
    "Progress",
    "Result",
    "Rule",
    "T2Error",
    "T2LossLaw",
    "T2PassLaw",
    "Tail",
    "Verifier",
    "Workload",
    "cheapest",
    "choose",
    "compare",
    "costs",
    "datasets",
    "explore",
    "fitting",
    "frontier",
    "grid_search",
    "inference_flops",
    "isoflop",
    "load_law",
    "load_rule",
    "passk",
    "plan",
    "planning",
    "presets",
    "read_prices",
    "rules",
    "train_flops",
]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 't2fast' has no attribute {name!r}")
    home = _LAZY[name]
    module = importlib.import_module(f"t2fast.{home or name}")
    found = module if home is None else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
