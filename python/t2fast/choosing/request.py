"""Which of these models, and how many samples? The question, and the checks of what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.choosing.ability import Ability, Scope, resamples
from t2fast.choosing.choice import ModelChoice
from t2fast.choosing.estimator import Judged
from t2fast.choosing.prices import Price
from t2fast.choosing.search import Search
from t2fast.data import Counts
from t2fast.errors import DataError, T2Error
from t2fast.results import Report
from t2fast.rules import Rule, as_rule
from t2fast.text import near

__all__ = ["choose"]


def choose(
    counts: Counts | Mapping[str, tuple[ArrayLike, ArrayLike]],
    prices: Mapping[str, Price],
    budget: float | None = None,
    *,
    target: float | None = None,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
    votes: Mapping[str, ArrayLike] | None = None,
    max_k: int | None = None,
    scope: Scope = "problems",
    confidence_level: float = 0.9,
    n_resamples: int = 1000,
    seed: int = 0,
    progress: Report | None = None,
) -> ModelChoice:
    """Choose among models that exist, and how many samples of each question to draw.

    Parameters
    ----------
    counts
        Samples and correct samples of two or more models on the same problems: :func:`t2fast.data.read_counts`, or a
        mapping from names to (n, c), in the same order of problems.
    prices
        What samples of each model cost: :func:`read_prices`, or :class:`Price` by name.
    budget
        What a question may cost at most, in the unit of the prices.
    target
        Instead of a budget: the cheapest model and k that reach this result, between 0 and 1.
    rule
        How one answer is chosen from k samples, as in :func:`t2fast.plan`: :class:`t2fast.Verifier`,
        :class:`t2fast.BestOf`, :class:`t2fast.Majority`, :class:`t2fast.AnyCorrect`, or the path of a rule's file;
        without one pass@k. Results are then what the rule makes, with pass@k beside.
    wrong_cost
        What a wrong answer costs, in right ones. The result is then the share of right answers less that price for
        each wrong one, and silence is allowed: where no model is worth it, the choice is none, with k = 0.
    stop_on_success
        Stop at the first accepted answer of a question, and pay for the samples drawn on average; k is then the most.
    votes
        For a :class:`t2fast.Majority` without a tail: for each model the chance that the vote is right with 1, 2, ...
        samples of a problem, shape (problems, ks), as :func:`majority_tables` counts it among the answers at hand.
    max_k
        Samples per question at most; by default 100 times those drawn.
    scope
        What intervals and chances speak about: new ``"problems"`` of the kind, or new ``"samples"`` of these.
    confidence_level, n_resamples, seed
        Of the intervals; replicates of the paired bootstrap over problems; key of its random numbers.
    progress
        Called with a :class:`t2fast.results.Progress` now and then.

    Raises
    ------
    T2Error
        For counts of different problems, a model without a price, a rule that needs what was not given, or an
        impossible argument.
    InfeasibleError
        When the budget pays for no sample of any model, or none reaches the target.

    Notes
    -----
    Within the samples drawn the unbiased estimate of pass@k is used. Beyond, the predictions of a power law and of
    beta-binomial fits are averaged, each weighted by how well it predicts the largest k drawn from fewer samples; each
    replicate takes one of them, so that intervals know that methods differ.

    A verifier's and a score's result are averaged over all ways to draw the k samples, which is unbiased. Votes against
    a tail, and false positives that rise with the success rate, are averaged over the success rates that the counts
    leave possible. Beyond the samples the rule is averaged over the fitted success rates, and follows the power law of
    pass@k in proportion. Replicates take the draws of the rule's parameters in turn, the first 12.

    Examples
    --------
    >>> counts = {"small": (20, [0, 3, 9, 14]), "large": (20, [2, 8, 15, 20])}
    >>> prices = {"small": Price(0, 1e-4), "large": Price(0, 1e-3)}
    >>> found = choose(counts, prices, 1e-3)
    >>> found.model, found.k, round(found.result, 3)
    ('small', 10, 0.724)
    >>> from t2fast.rules import Verifier
    >>> found = choose(counts, prices, 1e-3, rule=Verifier(false_positive=0.05, fallback="abstain"), wrong_cost=1)
    >>> found.model, found.k, round(found.result, 3), round(found.pass_at_k, 3)
    ('large', 1, 0.541, 0.562)
    """
    confidence_level = arguments.confidence_level(confidence_level)
    n_resamples = arguments.whole("n_resamples", n_resamples, least=2)
    arguments.choice("scope", scope, ("problems", "samples"))
    if (budget is None) == (target is None):
        raise T2Error("budget and target: give one of them")
    if budget is not None:
        budget = arguments.number("budget", budget, low=0, low_open=True)
    if target is not None and not 0 < arguments.number("target", target) < 1:
        raise T2Error(f"target = {target:g}: must lie between 0 and 1")
    judged = Judged(as_rule(rule), arguments.number("wrong_cost", wrong_cost, low=0), bool(stop_on_success))
    abilities = _abilities(counts, judged, votes, scope, n_resamples, arguments.seed(seed))
    named = {one.name: _price(one.name, prices) for one in abilities}
    units = {price.unit for price in named.values()}
    if len(units) > 1:
        raise T2Error("prices: some are in dollars and others in flops; give all in one unit")
    search = Search(abilities, named, confidence_level, max_k)
    return search.choice(budget, target, units.pop(), progress)


def _abilities(
    counts: Counts | Mapping[str, tuple[ArrayLike, ArrayLike]],
    judged: Judged,
    votes: Mapping[str, ArrayLike] | None,
    scope: Scope,
    n_resamples: int,
    seed: int,
) -> list[Ability]:
    tables = _by_model(counts)
    if len(tables) < 1:
        raise T2Error("counts: names no model")
    if judged.measured and votes is None:
        raise T2Error(
            "rule = majority: needs votes= from majority_tables(files, counts), or a tail of wrong answers, such as "
            "t2.Majority(t2.Tail.uniform(30))"
        )
    if votes is not None and not judged.measured:
        raise T2Error("votes: have no effect here: only a Majority without a tail counts them")
    n_problems = len(next(iter(tables.values()))[0])
    if n_problems < 2:
        raise T2Error("counts: have one problem; chances and intervals need at least 2")
    drawn = resamples(n_problems, n_resamples, seed)
    found = []
    for name, (n, c) in tables.items():
        if len(n) != n_problems:
            raise T2Error(f"counts: {name} has {len(n)} problems and others {n_problems}: give the same problems")
        table = None if votes is None else _table(name, votes, n, n_problems)
        found.append(Ability(name, n, c, drawn, scope, seed, judged, table))
    return found


def _table(name: str, votes: Mapping[str, ArrayLike], n: NDArray[np.int64], n_problems: int) -> NDArray[np.float64]:
    if name not in votes:
        raise T2Error(f"votes: has no table for {name!r}")
    table = arguments.numbers("votes", votes[name], ndim=2)
    if len(table) != n_problems or not table.shape[1] or not ((table >= 0) & (table <= 1)).all():
        raise T2Error(
            f"votes: the table of {name!r} must have a row for each of {n_problems} problems and chances in it"
        )
    if table.shape[1] > n.min():
        raise T2Error(f"votes: the table of {name!r} is of {table.shape[1]} samples, a problem has {n.min()}")
    return table


def _by_model(
    counts: Counts | Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    if not isinstance(counts, Counts):
        made = {str(name): Counts.of(n, c) for name, (n, c) in counts.items()}
        return {name: (one.n_samples, one.n_correct) for name, one in made.items()}
    if counts.stopped is not None and counts.stopped.any():
        raise DataError("counts: sampling stopped at the first success; choose needs a fixed number of samples")
    places: dict[str, dict[tuple[str, str], int]] = {}
    for place, (model, benchmark, problem) in enumerate(
        zip(counts.model, counts.benchmark, counts.problem_id, strict=True)
    ):
        places.setdefault(model, {})[benchmark, problem] = place
    everywhere = set.intersection(*(set(one) for one in places.values()))
    for model, known in places.items():
        missing = set().union(*places.values()) - set(known)
        if missing:
            shown = sorted(missing)[0][1]
            raise DataError(
                f"counts: {model or 'a model without a name'} lacks {len(missing)} of the problems that others have, "
                f"such as {shown!r} ({len(everywhere)} are common to all): keep those common to all, or sample the rest"
            )
    order = sorted(everywhere)
    rows = {model: np.array([known[key] for key in order]) for model, known in places.items()}
    return {model: (counts.n_samples[at], counts.n_correct[at]) for model, at in rows.items()}


def _price(name: str, prices: Mapping[str, Price]) -> Price:
    if name not in prices:
        raise T2Error(f"prices: no price for {name!r}; {near(name, prices)}")
    return prices[name]
