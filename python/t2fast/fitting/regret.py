"""Back-tests of decisions: what following each strategy would have cost on checkpoints that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.data import read_table
from t2fast.data.deciding import one_rule
from t2fast.errors import T2Error
from t2fast.fitting.rows import FloatArray, column
from t2fast.fitting.selection import PASS_AT_K, Selection
from t2fast.fitting.strategies import Strategy, strategies
from t2fast.fitting.suite import LEAST_SHARE, Setting, Suite
from t2fast.fitting.table import one_benchmark
from t2fast.results import Progress, Report, Result
from t2fast.rules import Rule
from t2fast.text import columns as aligned
from t2fast.text import near, warning_lines, wrapped

__all__ = ["PROTOCOLS", "DecisionBacktest", "Protocol", "StrategyRegret", "follow", "regret"]

#: Protocols by name: which checkpoints a law may see.
PROTOCOLS: Mapping[str, str] = {
    "lobo": "all but the menu (leave one budget out)",
    "forward": "only those that cost a quarter of the budget or less",
}
#: Checkpoints that a law needs to see going forward.
_FEWEST_SEEN = 12


@dataclass(frozen=True)
class StrategyRegret:
    """The mean regret of one strategy, with its interval over training budgets.

    Examples
    --------
    >>> StrategyRegret("t2", 0.065, 0.036, 0.091).regret
    0.065
    """

    strategy: str
    regret: float
    low: float
    high: float


@dataclass(frozen=True)
class Protocol:
    """The regrets under one protocol.

    Attributes
    ----------
    name
        ``"lobo"`` or ``"forward"``.
    strategies
        Every strategy's regret, least first.
    best
        Mean result of the best choices.
    n_settings, n_budgets
        Choices made, and training budgets among them.
    budgets, regrets
        Choice by choice: its training budget, and by strategy the regret.
    failures
        By strategy: why it could not be followed.

    Examples
    --------
    >>> rows = (StrategyRegret("t2", 0.065, 0.036, 0.091),)
    >>> Protocol("lobo", rows, best=0.34, n_settings=60, n_budgets=8, budgets=(), regrets={}).strategies[0].strategy
    't2'
    """

    name: str
    strategies: tuple[StrategyRegret, ...]
    best: float
    n_settings: int
    n_budgets: int
    budgets: tuple[float, ...] = field(repr=False)
    regrets: Mapping[str, tuple[float, ...]] = field(repr=False)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class DecisionBacktest(Result):
    """What following each strategy would have cost; :func:`regret` makes one.

    Attributes
    ----------
    benchmark
        The table's benchmark, if it says so.
    quantity
        What regret is counted in: ``"pass@k"``, ``"loss"``, or ``"right answers"``, less the price of wrong ones if
        they have one.
    n_checkpoints
        Checkpoints in the table.
    confidence_level, n_resamples, seed
        Of the intervals, from a bootstrap over training budgets.
    protocols
        The regrets by protocol.
    selection
        How answers are chosen: a rule, the price of a wrong answer, and whether sampling stops at an accepted one.

    Examples
    --------
    >>> DecisionBacktest("GSM8K", "pass@k", 54, 0.9, 1000, 0, {}).headline()
    'regret in pass@k on GSM8K, 54 checkpoints'
    """

    benchmark: str
    quantity: str
    n_checkpoints: int
    confidence_level: float
    n_resamples: int
    seed: int
    protocols: Mapping[str, Protocol]
    selection: Selection = PASS_AT_K

    figure: ClassVar[str] = "fitting:plot_regret"
    __hash__ = None  # type: ignore[assignment]

    def headline(self) -> str:
        """What regret is counted in, and on what."""
        where = f" on {self.benchmark}" if self.benchmark else ""
        return f"regret in {self.quantity}{where}, {self.n_checkpoints} checkpoints"

    def difference(self, protocol: str, strategy: str, other: str) -> StrategyRegret:
        """How much more one strategy costs than another, choice by choice, with its interval.

        Raises
        ------
        T2Error
            For an unknown protocol or strategy.
        """
        found = self.protocols[arguments.choice("protocol", protocol, self.protocols)]
        one, two = (
            np.array(found.regrets[arguments.choice("strategy", name, found.regrets)]) for name in (strategy, other)
        )
        low, high = _interval(one - two, found.budgets, self.confidence_level, self.n_resamples, self.seed)
        return StrategyRegret(f"{strategy} - {other}", float(np.mean(one - two)), low, high)

    def summary(self) -> str:
        """The strategies with their regrets as a table of at most 80 columns."""
        lines = [self.headline(), *(part for line in self.selection.words() for part in wrapped(line))]
        level = f"{100 * self.confidence_level:g}% interval"
        for protocol in self.protocols.values():
            lines += ["", f"{protocol.name}: laws see {PROTOCOLS[protocol.name]}"]
            lines.append(
                f"  {protocol.n_settings} choices at {protocol.n_budgets} training budgets; best available "
                f"{protocol.best:.3f} on average"
            )
            table = [["  strategy", "regret", level]]
            table += [
                [f"  {row.strategy}", f"{row.regret:.3f}", f"{row.low:.3f} to {row.high:.3f}"]
                for row in protocol.strategies
            ]
            lines += aligned(table)
            lines += warning_lines((f"{name}: {why}" for name, why in protocol.failures.items()), "  ")
        return "\n".join(lines)

    def rows(self) -> list[dict[str, Any]]:
        """A row per protocol and strategy."""
        return [
            {"protocol": protocol.name, **vars(row)}
            for protocol in self.protocols.values()
            for row in protocol.strategies
        ]

    def to_dict(self) -> dict[str, Any]:
        """The regrets as JSON data."""
        return {
            "benchmark": self.benchmark,
            "quantity": self.quantity,
            **self.selection.data(),
            "n_checkpoints": self.n_checkpoints,
            "confidence_level": self.confidence_level,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "protocols": {
                protocol.name: {
                    "best": protocol.best,
                    "n_settings": protocol.n_settings,
                    "n_budgets": protocol.n_budgets,
                    "strategies": [dict(vars(row)) for row in protocol.strategies],
                    "failures": dict(protocol.failures),
                }
                for protocol in self.protocols.values()
            },
        }


def regret(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    units: Mapping[str, float] | None = None,
    train_flops: ArrayLike | None = None,
    inference_flops: ArrayLike | None = None,
    strategies_followed: Sequence[str] | None = None,
    rule: Rule | str | Path | None = None,
    wrong_cost: float = 0.0,
    stop_on_success: bool = False,
    confidence_level: float = 0.9,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Report | None = None,
) -> DecisionBacktest:
    """Measure what the advice of laws, and of simpler strategies, would have cost on checkpoints that exist.

    A menu is what one could have trained for a budget: the checkpoints that cost between a quarter of it and 1.15 times
    as much, three at least. An inference budget says how many samples each could draw, ``k = floor(budget / 2N)``; a
    checkpoint that would need more than were drawn is not offered. Each strategy picks one, laws having seen none of
    the menu; its regret is the best measured result on offer minus that of its pick. The measured pass@k is unbiased.

    Under a rule the result of a checkpoint is the mean, over all choices of k of each problem's samples, of what the
    rule makes of them. That is unbiased too, except where the rule's own rates depend on p (a verifier's ``slope``, a
    tail at several rates): there p is taken to be ``(c + 1/2) / (n + 1)``. Laws predict with the rule, and where more
    samples may hurt they choose k as well as the checkpoint; the best on offer is then over numbers of samples too, by
    factors of the root of two. What says nothing of k draws all samples that are paid for.

    Parameters
    ----------
    source, columns, units
        A table as for :func:`t2fast.data.read_table`, of one benchmark: a row per checkpoint and problem with samples
        and successes, or a row per checkpoint with its loss.
    train_flops
        Training budgets; by default 1 and 3 times powers of ten, up to the costliest checkpoint.
    inference_flops
        Inference budgets per problem; by default nine, from half of the samples by the smallest model to all of them by
        the largest. Losses don't depend on them.
    strategies_followed
        Names of strategies, all that the table allows by default: ``"average"`` (:func:`fit_average`), its three forms,
        ``"t2"``, ``"t2 at k = 1"``, ``"chinchilla"`` (refitted where the table has losses, the law of Besiroglu et al.
        otherwise), ``"20 tokens per parameter"``, ``"most tokens"``, ``"largest model"`` and ``"random"``. Between
        equals, chance decides: the regret is the mean of theirs. With a rule also ``"average by pass@k"`` and ``"t2 by
        pass@k"``, which pick as if the rule were pass@k.
    rule, wrong_cost, stop_on_success
        How answers are chosen, as for :func:`t2fast.plan`; pass@k by default. Where sampling stops at an accepted
        answer, a checkpoint may draw the most samples of which as many as are paid for are drawn on average.
    confidence_level, n_resamples, seed
        Of the intervals, from a bootstrap over training budgets.
    progress
        Called with a :class:`~t2fast.results.Progress` for each menu.

    Raises
    ------
    T2Error
        When no budget offers a choice, for an unknown strategy, and as the fits and :func:`t2fast.plan` for rules.
    DataError
        For a table with neither counts nor losses, with several benchmarks, or with losses and a rule.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import fitting
    >>> n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e11, 7)))
    >>> loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37
    >>> best = fitting.regret({"N": n, "D": d, "loss": loss}).protocols["lobo"].strategies[0]
    >>> best.strategy, round(best.regret, 4)
    ('chinchilla', 0.0)
    """
    selection = Selection.of(rule, wrong_cost, stop_on_success)
    table = read_table(source, columns, units)
    one_benchmark(table)
    one_rule(table, "n_correct" in table)
    suite = Suite.of(table, selection)
    level, key = arguments.confidence_level(confidence_level), arguments.seed(seed)
    resamples = arguments.whole("n_resamples", n_resamples, least=1)
    known = strategies(table, selection)
    wanted = list(known) if strategies_followed is None else list(strategies_followed)
    for name in wanted:
        if name not in known:
            raise T2Error(f"strategies_followed: {name!r}: {near(name, known)}")
    train = suite.budgets() if train_flops is None else column("train_flops", train_flops)
    inference = suite.inference_budgets() if inference_flops is None else column("inference_flops", inference_flops)
    return follow(
        suite,
        {one: known[one] for one in wanted},
        train,
        inference,
        confidence_level=level,
        n_resamples=resamples,
        seed=key,
        progress=progress,
    )


def follow(
    suite: Suite,
    known: Mapping[str, Strategy],
    train: FloatArray,
    inference: FloatArray,
    *,
    confidence_level: float = 0.9,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Report | None = None,
) -> DecisionBacktest:
    """Follow strategies of one's own on a suite, as :func:`regret` follows those that it knows."""
    settings = suite.checked_settings(train, inference)
    protocols = {}
    for i, name in enumerate(PROTOCOLS):
        found = _follow(suite, settings, known, name, progress, (i, len(PROTOCOLS)))
        if found is not None:
            protocols[name] = _summed(name, found, confidence_level, n_resamples, seed)
    benchmark = str(suite.table["benchmark"][0]) if "benchmark" in suite.table else ""
    return DecisionBacktest(
        benchmark, suite.quantity, len(suite), confidence_level, n_resamples, seed, protocols, suite.selection
    )


@dataclass(eq=False)
class _Followed:
    budgets: list[float]
    best: list[float]
    regrets: dict[str, list[float]]
    failures: dict[str, str]


def _follow(
    suite: Suite,
    settings: Sequence[Setting],
    known: Mapping[str, Strategy],
    protocol: str,
    progress: Report | None,
    part: tuple[int, int],
) -> _Followed | None:
    """Let every strategy pick in every setting; ``None`` when no menu leaves enough to learn from."""
    found = _Followed([], [], {name: [] for name in known}, {})
    cost = suite.flops
    menus = list(dict.fromkeys(setting.train_flops for setting in settings))
    sign = -1.0 if suite.quantity == "loss" else 1.0
    for done, budget in enumerate(menus):
        here = [setting for setting in settings if setting.train_flops == budget]
        seen = np.ones(len(suite), dtype=np.bool_)
        if protocol == "lobo":
            seen[here[0].menu] = False
        else:
            seen = cost <= LEAST_SHARE * budget
        if protocol == "forward" and np.count_nonzero(seen) < _FEWEST_SEEN:
            continue
        rows = suite.rows(seen)
        advisers = {}
        for name, strategy in known.items():
            if name in found.failures:
                continue
            try:
                advisers[name] = strategy(rows, suite.selection)
            except T2Error as error:
                why = error if seen.any() else "every checkpoint is on the menu, which leaves none to learn from"
                found.failures[name] = f"at {budget:.3g} FLOP: {why}"
        for setting in here:
            best = suite.best_of(setting)
            found.budgets.append(budget)
            found.best.append(best)
            for name, advise in advisers.items():
                advice = advise(setting, suite.n_params[setting.candidates], suite.n_tokens[setting.candidates])
                picked = advice.score == advice.score.max()
                results = suite.measured_at(setting.candidates[picked], advice.k[picked])
                found.regrets[name].append(sign * (best - float(np.mean(results))))
        if progress is not None:
            progress(Progress(part[0] * len(menus) + done + 1, part[1] * len(menus), "menus"))
    return found if found.budgets else None


def _summed(name: str, found: _Followed, level: float, resamples: int, seed: int) -> Protocol:
    rows = []
    for strategy, values in found.regrets.items():
        if strategy in found.failures:
            continue
        low, high = _interval(np.array(values), found.budgets, level, resamples, seed)
        rows.append(StrategyRegret(strategy, float(np.mean(values)), low, high))
    return Protocol(
        name,
        tuple(sorted(rows, key=lambda row: row.regret)),
        float(np.mean(found.best)),
        len(found.budgets),
        len(set(found.budgets)),
        tuple(found.budgets),
        {one: tuple(values) for one, values in found.regrets.items() if one not in found.failures},
        dict(found.failures),
    )


def _interval(
    values: FloatArray, budgets: Sequence[float], level: float, resamples: int, seed: int
) -> tuple[float, float]:
    """A percentile interval of the mean, training budgets drawn with replacement."""
    unit: NDArray[np.int64] = np.unique(np.array(budgets), return_inverse=True)[1].astype(np.int64)
    total, count = np.bincount(unit, values), np.bincount(unit)
    rng = np.random.Generator(np.random.Philox(key=[seed, 3]))
    chosen = rng.integers(0, len(count), (resamples, len(count)))
    means = total[chosen].sum(1) / count[chosen].sum(1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)
