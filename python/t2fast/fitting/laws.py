"""One function per law: which rows it takes, what it minimises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import _core
from t2fast.errors import T2Error
from t2fast.fitting.results import FitResult, Observed, Questions
from t2fast.fitting.rows import FloatArray, IntArray, checkpoints, column, columns, labels
from t2fast.fitting.solve import power, solve
from t2fast.laws import ChinchillaLaw

__all__ = ["fit_chinchilla", "fit_t2_loss", "fit_t2_pass", "isoflop_weights", "mean_pass", "neg_log_pass_at_k"]


def fit_chinchilla(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    loss: ArrayLike,
    *,
    objective: str = "huber_log",
    delta: float = 1e-3,
    asymmetry: tuple[float, float] = (1.0, 1.0),
    weights: ArrayLike | None = None,
    tie_exponents: bool = False,
    E: float | None = None,
    unique_tokens: ArrayLike | None = None,
    discount_params: bool = False,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit ``E + A N^-alpha + B D^-beta`` to losses (Hoffmann et al. 2022, approach 3).

    Parameters
    ----------
    n_params, n_tokens, loss
        One value per checkpoint: parameters, training tokens, loss in nats per token.
    objective
        ``"huber_log"`` (sum of Huber losses of log residuals, the field's usual choice), ``"huber"``,
        ``"squared_log"``, ``"squared"``, ``"absolute_log"`` or ``"absolute"``. They give different laws.
    delta
        Where Huber's parabola turns into a line.
    asymmetry
        For absolute errors: cost of predicting too little and of predicting too much.
    weights
        Weight of each row's penalty.
    tie_exponents, E
        Fit one exponent for both terms; fix E instead of fitting it.
    unique_tokens
        How many of the tokens were distinct, per row: fits ``R*`` of Muennighoff et al. 2023 along with the rest.
    discount_params
        With unique tokens: also discount parameters beyond those that the unique tokens warrant.
    group
        Labels of training runs, for standard errors and bootstraps that respect them.
    starts
        How many of the exponent grid's candidates to polish.
    threads
        Number of threads, all of the machine's by default; the result doesn't depend on it.
    name, params_counted
        Written into the law.

    Raises
    ------
    T2Error
        For values out of range, columns of different lengths, or fewer distinct points than parameters.
    """
    n, d, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    unique = None if unique_tokens is None else column("unique_tokens", unique_tokens)
    core = power(
        n,
        d,
        y,
        None,
        unique,
        weights,
        objective,
        delta,
        asymmetry,
        tie_exponents,
        E,
        (1e-6, 2.0),
        starts,
        discount_params,
    )
    checkpoint = checkpoints(n, d, y)
    method = f"Chinchilla law, {objective}{f' (delta {delta:g})' if 'huber' in objective else ''}"
    method += ", exponents tied" if tie_exponents else ""
    method += f", E fixed at {E:g}" if E is not None else ""
    method += ", repeated tokens discounted" if unique is not None else ""
    observed = Observed(n, d, np.ones_like(n), y, "loss")
    title = "Chinchilla law"
    return solve(
        core, "chinchilla", method, objective, observed, checkpoint, group, None, threads, name, title, params_counted
    )


def neg_log_pass_at_k(
    n_params: ArrayLike, n_tokens: ArrayLike, probability: ArrayLike, k: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean over questions of -log pass@k, from each question's probability of success: Approach 1's target.

    Parameters
    ----------
    n_params, n_tokens, probability
        A row per checkpoint and question; ``probability = exp(-NLL)`` of the right answer, say.
    k
        The numbers of samples to tabulate.

    Returns
    -------
    n_params, n_tokens, k, value
        A row per checkpoint and k: ``mean_i -log(1 - (1 - p_i)^k)``, nats.

    Raises
    ------
    T2Error
        When a probability is zero: the mean would be infinite.
    """
    n, d, p = columns(n_params=n_params, n_tokens=n_tokens, probability=probability)
    samples = column("k", k)
    wrong = np.flatnonzero(~((p > 0) & (p <= 1)))
    if wrong.size:
        raise T2Error(
            f"probability[{wrong[0]}] = {p[wrong[0]]:g} ({wrong.size} such rows): must lie in (0, 1], since -log "
            "pass@k is infinite for a question that is never solved; with counts use fit_t2_pass(num_samples=..., "
            "num_correct=...), "
            "or fit -log of the mean pass@k and say so"
        )
    checkpoint = checkpoints(n, d)
    count = np.bincount(checkpoint)
    _, first = np.unique(checkpoint, return_index=True)
    failure = np.where(p < 1, np.log1p(-np.minimum(p, 1 - 1e-16)), -np.inf)
    values = [np.bincount(checkpoint, weights=-np.log(-np.expm1(one * failure))) / count for one in samples.tolist()]
    repeat = len(samples)
    return (
        np.repeat(n[first], repeat),
        np.repeat(d[first], repeat),
        np.tile(samples, len(first)),
        np.stack(values, 1).reshape(-1),
    )


def fit_t2_loss(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    k: ArrayLike,
    loss: ArrayLike,
    *,
    objective: str = "squared",
    delta: float = 1e-3,
    asymmetry: tuple[float, float] = (1.0, 1.0),
    weights: ArrayLike | None = None,
    E: float | None = None,
    question: Sequence[object] | NDArray[Any] | None = None,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 1 of the T2 laws, ``E + A N^-alpha + B D^-beta + G k^-gamma`` (Roberts et al. 2026).

    Parameters
    ----------
    n_params, n_tokens, k, loss
        A row per checkpoint and k; ``loss`` is the mean over questions of -log pass@k, nats.
        :func:`neg_log_pass_at_k` makes these rows from per-question probabilities.
    question
        Labels of questions: rows are then per checkpoint, k and question, means over questions are fitted, and the
        bootstrap can draw questions.
    objective, delta, asymmetry, weights, E, group, starts, threads, name, params_counted
        As in :func:`fit_chinchilla`; the paper minimises squares of raw residuals.

    Raises
    ------
    T2Error
        For values out of range, fewer than three distinct k (E and G k^-gamma can't be told apart), or fewer distinct
        points than parameters.
    """
    n, d, samples, y = columns(n_params=n_params, n_tokens=n_tokens, k=k, loss=loss)
    infinite = int(np.count_nonzero(np.isposinf(y)))
    if infinite:
        raise T2Error(
            f"loss is infinite in {infinite} rows: a question without success makes the mean of -log pass@k infinite; "
            "fit counts with fit_t2_pass(num_samples=..., num_correct=...), or -log of the mean pass@k"
        )
    distinct = np.unique(samples)
    if len(distinct) < 3:
        raise T2Error(
            f"k has {len(distinct)} distinct values: with fewer than 3, E and G k^-gamma cannot be told apart; "
            "add values of k, or use fit_chinchilla at one k"
        )
    cells = None
    if question is not None:
        cells = _Cells.of(n, d, samples, y, question, None if group is None else np.asarray(group), weights)
        n, d, samples, y, group, weights = cells.n, cells.d, cells.k, cells.mean, cells.group, cells.weights

    def build(means: FloatArray) -> _core.FitProblem:
        return power(
            n, d, means, samples, None, weights, objective, delta, asymmetry, False, E, (1e-6, 2.0), starts, False
        )

    core = build(y)
    method = f"Approach 1 (mean negative log pass@k), {objective}"
    observed = Observed(n, d, samples, y, "negative log pass@k")
    title = "T2 law of the negative log pass@k (Approach 1)"
    return solve(
        core,
        "t2-loss",
        method,
        objective,
        observed,
        checkpoints(n, d),
        group,
        None,
        threads,
        name,
        title,
        params_counted,
        questions=None if cells is None else cells.questions(build),
    )


def isoflop_weights(n_params: ArrayLike, n_tokens: ArrayLike, loss: ArrayLike, per_decade: int = 10) -> FloatArray:
    """Inverse variances of the loss within groups of equal training compute, as Approach 2's first stage weights them.

    Groups are checkpoints whose ``log10(6 N D)`` agrees to 1 / ``per_decade``; one without variance gets the median
    weight. Weights have mean one.
    """
    n, d, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    budget = np.unique(np.round(np.log10(6 * n * d) * per_decade), return_inverse=True)[1]
    count = np.bincount(budget)
    mean = np.bincount(budget, weights=y) / count
    variance = np.bincount(budget, weights=(y - mean[budget]) ** 2) / count
    usable = (count > 1) & (variance > 0)
    if not usable.any():
        return np.ones_like(y)
    inverse = np.where(usable, 1 / np.where(usable, variance, 1), np.median(1 / variance[usable]))
    weights = inverse[budget]
    return np.asarray(weights / weights.mean(), dtype=np.float64)


def fit_t2_pass(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    *,
    k: ArrayLike | None = None,
    pass_at_k: ArrayLike | None = None,
    num_samples: ArrayLike | None = None,
    num_correct: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    loss_law: ChinchillaLaw | None = None,
    objective: str = "squared",
    delta: float = 1e-3,
    loss_weights: ArrayLike | None = None,
    question: Sequence[object] | NDArray[Any] | None = None,
    group: Sequence[object] | NDArray[Any] | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 2 of the T2 laws: pass@k through Beta-distributed success rates (Roberts et al. 2026).

    Which fit depends on what the table has:

    * ``k``, ``pass_at_k`` and ``loss``: the paper's two stages, a Chinchilla law of the loss (least squares, E between
      0.01 and 0.95 of the smallest loss), then the five thetas by least squares on pass@k;
    * ``num_samples``, ``num_correct`` and ``loss``: the same first stage, then the likelihood of the counts
      (beta-binomial); with ``loss_law`` instead of ``loss`` the first stage is given;
    * ``num_samples`` and ``num_correct`` alone: the likelihood with a latent loss, A, B, alpha and beta along with the
      thetas. Its scale and origin are free, so theta1 = 1 and E = 0: the loss inside that law is no cross-entropy.

    Parameters
    ----------
    n_params, n_tokens
        One value per row: a row per checkpoint and k, or per checkpoint and question.
    k, pass_at_k
        Samples per question and the share of questions solved, in [0, 1].
    num_samples, num_correct
        Samples drawn for the row's question, and the correct ones.
    loss, loss_law
        The checkpoint's task loss, repeated on all of its rows; or a law that predicts it.
    objective, delta, loss_weights
        First stage: as in :func:`fit_chinchilla`; ``loss_weights`` are per row (see :func:`isoflop_weights`).
    question, group
        Labels of questions and of training runs, for the bootstrap. With pass_at_k, labels of questions say that rows
        are per checkpoint, k and question: their means over questions are fitted.
    starts, threads, name, params_counted
        As in :func:`fit_chinchilla`.

    Raises
    ------
    T2Error
        For values out of range, or columns that make none of these tables.
    """
    n, d = columns(n_params=n_params, n_tokens=n_tokens)
    counts = num_samples is not None and num_correct is not None
    if (num_samples is None) != (num_correct is None):
        raise T2Error("num_samples and num_correct belong together: give both")
    if counts == (pass_at_k is not None):
        raise T2Error("give either num_samples and num_correct (a row per question), or k and pass_at_k")
    y = None if loss is None else columns(n_params=n_params, loss=loss)[1]
    if y is not None and loss_law is not None:
        raise T2Error("loss and loss_law: give one of them")
    cells = None
    if question is not None and k is not None and pass_at_k is not None:
        samples, rate = columns(k=k, pass_at_k=pass_at_k)
        cells = _Cells.of(n, d, samples, rate, question, None if group is None else np.asarray(group), loss_weights, y)
        n, d, k, pass_at_k, group = cells.n, cells.d, cells.k, cells.mean, cells.group
        y, loss_weights, question = cells.loss, cells.weights, None
    checkpoint = checkpoints(n, d) if y is None else checkpoints(n, d, y)
    first: _core.FitProblem | None = None
    if y is not None:
        _, rows = np.unique(checkpoint, return_index=True)
        weights = None if loss_weights is None else columns(n_params=n_params, loss_weights=loss_weights)[1][rows]
        first = power(
            n[rows], d[rows], y[rows], None, None, weights, objective, delta, (1.0, 1.0), False, None, (0.01, 0.95),
            starts, False,
        )  # fmt: skip
    title = "T2 law of pass@k (Approach 2)"
    questions: Questions | None = None
    if not counts:
        if k is None:
            raise T2Error("k is missing: give the number of samples of every row of pass_at_k")
        if first is None:
            raise T2Error("pass_at_k needs loss (one value per checkpoint); without a loss fit counts, which need none")
        samples, rate = columns(k=k, pass_at_k=pass_at_k)
        stage = first

        def build(means: FloatArray) -> _core.FitProblem:
            return _core.FitProblem.staged_curves(stage, checkpoint, n, d, samples, means, None)

        core = build(rate)
        questions = None if cells is None else cells.questions(build)
        method = f"Approach 2 in two stages: loss by {objective}, then pass@k by least squares"
        observed = Observed(n, d, samples, rate, "pass@k")
        name_of = "squared"
        latent = False
        most_k = float(np.max(samples))
    else:
        drawn, correct = columns(num_samples=num_samples, num_correct=num_correct)
        core = _core.FitProblem.latent(n, d, drawn, correct, None)
        latent = first is None and loss_law is None
        if first is not None:
            core = _core.FitProblem.staged_counts(first, checkpoint, core)
            method = f"Approach 2: loss by {objective}, then beta-binomial likelihood of counts"
        elif loss_law is not None:
            core = core.with_losses(loss_law._handle)
            method = "Approach 2: beta-binomial likelihood of counts at a known law of the loss"
        else:
            method = "beta-binomial likelihood of counts with a latent loss (theta1 = 1, E = 0)"
        observed = mean_pass(n, d, checkpoint, drawn, correct)
        # Beyond that, fewer than half of the questions have as many samples.
        most_k = float(np.median(drawn))
        name_of = "negative log likelihood"
    return solve(
        core, "t2-pass", method, name_of, observed, checkpoint, group, question, threads, name, title, params_counted,
        base=loss_law, latent=latent, most_k=most_k, questions=questions,
    )  # fmt: skip


def mean_pass(n: FloatArray, d: FloatArray, checkpoint: IntArray, drawn: FloatArray, correct: FloatArray) -> Observed:
    """Unbiased pass@k by checkpoint at powers of four, as far as every question's samples reach."""
    most = float(np.min(drawn))
    ks = 4.0 ** np.arange(0, int(np.floor(np.log(min(most, 1024.0)) / np.log(4))) + 1)
    _, first = np.unique(checkpoint, return_index=True)
    count = np.bincount(checkpoint)
    failure = np.ones_like(drawn)
    values = []
    done = 0
    for k in ks.astype(int).tolist():
        for j in range(done, k):
            # 1 - C(n - c, k) / C(n, k): each further sample misses with chance (n - c - j) / (n - j).
            failure = failure * np.maximum(drawn - correct - j, 0) / (drawn - j)
        done = k
        values.append(np.bincount(checkpoint, weights=1 - failure) / count)
    value = np.stack(values, axis=1).reshape(-1)
    return Observed(
        np.repeat(n[first], len(ks)), np.repeat(d[first], len(ks)), np.tile(ks, len(first)), value, "pass@k"
    )


@dataclass(frozen=True)
class _Cells:
    """Rows per checkpoint, k and question, gathered to a row per checkpoint and k with the mean over questions."""

    n: FloatArray
    d: FloatArray
    k: FloatArray
    mean: FloatArray
    loss: FloatArray | None
    group: NDArray[Any] | None
    weights: FloatArray | None
    cell: IntArray
    question: IntArray
    value: FloatArray

    @classmethod
    def of(
        cls,
        n: FloatArray,
        d: FloatArray,
        k: FloatArray,
        value: FloatArray,
        question: Sequence[object] | NDArray[Any],
        group: NDArray[Any] | None,
        weights: ArrayLike | None,
        loss: FloatArray | None = None,
    ) -> _Cells:
        """Gather rows; what is one per checkpoint is taken from the first row of each."""
        if not np.isfinite(value).all():
            row = int(np.flatnonzero(~np.isfinite(value))[0])
            raise T2Error(f"row {row} has the value {value[row]}: values per question must be finite")
        cell = checkpoints(n, d, k)
        _, first = np.unique(cell, return_index=True)
        mean = np.bincount(cell, weights=value) / np.bincount(cell)
        w = None if weights is None else columns(n_params=n, weights=weights)[1][first]
        return cls(
            n[first], d[first], k[first], mean, None if loss is None else loss[first],
            None if group is None else group[first], w, cell, labels(question, len(n), "question"), value,
        )  # fmt: skip

    def questions(self, rebuild: Callable[[FloatArray], _core.FitProblem]) -> Questions:
        """What a bootstrap over questions needs."""
        return Questions(self.cell, self.question, self.value, rebuild)
