"""Which of these models, and how many samples? The question, and the checks of what is asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.choosing.ability import Ability, Scope, resamples
from t2fast.choosing.choice import ModelChoice
from t2fast.choosing.prices import Price
from t2fast.choosing.search import Search
from t2fast.data import Counts
from t2fast.errors import DataError, T2Error
from t2fast.results import Report
from t2fast.text import near

__all__ = ["choose"]


def choose(
    counts: Counts | Mapping[str, tuple[ArrayLike, ArrayLike]],
    prices: Mapping[str, Price],
    budget: float | None = None,
    *,
    target: float | None = None,
    rule: str | Mapping[str, ArrayLike] = "pass@k",
    rule_name: str = "given rule",
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
        ``"pass@k"``: a problem counts as solved if any of k samples is right. For any other rule a mapping from names
        to arrays of shape (problems, ks): the chance that a problem's answer is right with 1, 2, ... samples, such as
        those of :func:`majority_tables` for majority votes.
    rule_name
        What the mapping is called in the result: ``"majority"``.
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
        For counts of different problems, a model without a price, or an impossible argument.
    InfeasibleError
        When the budget pays for no sample of any model, or none reaches the target.

    Notes
    -----
    Within the samples drawn the unbiased estimate of pass@k is used. Beyond, the predictions of a power law and of
    beta-binomial fits are averaged, each weighted by how well it predicts the largest k drawn from fewer samples; each
    replicate takes one of them, so that intervals know that methods differ.

    Examples
    --------
    >>> counts = {"small": (20, [0, 3, 9, 14]), "large": (20, [2, 8, 15, 20])}
    >>> prices = {"small": Price(0, 1e-4), "large": Price(0, 1e-3)}
    >>> found = choose(counts, prices, 1e-3)
    >>> found.model, found.k, round(found.result, 3)
    ('small', 10, 0.724)
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
    abilities = _abilities(counts, rule, scope, n_resamples, arguments.seed(seed))
    named = {one.name: _price(one.name, prices) for one in abilities}
    units = {price.unit for price in named.values()}
    if len(units) > 1:
        raise T2Error("prices: some are in dollars and others in flops; give all in one unit")
    search = Search(abilities, named, confidence_level, max_k)
    return search.choice(budget, target, units.pop(), rule if isinstance(rule, str) else rule_name, progress)


def _abilities(
    counts: Counts | Mapping[str, tuple[ArrayLike, ArrayLike]],
    rule: str | Mapping[str, ArrayLike],
    scope: Scope,
    n_resamples: int,
    seed: int,
) -> list[Ability]:
    tables = _by_model(counts)
    if len(tables) < 1:
        raise T2Error("counts: names no model")
    if isinstance(rule, str):
        arguments.choice("rule", rule, ("pass@k",))
    n_problems = len(next(iter(tables.values()))[0])
    if n_problems < 2:
        raise T2Error("counts: have one problem; chances and intervals need at least 2")
    drawn = resamples(n_problems, n_resamples, seed)
    found = []
    for name, (n, c) in tables.items():
        if len(n) != n_problems:
            raise T2Error(f"counts: {name} has {len(n)} problems and others {n_problems}: give the same problems")
        table = None
        if not isinstance(rule, str):
            if name not in rule:
                raise T2Error(f"rule: has no table for {name!r}")
            table = arguments.numbers("rule", rule[name], ndim=2)
            if len(table) != n_problems or not table.shape[1] or not ((table >= 0) & (table <= 1)).all():
                raise T2Error(
                    f"rule: the table of {name!r} must have a row for each of {n_problems} problems and chances in it"
                )
        found.append(Ability(name, n, c, drawn, scope, seed, table))
    return found


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
