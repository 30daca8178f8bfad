"""From a fit that ran to a :class:`FitResult`: standard errors, and what the data cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from t2fast.fitting.refit import Observed, Refit
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import FloatArray
from t2fast.laws import ChinchillaLaw, DataRange, PowerLaw, T2LossLaw, T2PassLaw

__all__ = ["LAWS", "Labelled", "diagnose"]

LAWS: Mapping[str, type[PowerLaw]] = {law.kind: law for law in (ChinchillaLaw, T2LossLaw, T2PassLaw)}

#: Mean residuals above which the law's form is in doubt; fits to losses of one set of runs usually leave 0.2 to 0.5%.
_LACK_OF_FIT = 0.02


@dataclass(frozen=True)
class Labelled:
    """What a fit's result says of itself: the law's kind, the method in words, and the names it carries."""

    kind: str
    title: str
    method: str
    objective_name: str
    name: str = ""
    params_counted: str = ""
    #: Law of the loss that was given, not fitted.
    base: ChinchillaLaw | None = None
    #: Whether the loss inside the law has no scale of its own.
    latent: bool = False
    #: What the fit itself found out about the data.
    cautions: tuple[str, ...] = ()
    #: Largest k that the data speak of; by default the largest in the rows.
    most_k: float | None = None


def diagnose(refit: Refit, observed: Observed, said: Labelled) -> FitResult:
    """Run a fit and put together all that is to be known of its outcome."""
    outcome = refit.outcome
    names = refit.core.names()
    values = dict(zip(names, outcome.coefficients, strict=True))
    if said.base is not None:
        values = {**said.base.coefficients, **values}
    at_bound = tuple(outcome.at_bound(refit.core))
    errors, correlation, condition = _curvature(refit, names)
    success = outcome.converged
    message = "converged" if success else "not converged: the last step still lowered the objective"
    message += f" after {outcome.iterations} Newton steps"
    message += "; optimum inside the allowed ranges" if not at_bound else f"; at a bound: {', '.join(at_bound)}"
    ends = [(float(x.min()), float(x.max())) for x in (observed.n_params, observed.n_tokens, observed.k)]
    if said.most_k is not None:
        ends[2] = (ends[2][0], said.most_k)
    kind = LAWS[said.kind]
    named = (*kind.coefficient_names, "F", "delta", "r_star_tokens", "r_star_params")
    coefficients: dict[str, Any] = {name: values[name] for name in named if name in values}
    bare = kind(**coefficients)
    residual = _residual(bare, observed, refit)
    warnings = (
        *said.cautions,
        *_bounds(values, at_bound, outcome.starts),
        *_lack_of_fit(bare, residual),
        *_undetermined(said, observed, at_bound, values, correlation, errors),
        *_degenerate(observed, condition, said.latent),
    )
    law = kind(
        **coefficients,
        name=said.name,
        title=said.title,
        source=f"fitted by t2fast: {said.method}",
        params_counted=said.params_counted,
        data_range=DataRange(ends[0], ends[1], ends[2], _overtraining(observed)),
        uncertainty={"method": "robust sandwich, clustered", "standard_errors": errors} if errors else {},
        warnings=warnings,
    )
    return FitResult(
        law=law,
        method=said.method,
        objective_name=said.objective_name,
        objective=outcome.objective,
        success=success,
        message=message,
        gradient_norm=outcome.gradient,
        n_iterations=outcome.iterations,
        n_starts=outcome.starts[0],
        n_agreeing=outcome.starts[1],
        interior=not at_bound,
        at_bound=at_bound,
        n_rows=len(refit.checkpoint),
        n_checkpoints=int(refit.checkpoint.max()) + 1,
        residual=residual,
        standard_errors=errors,
        correlation=correlation,
        condition=condition,
        warnings=warnings,
        observed=observed,
        refit=refit,
    )


def _overtraining(observed: Observed) -> tuple[float, float]:
    """The least and the most tokens per parameter."""
    ratio = observed.n_tokens / observed.n_params
    return float(ratio.min()), float(ratio.max())


def _curvature(refit: Refit, names: list[str]) -> tuple[dict[str, float], dict[str, float], float | None]:
    """Standard errors, strong correlations and the condition number, as far as the curvature tells them."""
    curved = refit.core.curvature(refit.outcome, refit.cluster) if int(refit.cluster.max()) > 0 else None
    if curved is None:
        return {}, {}, None
    # Zero for a coefficient held fixed, and no number where the curvature is singular.
    errors = {
        one: math.sqrt(row[i]) for i, (one, row) in enumerate(zip(names, curved.covariance, strict=True)) if row[i] > 0
    }
    correlation: dict[str, float] = {}
    for i, later in enumerate(names):
        for j, earlier in enumerate(names[:i]):
            if later in errors and earlier in errors:
                r = curved.covariance[i][j] / (errors[later] * errors[earlier])
                if abs(r) > 0.9:
                    correlation[f"{earlier}~{later}"] = r
    return errors, correlation, None if math.isnan(curved.condition) else curved.condition


def _residual(law: PowerLaw, observed: Observed, refit: Refit) -> float:
    """Mean size of the residuals: relative for losses, in pass@k for success rates."""
    unique = getattr(refit.recipe, "unique_tokens", None)
    if unique is None:
        predicted = np.asarray(law.value(observed.n_params, observed.n_tokens, observed.k))
    else:
        rows = zip(observed.n_params.tolist(), observed.n_tokens.tolist(), unique.tolist(), strict=True)
        predicted = np.array([law.loss(*row) for row in rows])
    difference = np.abs(predicted - observed.value)
    if law.predicts_pass:
        return float(np.mean(difference))
    # A loss may underflow to zero (-log of a pass@k that rounds to 1): it has no relative residual.
    known = observed.value > 0
    return float(np.mean(difference[known] / observed.value[known])) if known.any() else float("nan")


def _bounds(values: Mapping[str, float], at_bound: tuple[str, ...], starts: tuple[int, int]) -> list[str]:
    meaning = {
        "E": "the data show no irreducible loss, or nothing but it",
        "theta2": "the data don't determine the success rate at zero loss",
        "F": "the data show no cost of overtraining",
    }
    out = [
        f"{name} = {values[name]:.4g} is at the bound of its allowed range: "
        f"{meaning.get(name, 'the data do not determine it')}"
        for name in at_bound
    ]
    if starts[1] == 1 and starts[0] > 1:
        out.append(f"only 1 of {starts[0]} starts reached this optimum: a lower one may exist; raise starts")
    return out


def _lack_of_fit(law: PowerLaw, residual: float) -> list[str]:
    if law.predicts_pass or residual <= _LACK_OF_FIT:
        return []
    return [
        f"lack of fit: the mean residual is {residual:.1%}, where laws of this form usually leave 0.2 to 0.5% on one "
        "set of runs; look at the residuals (plot), and at rows that do not belong together"
    ]


def _undetermined(
    said: Labelled,
    observed: Observed,
    at_bound: tuple[str, ...],
    values: Mapping[str, float],
    correlation: Mapping[str, float],
    errors: Mapping[str, float],
) -> list[str]:
    """Coefficients whose standard errors rival their values."""
    meaning = {
        "alpha": "how the result depends on N",
        "beta": "how the result depends on D",
        "gamma": "how the result depends on k",
        "r_star_tokens": "how fast repeated tokens lose their worth",
        "r_star_params": "how fast excess parameters lose their worth",
    }
    out = [
        f"{name} = {values[name]:.3g} has a standard error of {errors[name]:.2g}: these data do not determine {what}"
        for name, what in meaning.items()
        if name not in at_bound and errors.get(name, 0.0) > 0.5 * values.get(name, math.inf)
    ]
    if said.kind == "t2-loss" and "E~G" in correlation:
        largest = float(np.max(observed.k))
        out.append(
            f"E and G have correlation {correlation['E~G']:.3f}: with k only up to {largest:g} they can't be told "
            "apart well; trust their sum, or add larger k"
        )
    return out


def _degenerate(observed: Observed, condition: float | None, latent: bool) -> list[str]:
    out = []
    spread = _spread(np.log(observed.n_params), np.log(observed.n_tokens))
    if spread < 0.25:
        out.append(
            f"D is nearly a function of N in these data (its spread at given N is a factor of {math.exp(spread):.2f}): "
            "A, B, alpha and beta can't be told apart well; add checkpoints with other tokens per parameter"
        )
    if condition is not None and condition > 1e7:
        out.append(f"the curvature's condition number is {condition:.1e}: the data leave some coefficients open")
    if latent:
        out.append("the loss inside this law is latent (theta1 = 1, E = 0), not a cross-entropy")
    return out


def _spread(size: FloatArray, tokens: FloatArray) -> float:
    """Standard deviation of ln D about a line in ln N: along such a line the law's two terms are one function."""
    n = len(size)
    size, tokens = size - size.sum() / n, tokens - tokens.sum() / n
    variance = float(size @ size)
    rest = tokens - (float(size @ tokens) / variance) * size if variance > 0 else tokens
    return math.sqrt(float(rest @ rest) / n)
