"""The laws by mpmath, from their definitions."""

import math

import mpmath as mp
import numpy as np
from scipy.special import betaln, expit


def effective(total, unique, r_star):
    """Muennighoff et al. 2023, equation 5: what `total` is worth when only `unique` of it is not repeated."""
    if total <= unique:
        return mp.mpf(total)
    repeats = mp.mpf(total) / unique - 1
    return unique * (1 + r_star * (1 - mp.exp(-repeats / r_star)))


def overtraining(law, n, d):
    """F (D/N)^delta: of all tokens and parameters, whatever they are worth."""
    return law.F * mp.power(mp.mpf(d) / mp.mpf(n), law.delta)


def warranted_params(law, unique):
    """The N for which `unique` tokens are compute-optimal: trading N for D at equal cost changes nothing."""
    tokens = law.beta * law.B * mp.power(unique, -law.beta)
    plain = mp.power(law.alpha * law.A / tokens, 1 / mp.mpf(law.alpha))
    if law.F == 0:
        return plain

    def excess(n):
        return law.alpha * law.A * mp.power(n, -law.alpha) + 2 * law.delta * overtraining(law, n, unique) - tokens

    low, high = plain, 2 * plain  # the term asks for more parameters
    while excess(high) > 0:
        low, high = high, 2 * high
    for _ in range(300):
        middle = mp.sqrt(low * high)
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def loss(law, n, d, unique=None):
    """E + A N^-alpha + B D^-beta + F (D/N)^delta; N and D discounted in A's and B's terms where in excess of unique tokens."""
    n, d = mp.mpf(n), mp.mpf(d)
    over = overtraining(law, n, d)
    if unique is not None:
        d = effective(d, mp.mpf(unique), mp.mpf(law.r_star_tokens))
        if law.r_star_params is not None:
            n = effective(n, warranted_params(law, mp.mpf(unique)), mp.mpf(law.r_star_params))
    return law.E + law.A * mp.power(n, -mp.mpf(law.alpha)) + law.B * mp.power(d, -mp.mpf(law.beta)) + over


def digits(*sizes):
    """Enough digits for 50 to remain after numbers of these sizes have cancelled."""
    return 50 + 2 * sum(math.ceil(abs(mp.log10(size))) if size else 0 for size in sizes)


def beta_pass_at_k(a, b, k):
    """1 - B(a, b + k) / B(a, b)."""
    a, b, k = mp.mpf(a), mp.mpf(b), mp.mpf(k)
    if a + b > mp.mpf(10) ** 70:
        with mp.workdps(400):  # all questions alike, to 50 digits
            return -mp.expm1(k * mp.log1p(-a / (a + b)))
    if k * a < mp.mpf(10) ** -100 * (a + b):
        return k * a / (a + b)  # a bound on it, and nothing to a hundred digits
    with mp.workdps(digits(a, b, k)):
        gamma = mp.loggamma
        return -mp.expm1(gamma(b + k) - gamma(b) + gamma(a + b) - gamma(a + b + k))


def beta_parameters(law, at):
    """a and b of the Beta distribution of success at a loss."""
    with mp.workdps(400):
        odds = mp.exp(law.theta1 * (mp.mpf(at) - law.theta0))
        mu = law.theta2 / (1 + odds)
        nu = mp.exp(law.theta3 + law.theta4 * mp.mpf(at))
        return mu * nu, (1 - mu) * nu


def value(law, n, d, k=1, unique=None):
    """The law at one point, 50 digits."""
    with mp.workdps(60):
        at = loss(law, n, d, unique)
        if law.kind == "chinchilla":
            return at
        if law.kind == "t2-loss":
            return at + law.G * mp.power(k, -mp.mpf(law.gamma))
        return beta_pass_at_k(*beta_parameters(law, at), k)


def values(law, n, d, k=1, unique=None):
    """The law over arrays, as one would write it in NumPy and SciPy: good to about 1e-9."""
    n, d, k = (np.asarray(x, dtype=float) for x in (n, d, k))
    over = law.F * (d / n) ** law.delta
    if unique is not None:
        d = np.vectorize(lambda x: float(effective(x, unique, law.r_star_tokens)), otypes=[float])(d)
        if law.r_star_params is not None:
            enough = warranted_params(law, unique)
            n = np.vectorize(lambda x: float(effective(x, enough, law.r_star_params)), otypes=[float])(n)
    at = law.E + law.A * n**-law.alpha + law.B * d**-law.beta + over
    if law.kind == "chinchilla":
        return at + 0 * k
    if law.kind == "t2-loss":
        return at + law.G * k**-law.gamma
    mu = law.theta2 * expit(-law.theta1 * (at - law.theta0))
    nu = np.exp(np.clip(law.theta3 + law.theta4 * at, -600, 600))
    a, b = mu * nu, (1 - mu) * nu
    with np.errstate(all="ignore"):
        beta = -np.expm1(betaln(a, b + k) - betaln(a, b))
        # betaln loses its digits as nu grows. Stirling's series: the terms left are of the size of k.
        ratio = lambda x: (x - 0.5) * np.log1p(k / x) + (1 / (x + k) - 1 / x) / 12  # noqa: E731
        large = -np.expm1(ratio(b) - ratio(nu) + k * np.log1p(-a / (nu + k)))
        # F = prod_i<k (b + i) / (nu + i), to second order in k / nu.
        alike = -np.expm1(k * np.log1p(-mu) + 0.5 * k * (k - 1) * (1 / b - 1 / nu))
    beta = np.where(b > 1e4, large, beta)
    return np.where((nu > 1e8) & (b > 1e7), alike, np.where(a < 1e-300, 0.0, beta))
