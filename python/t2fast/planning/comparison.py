"""Given designs side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from t2fast.arguments import items, number, shown
from t2fast.costs import Budget, Family, Hardware, Workload, load_family
from t2fast.errors import InfeasibleError, T2Error
from t2fast.laws import Fitted, Law, as_law, under_rule
from t2fast.planning.design import Design, Interval, Point, cautions
from t2fast.planning.evidence import ceiling_warning, intervals
from t2fast.planning.lattice import designs_at
from t2fast.planning.words import cells, costs_of, interval_words, law_name, result_names, rule_data, rule_lines
from t2fast.quantity import format_quantity
from t2fast.results import Result
from t2fast.rules import Rule
from t2fast.text import WIDTH, columns, warning_lines

__all__ = ["BreakEven", "DesignComparison", "compare"]


@dataclass(frozen=True)
class BreakEven:
    """When a design costs less in total than another, training included.

    Attributes
    ----------
    cheaper
        ``"from"`` or ``"below"`` the number of queries, ``"always"``, ``"never"``, or ``"equal"``.
    queries
        The number at which both cost the same; ``None`` where there is none.

    Examples
    --------
    >>> str(BreakEven("below", 3e9))
    'below 3B'
    """

    cheaper: str
    queries: float | None = None

    def __str__(self) -> str:
        """The two in words."""
        return self.cheaper if self.queries is None else f"{self.cheaper} {format_quantity(self.queries)}"


@dataclass(frozen=True, repr=False)
class DesignComparison(Result):
    """Given designs side by side.

    Attributes
    ----------
    law, workload
        What they were evaluated with.
    designs
        In the order given.
    break_even
        For each design, against the first: from or below how many queries it costs less in total, training included.
    family
        The shape that the models are taken to have.

    Examples
    --------
    >>> found = compare("pythia-gsm8k", [(70e6, 300e9, 900), (500e6, 30e9, 138)])
    >>> [design.k for design in found.designs]
    [900.0, 138.0]
    >>> [round(n / 1e6) for n in found.multiplying_params]
    [47, 433]
    """

    law: Law
    workload: Workload
    designs: tuple[Design, ...]
    break_even: tuple[BreakEven, ...]
    family: Family

    @cached_property
    def multiplying_params(self) -> tuple[float, ...]:
        """Parameters of each design that multiply: all but the input embedding, which is a look-up."""
        return tuple(self.family.architecture(design.n_params).multiplying_params for design in self.designs)

    @cached_property
    def kv_gigabytes(self) -> tuple[float, ...]:
        """Keys and values that decoding one problem's k samples reads in each design, 2 bytes each number, GB.

        A sample reads its prompt (all samples together once, where they share it) and on average half of its answer.
        """
        use = self.workload
        found = []
        for design in self.designs:
            samples = 1.0 if use.prompt == "shared" else design.k
            tokens = use.answer_tokens * (samples * use.prompt_tokens + design.k * 0.5 * use.answer_tokens)
            found.append(tokens * self.family.architecture(design.n_params).kv_bytes(2.0) / 1e9)
        return tuple(found)

    @cached_property
    def intervals(self) -> tuple[Interval | None, ...]:
        """The 90% predictive interval of each design's result; ``None`` for each by a law without draws."""
        return tuple(intervals(self.law, Budget(workload=self.workload), self.designs))

    @cached_property
    def ceilings(self) -> tuple[str, ...]:
        """What the law cannot say at the k of these designs, however large the model."""
        found = (ceiling_warning(self.law, k) for k in sorted({design.k for design in self.designs}))
        return tuple(line for line in found if line is not None)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the law cannot say first, then how far each design extrapolates, and the law's own warnings."""
        lines = []
        if self.law.data_range is None:
            lines = cautions(self.law, self.designs[0])
        else:
            for place, design in enumerate(self.designs, 1):
                lines += cautions(self.law, design, f"design {place}")
        return (*self.ceilings, *lines, *self.law.warnings)

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON data."""
        rows = []
        for place, (design, ends, even) in enumerate(zip(self.designs, self.intervals, self.break_even, strict=True)):
            beyond = design.extrapolation(self.law)
            rows.append(
                design.to_dict()
                | {
                    "multiplying_params": self.multiplying_params[place],
                    "kv_gigabytes": self.kv_gigabytes[place],
                    "interval": None if ends is None else list(ends),
                    "break_even": asdict(even),
                    "extrapolation": None if beyond is None else asdict(beyond),
                }
            )
        return {
            "law": self.law.name or self.law.pass_law.to_dict(),
            "workload": asdict(self.workload),
            **rule_data(self.law),
            "designs": rows,
            "warnings": list(self.warnings),
        }

    def summary(self) -> str:
        """The designs as a table within 80 columns."""
        known = any(ends is not None for ends in self.intervals)
        made = [["", "N", "D", "k", "D/N", *result_names(self.law), *(["90% interval"] if known else [])]]
        spent = [["train", "infer", "break-even"]]
        for place, (design, ends, even) in enumerate(
            zip(self.designs, self.intervals, self.break_even, strict=True), 1
        ):
            interval = [interval_words(ends)] if known else []
            made.append([str(place), *cells(design), *interval])
            spent.append([*costs_of(design), "-" if place == 1 else str(even)])
        unit = "FLOP" if self.designs[0].train_dollars is None else "dollars"
        lines = [f"Law {law_name(self.law)}; costs in {unit}", *rule_lines(self.law), ""]
        if self.ceilings:
            lines += [*warning_lines(self.ceilings), ""]
        table = columns([[*one, *other] for one, other in zip(made, spent, strict=True)], left=(len(made[0]) + 2,))
        if max(map(len, table)) > WIDTH:
            # Two tables, side by side no longer.
            costs = [[one[0], one[1], *other] for one, other in zip(made, spent, strict=True)]
            table = [*columns(made), "", *columns(costs, left=(0, 4))]
        lines += [*table, ""]
        lines += ["break-even: queries from (or below) which a design costs less in total than 1", ""]
        if self.workload.attention is not None or self.designs[0].train_dollars is not None:
            lines += [*self._sizes(), ""]
        return "\n".join([*lines, *warning_lines(self.warnings[len(self.ceilings) :])]).rstrip()

    def _sizes(self) -> list[str]:
        """What 2N does not say: parameters that multiply, and the bytes of attention."""
        rows = [["", "N", "of these multiply", "", "KV read per problem"]]
        for place, design in enumerate(self.designs):
            part, read = self.multiplying_params[place], self.kv_gigabytes[place]
            share = f"{part / design.n_params:.0%}"
            rows.append(
                [str(place + 1), format_quantity(design.n_params), format_quantity(part), share, f"{read:.3g} GB"]
            )
        return [f"in the shape of {self.family.name or 'the family'}:", *columns(rows)]

    def headline(self) -> str:
        """How many designs, and by which law."""
        return f"{len(self.designs)} designs; law {law_name(self.law)}"

    def rows(self) -> list[dict[str, Any]]:
        """The designs, a row each, with when each costs less than the first."""
        return [
            design.to_dict() | {"multiplying_params": part, "kv_gigabytes": read, "break_even": str(even)}
            for design, part, read, even in zip(
                self.designs, self.multiplying_params, self.kv_gigabytes, self.break_even, strict=True
            )
        ]


def compare(
    law: Law | str | Path | Fitted,
    designs: Sequence[Point | Design | Sequence[float]],
    workload: Workload | None = None,
    hardware: Hardware | None = None,
    *,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
) -> DesignComparison:
    """Evaluate given designs (N, D, k) side by side: prediction, costs, and when each costs less than the first.

    Parameters
    ----------
    law
        As for :func:`plan`.
    designs
        Each a :class:`Point`, a :class:`Design`, or (n_params, n_tokens, k).
    workload
        What inference costs are counted over; the T2 paper's unit by default.
    hardware
        A card, its price and the models' shape: costs are then dollars.
    rule, wrong_cost, stop_on_success
        How one answer will be chosen from the k samples, as for :func:`plan`.

    Raises
    ------
    T2Error
        Without designs, or for one with a number out of range.

    Examples
    --------
    >>> found = compare("pythia-gsm8k", [Point(70e6, 300e9, 900), Point(500e6, 30e9, 138)])
    >>> [str(even) for even in found.break_even]
    ['equal', 'below 3B']
    """
    law = under_rule(as_law(law), rule, wrong_cost, stop_on_success)
    designs = items("designs", designs, "(n_params, n_tokens, k)")
    if not designs:
        raise T2Error("designs is empty: give at least one (n_params, n_tokens, k)")
    workload = workload or Workload()
    points = [_point(design, place) for place, design in enumerate(designs, 1)]
    budget = Budget(workload=workload, hardware=hardware)
    for place, point in enumerate(points, 1):
        if math.isinf(budget._handle.inference_cost(point.n_params, point.k)):
            raise InfeasibleError(
                f"design {place}: N = {format_quantity(point.n_params)} does not fit the card: use more cards "
                "(tensor_parallel), a smaller format (dtype), or shorter prompts and answers"
            )
    found = tuple(designs_at(law, budget, points))
    even = tuple(_break_even(design, found[0], workload.queries) for design in found)
    family = load_family("pythia") if hardware is None else hardware.shapes
    return DesignComparison(law, workload, found, even, family)


def _point(design: Point | Design | Sequence[float], place: int) -> Point:
    if isinstance(design, Design):
        return Point(design.n_params, design.n_tokens, design.k)
    if not isinstance(design, Sequence) or isinstance(design, str) or len(design) != 3:
        raise T2Error(f"design {place} = {shown(design)}: must be (n_params, n_tokens, k)")
    point = Point(*(number(f"design {place}, {name}", x) for name, x in zip(Point._fields, design, strict=True)))
    if point.k < 1:
        # Silence is chosen by plans, where wrong answers have a price; as a wish it is a slip.
        raise T2Error(f"design {place}, k = {point.k:g}: must be finite and at least 1")
    return point


def _break_even(design: Design, other: Design, queries: float) -> BreakEven:
    dearer = design.costs[0] - other.costs[0]
    saved = (other.costs[1] - design.costs[1]) / queries
    if dearer == saved == 0:
        return BreakEven("equal")
    if dearer <= 0 <= saved:
        return BreakEven("always")
    if saved <= 0 <= dearer:
        return BreakEven("never")
    return BreakEven("from" if saved > 0 else "below", dearer / saved)
