"""Trials drawn from rules that are known."""

import numpy as np

from t2fast.data import Counts, Tallies, Trials


def drawn(p, n, seed=0, *, shares=None, cheap=None, d_prime=None, model="m", problems=None):
    """Trials of problems with success rates p, n samples each; ``shares`` and ``cheap`` are functions of p."""
    random = np.random.default_rng(seed)
    p = np.asarray(p, float)
    correct = random.random((len(p), n)) < p[:, None]
    counts = Counts.of(n, correct.sum(axis=1), model=model)
    if problems is not None:
        counts = Counts(counts.model, counts.benchmark, tuple(problems), counts.n_samples, counts.n_correct)
    answers = accepted = scores = None
    labels = ()
    if shares is not None:
        answers = np.zeros(correct.shape, np.int64)
        for i, rate in enumerate(p):
            row = np.asarray(shares(rate, random))
            answers[i] = np.where(correct[i], 0, 1 + random.choice(len(row), n, p=row / row.sum()))
        labels = tuple(tuple(map(str, range(int(row.max()) + 1))) for row in answers)
        answers = answers.ravel()
    if cheap is not None:
        recall, false_positives = cheap
        chance = np.where(correct, recall, np.asarray(false_positives(p))[:, None])
        accepted = (random.random(correct.shape) < chance).ravel()
    if d_prime is not None:
        # What makes all samples of a problem score high tells nothing apart.
        scores = (random.normal(size=correct.shape) + d_prime * correct + 3 * random.normal(size=(len(p), 1))).ravel()
    starts = np.arange(len(p) + 1) * n
    return Trials(counts, starts, correct.ravel(), answers, labels, scores, accepted)


def joined(*parts):
    """Trials of several models, one after the other."""
    counts = [part.counts for part in parts]
    names = [sum((getattr(one, name) for one in counts), ()) for name in ("model", "benchmark", "problem_id")]
    numbers = [np.concatenate([getattr(one, name) for one in counts]) for name in ("n_samples", "n_correct")]
    optional = [
        None if getattr(parts[0], name) is None else np.concatenate([getattr(part, name) for part in parts])
        for name in ("answers", "scores", "cheap")
    ]
    every = Counts(*names, *numbers)
    starts = np.concatenate([[0], np.cumsum(every.n_samples)])
    labels = sum((part.labels for part in parts), ())
    correct = np.concatenate([part.correct for part in parts])
    return Trials(every, starts, correct, optional[0], labels, *optional[1:])


def tallies(p, n, shares, seed=0):
    """Votes of problems with success rates p."""
    found = drawn(p, n, seed, shares=shares).tallies()
    return Tallies(*found)
