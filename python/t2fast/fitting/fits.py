"""One function per law: which rows it takes, what it minimises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from t2fast.errors import T2Error
from t2fast.fitting.diagnose import Labelled, diagnose
from t2fast.fitting.recipes import Counts, Curves, PowerSum
from t2fast.fitting.refit import Observed, ProblemMeans, Refit
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import IntArray, Labels, checkpoints, column, columns, labels
from t2fast.fitting.targets import Cells, mean_pass_at_k
from t2fast.laws import ChinchillaLaw

__all__ = ["fit_chinchilla", "fit_t2_loss", "fit_t2_pass"]

#: Ends of E as shares of the smallest loss, in the first stage of Approach 2.
_E_SHARE = (0.01, 0.95)

#: What a method says of the option ``overtraining``.
_TERM = ", with a term of overtraining and priors"

#: Nats of likelihood below which two coefficients more are no better than none.
_GAIN = 4.0


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
    overtraining: bool = False,
    group: Labels | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit ``E + A N^-alpha + B D^-beta`` to losses (Hoffmann et al. 2022, approach 3).

    Parameters
    ----------
    n_params, n_tokens, loss
        One value per checkpoint: parameters, training tokens, loss in nats per token; all positive.
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
    overtraining
        Fit a term of overtraining, ``F (D/N)^delta``, too. Priors keep its exponents apart (in units of N/1e9, D/1e10
        and D/N/1000: ``F ~ Exp(1)``, ``ln delta ~ N(ln 0.6, 0.4^2)``, ``ln alpha`` and ``ln beta ~ N(ln 0.4, 1)``);
        their negative logarithm is part of the objective, a nat weighing as much as the fit leaves per row (twice that
        for squares). D/N must span a factor of 10 at least, and should span what the law is asked
        about. Not with unique_tokens.
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

    Examples
    --------
    >>> from t2fast import fitting
    >>> n, d = [1e7, 1e7, 1e8, 1e8, 1e9, 1e9, 1e10, 1e10], [1e9, 1e10, 1e9, 1e11, 1e10, 1e11, 1e10, 1e12]
    >>> loss = [4.49, 3.92, 3.54, 2.74, 2.56, 2.32, 2.37, 2.03]
    >>> law = fitting.fit_chinchilla(n, d, loss).law
    >>> abs(law.loss(1e9, 1e10) - 2.56) < 0.02
    True
    """
    n, d, y = columns(n_params=n_params, n_tokens=n_tokens, loss=loss)
    unique = None if unique_tokens is None else column("unique_tokens", unique_tokens)
    recipe = PowerSum(
        n, d, y,
        unique_tokens=unique, weights=None if weights is None else column("weights", weights), objective=objective,
        delta=delta, asymmetry=asymmetry, tie_exponents=tie_exponents, E=E, starts=starts,
        discount_params=discount_params, overtraining=overtraining,
    )  # fmt: skip
    method = f"Chinchilla law, {objective}{f' (delta {delta:g})' if 'huber' in objective else ''}"
    method += ", exponents tied" if tie_exponents else ""
    method += f", E fixed at {E:g}" if E is not None else ""
    method += ", repeated tokens discounted" if unique is not None else ""
    method += _TERM if overtraining else ""
    refit = Refit(recipe, checkpoints(n, d, y), _groups(group, len(n)), threads=threads)
    said = Labelled("chinchilla", "Chinchilla law", method, objective, name, params_counted, cautions=_cautions(refit))
    return diagnose(refit, Observed(n, d, np.ones_like(n), y, "loss"), said)


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
    overtraining: bool = False,
    problem: Labels | None = None,
    group: Labels | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 1 of the T2 laws, ``E + A N^-alpha + B D^-beta + G k^-gamma`` (Roberts et al. 2026).

    Parameters
    ----------
    n_params, n_tokens, k, loss
        A row per checkpoint and k; ``loss`` is the mean over problems of -log pass@k, nats.
        :func:`neg_log_pass_at_k` makes these rows from per-problem probabilities.
    problem
        Labels of problems: rows are then per checkpoint, k and problem, means over problems are fitted, and the
        bootstrap can draw problems.
    objective, delta, asymmetry, weights, E, overtraining, group, starts, threads, name, params_counted
        As in :func:`fit_chinchilla`; the paper minimises squares of raw residuals.

    Raises
    ------
    T2Error
        For values out of range, fewer than three distinct k (E and G k^-gamma can't be told apart), or fewer distinct
        points than parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import fitting
    >>> n, d, k = (a.ravel() for a in np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10, 1e11], [1, 8, 64, 512]))
    >>> loss = 0.5 + 400 * n**-0.34 + 900 * d**-0.3 + 0.8 * k**-0.4
    >>> round(fitting.fit_t2_loss(n, d, k, loss).law.gamma, 4)
    0.4
    """
    n, d, samples, y = columns(n_params=n_params, n_tokens=n_tokens, k=k, loss=loss)
    infinite = int(np.count_nonzero(np.isposinf(y)))
    if infinite:
        raise T2Error(
            f"loss is infinite in {infinite} rows: a problem without success makes the mean of -log pass@k infinite; "
            "fit counts (n_samples and n_correct) by law t2-pass, or -log of the mean pass@k"
        )
    distinct = np.unique(samples)
    if len(distinct) < 3:
        raise T2Error(
            f"k has {len(distinct)} distinct values: with fewer than 3, E and G k^-gamma cannot be told apart; "
            "add values of k, or use fit_chinchilla at one k"
        )
    means: ProblemMeans | None = None
    if problem is not None:
        cells = Cells.gather((n, d, samples, y), problem, group, weights)
        n, d, samples, y = cells.n_params, cells.n_tokens, cells.k, cells.mean
        group, weights, means = cells.group, cells.weights, cells.means
    recipe = PowerSum(
        n, d, y, samples,
        weights=None if weights is None else column("weights", weights), objective=objective, delta=delta,
        asymmetry=asymmetry, E=E, starts=starts, overtraining=overtraining,
    )  # fmt: skip
    refit = Refit(recipe, checkpoints(n, d), _groups(group, len(n)), means=means, threads=threads)
    title = "T2 law of the negative log pass@k (Approach 1)"
    method = f"Approach 1 (mean negative log pass@k), {objective}{_TERM if overtraining else ''}"
    said = Labelled("t2-loss", title, method, objective, name, params_counted, cautions=_cautions(refit))
    return diagnose(refit, Observed(n, d, samples, y, "negative log pass@k"), said)


def fit_t2_pass(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    *,
    k: ArrayLike | None = None,
    pass_at_k: ArrayLike | None = None,
    n_samples: ArrayLike | None = None,
    n_correct: ArrayLike | None = None,
    loss: ArrayLike | None = None,
    loss_law: ChinchillaLaw | None = None,
    objective: str = "squared",
    delta: float = 1e-3,
    loss_weights: ArrayLike | None = None,
    overtraining: bool = False,
    problem: Labels | None = None,
    group: Labels | None = None,
    starts: int = 4,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
) -> FitResult:
    """Fit Approach 2 of the T2 laws: pass@k through Beta-distributed success rates (Roberts et al. 2026).

    Which fit depends on what the table has:

    * ``k``, ``pass_at_k`` and ``loss``: the paper's two stages, a Chinchilla law of the loss (least squares, E between
      0.01 and 0.95 of the smallest loss), then the five thetas by least squares on pass@k;
    * ``n_samples``, ``n_correct`` and ``loss``: the same first stage, then the likelihood of the counts
      (beta-binomial); with ``loss_law`` instead of ``loss`` the first stage is given;
    * ``n_samples`` and ``n_correct`` alone: the likelihood with a latent loss, A, B, alpha and beta along with the
      thetas. Its scale and origin are free, so theta1 = 1 and E = 0: the loss inside that law is no cross-entropy.

    Parameters
    ----------
    n_params, n_tokens
        One value per row: a row per checkpoint and k, or per checkpoint and problem.
    k, pass_at_k
        Samples per problem and the share of problems solved, in [0, 1].
    n_samples, n_correct
        Samples drawn for the row's problem, and the correct ones.
    loss, loss_law
        The checkpoint's task loss, repeated on all of its rows; or a law that predicts it.
    objective, delta, loss_weights
        First stage: as in :func:`fit_chinchilla`; ``loss_weights`` are per row (see :func:`isoflop_weights`).
    overtraining
        Fit a term of overtraining, ``F (D/N)^delta``, in the latent loss too, with priors on F and the exponents (in
        units of N/1e9, D/1e10 and D/N/1000: ``F ~ Exp(1)``, ``ln delta ~ N(ln 0.6, 0.4^2)``, ``ln alpha`` and
        ``ln beta ~ N(ln 0.4, 1)``), whose negative logarithm is part of the objective. For counts alone; D/N must span
        a factor of 10 at least, and should span what the law is asked about.
    problem, group
        Labels of problems and of training runs, for the bootstrap. With pass_at_k, labels of problems say that rows
        are per checkpoint, k and problem: their means over problems are fitted.
    starts, threads, name, params_counted
        As in :func:`fit_chinchilla`.

    Raises
    ------
    T2Error
        For values out of range, or columns that make none of these tables.

    Examples
    --------
    >>> import numpy as np
    >>> import t2fast
    >>> from t2fast import fitting
    >>> n, d = (np.repeat(a.ravel(), 50) for a in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5)))
    >>> truth = t2fast.load_law("pythia-gsm8k")
    >>> rng = np.random.default_rng(0)
    >>> right = rng.binomial(100, rng.beta(0.3, 0.3 / truth.value(n, d) - 0.3))
    >>> fit = fitting.fit_t2_pass(n, d, n_samples=np.full(1250, 100), n_correct=right)
    >>> fit.law.predicts_pass, fit.n_checkpoints
    (True, 25)
    """
    n, d = columns(n_params=n_params, n_tokens=n_tokens)
    if (n_samples is None) != (n_correct is None):
        raise T2Error("n_samples and n_correct belong together: give both")
    if (n_samples is not None) == (pass_at_k is not None):
        raise T2Error("give either n_samples and n_correct (a row per problem), or k and pass_at_k")
    y = None if loss is None else columns(n_params=n_params, loss=loss)[1]
    if y is not None and loss_law is not None:
        raise T2Error("loss and loss_law: give one of them")
    if overtraining and (n_samples is None or y is not None or loss_law is not None):
        raise T2Error("overtraining = True: needs counts with a latent loss (n_samples and n_correct alone)")
    title = "T2 law of pass@k (Approach 2)"
    options: dict[str, Any] = {"objective": objective, "delta": delta, "starts": starts, "e_share": _E_SHARE}
    if n_samples is None:
        if k is None:
            raise T2Error("k is missing: give the number of samples of every row of pass_at_k")
        if y is None:
            raise T2Error("pass_at_k needs loss (one value per checkpoint); without a loss fit counts, which need none")
        samples, rate = columns(k=k, pass_at_k=pass_at_k)
        means: ProblemMeans | None = None
        if problem is not None:
            cells = Cells.gather((n, d, samples, rate), problem, group, loss_weights, y)
            n, d, samples, rate = cells.n_params, cells.n_tokens, cells.k, cells.mean
            y, loss_weights, group, means = cells.loss, cells.weights, cells.group, cells.means
            assert y is not None
        checkpoint = checkpoints(n, d, y)
        stage = _first_stage(PowerSum(n, d, y, **options), checkpoint, loss_weights)
        recipe = Curves(stage, checkpoint, n, d, samples, rate)
        refit = Refit(recipe, checkpoint, _groups(group, len(n)), means=means, threads=threads)
        method = f"Approach 2 in two stages: loss by {objective}, then pass@k by least squares"
        said = Labelled("t2-pass", title, method, "squared", name, params_counted, most_k=float(np.max(samples)))
        return diagnose(refit, Observed(n, d, samples, rate, "pass@k"), said)
    drawn, correct = columns(n_samples=n_samples, n_correct=n_correct)
    checkpoint = checkpoints(n, d) if y is None else checkpoints(n, d, y)
    first: PowerSum | None = None
    if y is not None:
        first = _first_stage(PowerSum(n, d, y, **options), checkpoint, loss_weights)
        method = f"Approach 2: loss by {objective}, then beta-binomial likelihood of counts"
    elif loss_law is not None:
        method = "Approach 2: beta-binomial likelihood of counts at a known law of the loss"
    else:
        method = "beta-binomial likelihood of counts with a latent loss (theta1 = 1, E = 0)"
        method += _TERM if overtraining else ""
    rows = Counts(n, d, drawn, correct, checkpoint, first, loss_law, overtraining)
    refit = Refit(
        rows,
        checkpoint,
        _groups(group, len(n)),
        None if problem is None else labels(problem, len(n), "problem"),
        threads=threads,
    )
    likelihood = "negative log likelihood" + (", priors included" if overtraining else "")
    said = Labelled(
        "t2-pass", title, method, likelihood, name, params_counted, base=loss_law,
        latent=first is None and loss_law is None, cautions=_cautions(refit),
        # Beyond the median, fewer than half of the problems have as many samples.
        most_k=float(np.median(drawn)),
    )  # fmt: skip
    # The core checks the counts, with better messages, before they are shown as pass@k.
    _ = refit.core
    return diagnose(refit, mean_pass_at_k(n, d, checkpoint, drawn, correct), said)


def _cautions(refit: Refit) -> tuple[str, ...]:
    """What a fit says of its term of overtraining, if it has one that the data do not ask for."""
    recipe, outcome = refit.recipe, refit.outcome
    if isinstance(recipe, Curves) or not recipe.overtraining:
        return ()
    plain = replace(recipe, overtraining=False).build().fit(refit.threads).objective
    gain = plain - (outcome.objective - outcome.penalty)
    if isinstance(recipe, PowerSum):
        # Residuals of unknown size: the profile likelihood of independent checkpoints, normal or Laplace.
        count = int(refit.checkpoint.max()) + 1
        left = max(outcome.objective - outcome.penalty, 1e-12 * plain)
        gain = count * math.log(plain / left) / (2 if "squared" in recipe.objective else 1) if plain > 0 else 0.0
    if gain >= _GAIN:
        return ()
    return (
        f"the term of overtraining gains {max(gain, 0):.1f} nats of likelihood: these data do not determine F and "
        "delta, whose priors speak instead; fit without it, or add checkpoints trained longer",
    )


def _groups(group: Labels | None, rows: int) -> IntArray | None:
    return None if group is None else labels(group, rows, "group")


def _first_stage(rows: PowerSum, checkpoint: IntArray, weights: ArrayLike | None) -> PowerSum:
    """The fit of the loss to one row per checkpoint."""
    _, first = np.unique(checkpoint, return_index=True)
    chosen = None if weights is None else columns(n_params=rows.n_params, loss_weights=weights)[1][first]
    return replace(
        rows,
        n_params=rows.n_params[first],
        n_tokens=rows.n_tokens[first],
        value=rows.value[first],
        weights=chosen,
    )
