"""Back-tests of decisions: what following each rule would have cost on checkpoints that exist."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from t2fast import arguments
from t2fast.data import read_table
from t2fast.errors import T2Error
from t2fast.fitting.rivals import Rule, rules
from t2fast.fitting.rows import FloatArray, column
from t2fast.fitting.suite import LEAST_SHARE, Setting, Suite
from t2fast.fitting.table import one_benchmark
from t2fast.results import Progress, Report, Result
from t2fast.text import columns as aligned
from t2fast.text import near, warning_lines

__all__ = ["PROTOCOLS", "DecisionBacktest", "Protocol", "RuleRegret", "regret"]

#: Protocols by name: which checkpoints a law may see.
PROTOCOLS: Mapping[str, str] = {
    "lobo": "all but the menu (leave one budget out)",
    "forward": "only those that cost a quarter of the budget or less",
}
#: Checkpoints that a law needs to see going forward.
_FEWEST_SEEN = 12


@dataclass(frozen=True)
class RuleRegret:
    """The mean regret of one rule, with its interval over training budgets.

    Examples
    --------
    >>> RuleRegret("t2", 0.065, 0.036, 0.091).regret
    0.065
    """

    rule: str
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
    rules
        Every rule's regret, least first.
    best
        Mean result of the best choices.
    n_settings, n_budgets
        Choices made, and training budgets among them.
    budgets, regrets
        Choice by choice: its training budget, and by rule the regret.
    failures
        By rule: why it could not be followed.

    Examples
    --------
    >>> rules = (RuleRegret("t2", 0.065, 0.036, 0.091),)
    >>> Protocol("lobo", rules, best=0.34, n_settings=60, n_budgets=8, budgets=(), regrets={}).rules[0].rule
    't2'
    """

    name: str
    rules: tuple[RuleRegret, ...]
    best: float
    n_settings: int
    n_budgets: int
    budgets: tuple[float, ...] = field(repr=False)
    regrets: Mapping[str, tuple[float, ...]] = field(repr=False)
    failures: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class DecisionBacktest(Result):
    """What following each rule would have cost; :func:`regret` makes one.

    Attributes
    ----------
    benchmark
        The table's benchmark, if it says so.
    quantity
        ``"pass@k"`` or ``"loss"``: what regret is counted in.
    n_checkpoints
        Checkpoints in the table.
    confidence_level, n_resamples, seed
        Of the intervals, from a bootstrap over training budgets.
    protocols
        The regrets by protocol.

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

    figure: ClassVar[str] = "fitting:plot_regret"
    __hash__ = None  # type: ignore[assignment]

    def headline(self) -> str:
        """What regret is counted in, and on what."""
        where = f" on {self.benchmark}" if self.benchmark else ""
        return f"regret in {self.quantity}{where}, {self.n_checkpoints} checkpoints"

    def difference(self, protocol: str, rule: str, other: str) -> RuleRegret:
        """How much more one rule costs than another, choice by choice, with its interval.

        Raises
        ------
        T2Error
            For an unknown protocol or rule.
        """
        found = self.protocols[arguments.choice("protocol", protocol, self.protocols)]
        one, two = (np.array(found.regrets[arguments.choice("rule", name, found.regrets)]) for name in (rule, other))
        low, high = _interval(one - two, found.budgets, self.confidence_level, self.n_resamples, self.seed)
        return RuleRegret(f"{rule} - {other}", float(np.mean(one - two)), low, high)

    def summary(self) -> str:
        """The rules with their regrets as a table of at most 80 columns."""
        lines = [self.headline()]
        level = f"{100 * self.confidence_level:g}% interval"
        for protocol in self.protocols.values():
            lines += ["", f"{protocol.name}: laws see {PROTOCOLS[protocol.name]}"]
            lines.append(
                f"  {protocol.n_settings} choices at {protocol.n_budgets} training budgets; best available "
                f"{protocol.best:.3f} on average"
            )
            table = [["  rule", "regret", level]]
            table += [
                [f"  {row.rule}", f"{row.regret:.3f}", f"{row.low:.3f} to {row.high:.3f}"] for row in protocol.rules
            ]
            lines += aligned(table)
            lines += warning_lines((f"{name}: {why}" for name, why in protocol.failures.items()), "  ")
        return "\n".join(lines)

    def rows(self) -> list[dict[str, Any]]:
        """A row per protocol and rule."""
        return [
            {"protocol": protocol.name, "rule": row.rule, "regret": row.regret, "low": row.low, "high": row.high}
            for protocol in self.protocols.values()
            for row in protocol.rules
        ]

    def to_dict(self) -> dict[str, Any]:
        """The regrets as JSON data."""
        return {
            "benchmark": self.benchmark,
            "quantity": self.quantity,
            "n_checkpoints": self.n_checkpoints,
            "confidence_level": self.confidence_level,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "protocols": {
                protocol.name: {
                    "best": protocol.best,
                    "n_settings": protocol.n_settings,
                    "n_budgets": protocol.n_budgets,
                    "rules": [dict(vars(row)) for row in protocol.rules],
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
    rules_followed: Sequence[str] | None = None,
    confidence_level: float = 0.9,
    n_resamples: int = 2000,
    seed: int = 0,
    progress: Report | None = None,
) -> DecisionBacktest:
    """Measure what the advice of laws, and of simpler rules, would have cost on checkpoints that exist.

    A menu is what one could have trained for a budget: the checkpoints that cost between a quarter of it and 1.15 times
    as much, three at least. An inference budget says how many samples each could draw, ``k = floor(budget / 2N)``; a
    checkpoint that would need more than were drawn is not offered. Each rule picks one, laws having seen none of the
    menu; its regret is the best measured result on offer minus that of its pick. The measured pass@k is unbiased.

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
    rules_followed
        Names of rules, all that the table allows by default: ``"average"`` (:func:`fit_average`), its three forms,
        ``"t2"``, ``"t2 at k = 1"``, ``"chinchilla"`` (refitted where the table has losses, the law of Besiroglu et al.
        otherwise), ``"20 tokens per parameter"``, ``"most tokens"``, ``"largest model"`` and ``"random"``. Between
        equals, chance decides: the regret is the mean of theirs.
    confidence_level, n_resamples, seed
        Of the intervals, from a bootstrap over training budgets.
    progress
        Called with a :class:`~t2fast.results.Progress` for each menu.

    Raises
    ------
    T2Error
        When no budget offers a choice, for an unknown rule, and as the fits.
    DataError
        For a table with neither counts nor losses, or with several benchmarks.

    Examples
    --------
    >>> import numpy as np
    >>> from t2fast import fitting
    >>> n, d = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 7), np.geomspace(2e8, 2e11, 7)))
    >>> loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37
    >>> found = fitting.regret({"N": n, "D": d, "loss": loss})
    >>> found.protocols["lobo"].rules[0].rule, round(found.protocols["lobo"].rules[0].regret, 4)
    ('chinchilla', 0.0)
    """
    table = read_table(source, columns, units)
    one_benchmark(table)
    suite = Suite.of(table)
    level, key = arguments.confidence_level(confidence_level), arguments.seed(seed)
    resamples = arguments.whole("n_resamples", n_resamples, least=1)
    known = rules(table)
    wanted = list(known) if rules_followed is None else list(rules_followed)
    for name in wanted:
        if name not in known:
            raise T2Error(f"rules_followed: {name!r}: {near(name, known)}")
    train = suite.budgets() if train_flops is None else column("train_flops", train_flops)
    inference = suite.inference_budgets() if inference_flops is None else column("inference_flops", inference_flops)
    settings = suite.checked_settings(train, inference)
    protocols = {}
    for i, name in enumerate(PROTOCOLS):
        found = _follow(suite, settings, {rule: known[rule] for rule in wanted}, name, progress, (i, len(PROTOCOLS)))
        if found is not None:
            protocols[name] = _summed(name, found, level, resamples, key)
    benchmark = str(table["benchmark"][0]) if "benchmark" in table else ""
    return DecisionBacktest(benchmark, suite.quantity, len(suite), level, resamples, key, protocols)


@dataclass(eq=False)
class _Followed:
    budgets: list[float]
    best: list[float]
    regrets: dict[str, list[float]]
    failures: dict[str, str]


def _follow(
    suite: Suite,
    settings: Sequence[Setting],
    known: Mapping[str, Rule],
    protocol: str,
    progress: Report | None,
    part: tuple[int, int],
) -> _Followed | None:
    """Let every rule pick in every setting; ``None`` when no menu leaves enough to learn from."""
    found = _Followed([], [], {name: [] for name in known}, {})
    cost = suite.flops
    menus = list(dict.fromkeys(setting.train_flops for setting in settings))
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
        scores = {}
        for name, rule in known.items():
            if name in found.failures:
                continue
            try:
                scores[name] = rule(rows)
            except T2Error as error:
                why = error if seen.any() else "every checkpoint is on the menu, which leaves none to learn from"
                found.failures[name] = f"at {budget:.3g} FLOP: {why}"
        for setting in here:
            results = np.array(
                [suite.measured(*one) for one in zip(setting.candidates.tolist(), setting.k.tolist(), strict=True)]
            )
            sign = -1.0 if suite.quantity == "loss" else 1.0
            best = float((sign * results).max())
            found.budgets.append(budget)
            found.best.append(sign * best)
            at = (suite.n_params[setting.candidates], suite.n_tokens[setting.candidates], setting.k)
            for name, score in scores.items():
                values = score(*at)
                picked = values == values.max()
                found.regrets[name].append(best - float((sign * results)[picked].mean()))
        if progress is not None:
            progress(Progress(part[0] * len(menus) + done + 1, part[1] * len(menus), "menus"))
    return found if found.budgets else None


def _summed(name: str, found: _Followed, level: float, resamples: int, seed: int) -> Protocol:
    rows = []
    for rule, values in found.regrets.items():
        if rule in found.failures:
            continue
        low, high = _interval(np.array(values), found.budgets, level, resamples, seed)
        rows.append(RuleRegret(rule, float(np.mean(values)), low, high))
    return Protocol(
        name,
        tuple(sorted(rows, key=lambda row: row.regret)),
        float(np.mean(found.best)),
        len(found.budgets),
        len(set(found.budgets)),
        tuple(found.budgets),
        {rule: tuple(values) for rule, values in found.regrets.items() if rule not in found.failures},
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
