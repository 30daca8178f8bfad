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
from t2fast.arguments import choice, items, shown
from t2fast.errors import T2Error
from t2fast.quantity import refuse_non_numbers

__all__ = ["PROMPTS", "Attention", "Budget", "Workload", "inference_flops", "train_flops"]

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
    unique_tokens
        Tokens that exist: D beyond these are repeats and are discounted after Muennighoff et al. 2023.

    Raises
    ------
    T2Error
        For a number that is not positive and finite.
    """

    train_flops: float | None = _knob("FLOP of training, 6ND.")
    inference_flops: float | None = _knob("FLOP of inference; 2Nk per generated token by default.")
    total_flops: float | None = _knob("FLOP of training and inference together.")
    workload: Workload = field(default_factory=Workload)
    max_params: float | None = _knob("Largest N.")
    max_tokens: float | None = _knob("Largest D, repeats included.")
    max_k: float | None = _knob("Largest k.")
    max_tokens_per_param: float | None = _knob("Largest D / N.")
    unique_tokens: float | None = _knob("Tokens that exist; repeats of them count for less.")

    def __post_init__(self) -> None:
        _ = self._handle  # checks the numbers

    @cached_property
    def _handle(self) -> _core.Budget:
        try:
            return _core.Budget(self)
        except TypeError as error:
            numbers = {item.name: getattr(self, item.name) for item in fields(self)}
            workload = numbers.pop("workload")
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
        data = {name: value for name, value in asdict(self).items() if value is not None}
        if self.workload == Workload():
            del data["workload"]
        return data


def as_budget(budget: object) -> Budget:
    """The budget itself, or an error that says what was given instead.

    Raises
    ------
    T2Error
        For anything but a :class:`Budget`.
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
    """FLOP of drawing k samples per question with N parameters over a workload: ``Q (2 N T_in + k 2 N T_out)``."""
    return Budget(workload=workload or Workload())._handle.inference_flops(n_params, k)
