"""One answer chosen from k samples, by the most votes or by the highest score, and how often it is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from t2fast import _core, arguments
from t2fast.errors import T2Error
from t2fast.passk.estimate import Array, Integers, flat_ks

if TYPE_CHECKING:
    from t2fast.data import Tallies

__all__ = ["Ties", "VoteEstimate", "best_of_k", "maj_at_k", "maj_of_tallies", "max_at_k"]

Ties = Literal["random", "fail", "win"]
_TIES = ("random", "fail", "win")


class VoteEstimate(NamedTuple):
    """maj@k of each problem, and how exact it is; unpacks as ``value, standard_error``.

    Examples
    --------
    >>> value, standard_error = maj_at_k([["8", "8", "9"]], ["8"], 3)
    >>> value, standard_error
    (array([1.]), array([0.]))
    """

    #: The estimates, of shape ``(problems,) + k.shape``.
    value: Array
    #: Standard errors of drawing votes, 0 where the estimate is exact; of the same shape.
    standard_error: Array


def maj_at_k(
    answers: Sequence[Sequence[Hashable]],
    correct: Sequence[Hashable],
    k: npt.ArrayLike,
    *,
    ties: Ties = "random",
    draws: int = 10_000,
    seed: int = 0,
    exact_work: float = 3e7,
) -> VoteEstimate:
    """Estimate the chance that the correct answer wins a vote among k samples, per problem.

    Parameters
    ----------
    answers
        For each problem the answers of its samples, already in one form (``"1/2"`` and ``"0.5"`` are two answers). An
        answer of None is a sample that gave none; those vote like any other answer, for one common wrong one.
    correct
        For each problem the correct answer.
    k
        Samples per vote.
    ties
        What a tie for the most votes counts that includes the correct answer: ``"random"`` takes one of the tied at
        random, ``"fail"`` is a failure, ``"win"`` a success.
    draws, seed
        Where exact work would be too much, so many votes are drawn instead.
    exact_work
        Exact up to so many multiplications per problem and k (3e7 take about 30 ms).

    Returns
    -------
    A named tuple (value, standard_error) of arrays of shape ``(problems,) + k.shape``: the estimates, and the standard
    errors of drawing votes, 0 where exact. NaN where k exceeds a problem's samples.

    Raises
    ------
    T2Error
        When lengths differ, a problem has no answer, or k < 1.

    Examples
    --------
    >>> maj_at_k([["4", "4", "5", "6"]], ["4"], [1, 3]).value
    array([[0.5       , 0.66666667]])
    """
    if len(answers) != len(correct):
        raise T2Error(f"answers and correct have lengths {len(answers)} and {len(correct)}: they must be equal")
    rights: list[int] = []
    wrongs: list[int] = []
    lengths: list[int] = []
    for problem, (given, right) in enumerate(zip(answers, correct, strict=True)):
        try:
            tally: Counter[Hashable] = Counter(iter(given))
            samples, n_right = tally.total(), tally.pop(right, 0)
        except TypeError:  # no list, or of what cannot be told apart
            raise T2Error(
                f"answers[{problem}] = {arguments.shown(given)}, correct[{problem}] = {arguments.shown(right)}: "
                "must be a list of answers and one answer, such as texts or numbers"
            ) from None
        if not samples:
            raise T2Error(f"answers[{problem}] is empty: a problem needs at least one sample")
        rights.append(n_right)
        wrongs.extend(tally.values())
        lengths.append(len(tally))
    arrays = np.asarray(rights, np.int64), np.asarray(wrongs, np.int64), _offsets(lengths)
    return _won(*arrays, k, ties, draws, seed, exact_work, None)


def maj_of_tallies(
    tallies: Tallies,
    k: npt.ArrayLike,
    *,
    ties: Ties = "random",
    draws: int = 10_000,
    seed: int = 0,
    exact_work: float = 3e7,
    threads: int | None = None,
) -> VoteEstimate:
    """Estimate as :func:`maj_at_k` does, from counted votes: a million problems of 16 samples take 0.02 s.

    Parameters
    ----------
    tallies
        From :meth:`t2fast.data.Trials.tallies` or :meth:`t2fast.data.Tallies.of`. For k up to 32, products over wrong
        answers are worked out once for all problems that hold them.
    k, ties, draws, seed, exact_work
        As in :func:`maj_at_k`.
    threads
        Threads to use, all by default. The result does not depend on it.

    Raises
    ------
    T2Error
        For k < 1, other ties than these, and votes below 0.

    Examples
    --------
    >>> from t2fast.data import Tallies
    >>> maj_of_tallies(Tallies.of([2, 0], [[1, 1], [3]]), [1, 3]).value
    array([[0.5       , 0.66666667],
           [0.        , 0.        ]])
    """
    return _won(tallies.right, tallies.wrong, tallies.starts, k, ties, draws, seed, exact_work, threads)


def _won(
    right: Integers,
    wrong: Integers,
    starts: Integers,
    k: npt.ArrayLike,
    ties: Ties,
    draws: int,
    seed: int,
    exact_work: float,
    threads: int | None,
) -> VoteEstimate:
    arguments.choice("ties", ties, _TIES)
    ks, shape = flat_ks(k)
    values, errors = _core.majority(
        np.ascontiguousarray(right, np.int64),
        np.ascontiguousarray(wrong, np.int64),
        np.ascontiguousarray(starts, np.int64),
        ks,
        ties,
        arguments.number("exact_work", exact_work),
        arguments.whole("draws", draws, least=2, most=2**32 - 1),
        arguments.seed(seed),
        arguments.threads(threads),
    )
    return VoteEstimate(values.reshape((len(right), *shape)), errors.reshape((len(right), *shape)))


def _offsets(lengths: Iterable[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(np.fromiter(lengths, np.int64))]).astype(np.int64)


def _scored(scores: Sequence[npt.ArrayLike], values: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    rows = [arguments.numbers("scores", row).reshape(-1) for row in scores]
    worth = [arguments.numbers("correct", row).reshape(-1) for row in values]
    for i, (row, value) in enumerate(zip(rows, worth, strict=False)):
        if row.shape != value.shape:
            raise T2Error(f"problem {i} has {len(row)} scores and {len(value)} verdicts: they must be equally many")
    if len(rows) != len(worth) or not rows:
        raise T2Error(f"scores and correct have {len(rows)} and {len(worth)} problems: must be equal and at least 1")
    ks, shape = flat_ks(k)
    offsets = _offsets(len(row) for row in rows)
    return _core.best_of_k(np.concatenate(rows), np.concatenate(worth), offsets, ks).reshape((len(rows), *shape))


def best_of_k(scores: Sequence[npt.ArrayLike], correct: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    """Estimate the chance that the sample a verifier scores highest among k is correct, per problem.

    Exact over all draws of k from the problem's samples; samples with equal scores are taken at random.

    Parameters
    ----------
    scores, correct
        For each problem the scores of its samples and their verdicts (0 or 1), equally long.
    k
        Samples per attempt.

    Returns
    -------
    Array of shape ``(problems,) + k.shape``, NaN where k exceeds a problem's samples.

    Raises
    ------
    T2Error
        When lengths differ, a number is NaN, or k < 1.

    Examples
    --------
    >>> best_of_k([[0.9, 0.5, 0.1]], [[0, 1, 1]], [1, 2])
    array([[0.66666667, 0.33333333]])
    """
    return _scored(scores, correct, k)


def max_at_k(scores: Sequence[npt.ArrayLike], k: npt.ArrayLike) -> Array:
    """Estimate the expected best score among k samples, per problem.

    Parameters, shapes and errors as in :func:`best_of_k`.

    Examples
    --------
    >>> max_at_k([[1.0, 2.0, 6.0]], [1, 3])
    array([[3., 6.]])
    """
    return _scored(scores, scores, k)
