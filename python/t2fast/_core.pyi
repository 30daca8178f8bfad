from collections.abc import Callable

import numpy as np
import numpy.typing as npt

class T2Error(ValueError): ...
class InfeasibleError(T2Error): ...

# passk
_Floats = npt.NDArray[np.float64]
_Integers = npt.NDArray[np.int64]
_Report = Callable[[int], object] | None

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
    def beta_binomial(self, zero_inflated: bool) -> tuple[float, float, float, float, int, str]: ...
    def extrapolate(
        self,
        method: str,
        k: _Floats,
        replicates: int,
        seed: int,
        batch: int | None = None,
        threads: int | None = None,
        report: _Report = None,
    ) -> tuple[_Floats, _Floats, tuple[str, list[float]]]: ...
    def backtest(
        self,
        methods: list[str],
        most: float,
        replicates: int,
        seed: int,
        threads: int | None = None,
        report: _Report = None,
    ) -> list[tuple[str, int, float, float]]: ...
    def subsample(self, m: int, seed: int, replicate: int) -> Histogram: ...

def estimate(name: str, n: _Integers, c: _Integers, k: _Integers, parameter: float = 0.0) -> _Floats: ...
def bootstrap(
    values: _Floats,
    problems: _Integers,
    replicates: int,
    seed: int,
    threads: int | None = None,
    report: _Report = None,
) -> _Floats: ...
def allocate(
    n: _Integers, c: _Integers, k: int, model: tuple[float, float, float], budget: int, least: int
) -> tuple[_Integers, float, float]: ...
def samples_needed(
    n: _Integers, c: _Integers, k: int, model: tuple[float, float, float], target: float
) -> tuple[int, float]: ...
def sensitivities(n: _Integers, c: _Integers, k: int, model: tuple[float, float, float]) -> _Floats: ...
def beta_pass_at_k(a: float, b: float, zero: float, k: _Floats) -> _Floats: ...
def majority(
    votes: _Integers,
    offsets: _Integers,
    correct: _Integers,
    k: _Integers,
    ties: str,
    exact: float,
    draws: int,
    seed: int,
    threads: int | None = None,
    report: _Report = None,
) -> tuple[_Floats, _Floats]: ...
def best_of_k(
    scores: _Floats, values: _Floats, offsets: _Integers, k: _Integers
) -> _Floats: ...
