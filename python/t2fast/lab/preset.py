"""What a laboratory does, as data: the world, the grid of models, the samples, the duel."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from t2fast import arguments
from t2fast.errors import DataError, T2Error
from t2fast.files import is_file, object_from, read_object
from t2fast.lab.graded import GRADED_FAMILIES, GradedSize
from t2fast.lab.tasks import FAMILIES, WorldSize

__all__ = ["DuelSettings", "LessonSettings", "Preset", "RateSettings", "VerdictSettings", "load_preset", "preset_names"]


@dataclass(frozen=True)
class DuelSettings:
    """The contest of the planned design with its Chinchilla-style rival, both trained anew.

    Parameters
    ----------
    train_flops, inference_flops
        Budgets of both designs: 6ND to train, 2Nk to draw k samples.
    repeats
        Models trained of each design, with different first weights.
    finetune_problems
        Problems with answers that each model is then fine-tuned on.
    finetune_rate
        Highest learning rate then, as a share of the one in training.
    """

    train_flops: float
    inference_flops: float
    repeats: int = 3
    finetune_problems: int = 8192
    finetune_rate: float = 0.1


@dataclass(frozen=True)
class RateSettings:
    """How learning rates are found: short runs at several widths, judged by the loss of the validation text.

    Parameters
    ----------
    widths
        Widths tried; the rate of others lies on a line through the best ones, both in logarithms.
    n_tokens
        Training tokens of each: a budget that the grid does not have.
    factors
        Rates tried, as multiples of ``learning_rate / width^0.5``, rising.
    """

    widths: tuple[int, ...]
    n_tokens: int
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(set(self.widths)) < 2 or len(self.factors) < 3 or sorted(set(self.factors)) != list(self.factors):
            raise T2Error("rates: needs at least two widths, and at least three rising factors")
        arguments.whole("rates: n_tokens", self.n_tokens, least=1)
        arguments.number("rates: factors", self.factors[0], low=0, low_open=True)


@dataclass(frozen=True)
class LessonSettings:
    """Fine-tuning of every model of the grid on one family of questions.

    Parameters
    ----------
    family
        Which family; the fine-tuned models are asked about it alone.
    n_problems, batch_rows
        Questions with answers, each seen once, and how many per step.
    rate
        Highest learning rate, as a share of the one in training.
    """

    family: str
    n_problems: int = 2048
    batch_rows: int = 32
    rate: float = 0.3

    def __post_init__(self) -> None:
        arguments.whole("lessons: batch_rows", self.batch_rows, least=1)
        arguments.whole("lessons: n_problems", self.n_problems, least=self.batch_rows)
        arguments.number("lessons: rate", self.rate, low=0, low_open=True)


@dataclass(frozen=True)
class VerdictSettings:
    """What advice is judged by: regret under several rules, at every training budget of the grid.

    Parameters
    ----------
    inference_flops
        Inference budgets, 2Nk for k samples.
    false_positives
        Shares of wrong answers that erring verifiers accept, one rule for each; recall is 1.
    majority
        Whether answers are also chosen by plurality among the answers really drawn.
    """

    inference_flops: tuple[float, ...]
    false_positives: tuple[float, ...] = (0.01, 0.05)
    majority: bool = True

    def __post_init__(self) -> None:
        for flops in self.inference_flops:
            arguments.number("verdict: inference_flops", flops, low=0, low_open=True)
        for rate in self.false_positives:
            arguments.number("verdict: false_positives", rate, low=0, high=1)


@dataclass(frozen=True)
class Preset:
    """A laboratory; nothing in it depends on the machine's speed.

    Parameters
    ----------
    name, seed
        Its name, and the key of everything random.
    world
        How much there is to know.
    held_out
        Problems per family.
    corpus_tokens, context
        Length of the training text and of its rows.
    validation_rows
        Rows at the end of the text that no run trains on.
    widths, layers, head_dim
        Widths of the models, and what they have in common.
    train_flops, tokens_per_param
        Budgets of the isoFLOP grid; each is spent at every width whose D / N lies between the two ends.
    seeds
        Models trained at each point of the grid.
    larger
        Models beside the grid: each a width, tokens per parameter, and how many are trained.
    learning_rate
        Highest rate of a model of width 1; that of width d is smaller by the square root of d, and at most
        ``max_learning_rate``.
    max_learning_rate
        Largest learning rate.
    batch_rows
        Rows per step of a run of one million tokens; others grow with the square root of D.
    n_samples
        Samples per problem.
    holdout
        Which runs the laws must predict without having seen them.
    predicted_k
        The k of that back-test.
    n_resamples
        Resampled tables behind intervals.
    duel
        The contest.
    rates
        How learning rates are found; without, they follow from ``learning_rate`` alone.
    lessons
        Fine-tuning of the grid's models; none without.
    verdict
        Regrets to be measured; none without.
    """

    name: str
    seed: int
    world: WorldSize | GradedSize
    held_out: int
    corpus_tokens: int
    context: int
    validation_rows: int
    widths: tuple[int, ...]
    layers: int
    head_dim: int
    train_flops: tuple[float, ...]
    tokens_per_param: tuple[float, float]
    seeds: int
    learning_rate: float
    max_learning_rate: float
    batch_rows: int
    n_samples: int
    holdout: str
    predicted_k: int
    n_resamples: int
    duel: DuelSettings
    larger: tuple[tuple[int, float, int], ...] = ()
    rates: RateSettings | None = None
    lessons: LessonSettings | None = None
    verdict: VerdictSettings | None = None

    def __post_init__(self) -> None:
        whole = {"seed": 0, "held_out": 1, "corpus_tokens": 1, "context": 8, "validation_rows": 1, "layers": 1}
        whole |= {"head_dim": 2, "seeds": 1, "batch_rows": 1, "n_samples": 1, "n_resamples": 2}
        for name, least in whole.items():
            arguments.whole(name, getattr(self, name), least=least)
        arguments.whole("predicted_k", self.predicted_k, least=1, most=self.n_samples)
        for name in ("learning_rate", "max_learning_rate"):
            arguments.number(name, getattr(self, name), low=0, low_open=True)
        if not self.widths or not self.train_flops:
            raise T2Error("widths and train_flops: must have at least one value each")
        for width in (*self.widths, *(one[0] for one in self.larger), *(self.rates.widths if self.rates else ())):
            arguments.whole("widths", width, least=2)
            if width % 2 or width % max(1, width // self.head_dim):
                raise T2Error(f"widths = {width}: must be even, and a multiple of head_dim = {self.head_dim} above it")
        for _, ratio, count in self.larger:
            arguments.number("larger: tokens per parameter", ratio, low=0, low_open=True)
            arguments.whole("larger: models", count, least=1)
        if self.lessons is not None and self.lessons.family not in self.families:
            raise T2Error(f"lessons: family = {self.lessons.family!r}: must be one of {', '.join(self.families)}")
        for flops in self.train_flops:
            arguments.number("train_flops", flops, low=0, low_open=True)
        low, high = self.tokens_per_param
        if not 0 < low <= high:
            raise T2Error(f"tokens_per_param = {self.tokens_per_param}: must be two rising numbers above 0")
        if self.longest_run < 1:
            raise T2Error(
                f"corpus_tokens = {self.corpus_tokens}: nothing to train on is left beside validation_rows = "
                f"{self.validation_rows} of {self.context} tokens"
            )
        duel = self.duel
        for name in ("train_flops", "inference_flops", "finetune_rate"):
            arguments.number(f"duel: {name}", getattr(duel, name), low=0, low_open=True)
        arguments.whole("duel: repeats", duel.repeats, least=1)
        arguments.whole("duel: finetune_problems", duel.finetune_problems, least=self.batch_rows)

    @property
    def families(self) -> tuple[str, ...]:
        """Families of questions."""
        return GRADED_FAMILIES if isinstance(self.world, GradedSize) else FAMILIES

    @property
    def longest_run(self) -> int:
        """Tokens that a run can read: all but those kept for validation, and a last step."""
        return int(0.99 * (self.corpus_tokens - (self.validation_rows + 1) * self.context))

    def to_dict(self) -> dict[str, Any]:
        """The preset as JSON data; :meth:`from_dict` reads it back."""
        data: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        # What a preset does without stays out of its file.
        return {key: value for key, value in data.items() if value is not None and value != []}

    @staticmethod
    def from_dict(data: Mapping[str, Any], origin: str = "preset") -> Preset:
        """Read a preset from JSON data.

        Raises
        ------
        DataError
            For a missing or unknown key, by name.
        """
        return Preset(**_fields(Preset, data, origin))


#: What older presets call the same things.
_OLD = {
    "samples": "n_samples",
    "bootstrap": "n_resamples",
    "most_rate": "max_learning_rate",
    "finetune_questions": "finetune_problems",
}


def _fields(kind: type, data: Mapping[str, Any], origin: str) -> dict[str, Any]:
    data = {_OLD.get(key, key): value for key, value in data.items()}
    names = {item.name for item in fields(kind)}
    required = {item.name for item in fields(kind) if item.default is MISSING and item.default_factory is MISSING}
    for key in data:
        if key not in names:
            raise DataError(f"{origin}: unknown key {key!r}; known: {', '.join(sorted(names))}")
    if missing := sorted(required - data.keys()):
        raise DataError(f"{origin}: {missing[0]} is missing")
    values = {key: _tuples(value) for key, value in data.items()}
    if kind is Preset:
        for key, part in _PARTS.items():
            if key in data:
                values[key] = part(**_fields(part, data[key], f"{origin}: {key}"))
        world = GradedSize if data["world"].get("kind") == "graded" else WorldSize
        values["world"] = world(**_fields(world, data["world"], f"{origin}: world"))
    return values


_PARTS: dict[str, type] = {
    "duel": DuelSettings,
    "rates": RateSettings,
    "lessons": LessonSettings,
    "verdict": VerdictSettings,
}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def preset_names() -> list[str]:
    """The presets that come with t2fast."""
    folder = resources.files("t2fast.lab").joinpath("presets")
    return sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))


def load_preset(name: str | Path) -> Preset:
    """Load a preset by its name, or from a JSON file of your own.

    Raises
    ------
    DataError
        When there is none, it is malformed, or it asks for what cannot be.

    Examples
    --------
    >>> preset = load_preset("tiny")
    >>> preset.n_samples, preset.widths
    (256, (8, 12, 16, 24, 32, 48, 64))
    """
    path = Path(name)
    if str(name) in preset_names():
        shipped = resources.files("t2fast.lab").joinpath("presets", f"{name}.json")
        data = object_from(shipped.read_text(encoding="utf-8"), str(name))
    elif path.suffix == ".json" and is_file(path):
        data = read_object(path, DataError)
    else:
        raise DataError(f"preset = {str(name)!r}: must be {', '.join(preset_names())} or a JSON file")
    try:
        return Preset.from_dict(data, str(name))
    except T2Error as error:
        raise DataError(str(error) if isinstance(error, DataError) else f"{name}: {error}") from None
