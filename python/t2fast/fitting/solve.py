"""From a core problem to a :class:`FitResult`: standard errors, and what the data cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.errors import T2Error
from t2fast.fitting.results import FitResult, Observed, Problem, Questions
from t2fast.fitting.rows import FloatArray, IntArray, column, labels
from t2fast.laws import ChinchillaLaw, DataRange, Law, T2LossLaw, T2PassLaw

__all__ = ["LAWS", "OBJECTIVES", "power", "solve"]

#: Objectives by name: whether residuals are logarithmic, and what they cost.
OBJECTIVES: Mapping[str, tuple[bool, str]] = {
    "huber_log": (True, "huber"),
    "huber": (False, "huber"),
    "squared_log": (True, "squared"),
    "squared": (False, "squared"),
    "absolute_log": (True, "absolute"),
    "absolute": (False, "absolute"),
}
LAWS: Mapping[str, type[Law]] = {law.kind: law for law in (ChinchillaLaw, T2LossLaw, T2PassLaw)}


def power(
    n: FloatArray,
    d: FloatArray,
    y: FloatArray,
    k: FloatArray | None,
    unique: FloatArray | None,
    weights: ArrayLike | None,
    objective: str,
    delta: float,
    asymmetry: tuple[float, float],
    tied: bool,
    e: float | None,
    e_share: tuple[float, float],
    starts: int,
    discount_params: bool,
) -> _core.FitProblem:
    """The core's problem of fitting a sum of powers."""
    if objective not in OBJECTIVES:
        raise T2Error(f"objective = {objective!r}: must be one of {', '.join(OBJECTIVES)}")
    if starts < 1:
        raise T2Error(f"starts = {starts}: must be at least 1")
    log, penalty = OBJECTIVES[objective]
    constants = (delta, delta) if penalty == "huber" else asymmetry
    return _core.FitProblem.power_sum(
        n, d, y, k, unique, None if weights is None else column("weights", weights),
        log=log, penalty=penalty, constants=constants, tied=tied, e=e, e_share=e_share, starts=starts,
        discount_params=discount_params,
    )  # fmt: skip


def solve(
    core: _core.FitProblem,
    kind: str,
    method: str,
    objective_name: str,
    observed: Observed,
    checkpoint: IntArray,
    group: Sequence[object] | NDArray[Any] | None,
    question: Sequence[object] | NDArray[Any] | None,
    threads: int | None,
    name: str,
    title: str,
    params_counted: str,
    base: ChinchillaLaw | None = None,
    latent: bool = False,
    most_k: float | None = None,
    questions: Questions | None = None,
) -> FitResult:
    """Fit the core's problem and put together all that is to be known of the outcome."""
    rows = len(checkpoint)
    groups = None if group is None else labels(group, rows, "group")
    units = None if question is None else labels(question, rows, "question")
    outcome = core.fit(threads)
    names = core.names()
    values = dict(zip(names, outcome.coefficients, strict=True))
    if base is not None:
        values = {**base.coefficients, **values}
    problem = Problem(core, outcome, checkpoint, groups, units, questions)
    at_bound = tuple(outcome.at_bound(core))
    agreeing = outcome.starts
    errors: dict[str, float] = {}
    correlation: dict[str, float] = {}
    condition = float("nan")
    curved = core.curvature(outcome, problem.cluster) if int(problem.cluster.max()) > 0 else None
    if curved is not None:
        flat, _, condition = curved
        variance = flat[:: len(names) + 1]
        # Zero for a coefficient held fixed, and no number where the curvature is singular.
        errors = {one: math.sqrt(v) for one, v in zip(names, variance, strict=True) if v > 0}
        for i, later in enumerate(names):
            for j, earlier in enumerate(names[:i]):
                if later in errors and earlier in errors:
                    r = flat[i * len(names) + j] / (errors[later] * errors[earlier])
                    if abs(r) > 0.9:
                        correlation[f"{earlier}~{later}"] = r
    warnings = _identifiability(kind, observed, at_bound, agreeing, condition, values, latent, correlation, errors)
    success = outcome.converged
    message = "converged" if success else "not converged: the last step still lowered the objective"
    message += f" after {outcome.iterations} Newton steps"
    message += "; optimum inside the allowed ranges" if not at_bound else f"; at a bound: {', '.join(at_bound)}"
    ends = [(float(x.min()), float(x.max())) for x in (observed.n_params, observed.n_tokens, observed.k)]
    if most_k is not None:
        ends[2] = (ends[2][0], most_k)
    data_range = DataRange(*ends)
    uncertainty: dict[str, Any] = {}
    if errors:
        uncertainty = {"method": "robust sandwich, clustered", "standard_errors": errors}
    law_type = LAWS[kind]
    extra: dict[str, Any] = {name: values[name] for name in ("r_star_tokens", "r_star_params") if name in values}
    law = law_type(
        **{coefficient: values[coefficient] for coefficient in law_type.coefficient_names},
        name=name,
        title=title,
        source=f"fitted by t2fast: {method}",
        params_counted=params_counted,
        data_range=data_range,
        uncertainty=uncertainty,
        warnings=warnings,
        **extra,
    )
    return FitResult(
        law=law,
        method=method,
        objective_name=objective_name,
        objective=outcome.objective,
        success=success,
        message=message,
        gradient_norm=outcome.gradient,
        n_iterations=outcome.iterations,
        n_starts=agreeing[0],
        n_agreeing=agreeing[1],
        interior=not at_bound,
        at_bound=at_bound,
        n_rows=rows,
        n_checkpoints=int(checkpoint.max()) + 1,
        standard_errors=errors,
        correlation=correlation,
        condition=condition,
        warnings=warnings,
        observed=observed,
        _problem=problem,
    )


def _identifiability(
    kind: str,
    observed: Observed,
    at_bound: tuple[str, ...],
    starts: tuple[int, int],
    condition: float,
    values: Mapping[str, float],
    latent: bool,
    correlation: Mapping[str, float],
    errors: Mapping[str, float],
) -> tuple[str, ...]:
    """What the data can't tell, in words."""
    out: list[str] = []
    meaning = {
        "E": "the data show no irreducible loss, or nothing but it",
        "theta2": "the success rate at zero loss is not determined",
    }
    for name in at_bound:
        why = meaning.get(name, "the data don't determine it")
        out.append(f"{name} = {values[name]:.4g} ended at the bound of its allowed range: {why}")
    if starts[1] < starts[0] and starts[1] == 1 and starts[0] > 1:
        out.append(f"only 1 of {starts[0]} starts reached this optimum: a lower one may exist; raise starts")
    for name in ("alpha", "beta", "gamma"):
        if name not in at_bound and errors.get(name, 0.0) > 0.5 * values.get(name, np.inf):
            what = {"alpha": "N", "beta": "D", "gamma": "k"}[name]
            out.append(
                f"{name} = {values[name]:.3g} has a standard error of {errors[name]:.2g}: how the result depends on "
                f"{what} is not determined by these data"
            )
    if kind == "t2-loss" and "E~G" in correlation:
        largest = float(np.max(observed.k))
        out.append(
            f"E and G have correlation {correlation['E~G']:.3f}: with k only up to {largest:g} they can't be told "
            "apart well; trust their sum, or add larger k"
        )
    spread = _spread(np.log(observed.n_params), np.log(observed.n_tokens))
    if spread < 0.25:
        out.append(
            f"D is nearly a function of N in these data (its spread at given N is a factor of {np.exp(spread):.2f}): "
            "A, B, alpha and beta can't be told apart well; add checkpoints with other tokens per parameter"
        )
    if condition > 1e7:
        out.append(
            f"the curvature's condition number is {condition:.1e}: some combination of coefficients is undetermined"
        )
    if latent:
        out.append("the loss inside this law is latent (theta1 = 1, E = 0): it is no cross-entropy")
    return tuple(out)


def _spread(size: FloatArray, tokens: FloatArray) -> float:
    """Standard deviation of ln D about a line in ln N: along such a line the law's two terms are one function."""
    n = len(size)
    size, tokens = size - size.sum() / n, tokens - tokens.sum() / n
    variance = float(size @ size)
    rest = tokens - (float(size @ tokens) / variance) * size if variance > 0 else tokens
    return math.sqrt(float(rest @ rest) / n)
