"""Fitting against the NumPy and SciPy programs that a skilled user would write.

``python bench/bench_fitting.py`` measures ours and theirs in one run and prints medians and ratios; add ``--quick``
to leave out the baselines that take half a minute each, or names of sections to run only those. Under pytest-benchmark
only our side is timed.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The baselines' matrices are small: more BLAS threads than one slow them down many times over.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
import scipy
from scipy.optimize import least_squares, minimize
from scipy.special import betaln, digamma

from t2fast import _core, fitting
from t2fast.data import read_table
from t2fast.fitting.recipes import PowerSum

DATA = Path(os.environ.get("T2FAST_DATA", Path(__file__).parents[2] / "shared" / "data")) / "laws"


def median_time(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def chinchilla_points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = read_table(DATA / "chinchilla_epoch245.csv")
    kept = table["kept_by_besiroglu"] == 1
    return table["n_params"][kept], table["n_tokens"][kept], table["loss"][kept]


def huber_log(x: np.ndarray, ln: np.ndarray, ld: np.ndarray, ly: np.ndarray, delta: float) -> tuple[float, np.ndarray]:
    """Sum of Huber losses of log residuals over (ln A, ln B, ln E, alpha, beta), with its gradient."""
    a = np.exp(x[0] - x[3] * ln)
    b = np.exp(x[1] - x[4] * ld)
    e = np.exp(x[2])
    total = a + b + e
    r = np.log(total) - ly
    c = np.clip(r, -delta, delta)
    slope = c / total
    return float(np.sum(c * (r - 0.5 * c))), np.array(
        [slope @ a, slope @ b, slope.sum() * e, -(slope * ln) @ a, -(slope * ld) @ b]
    )


def numpy_variable_projection(
    n: np.ndarray, d: np.ndarray, y: np.ndarray, delta: float = 1e-3
) -> tuple[float, np.ndarray]:
    """20 x 20 exponents, the linear coefficients of all of them in one batched solve, then an analytic polish."""
    ln, ld, ly = np.log(n), np.log(d), np.log(y)
    mn, md = ln.mean(), ld.mean()
    ln, ld = ln - mn, ld - md
    exponents = np.linspace(0.05, 1.0, 20)
    u, v = np.exp(-exponents[:, None] * ln), np.exp(-exponents[:, None] * ld)
    w = 1 / y**2
    gram = np.empty((20, 20, 3, 3))
    uw, vw = u * w, v * w
    gram[..., 0, 0] = np.einsum("in,in->i", uw, u)[:, None]
    gram[..., 1, 1] = np.einsum("in,in->i", vw, v)[None, :]
    gram[..., 2, 2] = w.sum()
    gram[..., 0, 1] = gram[..., 1, 0] = uw @ v.T
    gram[..., 0, 2] = gram[..., 2, 0] = uw.sum(1)[:, None]
    gram[..., 1, 2] = gram[..., 2, 1] = vw.sum(1)[None, :]
    right = np.empty((20, 20, 3))
    right[..., 0], right[..., 1], right[..., 2] = (uw @ y)[:, None], (vw @ y)[None, :], w @ y
    coefficients = np.linalg.solve(gram, right[..., None])[..., 0]
    squares = w @ y**2 - np.sum(coefficients * right, axis=-1)
    squares[(coefficients <= 0).any(-1)] = np.inf
    i, j = np.unravel_index(np.argmin(squares), squares.shape)
    start = np.array([*np.log(coefficients[i, j]), exponents[i], exponents[j]])
    tight = {"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10}
    found = minimize(huber_log, start, (ln, ld, ly, delta), jac=True, method="L-BFGS-B", options=tight)
    return float(found.fun), found.x


def public_grid(n: np.ndarray, d: np.ndarray, y: np.ndarray, starts: int) -> tuple[float, float]:
    """The public replication's 4,500 starts, BFGS with numerical gradients; a sample of them, and its time."""
    ln, ld, ly = np.log(n), np.log(d), np.log(y)
    grid = np.stack(
        np.meshgrid(
            np.arange(0, 30, 5),
            np.arange(0, 30, 5),
            np.arange(-1, 1.5, 0.5),
            np.arange(0, 2.5, 0.5),
            np.arange(0, 2.5, 0.5),
        ),
        axis=-1,
    ).reshape(-1, 5)
    chosen = grid[np.random.default_rng(0).choice(len(grid), starts, replace=False)]
    begin = time.perf_counter()
    best = np.inf
    for start in chosen:
        with np.errstate(all="ignore"):
            found = minimize(lambda x: huber_log(x, ln, ld, ly, 1e-3)[0], start, method="BFGS")
        best = min(best, float(found.fun)) if np.isfinite(found.fun) else best
    return best, (time.perf_counter() - begin) * len(grid) / starts


def chinchilla_package(n: np.ndarray, d: np.ndarray, y: np.ndarray, points: int) -> tuple[float, float]:
    """The package ``chinchilla``: BFGS with numerical gradients from a grid of ``points``^5 starts, in all processes.

    Returns the objective at its coefficients and the seconds of its ``fit``, which draws a figure as well.
    """
    import contextlib
    import functools
    import io
    import tempfile

    import matplotlib as mpl

    mpl.use("Agg")
    from chinchilla import Chinchilla
    from chinchilla._metrics import log_huber

    grid = {"e": (0, 1), "a": (5, 8), "b": (5, 9), "alpha": (0.2, 0.6), "beta": (0.2, 0.6)}
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"), contextlib.redirect_stdout(io.StringIO()):
        peer = Chinchilla(
            folder,
            {name: np.linspace(*ends, points) for name, ends in grid.items()},
            loss_fn=functools.partial(log_huber, delta=1e-3),
            log_level=50,
        )
        for row in zip(n, d, y, strict=True):
            peer.database.append(N=row[0], D=row[1], loss=row[2])
        begin = time.perf_counter()
        peer.fit(parallel=True)
        seconds = time.perf_counter() - begin
    x = np.array([np.log(peer.A), np.log(peer.B), np.log(peer.E), peer.alpha, peer.beta])
    return huber_log(x, np.log(n), np.log(d), np.log(y), 1e-3)[0], seconds


def likelihood(x: np.ndarray, ln: np.ndarray, ld: np.ndarray, ly: np.ndarray) -> tuple[float, np.ndarray]:
    """Besiroglu et al.'s Huber likelihood: a Huber density of width 1e-3 scaled by sigma, over six parameters."""
    a, b, e = np.exp(x[0] - x[3] * ln), np.exp(x[1] - x[4] * ld), np.exp(x[2])
    total = a + b + e
    sigma = np.exp(x[5])
    z = (ly - np.log(total)) / sigma
    c = np.clip(z, -1e-3, 1e-3)
    slope = -c / sigma / total
    gradient = [slope @ a, slope @ b, slope.sum() * e, -(slope * ln) @ a, -(slope * ld) @ b, len(z) - c @ z]
    return float(np.sum(c * (z - 0.5 * c)) + len(z) * x[5]), np.array(gradient)


def scipy_bootstrap(
    n: np.ndarray, d: np.ndarray, y: np.ndarray, replicates: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Warm-started refits of resampled rows with analytic gradients; coefficients, mean absolute errors, seconds."""
    ln, ld, ly = np.log(n), np.log(d), np.log(y)
    best = np.array([np.log(482.01), np.log(2085.43), np.log(1.8172), 0.3478, 0.3658])
    sigma = 1e-3 * np.mean(
        np.abs(ly - np.log(np.exp(best[0] - best[3] * ln) + np.exp(best[1] - best[4] * ld) + np.exp(best[2])))
    )
    start = np.append(best, np.log(sigma))
    rng = np.random.default_rng(0)
    out = np.empty((replicates, 6))
    begin = time.perf_counter()
    for row in out:
        chosen = rng.integers(0, len(y), len(y))
        found = minimize(likelihood, start, (ln[chosen], ld[chosen], ly[chosen]), jac=True, method="BFGS")
        row[:] = found.x
    seconds = time.perf_counter() - begin
    out[:, :3] = np.exp(out[:, :3])
    return out, out[:, 5], seconds


def synthetic_t2_loss(seed: int) -> tuple[np.ndarray, ...]:
    """106 checkpoints x 20 k of a random Approach 1 law with 1% noise."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(5e6, 9e8, 12)
    n = sizes[np.arange(106) % 12]
    d = n * 20 * 8.0 ** rng.uniform(-1, 1, 106)
    k = np.unique(np.geomspace(1, 1e4, 20).round())
    e, g = rng.uniform(0.1, 1), rng.uniform(0.3, 2)
    alpha, beta, gamma = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.8)
    a, b = rng.uniform(0.5, 2) * 1e8**alpha, rng.uniform(0.5, 2) * 2e9**beta
    n, d, k = np.repeat(n, len(k)), np.repeat(d, len(k)), np.tile(k, 106)
    clean = e + a * n**-alpha + b * d**-beta + g * k**-gamma
    return n, d, k, clean * np.exp(0.01 * rng.standard_normal(len(n)))


def squares_t2(
    x: np.ndarray, ln: np.ndarray, ld: np.ndarray, lk: np.ndarray, y: np.ndarray
) -> tuple[float, np.ndarray]:
    a, b, g = np.exp(x[0] - x[3] * ln), np.exp(x[1] - x[4] * ld), np.exp(x[2] - x[5] * lk)
    e = np.exp(x[6])
    r = a + b + g + e - y
    gradient = [r @ a, r @ b, r @ g, -(r * ln) @ a, -(r * ld) @ b, -(r * lk) @ g, r.sum() * e]
    return float(r @ r), 2 * np.array(gradient)


def numpy_t2_loss(n: np.ndarray, d: np.ndarray, k: np.ndarray, y: np.ndarray) -> float:
    """10 x 10 x 10 exponents from shared inner products, then Levenberg-Marquardt with an analytic Jacobian."""
    ln, ld, lk = np.log(n) - np.log(n).mean(), np.log(d) - np.log(d).mean(), np.log(k)
    m = 10
    exponents = np.linspace(0.05, 1.0, m)
    columns = [np.exp(-exponents[:, None] * x) for x in (ln, ld, lk)]
    stack = np.concatenate([*columns, np.ones((1, len(y)))])
    inner, with_y = stack @ stack.T, stack @ y
    index = np.stack(np.meshgrid(*(np.arange(m) + m * t for t in range(3)), indexing="ij"), -1).reshape(-1, 3)
    index = np.concatenate([index, np.full((len(index), 1), 3 * m)], axis=1)
    gram, right = inner[index[:, :, None], index[:, None, :]], with_y[index]
    coefficients = np.linalg.solve(gram, right[..., None])[..., 0]
    squares = y @ y - np.sum(coefficients * right, axis=-1)
    squares[(coefficients <= 0).any(-1)] = np.inf
    best = np.argmin(squares)
    start = np.array([*np.log(coefficients[best, :3]), *exponents[index[best, :3] % m], np.log(coefficients[best, 3])])

    def terms(x: np.ndarray) -> np.ndarray:
        return np.stack([np.exp(x[0] - x[3] * ln), np.exp(x[1] - x[4] * ld), np.exp(x[2] - x[5] * lk)])

    def residual(x: np.ndarray) -> np.ndarray:
        return terms(x).sum(0) + np.exp(x[6]) - y

    def jacobian(x: np.ndarray) -> np.ndarray:
        t = terms(x)
        return np.stack([*t, -ln * t[0], -ld * t[1], -lk * t[2], np.full(len(y), np.exp(x[6]))], axis=1)

    found = least_squares(residual, start, jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15)
    return 2 * float(found.cost)


def random_starts_t2(data: tuple[np.ndarray, ...], starts: int, seed: int) -> float:
    """The paper's fit: random starts, L-BFGS-B, the lowest wins."""
    n, d, k, y = data
    arguments = (np.log(n), np.log(d), np.log(k), y)
    rng = np.random.default_rng(seed)
    best = np.inf
    for _ in range(starts):
        start = np.concatenate(
            [rng.uniform(0, 10, 2), rng.uniform(-2, 2, 1), rng.uniform(0.05, 1, 3), rng.uniform(-2, 1, 1)]
        )
        with np.errstate(all="ignore"):
            found = minimize(
                squares_t2, start, arguments, jac=True, method="L-BFGS-B",
                bounds=[(-20, 30)] * 3 + [(1e-3, 5)] * 3 + [(-20, 5)],
                options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15},
            )  # fmt: skip
        best = min(best, float(found.fun))
    return best


THETA = (2.6, 3.0, 0.9, -0.4, 0.55)
BASE = (0.9, 400.0, 900.0, 0.34, 0.3)


def synthetic_counts(seed: int) -> tuple[np.ndarray, ...]:
    """106 checkpoints x 300 questions, 100 samples each, success rates Beta distributed at the law's loss."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(5e6, 9e8, 12)
    n = sizes[np.arange(106) % 12]
    d = n * 20 * 8.0 ** rng.uniform(-1, 1, 106)
    loss = BASE[0] + BASE[1] * n ** -BASE[3] + BASE[2] * d ** -BASE[4]
    mean = THETA[2] / (1 + np.exp(THETA[1] * (loss - THETA[0])))
    nu = np.exp(THETA[3] + THETA[4] * loss)
    p = rng.beta((mean * nu)[:, None], ((1 - mean) * nu)[:, None], (106, 300)).reshape(-1)
    correct = rng.binomial(100, p).astype(float)
    return np.repeat(n, 300), np.repeat(d, 300), np.repeat(loss, 300), np.full(31800, 100.0), correct


def scipy_counts(
    loss: np.ndarray, samples: np.ndarray, correct: np.ndarray, starts: int, seed: int
) -> tuple[float, np.ndarray]:
    """Beta-binomial likelihood at known losses by L-BFGS-B with analytic gradients from random starts."""

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        share = 1 / (1 + np.exp(x[1] * (loss - x[0])))
        mu, nu = x[2] * share, np.exp(x[3] + x[4] * loss)
        a, b = mu * nu, (1 - mu) * nu
        total = np.sum(betaln(a + correct, b + samples - correct) - betaln(a, b))
        common = digamma(a + b) - digamma(a + b + samples)
        by_a = common + digamma(a + correct) - digamma(a)
        by_b = common + digamma(b + samples - correct) - digamma(b)
        by_mu, by_ln_nu = nu * (by_a - by_b), a * by_a + b * by_b
        by_odds = -by_mu * mu * (1 - share)
        gradient = [
            -x[1] * by_odds.sum(), by_odds @ (loss - x[0]), by_mu @ share, by_ln_nu.sum(), by_ln_nu @ loss,
        ]  # fmt: skip
        return -float(total), -np.array(gradient)

    rng = np.random.default_rng(seed)
    best, at = np.inf, np.empty(5)
    for _ in range(starts):
        start = rng.uniform([1, 0.5, 0.3, -2, -1], [5, 6, 0.99, 3, 1])
        with np.errstate(all="ignore"):
            found = minimize(
                value, start, jac=True, method="L-BFGS-B",
                bounds=[(-5, 20), (0.01, 50), (1e-3, 1 - 1e-9), (-10, 10), (-5, 5)], options={"maxiter": 1000},
            )  # fmt: skip
        # Where a or b underflow, SciPy's logarithm of the beta function is infinite.
        if np.isfinite(found.fun) and found.fun < best:
            best, at = float(found.fun), found.x
    return best, at


def report(what: str, ours: float, theirs: float, note: str = "") -> None:
    print(f"{what:<58}{ours * 1e3:>11.3f} ms{theirs * 1e3:>13.1f} ms{theirs / ours:>10.0f}x  {note}", flush=True)


def section_chinchilla(quick: bool) -> None:
    n, d, y = chinchilla_points()
    ours = median_time(lambda: fitting.fit_chinchilla(n, d, y), 50)
    core = median_time(
        lambda: PowerSum(n, d, y).build().fit(None),
        200,
    )
    theirs = median_time(lambda: numpy_variable_projection(n, d, y), 20)
    fit = fitting.fit_chinchilla(n, d, y)
    objective = numpy_variable_projection(n, d, y)[0]
    report(
        "240 points, Huber: core, against NumPy projection",
        core,
        theirs,
        f"{fit.objective:.13e} against {objective:.13e}",
    )
    report("the same, whole Python call with standard errors", ours, theirs)
    best, seconds = public_grid(n, d, y, 15 if quick else 90)
    report("the same, against 4,500 starts (extrapolated)", ours, seconds, f"best of the sample {best:.10e}")
    try:
        objective, seconds = chinchilla_package(n, d, y, 2)
    except ImportError as error:
        print(f"the package chinchilla is left out: {error}")
    else:
        report("the same, against the package chinchilla, 32 starts", ours, seconds, f"its objective {objective:.10e}")


def section_bootstrap(quick: bool) -> None:
    n, d, y = chinchilla_points()
    replicates = 50 if quick else 400
    laplace = fitting.fit_chinchilla(n, d, y, objective="absolute_log")
    theirs, _, seconds = scipy_bootstrap(n, d, y, replicates)
    ours = median_time(lambda: laplace.bootstrap(4000), 3)
    report("bootstrap of 4,000, Laplace likelihood (extrapolated)", ours, seconds * 4000 / replicates)
    huber = fitting.fit_chinchilla(n, d, y)
    ours = median_time(lambda: huber.bootstrap(4000), 3)
    rng = np.random.default_rng(0)
    ln, ld, ly = np.log(n), np.log(d), np.log(y)
    best = np.array([np.log(huber.law.A), np.log(huber.law.B), np.log(huber.law.E), huber.law.alpha, huber.law.beta])
    begin = time.perf_counter()
    for _ in range(replicates):
        i = rng.integers(0, len(y), len(y))
        minimize(huber_log, best, (ln[i], ld[i], ly[i], 1e-3), jac=True, method="BFGS")
    seconds = time.perf_counter() - begin
    report("bootstrap of 4,000, Huber 1e-3 (extrapolated)", ours, seconds * 4000 / replicates)
    names = ("A", "B", "E", "alpha", "beta")
    scipy_errors = dict(zip(names, theirs.std(0, ddof=1), strict=False))
    found = {
        "Laplace": laplace.bootstrap(4000).standard_errors(),
        "Huber 1e-3": huber.bootstrap(4000).standard_errors(),
    }
    for what, errors in {**found, "SciPy's BFGS, Laplace": scipy_errors}.items():
        print(f"   standard errors, {what}: " + ", ".join(f"{name} {errors[name]:.4g}" for name in names))


def section_t2_loss(quick: bool) -> None:
    data = [synthetic_t2_loss(seed) for seed in range(100)]
    first = data[0]
    core = median_time(lambda: fitting.fit_t2_loss(*first), 30)
    report("Approach 1, 106 x 20: whole call", core, median_time(lambda: numpy_t2_loss(*first), 10))
    problem = PowerSum(first[0], first[1], first[3], first[2], objective="squared").build()
    report("the same, core", median_time(lambda: problem.fit(None), 30), median_time(lambda: numpy_t2_loss(*first), 10))
    ours, theirs, higher = [], [], 0
    for one in data:
        begin = time.perf_counter()
        fit = fitting.fit_t2_loss(*one)
        ours.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        objective = numpy_t2_loss(*one)
        theirs.append(time.perf_counter() - begin)
        higher += fit.objective > objective * (1 + 1e-9)
    report(
        "the same, median of 100 random laws",
        statistics.median(ours),
        statistics.median(theirs),
        f"ours higher: {higher}",
    )
    laws, starts = (3, 20) if quick else (100, 10)
    begin = time.perf_counter()
    higher = lower = 0
    for seed, one in enumerate(data[:laws]):
        reference = random_starts_t2(one, starts, seed)
        fit = fitting.fit_t2_loss(*one)
        higher += fit.objective > reference * (1 + 1e-9)
        lower += fit.objective < reference * (1 - 1e-6)
    seconds = (time.perf_counter() - begin) / laws / starts * 500
    report(
        "against 500 random starts (extrapolated)",
        statistics.median(ours),
        seconds,
        f"{laws} laws x {starts} starts: ours higher {higher}, lower {lower}",
    )
    if not quick:
        begin = time.perf_counter()
        reference = random_starts_t2(first, 500, 1)
        report(
            "against 500 random starts, one law in full",
            statistics.median(ours),
            time.perf_counter() - begin,
            f"{fitting.fit_t2_loss(*first).objective:.12e} against {reference:.12e}",
        )


def section_counts(quick: bool) -> None:
    from t2fast.laws import ChinchillaLaw

    n, d, loss, samples, correct = synthetic_counts(0)
    law = ChinchillaLaw(*BASE)
    ours = median_time(lambda: fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, loss_law=law), 5)
    table = {"n_params": n, "n_tokens": d, "n_samples": samples, "n_correct": correct}
    core = _core.FitProblem.latent(table).with_losses(law._handle)
    starts = 5 if quick else 50
    begin = time.perf_counter()
    best, _ = scipy_counts(loss, samples, correct, starts, 0)
    seconds = (time.perf_counter() - begin) * 50 / starts
    found = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, loss_law=law).objective
    report(
        "31,800 counts: core, against SciPy's 50 starts",
        median_time(lambda: core.fit(None), 10),
        seconds,
        f"{found:.6f} against {best:.6f}",
    )
    report("the same, whole Python call with standard errors", ours, seconds)
    trials = 10 if quick else 100
    inside = np.zeros(5)
    for seed in range(trials):
        n, d, loss, samples, correct = synthetic_counts(1000 + seed)
        problem = np.arange(len(n))
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, loss_law=law, group=problem)
        errors = np.array([fit.standard_errors[f"theta{i}"] for i in range(5)])
        values = np.array([fit.law.coefficients[f"theta{i}"] for i in range(5)])
        inside += np.abs(values - THETA) < 2 * errors
    print(f"   truth within 2 standard errors in {trials} trials, theta0 to theta4: {inside / trials}")


def section_latent(quick: bool) -> None:  # noqa: ARG001
    table = read_table(DATA / "pythia_passk_counts.csv")
    table = table.select((table["benchmark"] == "gsm8k") & (table["n_tokens"] >= 1e9))
    seconds = median_time(lambda: fitting.fit_table(table, "t2-pass"), 5)
    fit = fitting.fit_table(table, "t2-pass")
    core = fit.refit.core
    print(f"latent loss, Pythia GSM8K, {len(table)} rows: {seconds * 1e3:.1f} ms, objective {fit.objective:.4f}")
    alone = median_time(lambda: core.fit(None), 10)
    print(f"   {fit.n_agreeing} of {fit.n_starts} starts agree; core {alone * 1e3:.1f} ms")
    print(f"   bootstrap of 1,000: {median_time(lambda: fit.bootstrap(1000), 1) * 1e3:.0f} ms")


SECTIONS = {
    name.removeprefix("section_"): work for name, work in list(globals().items()) if name.startswith("section_")
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the data folder is absent; set T2FAST_DATA")
def test_chinchilla(benchmark) -> None:
    n, d, y = chinchilla_points()
    fit = benchmark(fitting.fit_chinchilla, n, d, y)
    assert fit.objective <= 1.01827401783e-3


def test_t2_loss(benchmark) -> None:
    data = synthetic_t2_loss(0)
    fit = benchmark(fitting.fit_t2_loss, *data)
    assert fit.objective <= numpy_t2_loss(*data) * (1 + 1e-9)


def test_counts(benchmark) -> None:
    n, d, _, samples, correct = synthetic_counts(0)
    fit = benchmark(fitting.fit_t2_pass, n, d, n_samples=samples, n_correct=correct)
    assert fit.success


if __name__ == "__main__":
    chosen = [name for name in sys.argv[1:] if name in SECTIONS] or list(SECTIONS)
    print(f"NumPy {np.__version__}, SciPy {scipy.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    print(f"{'':<58}{'ours':>14}{'theirs':>16}{'ratio':>11}")
    for name in chosen:
        SECTIONS[name]("--quick" in sys.argv)
