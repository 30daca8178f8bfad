"""What stands behind a prediction: its interval, checkpoints measured nearby, and how high the law can go at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.costs import Budget
from t2fast.laws import Law, T2PassLaw
from t2fast.planning.design import Design, Interval
from t2fast.quantity import format_quantity

__all__ = ["Neighbour", "ceiling_warning", "intervals", "lower_end", "nearest", "repeats"]

_Floats = NDArray[np.float64]

#: Measured checkpoints shown beside a design: so many at most, and so many even where none is near.
_MOST_SHOWN, _LEAST_SHOWN = 4, 2
#: How far off in (ln N, ln D) a checkpoint is still near: a factor of e.
_NEAR = 1.0
#: A law that cannot exceed this pass@k, however large the model, has too little to say.
_LOW_CEILING = 0.25


def intervals(
    law: Law, budget: Budget, designs: Sequence[Design], confidence_level: float = 0.9
) -> list[Interval | None]:
    """The predictive interval of each design; ``None`` for each when the law carries no draws."""
    if not law.has_draws or not designs:
        return [None] * len(designs)
    n, d, k = (np.array([getattr(one, name) for one in designs]) for name in ("n_params", "n_tokens", "k"))
    draws = law.predictive(n, d, np.maximum(k, 1.0), budget.unique_tokens)
    draws[:, k == 0] = 0.0
    tail = 0.5 * (1 - confidence_level)
    ends = np.quantile(draws, [tail, 1 - tail], axis=0)
    return [Interval(float(low), float(high)) for low, high in ends.T]


def lower_end(law: Law, budget: Budget, confidence_level: float = 0.9) -> Any:
    """A score for the search: what a design reaches with near certainty, the worse end of its predictive interval."""
    tail = 0.5 * (1 - confidence_level)
    few = law._for_ranking

    def score(n: _Floats, d: _Floats, k: _Floats) -> _Floats:
        draws = few.predictive(n, d, np.maximum(k, 1.0), budget.unique_tokens)
        draws[:, k == 0] = 0.0
        if law.predicts_pass:
            return np.asarray(np.quantile(draws, tail, axis=0))
        return np.asarray(-np.quantile(draws, 1 - tail, axis=0))

    return score


@dataclass(frozen=True)
class Neighbour:
    """A measured checkpoint beside a design.

    Attributes
    ----------
    n_params, n_tokens
        N and D of the checkpoint.
    k
        Samples per problem: the design's, or the most that the checkpoint was measured at.
    observed, low, high
        Measured pass@k and the ends of its 90% interval over problems.
    predicted
        What the law says of the checkpoint.
    """

    n_params: float
    n_tokens: float
    k: float
    observed: float
    low: float
    high: float
    predicted: float

    @property
    def tokens_per_param(self) -> float:
        """D / N."""
        return self.n_tokens / self.n_params

    def to_dict(self) -> dict[str, Any]:
        """The checkpoint as JSON data."""
        return asdict(self) | {"tokens_per_param": self.tokens_per_param}


def nearest(law: Law, design: Design) -> tuple[Neighbour, ...]:
    """The measured checkpoints nearest to a design in (ln N, ln D), with what was measured at its k.

    Up to four within a factor of e, and the nearest two however far they are.
    """
    law = law.pass_law  # what was measured is pass@k
    table = law.checkpoints
    if table is None:
        return ()
    away = np.hypot(
        np.log(np.array(table.n_params) / design.n_params), np.log(np.array(table.n_tokens) / design.n_tokens)
    )
    found: list[Neighbour] = []
    for place in np.argsort(away, kind="stable").tolist():
        if len(found) == _MOST_SHOWN or (len(found) >= _LEAST_SHOWN and away[place] > _NEAR):
            break
        k = min(max(design.k, 1.0), table.most_samples(place))
        seen = table.at(place, k)
        if seen is None:
            continue
        n, d = table.n_params[place], table.n_tokens[place]
        found.append(Neighbour(n, d, k, *seen, predicted=float(law.value(n, d, k))))
    return tuple(found)


def ceiling_warning(law: Law, k: float) -> str | None:
    """What to say of a law that cannot predict much at this k, however large the model and its training."""
    if not law.predicts_pass or k < 1:
        return None
    law = law.pass_law
    rate = f"a pass@{format_quantity(k)}"
    if isinstance(law, T2PassLaw) and law.F == 0:
        most = float(law.value(1e30, 1e30, k))
        said = f"this law can never exceed {rate} of {most:.1%}, however large the model or its training"
    elif law.data_range is not None:
        # Others bend: beyond their data their values mean nothing.
        n, d = (np.geomspace(low, high, 13) for low, high in (law.data_range.n_params, law.data_range.n_tokens))
        most = float(np.max(law.value(n[:, None], d, k)))
        said = f"within its data this law never exceeds {rate} of {most:.1%}, whatever the model"
    else:
        return None
    return f"{said}: what it says at so few samples means little" if most < _LOW_CEILING else None


def repeats(budget: Budget, design: Design) -> float | None:
    """How many times the unique tokens are trained on, where more than once."""
    if budget.unique_tokens is None or design.n_tokens <= budget.unique_tokens * (1 + 1e-9):
        return None
    return math.ceil(100 * design.n_tokens / budget.unique_tokens) / 100
