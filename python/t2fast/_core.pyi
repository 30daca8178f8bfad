"""The compiled core: thin bindings of the Rust crate t2fast-core. Use the modules above it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self, TypedDict, final, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BetaFit",
    "Bill",
    "Block",
    "BlockWork",
    "Budget",
    "Design",
    "Family",
    "FitCurvature",
    "FitOutcome",
    "FitProblem",
    "Histogram",
    "InfeasibleError",
    "Law",
    "Place",
    "Plan",
    "Plane",
    "Prediction",
    "Roofline",
    "Rule",
    "Shape",
    "T2Error",
    "Trial",
    "TrialLog",
    "allocate",
    "append_tokens",
    "best_of_k",
    "beta_pass_at_k",
    "bootstrap",
    "cheapest",
    "chosen",
    "curve",
    "decode_step",
    "draw_tokens",
    "estimate",
    "evaluate",
    "grid_search",
    "group_means",
    "isoflop",
    "item_response",
    "majority",
    "number_rows",
    "pareto",
    "plan_budget",
    "plane",
    "predict",
    "read_texts",
    "samples_needed",
    "sensitivities",
    "surface",
    "sweep",
    "vector_lanes",
]

_Floats = NDArray[np.float64]
_Counts = NDArray[np.int64]
_Report = Callable[[int], object]

class T2Error(ValueError): ...
class InfeasibleError(T2Error): ...

@final
class Law:
    def __new__(cls, kind: str, coefficients: Mapping[str, float]) -> Law: ...
    def __getnewargs__(self) -> tuple[str, dict[str, float]]: ...
    def values(self, n_params: _Floats, n_tokens: _Floats, k: _Floats) -> _Floats: ...
    def loss(self, n_params: float, n_tokens: float, unique_tokens: float | None = None) -> float: ...
    def most_useful_tokens(self, n_params: float, unique_tokens: float | None = None) -> float: ...
    def gradient(self, n_params: float, n_tokens: float, k: float) -> tuple[float, float, float, float]: ...

@final
class Rule:
    def __new__(
        cls,
        kind: str,
        parameters: Mapping[str, float],
        wrong_cost: float,
        abstain: bool,
        shares: Sequence[Sequence[float]] = ...,
        rates: Sequence[float] = ...,
    ) -> Rule: ...
    @property
    def rises(self) -> bool: ...
    @property
    def depends_on_k(self) -> bool: ...
    def over(self, law: Law, stops: bool) -> Law: ...
    def of_beta(self, a: _Floats, b: _Floats, k: _Floats, drawn: bool = False) -> _Floats: ...
    def of_logits(self, ability: _Floats, difficulties: _Floats, k: _Floats, drawn: bool = False) -> _Floats: ...
    def of_rates(self, p: _Floats, k: _Floats, drawn: bool = False) -> _Floats: ...
    def of_counts(self, n: _Counts, c: _Counts, k: _Counts, drawn: bool = False) -> _Floats: ...

@final
class Budget:
    def __new__(cls, limits: object) -> Budget: ...
    def train_cost(self, n_params: float, n_tokens: float) -> float: ...
    def inference_cost(self, n_params: float, k: float) -> float: ...
    def train_flops(self, n_params: float, n_tokens: float) -> float: ...
    def inference_flops(self, n_params: float, k: float) -> float: ...
    def most_tokens(self, n_params: float, k: float) -> float: ...
    def most_samples(self, n_params: float, n_tokens: float) -> float: ...
    def size_for_tokens(self, train_flops: float, n_tokens: float) -> float: ...
    def size_for_ratio(self, train_flops: float, tokens_per_param: float) -> float: ...

@final
class Design:
    n_params: float
    n_tokens: float
    k: float
    samples: float
    value: float
    pass_at_k: float
    loss: float
    train_flops: float
    inference_flops: float
    dollars: tuple[float, float] | None

@final
class Plan:
    best: Design
    continuous: Design
    chinchilla: Design | None
    inside_data: Design | None
    flat_n_params: tuple[float, float]
    gain_train: float | None
    gain_inference: float | None
    gain_total: float | None
    evaluations: int
    converged: bool

@final
class Place:
    index: list[int]
    design: Design

@final
class Plane:
    values: _Floats
    k: _Floats

def number_rows(columns: list[_Floats]) -> NDArray[np.int64]: ...
def evaluate(law: Law, budget: Budget, n_params: float, n_tokens: float, k: float) -> Design: ...
def predict(
    laws: list[Law], n_params: _Floats, n_tokens: _Floats, k: _Floats, unique_tokens: float | None = None
) -> _Floats: ...
def chosen(
    law: Law, n_params: _Floats, n_tokens: _Floats, k: _Floats, most_k: float, unique_tokens: float | None = None
) -> _Floats: ...
def plan_budget(law: Law, budget: Budget, data: object | None = None) -> Plan: ...
def cheapest(law: Law, budget: Budget, target: float) -> float: ...
def sweep(
    law: Law,
    budgets: list[Budget],
    data: object | None = None,
    threads: int | None = None,
    report: _Report | None = None,
) -> list[Plan | str]: ...
def isoflop(law: Law, budget: Budget, n_params: _Floats) -> list[Design | None]: ...
def curve(law: Law, budget: Budget, n_params: _Floats) -> list[Design | None]: ...
def pareto(most: bool, values: _Floats, train_cost: _Floats, inference_cost: _Floats) -> NDArray[np.bool_]: ...
def plane(law: Law, budget: Budget, n_params: _Floats, n_tokens: _Floats, k: _Floats) -> Plane: ...
def grid_search(
    law: Law,
    budget: Budget,
    n_params: _Floats,
    n_tokens: _Floats,
    k: _Floats,
    top: int,
    threads: int | None = None,
    report: _Report | None = None,
) -> list[Place]: ...
def surface(
    law: Law,
    n_params: _Floats,
    n_tokens: _Floats,
    k: _Floats,
    out: _Floats,
    unique_tokens: float | None = None,
    threads: int | None = None,
    report: _Report | None = None,
) -> None: ...

# t2fast_core::fit

@type_check_only
class PowerTable(TypedDict):
    n_params: _Floats
    n_tokens: _Floats
    loss: _Floats
    k: _Floats | None
    unique_tokens: _Floats | None
    weights: _Floats | None

@type_check_only
class CountsTable(TypedDict):
    n_params: _Floats
    n_tokens: _Floats
    n_samples: _Floats
    n_correct: _Floats

@type_check_only
class CurvesTable(TypedDict):
    n_params: _Floats
    n_tokens: _Floats
    k: _Floats
    pass_at_k: _Floats

@type_check_only
class PowerSettings(TypedDict):
    log: bool
    penalty: str
    constants: tuple[float, float]
    tie_exponents: bool
    E: float | None
    e_share: tuple[float, float]
    starts: int
    discount_params: bool
    overtraining: bool

@final
class FitCurvature:
    @property
    def covariance(self) -> list[list[float]]: ...
    @property
    def condition(self) -> float: ...

@final
class FitOutcome:
    @property
    def coefficients(self) -> list[float]: ...
    @property
    def penalty(self) -> float: ...
    @property
    def objective(self) -> float: ...
    @property
    def gradient(self) -> float: ...
    @property
    def iterations(self) -> int: ...
    @property
    def starts(self) -> tuple[int, int]: ...
    @property
    def converged(self) -> bool: ...
    def at_bound(self, problem: FitProblem) -> list[str]: ...

@final
class FitProblem:
    @staticmethod
    def power_sum(table: PowerTable, settings: PowerSettings) -> FitProblem: ...
    @staticmethod
    def latent(table: CountsTable, *, overtraining: bool = False) -> FitProblem: ...
    def with_losses(self, law: Law) -> FitProblem: ...
    @staticmethod
    def staged_curves(first: FitProblem, checkpoint: NDArray[np.int64], table: CurvesTable) -> FitProblem: ...
    @staticmethod
    def staged_counts(first: FitProblem, checkpoint: NDArray[np.int64], counts: FitProblem) -> FitProblem: ...
    def names(self) -> list[str]: ...
    def fit(self, threads: int | None) -> FitOutcome: ...
    def bootstrap(
        self,
        outcome: FitOutcome,
        units: list[NDArray[np.int64]],
        seed: int,
        first: int,
        count: int,
        threads: int | None,
        report: _Report | None,
    ) -> tuple[_Floats, NDArray[np.bool_]]: ...
    def curvature(self, outcome: FitOutcome, cluster: NDArray[np.int64]) -> FitCurvature | None: ...
    def profile(
        self, outcome: FitOutcome, cluster: NDArray[np.int64], index: int, limit: float
    ) -> tuple[float, float] | None: ...

# passk
_Integers = NDArray[np.int64]

@final
class BetaFit:
    @property
    def a(self) -> float: ...
    @property
    def b(self) -> float: ...
    @property
    def zero(self) -> float: ...
    @property
    def log_likelihood(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def outcome(self) -> str: ...

@final
class Prediction:
    @property
    def values(self) -> _Floats: ...
    @property
    def resampled(self) -> _Floats: ...
    @property
    def outcome(self) -> str: ...
    @property
    def parameters(self) -> list[float]: ...

@final
class Trial:
    @property
    def method(self) -> str: ...
    @property
    def seen(self) -> int: ...
    @property
    def error(self) -> float: ...
    @property
    def bias(self) -> float: ...

@final
class TrialLog:
    def __new__(cls) -> TrialLog: ...
    def add(self, names: list[str], verdicts: list[bool], texts: list[str] | None) -> bytes: ...
    def __contains__(self, name: str, /) -> bool: ...
    def tally_json_lines(
        self,
        block: bytes,
        keys: list[str],
        problem: int,
        verdict: int,
        identity: list[int],
        text: int | None,
        prefix: str,
    ) -> tuple[list[tuple[str, int, int, int]] | None, int | None]: ...

@final
class Histogram:
    def __new__(cls, n: _Integers, c: _Integers) -> Histogram: ...
    @staticmethod
    def from_pairs(n: _Integers, c: _Integers, problems: _Integers) -> Histogram: ...
    def merged(self, other: Histogram) -> Histogram: ...
    def pairs(self) -> tuple[_Integers, _Integers, _Integers]: ...
    @property
    def problems(self) -> int: ...
    @property
    def fewest_samples(self) -> int: ...
    def means(self, name: str, k: _Integers, parameter: float = 0.0) -> _Floats: ...
    def curve(self, k_max: int) -> _Floats: ...
    def samples_variance(self, k: int) -> float: ...
    def problems_variance(self, name: str, k: int, parameter: float = 0.0) -> float: ...
    def __reduce__(self) -> tuple[Callable[..., Histogram], tuple[_Integers, _Integers, _Integers]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def beta_binomial(self, zero_inflated: bool) -> BetaFit: ...
    def extrapolate(
        self,
        method: str,
        k: _Floats,
        n_resamples: int,
        seed: int,
        batch: int | None = None,
        threads: int | None = None,
        report: _Report | None = None,
    ) -> Prediction: ...
    def backtest(
        self,
        methods: list[str],
        most: float,
        n_resamples: int,
        seed: int,
        threads: int | None = None,
        report: _Report | None = None,
    ) -> list[Trial]: ...
    def subsample(self, m: int, seed: int, replicate: int) -> Histogram: ...

def estimate(name: str, n: _Integers, c: _Integers, k: _Integers, parameter: float = 0.0) -> _Floats: ...
def group_means(
    n: _Integers, c: _Integers, ends: _Integers, k: _Integers, same_problems: bool
) -> tuple[_Floats, _Floats]: ...
def bootstrap(
    values: _Floats,
    problems: _Integers,
    n_resamples: int,
    seed: int,
    threads: int | None = None,
    report: _Report | None = None,
) -> _Floats: ...
def allocate(
    n: _Integers, c: _Integers, k: int, model: tuple[float, float, float], budget: int, least: int
) -> tuple[_Integers, float, float]: ...
def samples_needed(
    n: _Integers, c: _Integers, k: int, model: tuple[float, float, float], target: float
) -> tuple[int, float]: ...
def sensitivities(n: _Integers, c: _Integers, k: int, model: tuple[float, float, float]) -> _Floats: ...
def item_response(ability: _Floats, difficulties: _Floats, k: _Floats) -> _Floats: ...
def beta_pass_at_k(a: float, b: float, zero: float, k: _Floats) -> _Floats: ...
def majority(
    right: _Integers,
    wrong: _Integers,
    starts: _Integers,
    k: _Integers,
    ties: str,
    exact: float,
    draws: int,
    seed: int,
    threads: int | None = None,
    report: _Report | None = None,
) -> tuple[_Floats, _Floats]: ...
def best_of_k(scores: _Floats, values: _Floats, offsets: _Integers, k: _Integers) -> _Floats: ...

@final
class Shape:
    def __new__(
        cls,
        n_params: float,
        layers: float,
        d_model: float,
        q_width: float,
        kv_width: float,
        vocab: float,
        tied: bool,
        experts: tuple[float, float, float] | None,
        windowed: float,
        window: float,
    ) -> Shape: ...
    @property
    def multiplying(self) -> float: ...
    @property
    def active(self) -> float: ...
    @property
    def layers(self) -> float: ...
    @property
    def d_model(self) -> float: ...
    @property
    def kv_width(self) -> float: ...
    def kv_bytes(self, each: float) -> float: ...

@final
class Family:
    def __new__(cls, depth: float, slope: float, block: float, vocab: float, tied: bool, group: float) -> Family: ...
    def shape(self, n_params: float) -> Shape: ...

@final
class Roofline:
    def __new__(
        cls,
        card: list[float],
        constants: list[float],
        weight_bytes: float,
        kv_bytes: float,
        cards: float,
        most_sequences: float,
        batch: float | None,
        most_seconds: float | None,
        train_context: float,
    ) -> Roofline: ...
    def train_seconds(self, shape: Shape) -> float: ...
    def bill(self, shape: Shape, prompt_tokens: float, answer_tokens: float, k: float, mode: str) -> Bill: ...

@final
class Bill:
    @property
    def parts(self) -> list[tuple[str, float]]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def batch(self) -> float: ...
    @property
    def step(self) -> float: ...
    @property
    def first_token(self) -> float: ...
    @property
    def latency(self) -> float: ...
    @property
    def tokens_per_second(self) -> float: ...
    @property
    def memory_bound_batch(self) -> bool: ...

_Numbers = NDArray[np.float32] | NDArray[np.uint16]
_Ints = NDArray[np.int32]

def vector_lanes() -> int: ...
def decode_step(
    q: _Numbers,
    k_cache: _Numbers,
    v_cache: _Numbers,
    tables: _Ints,
    ends: _Ints,
    planned: tuple[_Ints, ...],
    sinks: NDArray[np.float32] | None,
    out: _Numbers,
    sums: NDArray[np.float32],
    scale: float,
    window: int,
    cap: float,
    threads: int,
) -> None: ...
def read_texts(
    q: _Numbers,
    k_cache: _Numbers,
    v_cache: _Numbers,
    spans: NDArray[np.int64],
    places: list[NDArray[np.int64]],
    sinks: NDArray[np.float32] | None,
    out: _Numbers,
    scale: float,
    window: int,
    cap: float,
    threads: int,
) -> None: ...
def append_tokens(
    k: _Numbers,
    v: _Numbers,
    k_cache: _Numbers,
    v_cache: _Numbers,
    tables: _Ints,
    row_table: _Ints,
    token_index: _Ints,
) -> None: ...
def draw_tokens(
    logits: NDArray[np.float32],
    seed: NDArray[np.int64],
    prompt: NDArray[np.int64],
    sample: NDArray[np.int64],
    step: NDArray[np.int64],
    temperature: NDArray[np.float32],
    least: NDArray[np.float32] | None,
    tokens: NDArray[np.int64],
    logprobs: NDArray[np.float32],
) -> None: ...

_Single = NDArray[np.float32]

@final
class BlockWork:
    def __new__(cls) -> Self: ...

@final
class Block:
    def __new__(
        cls,
        head_dim: int,
        kv_heads: int,
        heads: list[_Single],
        output: list[_Single],
        gate: list[_Single],
        down: list[_Single],
        biases: list[_Single | None],
        norms: list[tuple[_Single, float]],
        head_norms: list[tuple[_Single, float]] | None,
    ) -> Self: ...
    def heads(
        self,
        x: _Single,
        cos: _Single,
        sin: _Single,
        q: _Single,
        k: _Single,
        v: _Single,
        work: BlockWork,
        threads: int,
    ) -> None: ...
    def rest(self, x: _Single, read: _Single, work: BlockWork, threads: int) -> None: ...
