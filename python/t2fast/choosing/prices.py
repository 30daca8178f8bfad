"""What samples of existing models cost: from prices per token, per sample, or in FLOP."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from t2fast import arguments
from t2fast.costs import cost, inference_flops
from t2fast.data.deciding import OneRule, is_named
from t2fast.errors import DataError, T2Error
from t2fast.files import check_input
from t2fast.quantity import parse_quantity

__all__ = ["Price", "PromptBilling", "read_prices"]

#: How often the prompt of a question is paid for.
PromptBilling = Literal["once", "per_sample"]

#: What a column of a price list can be, with the names it goes by.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "model": ("model", "name", "model_name"),
    "input_dollars": ("input_dollars", "input", "input_price", "input_dollars_per_million", "prompt_dollars"),
    "output_dollars": ("output_dollars", "output", "output_price", "output_dollars_per_million", "completion_dollars"),
    "input_tokens": ("input_tokens", "prompt_tokens"),
    "output_tokens": ("output_tokens", "completion_tokens"),
    "prompt_billed": ("prompt_billed",),
    "dollars_per_sample": ("dollars_per_sample",),
    "dollars_per_question": ("dollars_per_question",),
}


@dataclass(frozen=True)
class Price:
    """What k samples of one question cost: ``fixed + k per_sample``.

    Parameters
    ----------
    fixed
        Paid once per question, in ``unit``; at least 0.
    per_sample
        Paid for each sample; above 0.
    unit
        ``"dollars"`` or ``"flops"``.

    Examples
    --------
    >>> price = Price.of_tokens(input_dollars=0.5, output_dollars=1.5, input_tokens=1000, output_tokens=200)
    >>> price.of(10)
    0.008
    >>> price.most_samples(0.002)
    2
    """

    fixed: float
    per_sample: float
    unit: str = "dollars"

    def __post_init__(self) -> None:
        arguments.number("fixed", self.fixed, low=0)
        arguments.number("per_sample", self.per_sample, low=0, low_open=True)
        arguments.choice("unit", self.unit, ("dollars", "flops"))

    @staticmethod
    def of_tokens(
        *,
        input_dollars: float,
        output_dollars: float,
        input_tokens: float,
        output_tokens: float,
        prompt_billed: PromptBilling = "per_sample",
    ) -> Price:
        """The price of an API that bills tokens.

        Parameters
        ----------
        input_dollars, output_dollars
            Dollars per million tokens of the prompt and of the answer.
        input_tokens, output_tokens
            Tokens of a prompt and of one sample, on average over the problems.
        prompt_billed
            ``"per_sample"`` where each sample is a request of its own; ``"once"`` where all samples of a question are
            one request.

        Raises
        ------
        T2Error
            For negative numbers, or a price of 0.

        Examples
        --------
        >>> price = Price.of_tokens(
        ...     input_dollars=1, output_dollars=2, input_tokens=500, output_tokens=100, prompt_billed="once"
        ... )
        >>> price
        Price(fixed=0.0005, per_sample=0.0002, unit='dollars')
        """
        prompt = arguments.number("input_dollars", input_dollars, low=0)
        prompt *= arguments.number("input_tokens", input_tokens, low=0) / 1e6
        answer = arguments.number("output_dollars", output_dollars, low=0)
        answer *= arguments.number("output_tokens", output_tokens, low=0) / 1e6
        if arguments.choice("prompt_billed", prompt_billed, ("once", "per_sample")) == "once":
            return Price(prompt, answer)
        return Price(0.0, prompt + answer)

    @staticmethod
    def of_flops(
        n_params: float, *, input_tokens: float, output_tokens: float, prompt_billed: PromptBilling = "per_sample"
    ) -> Price:
        """The price in FLOP of sampling a dense model: 2N for each token.

        Parameters
        ----------
        n_params
            Parameters of the model.
        input_tokens, output_tokens, prompt_billed
            As in :meth:`of_tokens`; ``"once"`` where the prompt is computed once for all samples.

        Examples
        --------
        >>> Price.of_flops(1e9, input_tokens=0, output_tokens=100)
        Price(fixed=0.0, per_sample=200000000000.0, unit='flops')
        """
        token = inference_flops(arguments.number("n_params", n_params, low=0, low_open=True), 1)
        prompt = token * arguments.number("input_tokens", input_tokens, low=0)
        answer = token * arguments.number("output_tokens", output_tokens, low=0, low_open=True)
        if arguments.choice("prompt_billed", prompt_billed, ("once", "per_sample")) == "once":
            return Price(prompt, answer, "flops")
        return Price(0.0, prompt + answer, "flops")

    @staticmethod
    def of_card(
        model: str | float,
        *,
        gpu: str = "h100",
        dollars_per_hour: float | None = None,
        input_tokens: float,
        output_tokens: float,
        prompt: str = "shared",
    ) -> Price:
        """The price of sampling on a card of your own, by the model of :func:`t2fast.costs.cost`.

        Parameters
        ----------
        model
            A size in parameters, or the name of an architecture.
        gpu, dollars_per_hour
            The card, and what an hour of it costs; the card's own price by default.
        input_tokens, output_tokens
            As in :meth:`of_tokens`.
        prompt
            ``"shared"``, ``"cached"`` or ``"recomputed"``, as in :func:`t2fast.costs.cost`.

        Raises
        ------
        T2Error
            As :func:`t2fast.costs.cost` raises.

        Notes
        -----
        Dollars are those of 1 and of 64 samples, and a straight line through both.

        Examples
        --------
        >>> small, large = (
        ...     Price.of_card(n, dollars_per_hour=2.5, input_tokens=400, output_tokens=250) for n in (1e9, 8e9)
        ... )
        >>> small.of(16) < large.of(16)
        True
        """
        one, many = (
            cost(model, gpu=gpu, price=dollars_per_hour, prompt_tokens=input_tokens, answer_tokens=output_tokens, k=k,
                 prompt=prompt).question.dollars
            for k in (1, 64)
        )  # fmt: skip
        per_sample = (many - one) / 63
        # Where the prompt is computed for every sample, what is left for the question is rounding.
        return Price(max(0.0, one - per_sample), per_sample)

    def of(self, k: float) -> float:
        """What k samples of one question cost, in ``unit``."""
        return self.fixed + k * self.per_sample

    def most_samples(self, budget: float) -> int:
        """The most samples of one question that a budget pays for; 0 where it pays for none."""
        # A hair more than was given, so that a budget of exactly k samples pays for k.
        return max(0, math.floor((budget - self.fixed) / self.per_sample * (1 + 1e-12) + 1e-9))


def read_prices(
    path: str | Path,
    *,
    input_tokens: float | None = None,
    output_tokens: float | None = None,
    prompt_billed: PromptBilling = "per_sample",
) -> dict[str, Price]:
    r"""Read a price list: a CSV file with a row per model.

    Parameters
    ----------
    path
        Columns ``model``, and ``input_dollars`` and ``output_dollars`` per million tokens, with ``input_tokens`` and
        ``output_tokens`` of a prompt and a sample; or ``dollars_per_sample``, with ``dollars_per_question`` for what is
        paid once. ``prompt_billed`` (``once`` or ``per_sample``) may differ by row.
    input_tokens, output_tokens, prompt_billed
        Used where a row says nothing.

    Raises
    ------
    DataError
        For a missing file or column, a model named twice, rows that name different rules, or what is no price.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("prices.csv").write_text("model,input_dollars,output_dollars\nsmall,0.1,0.4\nlarge,$2,$8\n")
    >>> read_prices("prices.csv", input_tokens=100, output_tokens=50)["large"]
    Price(fixed=0.0, per_sample=0.0006000000000000001, unit='dollars')
    """
    place = arguments.path("prices", path)
    check_input(place, DataError)
    try:
        with place.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{place}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise DataError(f"{place}: needs a header line and a line per model")
    found = _roles([name.strip() for name in rows[0]], place)
    prices: dict[str, Price] = {}
    watch = OneRule("all models answer by one rule; give it with --select and drop the column", f"{place}: ")
    deciding = {name: at for at, name in enumerate(rows[0]) if is_named(name)}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise DataError(f"{place}: line {number} has {len(row)} cells, line 1 has {len(rows[0])}")
        cells = {role: row[at].strip() for role, at in found.items() if row[at].strip()}
        for name, at in deciding.items():
            watch.see(name, row[at], number)
        if "model" not in cells:
            raise DataError(f"{place}: line {number} names no model")
        if cells["model"] in prices:
            raise DataError(f"{place}: line {number} names {cells['model']!r} again: give one price per model")
        given = {"input_tokens": input_tokens, "output_tokens": output_tokens, "prompt_billed": prompt_billed}
        prices[cells["model"]] = _price(cells, given, f"{place}: line {number}")
    return prices


def _roles(names: list[str], place: Path) -> dict[str, int]:
    plain = [name.lower().replace(" ", "_").replace("-", "_") for name in names]
    found = {role: plain.index(name) for role, usual in _COLUMNS.items() for name in reversed(usual) if name in plain}
    if "model" not in found:
        raise DataError(f"{place}: no column model; it has {', '.join(names)}")
    if "dollars_per_sample" not in found and not {"input_dollars", "output_dollars"} <= found.keys():
        raise DataError(
            f"{place}: needs columns input_dollars and output_dollars (per million tokens), or dollars_per_sample; it "
            f"has {', '.join(names)}"
        )
    return found


def _price(cells: Mapping[str, str], given: Mapping[str, object], where: str) -> Price:
    def number(role: str) -> float:
        text = cells.get(role)
        value = parse_quantity(text.lstrip("$ "), role) if text else given.get(role)
        if value is None:
            flag = "--" + role.replace("_", "-")
            raise T2Error(f"{role} is missing: add the column, or give {flag} for all models")
        return arguments.number(role, value)

    try:
        if "dollars_per_sample" in cells:
            fixed = number("dollars_per_question") if "dollars_per_question" in cells else 0.0
            return Price(fixed, number("dollars_per_sample"))
        billed = cells.get("prompt_billed", given["prompt_billed"])
        return Price.of_tokens(
            **{role: number(role) for role in ("input_dollars", "output_dollars", "input_tokens", "output_tokens")},
            prompt_billed=billed,  # type: ignore[arg-type]
        )
    except T2Error as error:
        raise DataError(f"{where}: {error}") from None
