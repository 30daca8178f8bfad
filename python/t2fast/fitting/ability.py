"""Fits of the laws of ability to counts: item response in two stages, and the beta-binomial likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from t2fast.errors import T2Error
from t2fast.fitting.gamma import gamma_triple
from t2fast.fitting.rows import FloatArray, IntArray
from t2fast.laws import BetaAbilityLaw, ItemResponseLaw
from t2fast.laws.ability import TERMS, quadratic
from t2fast.laws.logits import expit

__all__ = ["Abilities", "Tally", "abilities", "fit_beta_ability"]

#: Standard deviations of the priors that keep problems never or always solved, and such checkpoints, at finite places.
_SPREAD_OF_DIFFICULTIES, _SPREAD_OF_ABILITIES = 3.0, 5.0
_STEPS = 200
#: Longest step of one coefficient.
_LONGEST = 3.0

#: Objective, gradient, and an approximation of the curvature.
_Evaluated = tuple[float, FloatArray, FloatArray]


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts by checkpoint: its N, D and run, and each of its problems' samples and successes."""

    n_params: FloatArray
    n_tokens: FloatArray
    #: Row by row: which checkpoint, which problem, samples, successes.
    checkpoint: IntArray
    problem: IntArray
    n_samples: FloatArray
    n_correct: FloatArray

    @property
    def center(self) -> tuple[float, float]:
        """The geometric means of N and D."""
        return float(np.exp(np.log(self.n_params).mean())), float(np.exp(np.log(self.n_tokens).mean()))

    def design(self) -> FloatArray:
        """The terms of a quadratic at each checkpoint.

        Raises
        ------
        T2Error
            When the checkpoints do not determine one.
        """
        terms = quadratic(self.n_params, self.n_tokens, self.center)
        if len(terms) <= TERMS or np.linalg.matrix_rank(terms) < TERMS:
            raise T2Error(
                f"{len(terms)} checkpoints of {len(np.unique(self.n_params))} sizes and "
                f"{len(np.unique(self.n_tokens))} token counts do not determine an ability that is quadratic in ln N "
                f"and ln D: at least {TERMS + 1} are needed, three sizes among them, at more than one training budget"
            )
        return terms


@dataclass(frozen=True, eq=False)
class Abilities:
    """Ability of every checkpoint and difficulty of every problem, in log-odds: the first stage of item response."""

    tally: Tally
    ability: FloatArray
    difficulty: FloatArray

    def law(self, weights: FloatArray | None = None) -> ItemResponseLaw:
        """The second stage: a quadratic through the abilities by least squares, with a weight per checkpoint."""
        terms = self.tally.design()
        root = np.sqrt(np.ones(len(terms)) if weights is None else weights)
        found = np.linalg.lstsq(terms * root[:, None], self.ability * root, rcond=None)[0]
        return ItemResponseLaw(tuple(found.tolist()), self.tally.center, tuple(self.difficulty.tolist()))


def abilities(tally: Tally) -> Abilities:
    """Fit ``logit p = ability - difficulty`` (Rasch 1960) by the binomial likelihood with weak normal priors.

    Newton's method; the problem is convex, so the answer is the only one.
    """
    size, items = len(tally.n_params), int(tally.problem.max()) + 1
    n, c = np.zeros((size, items)), np.zeros((size, items))
    np.add.at(n, (tally.checkpoint, tally.problem), tally.n_samples)
    np.add.at(c, (tally.checkpoint, tally.problem), tally.n_correct)
    rate = (c.sum(1) + 0.5) / (n.sum(1) + 1)
    start = np.log(rate / (1 - rate))
    middle = start.mean()
    precision = np.concatenate(
        [np.full(size, _SPREAD_OF_ABILITIES**-2.0), np.full(items, _SPREAD_OF_DIFFICULTIES**-2.0)]
    )
    center = np.concatenate([np.full(size, middle), np.zeros(items)])
    x = np.concatenate([start, np.zeros(items)])

    def cost(x: FloatArray) -> float:
        z = x[:size, None] - x[size:]
        return float((n * np.logaddexp(0, z) - c * z).sum() + 0.5 * precision @ (x - center) ** 2)

    now = cost(x)
    for _ in range(_STEPS):
        z = x[:size, None] - x[size:]
        p = expit(z)
        rest, curve = n * p - c, n * p * (1 - p)
        gradient = np.concatenate([rest.sum(1), -rest.sum(0)]) + precision * (x - center)
        hessian = np.diag(np.concatenate([curve.sum(1), curve.sum(0)]) + precision)
        hessian[:size, size:], hessian[size:, :size] = -curve, -curve.T
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (after := cost(x - scale * step)) > now and scale > 1e-10:
            scale *= 0.5
        if after > now:
            break
        x, decrease, now = x - scale * step, now - after, after
        if decrease <= 1e-10 * abs(now):
            break
    return Abilities(tally, x[:size], x[size:])


def fit_beta_ability(
    tally: Tally, weights: FloatArray | None = None, start: BetaAbilityLaw | None = None
) -> BetaAbilityLaw:
    """Fit :class:`~t2fast.laws.BetaAbilityLaw` by the beta-binomial likelihood of the counts.

    A quasi-Newton search over the six coefficients of the ability and the two of the concentration; ``weights`` count
    checkpoints several times or not at all.
    """
    terms = tally.design()
    size = len(terms)
    weight = np.ones(size) if weights is None else weights
    rows, times = np.unique(
        np.stack([tally.checkpoint.astype(np.float64), tally.n_samples, tally.n_correct], 1), axis=0, return_counts=True
    )
    at, n, c = rows[:, 0].astype(np.int64), rows[:, 1], rows[:, 2]
    # Equal samples of one checkpoint share their term.
    m = times * weight[at]
    kept = m > 0
    at, n, c, m = at[kept], n[kept], c[kept], m[kept]

    def evaluate(x: FloatArray) -> _Evaluated:
        h = np.clip(terms @ x[:TERMS], -60, 60)
        mean = np.clip(expit(h), 1e-12, 1 - 1e-12)
        nu = np.exp(np.clip(x[-2] - x[-1] * h, -30, 30))
        a, b = mean * nu, (1 - mean) * nu
        grow = [gamma_triple(v) for v in (a[at] + c, b[at] + n - c, (a + b)[at] + n)]
        base = [gamma_triple(v) for v in (a, b, a + b)]
        each = np.bincount(at, m, size)
        total = [np.bincount(at, m * g[0], size) - each * s[0] for g, s in zip(grow, base, strict=True)]
        first = [np.bincount(at, m * g[1], size) - each * s[1] for g, s in zip(grow, base, strict=True)]
        second = [np.bincount(at, m * g[2], size) - each * s[2] for g, s in zip(grow, base, strict=True)]
        value = -float((total[0] + total[1] - total[2]).sum())
        by = np.stack([first[0] - first[2], first[1] - first[2]], 1)
        curve = np.empty((size, 2, 2))
        curve[:, 0, 0], curve[:, 1, 1] = second[0] - second[2], second[1] - second[2]
        curve[:, 0, 1] = curve[:, 1, 0] = -second[2]
        slope = mean * (1 - mean)
        jacobian = np.empty((size, 2, TERMS + 2))
        by_h = np.stack([nu * slope - a * x[-1], -nu * slope - b * x[-1]], 1)
        jacobian[:, :, :TERMS] = by_h[:, :, None] * terms[:, None, :]
        both = np.stack([a, b], 1)
        jacobian[:, :, -2], jacobian[:, :, -1] = both, -both * h[:, None]
        gradient = -np.einsum("ip,ipq->q", by, jacobian)
        # The likelihood is not concave in (a, b): the absolute curvature keeps every step a descent.
        values, vectors = np.linalg.eigh(-curve)
        metric = np.einsum("ipr,ir,isr->ips", vectors, np.abs(values), vectors)
        normal = np.einsum("ipq,ips,isr->qr", jacobian, metric, jacobian)
        return value, gradient, normal

    if start is None:
        tries = np.maximum(np.bincount(at, m * n, size), 1e-300)
        rate = np.clip(np.bincount(at, m * c, size) / tries, 1e-5, 0.9)
        seen = np.bincount(at, minlength=size) > 0
        x = np.zeros(TERMS + 2)
        x[:TERMS] = np.linalg.lstsq(terms[seen], np.log(rate / (1 - rate))[seen], rcond=None)[0]
        x[TERMS:] = 1.0, 0.3
    else:
        x = np.array([*start.ability, *start.concentration])
    x = _descend(evaluate, x)
    return BetaAbilityLaw(tuple(x[:TERMS].tolist()), tally.center, (float(x[-2]), float(x[-1])))


def _descend(evaluate: Callable[[FloatArray], _Evaluated], x: FloatArray) -> FloatArray:
    """Broyden, Fletcher, Goldfarb and Shanno's method, from the curvature of Gauss and Newton."""
    value, gradient, normal = evaluate(x)
    inverse = np.linalg.inv(normal + 1e-9 * np.diag(np.diag(normal) + 1.0))
    small = 0
    for _ in range(_STEPS):
        step = inverse @ gradient
        slope = float(gradient @ step)
        scale = min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        while True:
            found = evaluate(x - scale * step)
            if (np.isfinite(found[0]) and found[0] <= value - 1e-4 * scale * slope) or scale < 1e-12:
                break
            scale *= 0.5
        if found[0] > value:
            break
        moved, turned = -scale * step, found[1] - gradient
        curve = float(moved @ turned)
        if curve > 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(turned)):
            half = inverse @ turned
            inverse = (
                inverse
                + np.outer(moved, moved) * (1 + float(turned @ half) / curve) / curve
                - (np.outer(half, moved) + np.outer(moved, half)) / curve
            )
        decrease = value - found[0]
        x = x + moved
        value, gradient, _ = found
        small = small + 1 if decrease <= 1e-9 * abs(value) else 0
        if small == 2:
            break
    return x
