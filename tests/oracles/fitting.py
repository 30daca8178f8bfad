"""Objectives of the fits, written plainly with NumPy and SciPy."""

import numpy as np
from scipy.special import betaln


def power_sum(law, n, d, k=None):
    value = law["E"] + law["A"] * n ** -law["alpha"] + law["B"] * d ** -law["beta"]
    value = value + law.get("F", 0.0) * (d / n) ** law.get("delta", 1.0)
    return value if k is None else value + law["G"] * k ** -law["gamma"]


def penalty(r, kind, delta=1e-3, under=1.0, over=1.0):
    if kind == "squared":
        return np.sum(r**2)
    if kind == "absolute":
        return np.sum(np.where(r < 0, under, over) * np.abs(r))
    size = np.abs(r)
    return np.sum(np.where(size <= delta, 0.5 * r**2, delta * (size - 0.5 * delta)))


def objective(name, predicted, observed, **constants):
    kind, _, log = name.partition("_")
    r = np.log(predicted) - np.log(observed) if log else predicted - observed
    return penalty(r, kind, **constants)


def effective(total, unique, r_star):
    repeats = np.maximum(total / unique - 1, 0)
    return np.minimum(total, unique) + unique * r_star * (1 - np.exp(-repeats / r_star))


def beta_shape(law, n, d):
    loss = power_sum(law, n, d)
    mean = law["theta2"] / (1 + np.exp(law["theta1"] * (loss - law["theta0"])))
    nu = np.exp(law["theta3"] + law["theta4"] * loss)
    return mean * nu, (1 - mean) * nu


def negative_log_likelihood(law, n, d, samples, correct):
    a, b = beta_shape(law, n, d)
    return -np.sum(betaln(a + correct, b + samples - correct) - betaln(a, b))


def priors(law):
    """Negative logarithm of the priors beside a term of overtraining, constants left out."""
    f = law["F"] * 1000 ** law["delta"]
    normal = lambda x, median, spread: (np.log(x / median) / spread) ** 2 / 2  # noqa: E731
    return f + normal(law["delta"], 0.6, 0.4) + normal(law["alpha"], 0.4, 1) + normal(law["beta"], 0.4, 1)


def pass_at_k(law, n, d, k):
    a, b = beta_shape(law, n, d)
    return -np.expm1(betaln(a, b + k) - betaln(a, b))
