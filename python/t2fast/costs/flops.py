"""What training and sampling cost in floating-point operations (FLOP), and what may be spent.

========== ====================================================== =================================================
cost       formula                                                unit
========== ====================================================== =================================================
training   ``6 N D``                                              FLOP
inference  ``Q (2 N T_in + k 2 N T_out)``                         FLOP over the workload: Q questions, T_in prompt
                                                                  and T_out answer tokens; k samples share a prompt
attention  ``6 w T`` per training token of a context T,           FLOP, on request; ``w = n_layers d_model`` from
           ``2 w T_in^2`` per prompt,                             ``N = 12 n_layers d_model^2`` and the aspect ratio
           ``4 w T_out (T_in + T_out / 2)`` per answer            ``d_model / n_layers`` (Kaplan et al. 2020, table 1)
========== ====================================================== =================================================

The default workload, one question without a prompt and an answer of one token, is the unit of the T2 paper
(arXiv 2604.01411): ``2 N k`` FLOP per generated token position. N counts what the law counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from itertools import product
from typing import Any

from t2fast import _core
from t2fast.arguments import choice, items, number, shown
from t2fast.costs.money import PUE, Hardware
from t2fast.errors import T2Error
from t2fast.quantity import refuse_non_numbers

__all__ = ["PROMPTS", "Attention", "Budget", "Workload", "inference_flops", "train_flops"]

#: Numbers of a budget that are FLOP, and those that are money.
FLOPS = ("train_flops", "inference_flops", "total_flops")
MONEY = ("train_dollars", "train_gpu_hours", "dollars_per_question", "total_dollars")

#: How the samples of a problem can treat its prompt.
PROMPTS = ("recomputed", "cached", "shared")


def _knob(text: str, default: Any = None) -> Any:
    """A number that a user may set, with the words by which the command line offers it."""
    return field(default=default, metadata={"help": text})


def _word(text: str, default: Any = None) -> Any:
    """The same for a name."""
    return field(default=default, metadata={"help": text, "word": True})


@dataclass(frozen=True)
class Attention:
    """Attention terms that ``6 N D`` and ``2 N`` leave out.

    Parameters
    ----------
    aspect_ratio
        d_model / n_layers of the models considered.
    train_context
        Tokens per training sequence; causal attention sees half of them on average.

    Examples
    --------
    >>> Workload(attention=Attention(aspect_ratio=64)).attention.train_context
    2048.0
    """

    aspect_ratio: float = _knob("d_model / n_layers, for --attention.", 128.0)
    train_context: float = _knob("Training sequence length, for --attention.", 2048.0)


@dataclass(frozen=True)
class Workload:
    """How the model will be used over its life.

    Parameters
    ----------
    queries
        Problems over the life of the model, Q.
    prompt_tokens
        Tokens of each problem's prompt, T_in.
    answer_tokens
        Tokens of each sampled answer, T_out.
    prompt
        How the prompt of a problem is treated: ``"recomputed"`` for each sample; ``"cached"``, processed once and read
        by each sample; ``"shared"``, processed once and read once for all k. Operations are the same in the last two,
        seconds and bytes are not.
    attention
        Count attention too.

    Examples
    --------
    >>> Workload(queries=1e6, prompt_tokens=500, answer_tokens=300).answer_tokens
    300
    """

    queries: float = _knob("Problems over the model's life.", 1.0)
    prompt_tokens: float = _knob("Tokens of each prompt.", 0.0)
    answer_tokens: float = _knob("Tokens of each sampled answer.", 1.0)
    prompt: str = _word("How samples treat their prompt: recomputed, cached, or shared (read once for all).", "shared")
    attention: Attention | None = None

    def __post_init__(self) -> None:
        choice("prompt", self.prompt, PROMPTS)


@dataclass(frozen=True)
class Budget:
    """What may be spent, on what use, within which bounds.

    Parameters
    ----------
    train_flops
        FLOP of training, ``6 N D`` and attention if counted.
    inference_flops
        FLOP of inference over the workload; with the default workload, ``2 N k`` per generated token position.
    total_flops
        FLOP of both together over the model's life.
    workload
        How the model will be used.
    max_params, max_tokens, max_k
        Upper bounds on N, D (repeats included) and k.
    max_tokens_per_param
        Upper bound on D / N; laws are rarely measured far beyond a few hundred.
    train_dollars, train_gpu_hours
        Dollars, or card-hours, of training.
    dollars_per_question
        Dollars of inference for each of the workload's queries.
    total_dollars
        Dollars of training and of inference over the workload.
    max_seconds, max_watt_hours
        Caps on the seconds from a question to its last answer, and on its energy.
    hardware
        The card, its price and the shape of the models; with dollars or caps and without it, an H100 at its default
        price. A budget counts FLOP or dollars, not both.
    unique_tokens
        Tokens that exist: D beyond these are repeats and are discounted after Muennighoff et al. 2023.

    Raises
    ------
    T2Error
        For a number that is not positive and finite.

    Examples
    --------
    >>> Budget(train_flops=1e22, inference_flops=1.4e11).to_dict()
    {'train_flops': 1e+22, 'inference_flops': 140000000000.0}
    """

    train_flops: float | None = _knob("FLOP of training, 6ND.")
    inference_flops: float | None = _knob("FLOP of inference; 2Nk per generated token by default.")
    total_flops: float | None = _knob("FLOP of training and inference together.")
    train_dollars: float | None = _knob("Dollars of training.")
    train_gpu_hours: float | None = _knob("Card-hours of training.")
    dollars_per_question: float | None = _knob("Dollars of inference for each problem.")
    total_dollars: float | None = _knob("Dollars of training and inference over the model's life.")
    workload: Workload = field(default_factory=Workload)
    hardware: Hardware | None = None
    max_seconds: float | None = _knob("The most seconds from a question to its last answer.")
    max_watt_hours: float | None = _knob("The most watt-hours for each problem.")
    max_params: float | None = _knob("Largest N.")
    max_tokens: float | None = _knob("Largest D, repeats included.")
    max_k: float | None = _knob("Largest k.")
    max_tokens_per_param: float | None = _knob("Largest D / N.")
    unique_tokens: float | None = _knob("Tokens that exist; repeats of them count for less.")

    def __post_init__(self) -> None:
        money = any(getattr(self, name) is not None for name in MONEY)
        if money or self.max_seconds is not None or self.max_watt_hours is not None:
            flops = [name for name in FLOPS if getattr(self, name) is not None]
            if flops:
                raise T2Error(
                    f"{flops[0]}: a budget counts FLOP or dollars (with caps on seconds and energy), not both"
                )
            if self.hardware is None:
                object.__setattr__(self, "hardware", Hardware())
        if self.hardware is not None:
            if not isinstance(self.hardware, Hardware):
                raise T2Error(f"hardware = {shown(self.hardware)}: must be a t2fast.costs.Hardware")
            for name in (*MONEY, "max_seconds", "max_watt_hours"):
                if getattr(self, name) is not None:
                    number(name, getattr(self, name), low=0, low_open=True)
        _ = self._handle  # checks the numbers

    @property
    def in_dollars(self) -> bool:
        """Whether costs are dollars, and not FLOP."""
        return self.hardware is not None

    @property
    def train_limit(self) -> float | None:
        """The most that training may cost, in the budget's unit."""
        return self._limits[0]

    @property
    def inference_limit(self) -> float | None:
        """The most that inference over the workload may cost, in the budget's unit."""
        return self._limits[1]

    @property
    def total_limit(self) -> float | None:
        """The most that both together may cost, in the budget's unit."""
        return self._limits[2]

    @property
    def _limits(self) -> list[float | None]:
        if self.hardware is None:
            return [self.train_flops, self.inference_flops, self.total_flops]
        price, watts = self.hardware.dollars_per_second, self.hardware.card.watts * PUE

        def least(*limits: float | None) -> float | None:
            return min((limit for limit in limits if limit is not None), default=None)

        hours = None if self.train_gpu_hours is None else self.train_gpu_hours * 3600 * price
        energy = None if self.max_watt_hours is None else self.max_watt_hours * 3600 / watts * price
        question = least(self.dollars_per_question, energy)
        return [
            least(self.train_dollars, hours),
            None if question is None else question * self.workload.queries,
            self.total_dollars,
        ]

    @property
    def _money(self) -> tuple[_core.Roofline, _core.Family, float] | None:
        use = self.hardware
        return None if use is None else (use.machine(self.max_seconds), use.shapes._handle, use.dollars_per_second)

    @cached_property
    def _handle(self) -> _core.Budget:
        try:
            return _core.Budget(self)
        except TypeError as error:
            numbers = {item.name: getattr(self, item.name) for item in fields(self)}
            workload = numbers.pop("workload")
            del numbers["hardware"]
            if not isinstance(workload, Workload):
                raise T2Error(f"workload = {shown(workload)}: must be a t2fast.Workload") from None
            numbers |= {item.name: getattr(workload, item.name) for item in fields(workload)}
            attention = numbers.pop("attention", None)
            numbers.pop("prompt", None)
            if not isinstance(attention, Attention | None):
                raise T2Error(f"attention = {shown(attention)}: must be a t2fast.Attention, or None") from None
            refuse_non_numbers(**numbers)
            for item in fields(attention) if attention else ():
                # Unlike limits, these cannot be left open.
                value = getattr(attention, item.name)
                refuse_non_numbers(**{item.name: "None" if value is None else value})
            raise T2Error(f"budget: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def sweep(self, **values: Sequence[float]) -> list[Budget]:
        """This budget with some of its numbers varied: one for every combination, the last varying fastest.

        Examples
        --------
        >>> len(Budget(inference_flops=1.4e11).sweep(train_flops=[1e20, 1e21, 1e22]))
        3

        Raises
        ------
        T2Error
            For a name that is no number of a budget.
        """
        for name in values:
            if name not in self.__dataclass_fields__:
                raise T2Error(f"{name}: a budget has no such number; it has {', '.join(self.__dataclass_fields__)}")
        axes = [items(name, value, "numbers") for name, value in values.items()]
        points: list[dict[str, Any]] = [dict(zip(values, point, strict=True)) for point in product(*axes)]
        return [replace(self, **point) for point in points]

    def to_dict(self) -> dict[str, Any]:
        """The budget as JSON data; what is not limited is left out."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        data = {name: value for name, value in given.items() if value is not None}
        data["workload"] = asdict(self.workload)
        if self.hardware is not None:
            data["hardware"] = self.hardware.to_dict()
        if self.workload == Workload():
            del data["workload"]
        return data


def as_budget(budget: object) -> Budget:
    """The budget itself, or an error that says what was given instead.

    Raises
    ------
    T2Error
        For anything but a :class:`Budget`.

    Examples
    --------
    >>> as_budget(Budget(train_flops=1e22)).train_flops
    1e+22
    """
    if not isinstance(budget, Budget):
        raise T2Error(f"budget = {shown(budget)}: must be a t2fast.Budget, for example t2.Budget(train_flops=1e22)")
    return budget


def train_flops(n_params: float, n_tokens: float, workload: Workload | None = None) -> float:
    """FLOP of training N parameters on D tokens: ``6 N D``, plus attention if the workload counts it.

    Examples
    --------
    >>> f"{train_flops(70e9, 1.4e12):.3g}"
    '5.88e+23'
    """
    return Budget(workload=workload or Workload())._handle.train_flops(n_params, n_tokens)


def inference_flops(n_params: float, k: float, workload: Workload | None = None) -> float:
    """FLOP of drawing k samples per question with N parameters over a workload: ``Q (2 N T_in + k 2 N T_out)``.

    Examples
    --------
    >>> inference_flops(1e9, 10)
    20000000000.0
    """
    return Budget(workload=workload or Workload())._handle.inference_flops(n_params, k)
