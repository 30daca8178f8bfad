"""What isoFLOP minima are: the minimum at each training budget, power laws through them, and a law beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from t2fast.errors import T2Error
from t2fast.fitting.isoflop_parabola import Parabola, line
from t2fast.fitting.rows import FloatArray
from t2fast.laws import ChinchillaLaw, Law
from t2fast.quantity import format_flops, format_quantity
from t2fast.results import Result
from t2fast.text import columns as aligned
from t2fast.text import warning_lines

__all__ = ["Interval", "IsoFlopBudget", "IsoFlopLaw", "IsoFlopMinima"]

Interval = tuple[float, float]


@dataclass(frozen=True)
class IsoFlopBudget:
    """One training budget: its parabola in log N, and the minimum.

    Attributes
    ----------
    train_flops
        The budget.
    n_rows, n_sizes, sizes
        Checkpoints, distinct model sizes among them, and the smallest and the largest.
    parabola
        Loss at ``x = ln N - centre`` as ``a + b x + c x^2``: ``(centre, a, b, c)``.
    n_params, n_tokens, loss
        The minimum; NaN where the parabola has none (``c <= 0``). ``n_tokens`` follows from the budget's own relation
        of D to N, ``C / 6N`` unless the budgets were counted otherwise.
    interval
        Of ``n_params``; ``None`` where the checkpoints determine none.
    inside
        Whether the minimum lies within the sizes sampled; the power laws go through these minima alone.

    Examples
    --------
    >>> IsoFlopBudget(1e19, 3, 3, (1e8, 4e8), (19.1, 3.0, 0.0, 0.1), 2e8, 8e9, 3.0, None, True).inside
    True
    """

    train_flops: float
    n_rows: int
    n_sizes: int
    sizes: Interval
    parabola: tuple[float, float, float, float]
    n_params: float
    n_tokens: float
    loss: float
    interval: Interval | None
    inside: bool


@dataclass(frozen=True)
class IsoFlopLaw:
    """A power law of the training budget C through the minima: ``coefficient * C^exponent``.

    Attributes
    ----------
    coefficient, exponent
        Fitted by least squares in logarithms.
    interval
        Of the exponent, from the bootstrap; ``None`` where the checkpoints determine none.

    Examples
    --------
    >>> round(IsoFlopLaw(0.1, 0.5, None).at(1e20))
    1000000000
    """

    coefficient: float
    exponent: float
    interval: Interval | None

    def at(self, train_flops: ArrayLike) -> Any:
        """The law's value at training budgets."""
        return self.coefficient * np.asarray(train_flops, dtype=np.float64) ** self.exponent


@dataclass(frozen=True, repr=False, eq=False)
class IsoFlopMinima(Result):
    """Minima of the loss at equal training compute; :func:`isoflop_minima` makes one.

    Attributes
    ----------
    budgets
        An :class:`IsoFlopBudget` each, the smallest first.
    n_params, n_tokens
        Power laws of the best N and D by budget.
    law
        The law of the loss it stands beside; :meth:`beside` sets it.
    expected
        Exponents of N and D that the same parabolas find in that law's own losses at the same checkpoints, without
        noise: what they differ by from the law's own exponents is the method's bias on this grid.
    residual
        Root mean square of what the parabolas leave of the losses; NaN where they pass through all points.
    confidence_level, n_resamples, seed
        Of the intervals: a bootstrap of the parabolas' residuals.
    warnings
        What a user must know before relying on it.
    observed
        Rows of training FLOP (of their budget), N, D and loss, as they were used; shape (4, checkpoints).

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import fitting, load_law
    >>> law = load_law("besiroglu")
    >>> c, n = np.repeat([1e19, 1e20, 1e21], 5), np.outer([3e8, 9e8, 3e9], [0.3, 0.6, 1, 2, 4]).ravel()
    >>> found = fitting.isoflop_minima(n, c / 6 / n, law.value(n, c / 6 / n))
    >>> [one.inside for one in found.budgets], round(found.n_params.exponent, 2)
    ([True, True, True], 0.51)
    """

    budgets: tuple[IsoFlopBudget, ...]
    n_params: IsoFlopLaw
    n_tokens: IsoFlopLaw
    law: ChinchillaLaw | None
    expected: tuple[float, float] | None
    residual: float
    confidence_level: float
    n_resamples: int
    seed: int
    warnings: tuple[str, ...]
    observed: FloatArray = field(repr=False)

    figure: ClassVar[str] = "fitting:plot_minima"

    @property
    def law_exponents(self) -> tuple[float, float] | None:
        """Exponents of the best N and D in the law: ``beta / (alpha + beta)`` and ``alpha / (alpha + beta)``."""
        if self.law is None:
            return None
        total = self.law.alpha + self.law.beta
        return self.law.beta / total, self.law.alpha / total

    def law_optima(self, train_flops: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """The law's best N and D at training budgets, where ``C = 6 N D``.

        Raises
        ------
        T2Error
            Without a law.
        """
        if self.law is None:
            raise T2Error("no law stands beside these minima: use beside(law) first")
        one = self.law
        n, d = (exponent for exponent in self.law_exponents or ())
        product = np.asarray(train_flops, dtype=np.float64) / 6
        scale = (one.alpha * one.A / (one.beta * one.B)) ** (1 / (one.alpha + one.beta))
        return scale * product**n, product**d / scale

    def beside(self, law: Law) -> IsoFlopMinima:
        """The same minima beside a law of the loss, with the bias of the method on that law.

        Raises
        ------
        T2Error
            For another kind of law, and one with a term of overtraining, whose optima are no power laws of C.
        """
        if not isinstance(law, ChinchillaLaw) or law.F != 0:
            raise T2Error("law: must be a ChinchillaLaw without the term of overtraining, whose optima are power laws")
        flops, n, d, _ = self.observed
        found = []
        for one in self.budgets:
            if one.inside:
                rows = flops == one.train_flops
                found.append(Parabola(n[rows], d[rows]).vertex(np.asarray(law.value(n[rows], d[rows]))))
        log_c = np.log([one.train_flops for one in self.budgets if one.inside])
        slopes = [float(line(log_c, np.array([one[place] for one in found]))[0]) for place in (0, 1)]
        return replace(self, law=law, expected=(slopes[0], slopes[1]) if np.isfinite(slopes).all() else None)

    def headline(self) -> str:
        """The exponents."""
        return f"N ~ C^{self.n_params.exponent:.3f}, D ~ C^{self.n_tokens.exponent:.3f}, {len(self.budgets)} budgets"

    def summary(self) -> str:
        """Minima, and exponents beside the law's, as tables of at most 80 columns."""
        low, high = self.budgets[0].train_flops, self.budgets[-1].train_flops
        level = f"{100 * self.confidence_level:g}% interval"
        lines = [
            f"IsoFLOP minima (Approach 2): {self.observed.shape[1]} checkpoints, {len(self.budgets)} budgets, "
            f"{format_flops(low)} to {format_flops(high)} FLOP",
            "",
        ]
        table = [["  budget", "sizes", "from", "to", "best N", level, "best D", "loss", ""]]
        for one in self.budgets:
            inside = "" if one.inside else "no minimum" if np.isnan(one.n_params) else "outside"
            table.append(
                [f"  {format_flops(one.train_flops)}", str(one.n_sizes), *map(format_quantity, one.sizes),
                 *(_count(value) for value in (one.n_params,)), _pair(one.interval, format_quantity),
                 _count(one.n_tokens), "-" if np.isnan(one.loss) else f"{one.loss:.4f}", inside]
            )  # fmt: skip
        lines += [*aligned(table, left=(8,)), ""]
        head = ["  exponent of C", "minima", level]
        if self.law is not None:
            head += ["law", level, "law by minima"]
        table = [head]
        for row in self.rows():
            cells = [f"  {row['quantity']}", f"{row['exponent']:.4f}", _pair(_ends(row, ""), "{:.4f}".format)]
            if self.law is not None:
                expected = row["expected"]
                cells += [f"{row['law_exponent']:.4f}", _pair(_ends(row, "law_"), "{:.4f}".format)]
                cells.append("-" if expected is None else f"{expected:.4f}")
            table.append(cells)
        lines += aligned(table, left=(0,))
        return "\n".join([*lines, *warning_lines(self.warnings, "  ")])

    def rows(self) -> list[dict[str, Any]]:
        """A row for N and one for D: the minima's exponent with its interval, and the law's beside it."""
        laws = self.law_exponents or (None, None)
        drawn = None if self.law is None else _law_intervals(self.law, self.confidence_level)
        rows = []
        for place, (name, found) in enumerate((("n_params", self.n_params), ("n_tokens", self.n_tokens))):
            low, high = found.interval or (None, None)
            law_low, law_high = drawn[place] if drawn else (None, None)
            rows.append(
                {
                    "quantity": name,
                    "coefficient": found.coefficient,
                    "exponent": found.exponent,
                    "low": low,
                    "high": high,
                    "law_exponent": laws[place],
                    "law_low": law_low,
                    "law_high": law_high,
                    "expected": None if self.expected is None else self.expected[place],
                }
            )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Budgets and exponents as JSON data."""
        budgets = []
        for one in self.budgets:
            known = not np.isnan(one.n_params)
            budgets.append(
                {
                    "train_flops": one.train_flops,
                    "n_rows": one.n_rows,
                    "n_sizes": one.n_sizes,
                    "sizes": list(one.sizes),
                    "parabola": list(one.parabola),
                    "n_params": one.n_params if known else None,
                    "n_tokens": one.n_tokens if known else None,
                    "loss": one.loss if known else None,
                    "interval": None if one.interval is None else list(one.interval),
                    "inside": one.inside,
                }
            )
        return {
            "schema": "t2fast.isoflop_minima/1",
            "budgets": budgets,
            "exponents": self.rows(),
            "residual": None if np.isnan(self.residual) else self.residual,
            "confidence_level": self.confidence_level,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "warnings": list(self.warnings),
        }


def _law_intervals(law: ChinchillaLaw, level: float) -> tuple[Interval, Interval] | None:
    draws = law.uncertainty.get("draws") or {}
    if not ("alpha" in draws and "beta" in draws):
        return None
    alpha, beta = (np.asarray(draws[name], dtype=np.float64) for name in ("alpha", "beta"))
    tails = [0.5 * (1 - level), 0.5 * (1 + level)]
    n, d = (np.quantile(one, tails) for one in (beta / (alpha + beta), alpha / (alpha + beta)))
    return (float(n[0]), float(n[1])), (float(d[0]), float(d[1]))


def _count(value: float) -> str:
    return "-" if np.isnan(value) else format_quantity(value)


def _ends(row: dict[str, Any], prefix: str) -> Interval | None:
    low, high = row[f"{prefix}low"], row[f"{prefix}high"]
    return None if low is None else (low, high)


def _pair(interval: Interval | None, write: Any) -> str:
    return "-" if interval is None else f"{write(interval[0])} to {write(interval[1])}"
