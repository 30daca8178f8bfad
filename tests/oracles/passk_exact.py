"""pass@k and relatives in exact arithmetic, slow and readable."""

import itertools
from fractions import Fraction
from math import comb

import mpmath


def failure(n, c, k):
    """C(n - c, k) / C(n, k) as a fraction."""
    return Fraction(comb(n - c, k), comb(n, k))


def ln_failure(n, c, k):
    """Its logarithm with 50 digits, also where the binomials are too large to write down; None for zero."""
    a, b = min(c, k), max(c, k)
    if n - a < b:
        return None
    with mpmath.workdps(50):
        if a <= 200:
            return mpmath.log(mpmath.fprod(mpmath.mpf(n - b - i) / (n - i) for i in range(a)))
        gamma = mpmath.loggamma
        return gamma(n - c + 1) + gamma(n - k + 1) - gamma(n + 1) - gamma(n - c - k + 1)


def g_pass_at_k(n, c, k, least):
    """At least ``least`` of k correct."""
    ways = sum(comb(c, j) * comb(n - c, k - j) for j in range(least, min(c, k) + 1) if k - j <= n - c)
    return Fraction(ways, comb(n, k))


def majority(answers, correct, k, ties):
    """maj@k over every set of k samples."""
    total, sets = Fraction(0), 0
    for chosen in itertools.combinations(answers, k):
        sets += 1
        votes = {answer: chosen.count(answer) for answer in set(chosen)}
        best = max(votes.values())
        if votes.get(correct, 0) == best:
            tied = sum(v == best for v in votes.values())
            total += 1 if tied == 1 else {"random": Fraction(1, tied), "fail": 0, "win": 1}[ties]
    return total / sets


def best_of_k(scores, values, k):
    """The mean value of the top-scoring samples of every set of k."""
    total, sets = Fraction(0), 0
    for chosen in itertools.combinations(range(len(scores)), k):
        sets += 1
        top = max(scores[i] for i in chosen)
        # Equal scores stand for their group as a whole.
        group = [i for i in range(len(scores)) if scores[i] == top]
        total += Fraction(sum(values[i] for i in group), len(group))
    return total / sets
