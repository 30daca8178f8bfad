"""Speed of the planner against the NumPy and SciPy programs that a skilled user would write, in the same process.

``python -m bench.planning`` prints medians and ratios; ``--csv`` also writes them to bench/results/planning.csv.
"""

import csv
import functools
import platform
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy
from scipy.special import betaln

import t2fast as t2
from bench.machine import CORES, commit, cpu
from t2fast import _core
from t2fast.laws import under_rule

PASS, MEAN = t2.load_law("pythia-gsm8k"), t2.load_law("pythia-gsm8k-average")
#: The same without the draws that intervals need.
BARE = replace(PASS, uncertainty={})
LOSS = t2.T2LossLaw(1.8, 480.0, 2100.0, 0.35, 0.37, G=1.0, gamma=0.3)
BUDGET = t2.Budget(train_flops=1e21, inference_flops=1.4e11)
ZIPF = t2.Majority(t2.Tail.zipf(1.0, 30))
#: Rules, with what a wrong answer costs and whether sampling stops at an accepted one.
RULES = {
    "verifier": (t2.Verifier(0.01, 0.9), 0.0, False),
    "verifier, slope": (t2.Verifier(0.1, 0.9, slope=0.8), 0.0, False),
    "verifier, steep slope": (t2.Verifier(0.1, 0.9, slope=2.0), 0.0, False),
    "best of k": (t2.BestOf(1.2), 0.0, False),
    "vote": (ZIPF, 0.0, False),
    "verifier, stopping": (t2.Verifier(0.01, 0.9), 0.0, True),
    "verifier, price": (t2.Verifier(0.05, 0.9, "abstain"), 1.0, False),
    "verifier, slope, price": (t2.Verifier(0.1, 0.9, "abstain", slope=0.8), 2.0, False),
    "verifier, steep slope, price": (t2.Verifier(0.1, 0.9, "abstain", slope=2.0), 2.0, False),
    "best of k, price": (t2.BestOf(1.2), 0.5, False),
    "vote, price": (ZIPF, 0.5, False),
    "verifier, price, stopping": (t2.Verifier(0.05, 0.9, "abstain"), 1.0, True),
}
#: A law by whose success rates answers are worth a price.
TINY, SMALL = (replace(t2.load_law("lab-tiny"), uncertainty={}), t2.Budget(train_flops=3e11, inference_flops=2e6))
N, D = np.geomspace(1e6, 1e11, 400), np.geomspace(1e9, 1e13, 400)
K = np.unique(np.round(np.geomspace(1, 1e4, 270)))  # 200 whole numbers


def pass_at_k(law, n, d, k):
    """The law as NumPy and SciPy have it."""
    at = law.E + law.A * n**-law.alpha + law.B * d**-law.beta
    mu = law.theta2 / (1 + np.exp(law.theta1 * (at - law.theta0)))
    nu = np.exp(law.theta3 + law.theta4 * at)
    a, b = mu * nu, (1 - mu) * nu
    return 1 - np.exp(betaln(a, b + k) - betaln(a, b))


def surface_chunked(out):
    """The whole surface, one N at a time: temporaries then fit the cache."""
    for i, n in enumerate(N):
        out[i] = pass_at_k(PASS, n, D[:, None], K[None, :])


def best_in_box():
    """The best feasible point, only the affordable corner of each N evaluated."""
    best = -1.0, 0, 0, 0
    for i, n in enumerate(N):
        ds = D[: np.searchsorted(D, BUDGET.train_flops / (6 * n), side="right")]
        ks = K[: np.searchsorted(K, BUDGET.inference_flops / (2 * n), side="right")]
        if len(ds) and len(ks):
            values = pass_at_k(PASS, n, ds[:, None], ks)
            place = int(values.argmax())
            if values.flat[place] > best[0]:
                best = values.flat[place], i, *divmod(place, len(ks))
    return best


def best_largest_k():
    """The best feasible point, only the largest affordable k evaluated: pass@k rises with k."""
    last_k = np.searchsorted(K, BUDGET.inference_flops / (2 * N), side="right") - 1
    last_d = np.searchsorted(D, BUDGET.train_flops / (6 * N), side="right")
    rows = np.flatnonzero((last_k >= 0) & (last_d > 0))
    values = pass_at_k(PASS, N[rows, None], D, K[last_k[rows], None])
    values[np.arange(len(D)) >= last_d[rows, None]] = -1
    i, j = np.unravel_index(values.argmax(), values.shape)
    return values[i, j], rows[i], j, last_k[rows[i]]


def best_frontier():
    """The loss law's best point: largest affordable D and k of each N by searchsorted, nothing else evaluated."""
    last_d = np.searchsorted(D, BUDGET.train_flops / (6 * N), side="right") - 1
    last_k = np.searchsorted(K, BUDGET.inference_flops / (2 * N), side="right") - 1
    rows = np.flatnonzero((last_d >= 0) & (last_k >= 0))
    d, k = D[last_d[rows]], K[last_k[rows]]
    values = LOSS.E + LOSS.A * N[rows] ** -LOSS.alpha + LOSS.B * d**-LOSS.beta + LOSS.G * k**-LOSS.gamma
    i = int(values.argmin())
    return values[i], rows[i], last_d[rows[i]], last_k[rows[i]]


def surface_into(out, threads):
    """Our surface into an array that exists."""
    _core.surface(PASS._handle, N, D, K, out, None, threads)


def surface_fresh(threads):
    """Our surface into a new array."""
    out = np.empty((len(N), len(D), len(K)))
    surface_into(out, threads)
    return out


def search(law, threads=1):
    """Our best feasible point."""
    return t2.grid_search(law, BUDGET, N, D, K, threads=threads)


def timed(call, seconds=1.5, least=5):
    """Seconds per call: median and minimum of repeats, short calls in batches."""
    call()
    start = time.perf_counter()
    call()
    batch = max(1, int(2e-3 / max(time.perf_counter() - start, 1e-7)))
    times, end = [], time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(batch):
            call()
        times.append((time.perf_counter() - start) / batch)
    return statistics.median(times), min(times)


def fill_on_all(out):
    """Write the array once, each core its part: NumPy releases the interpreter while it fills."""
    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(lambda part: part.fill(0.5), np.array_split(out.reshape(-1), CORES)))


def rows():
    """Name, threads, median, minimum, baseline, ratio of medians."""
    out = np.zeros((len(N), len(D), len(K)))
    chunked, everything = "surface, SciPy chunked by N", {}
    handle, budget = PASS._handle, BUDGET._handle
    ends = PASS.data_range
    cases = [
        ("memory-write floor, fill", 1, lambda: out.fill(0.5), None),
        ("memory-write floor, fill", CORES, lambda: fill_on_all(out), None),
        (chunked, 1, lambda: surface_chunked(out), None),
        ("surface, reused array", 1, lambda: surface_into(out, 1), chunked),
        ("surface, reused array", CORES, lambda: surface_into(out, CORES), "surface, reused array"),
        ("surface, fresh array", 1, lambda: surface_fresh(1), chunked),
        ("surface, fresh array", CORES, lambda: surface_fresh(CORES), "surface, fresh array"),
        ("pass best, SciPy feasible box", 1, best_in_box, None),
        ("pass best, SciPy largest k", 1, best_largest_k, None),
        ("pass best", 1, lambda: search(PASS), "pass best, SciPy feasible box"),
        ("pass best", 1, lambda: search(PASS), "pass best, SciPy largest k"),
        ("loss best, NumPy searchsorted", 1, best_frontier, None),
        ("loss best", 1, lambda: search(LOSS), "loss best, NumPy searchsorted"),
        ("plan, t2-pass", 1, lambda: t2.plan(BARE, BUDGET), None),
        ("plan, t2-pass with 1,000 draws", 1, lambda: t2.plan(PASS, BUDGET), None),
        ("plan, mean of three with draws", 1, lambda: t2.plan(MEAN, BUDGET), None),
        ("plan, t2-pass, core call", 1, lambda: _core.plan_budget(handle, budget, ends), None),
        ("plan, t2-loss", 1, lambda: t2.plan(LOSS, BUDGET), None),
        ("plan, t2-loss, core call", 1, lambda: _core.plan_budget(LOSS._handle, budget, None), None),
    ]
    for name, (rule, price, stops) in RULES.items():
        law, limits = (TINY, SMALL) if price else (BARE, BUDGET)
        for where, spent in [("", limits), (" in total", t2.Budget(total_flops=limits.train_flops))]:
            asked = under_rule(law, rule, price, stops)._handle, spent._handle, law.data_range
            cases.append((f"plan{where}, {name}, core call", 1, functools.partial(_core.plan_budget, *asked), None))
    for name, threads, call, against in cases:
        median, least = timed(call)
        ratio = everything[against] / median if against else None
        everything.setdefault(name, median)
        yield name, threads, median, least, against, ratio


def main():
    """Print the table, and write it on request."""
    versions = ", ".join(
        f"{name} {version}"
        for name, version in [
            ("t2fast", t2.__version__),
            ("NumPy", np.__version__),
            ("SciPy", scipy.__version__),
            ("Python", platform.python_version()),
        ]
    )
    print(f"{cpu()}, {CORES} cores; {versions}; grid {len(N)} x {len(D)} x {len(K)}")
    table = []
    for name, threads, median, least, against, ratio in rows():
        said = "" if ratio is None else f"{ratio:7.2f} x {against}"
        print(
            f"{name:32} {threads:2} threads  median {median * 1e3:10.4f} ms  min {least * 1e3:10.4f} ms  {said}",
            flush=True,
        )
        table.append([name, threads, median, least, against or "", ratio or "", cpu(), CORES, versions, commit()])
    if "--csv" in sys.argv[1:]:
        path = Path(__file__).parent / "results" / "planning.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["case", "threads", "median_s", "min_s", "baseline", "ratio", "cpu", "cores", "versions", "commit"]
            )
            writer.writerows(table)


if __name__ == "__main__":
    main()
