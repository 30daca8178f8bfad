"""What is minimised, as plain data: a recipe builds the core's problem, and unlike that it can be pickled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from t2fast import _core
from t2fast.arguments import choice, whole
from t2fast.fitting.rows import FloatArray, IntArray
from t2fast.laws import ChinchillaLaw

__all__ = ["OBJECTIVES", "Counts", "Curves", "PowerSum", "Recipe"]

#: Objectives by name: whether residuals are logarithmic, and what they cost.
OBJECTIVES: Mapping[str, tuple[bool, str]] = {
    "huber_log": (True, "huber"),
    "huber": (False, "huber"),
    "squared_log": (True, "squared"),
    "squared": (False, "squared"),
    "absolute_log": (True, "absolute"),
    "absolute": (False, "absolute"),
}


@dataclass(frozen=True, eq=False)
class PowerSum:
    """A sum of powers of N, D and perhaps k, fitted to losses under one of :data:`OBJECTIVES`."""

    n_params: FloatArray
    n_tokens: FloatArray
    value: FloatArray
    k: FloatArray | None = None
    unique_tokens: FloatArray | None = None
    weights: FloatArray | None = None
    objective: str = "huber_log"
    delta: float = 1e-3
    asymmetry: tuple[float, float] = (1.0, 1.0)
    tie_exponents: bool = False
    E: float | None = None
    e_share: tuple[float, float] = (1e-6, 2.0)
    starts: int = 4
    discount_params: bool = False
    overtraining: bool = False

    def build(self) -> _core.FitProblem:
        """The core's problem."""
        log, penalty = OBJECTIVES[choice("objective", self.objective, OBJECTIVES)]
        return _core.FitProblem.power_sum(
            {
                "n_params": self.n_params,
                "n_tokens": self.n_tokens,
                "loss": self.value,
                "k": self.k,
                "unique_tokens": self.unique_tokens,
                "weights": self.weights,
            },
            {
                "log": log,
                "penalty": penalty,
                "constants": (self.delta, self.delta) if penalty == "huber" else self.asymmetry,
                "tie_exponents": self.tie_exponents,
                "E": self.E,
                "e_share": self.e_share,
                "starts": whole("starts", self.starts, least=1),
                "discount_params": self.discount_params,
                "overtraining": self.overtraining,
            },
        )

    def with_values(self, value: FloatArray) -> PowerSum:
        """The same with other values to be fitted."""
        return replace(self, value=value)


@dataclass(frozen=True, eq=False)
class Curves:
    """Values of pass@k, fitted by least squares after a law of the loss (Approach 2 in two stages)."""

    first: PowerSum
    checkpoint: IntArray
    n_params: FloatArray
    n_tokens: FloatArray
    k: FloatArray
    value: FloatArray

    def build(self) -> _core.FitProblem:
        """The core's problem."""
        return _core.FitProblem.staged_curves(
            self.first.build(),
            self.checkpoint,
            {"n_params": self.n_params, "n_tokens": self.n_tokens, "k": self.k, "pass_at_k": self.value},
        )

    def with_values(self, value: FloatArray) -> Curves:
        """The same with other values to be fitted."""
        return replace(self, value=value)


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of right samples under a beta-binomial likelihood; the loss latent, fitted first, or known."""

    n_params: FloatArray
    n_tokens: FloatArray
    n_samples: FloatArray
    n_correct: FloatArray
    checkpoint: IntArray
    first: PowerSum | None = None
    loss_law: ChinchillaLaw | None = None
    overtraining: bool = False

    def build(self) -> _core.FitProblem:
        """The core's problem."""
        core = _core.FitProblem.latent(
            {
                "n_params": self.n_params,
                "n_tokens": self.n_tokens,
                "n_samples": self.n_samples,
                "n_correct": self.n_correct,
            },
            overtraining=self.overtraining,
        )
        if self.first is not None:
            return _core.FitProblem.staged_counts(self.first.build(), self.checkpoint, core)
        if self.loss_law is not None:
            return core.with_losses(self.loss_law._handle)
        return core


Recipe = PowerSum | Curves | Counts
