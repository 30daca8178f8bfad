"""What the planner's figures share: labels, and the marks of what lies beyond the data behind a law."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from t2fast.costs import Budget
from t2fast.laws import DataRange, Law, RuledLaw
from t2fast.planning.design import Design
from t2fast.planning.words import dollars, law_name, result_name, rule_lines
from t2fast.plots import canvas
from t2fast.quantity import format_flops, format_quantity

Floats = NDArray[np.float64]
Name = Literal["n_params", "n_tokens", "k"]

NAMES: tuple[Name, ...] = ("n_tokens", "n_params", "k")
SYMBOLS = {"n_params": "N", "n_tokens": "D", "k": "k"}
#: Letters in a line of a title.
_TITLE = 54
LABELS = {"n_params": "parameters N", "n_tokens": "training tokens D", "k": "samples k"}


def result_label(law: Law) -> str:
    """The label of what a law predicts."""
    if isinstance(law, RuledLaw):
        # The title says what a wrong answer costs.
        return "right answers" if law.wrong_cost == 0 else "worth of answers"
    if law.predicts_pass:
        return result_name(law)
    return "loss (nats per token)" if law.kind == "chinchilla" else "mean −log pass@k (nats)"


def title(figure: Figure, law: Law, budget: str) -> None:
    """Write law, budget and rule above the axes."""
    rule = textwrap.wrap(" ".join(line.strip() for line in rule_lines(law)), _TITLE)
    figure.suptitle("\n".join([law_name(law), budget, *rule]), fontsize=8.5, x=0.02, ha="left")


def budget_words(budget: Budget) -> str:
    """What may be spent, in a few words."""
    costs = {"training": budget.train_limit, "inference": budget.inference_limit, "in total": budget.total_limit}
    said = [(cost, name) for name, cost in costs.items() if cost is not None]
    if budget.in_dollars:
        return ", ".join(f"{dollars(cost)} {name}" for cost, name in said) or "no dollar budget"
    return f"FLOP: {', '.join(f'{format_flops(cost)} {name}' for cost, name in said)}" if said else "no FLOP budget"


def sides(law: Law, design: Design) -> list[tuple[Name, bool]]:
    """Which of N, D and k lie beyond the data, and whether above."""
    beyond = design.extrapolation(law)
    if beyond is None:
        return []
    return [(name, getattr(beyond, name) > 1) for name in NAMES if getattr(beyond, name) != 1.0]


def data_end(data: DataRange, name: str, above: bool) -> float:
    """One end of the data."""
    low, high = getattr(data, name)
    return float(high if above else low)


def beyond_keys(law: Law, found: set[tuple[Name, bool]]) -> list[Patch]:
    """Legend entries for the hatched regions: one a quantity, naming the data's ends that are passed."""
    if law.data_range is None:
        return [canvas.note("range of the data behind this law: unknown")]
    keys = []
    for name in NAMES:
        ends = [
            f"{SYMBOLS[name]} {'>' if above else '<'} {format_quantity(data_end(law.data_range, name, above))}"
            for above in (False, True)
            if (name, above) in found
        ]
        if ends:
            keys.append(canvas.hatch_key(name, f"beyond the data: {' or '.join(ends)}"))
    return keys


def result_limits(axes: Axes, law: Law, curve: Sequence[float], marked: Sequence[float]) -> None:
    """Success rates from zero; losses near the best, because at the ends of a curve they shoot up."""
    if law.predicts_pass:
        # Below zero where a price is set on wrong answers; all zero where silence is best.
        low, high = min(0.0, *curve, *marked), max(*curve, *marked)
        axes.set_ylim(1.12 * low, 1.12 * high if high > 0 else 1.0)
        return
    low = min(*curve, *marked)
    high = max(*marked, float(np.quantile(curve, 0.8)))
    axes.set_ylim(low - 0.08 * (high - low), high + 0.12 * (high - low))


def split(axes: Axes, x: Floats, y: Floats, beyond: NDArray[np.bool_], **kind: Any) -> None:
    """Draw a line, thinner and dotted where it lies beyond the data."""
    # A stretch between two points counts as inside when both are.
    stretch = beyond[:-1] | beyond[1:]
    inner, outer = np.full((len(x), 2), np.nan), np.full((len(x), 2), np.nan)
    for part, chosen in ((inner, ~stretch), (outer, stretch)):
        for i in np.flatnonzero(chosen):
            part[i : i + 2] = np.column_stack([x, y])[i : i + 2]
    if np.isfinite(inner).any():
        axes.plot(inner[:, 0], inner[:, 1], **kind)
    if np.isfinite(outer).any():
        axes.plot(outer[:, 0], outer[:, 1], **kind | {"linestyle": ":", "linewidth": 1.2, "gid": "beyond"})


def outside(law: Law, designs: Sequence[Design]) -> NDArray[np.bool_]:
    """Which designs lie beyond the data."""
    return np.array([bool(sides(law, design)) for design in designs], dtype=np.bool_)


def shades(count: int) -> list[str]:
    """Colours that rise in lightness, dark first, distinct in grey too."""
    return [to_hex(matplotlib.colormaps["viridis"](0.85 * i / max(1, count - 1))) for i in range(count)]


def budget_labels(budgets: Sequence[Budget], without: tuple[str, ...]) -> list[str]:
    """Say what tells budgets apart; of a single one its inference budget."""
    rows = [{k: v for k, v in vars(budget).items() if k in Budget.__dataclass_fields__} for budget in budgets]
    varying = [key for key in rows[0] if key not in without and any(row[key] != rows[0][key] for row in rows)]
    if not varying:
        varying = [key for key in ("inference_flops", "dollars_per_question") if rows[0][key] is not None]
    names = {
        "train_flops": "training", "inference_flops": "inference", "total_flops": "in total", "max_params": "most N",
        "max_tokens": "most D", "max_k": "most k", "unique_tokens": "unique tokens",
        "train_dollars": "training", "dollars_per_question": "per question", "total_dollars": "in total",
        "train_gpu_hours": "card-hours", "max_seconds": "seconds", "max_watt_hours": "Wh",
    }  # fmt: skip

    def words(key: str, value: Any) -> str:
        if key == "workload":
            prompt, answer = (format_quantity(x) for x in (value.prompt_tokens, value.answer_tokens))
            return f"{format_quantity(value.queries)} queries of {prompt} + {answer} tokens"
        if value is None:
            return f"{names.get(key, key)} unlimited"
        if "dollars" in key:
            names_of = {
                "train_dollars": "training",
                "dollars_per_question": "per question",
                "total_dollars": "in total",
            }
            return f"{dollars(value)} {names_of[key]}"
        if key.endswith("flops"):
            return f"{format_flops(value)} FLOP {names[key]}"
        return f"{names.get(key, key)} {format_quantity(value) if isinstance(value, float | int) else value.to_dict()}"

    return [", ".join(words(key, row[key]) for key in varying) for row in rows]
