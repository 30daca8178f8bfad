"""The verdict: what following each contestant would have cost on the laboratory's own designs, rule by rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2fast.data import Table, Tallies
from t2fast.datasets import Checkpoint, Lab
from t2fast.fitting.regret import DecisionBacktest, follow
from t2fast.fitting.selection import PASS_AT_K, Selection
from t2fast.fitting.suite import Setting, Suite
from t2fast.lab.answers import Answers, chosen
from t2fast.lab.contestants import Advisers
from t2fast.lab.preset import Preset
from t2fast.passk import maj_of_tallies, pass_at_k
from t2fast.results import Progress, Report
from t2fast.rules import Majority, Verifier
from t2fast.text import columns

__all__ = [
    "ANY_RIGHT",
    "MAJORITY",
    "TUNED",
    "Verdict",
    "VotedSuite",
    "families",
    "judge_advice",
    "judge_families",
    "noise",
    "regret_lines",
    "regret_rows",
    "settings",
    "suites",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ANY_RIGHT, MAJORITY, TUNED = "any right", "majority", "any right, fine-tuned"
#: Tables drawn anew from the models' own likelihoods, to see how much the luck of sampling moves a result.
_REDRAWN = 20


@dataclass(frozen=True)
class Verdict:
    """The regrets of all contestants under one rule; of the families, ``rule`` is the name of one."""

    rule: str
    regret: DecisionBacktest


@dataclass(frozen=True, eq=False)
class VotedSuite(Suite):
    """Designs whose answers are chosen by plurality of what they really said."""

    #: Of each row of the table.
    votes: Tallies | None = None

    @classmethod
    def by(cls, table: Table, rule: Majority, votes: Tallies) -> VotedSuite:
        """A table's designs, with the votes of each of its rows."""
        one = Suite.of(table, Selection(rule))
        return cls(
            one.table,
            one.checkpoint,
            one.n_params,
            one.n_tokens,
            one.fewest,
            one.quantity,
            one.selection,
            votes=votes,
        )

    def measured_at(self, places: IntArray, k: IntArray) -> list[float]:
        """How often the right answer wins the vote, mean over problems and seeds."""
        assert self.votes is not None
        asked = list(zip(places.tolist(), k.tolist(), strict=True))
        wanted: dict[int, list[int]] = {}
        for place, samples in dict.fromkeys(asked):
            if (place, samples) not in self._known:
                wanted.setdefault(place, []).append(samples)
        for place, ks in wanted.items():
            here = chosen(self.votes, np.flatnonzero(self.checkpoint == place))
            won = maj_of_tallies(here, ks, draws=1000).value.mean(axis=0)
            self._known.update({(place, one): float(value) for one, value in zip(ks, won, strict=True)})
        return [self._known[one] for one in asked]


def judge_advice(
    lab: Lab, preset: Preset, answers: Answers | None, progress: Report | None = None
) -> tuple[Verdict, ...]:
    """Measure the regret of all contestants under every rule of the preset, and on its fine-tuned models.

    Parameters
    ----------
    lab, preset
        The table, and what it was made with; nothing is judged without ``preset.verdict``.
    answers
        All answers, for the vote; without them there is none.
    progress
        Called with a :class:`~t2fast.results.Progress` for each rule.
    """
    if preset.verdict is None:
        return ()
    advisers, found = Advisers(answers), []
    parts = list(suites(lab, preset, answers, advisers))
    for done, (rule, suite) in enumerate(parts):
        if progress is not None:
            progress(Progress(done, len(parts), "rules", rule))
        found.append(_judged(rule, suite, advisers, preset))
    return tuple(found)


def judge_families(lab: Lab, preset: Preset) -> tuple[Verdict, ...]:
    """The regret of all contestants in pass@k on each family by itself: its problems alone are seen and solved.

    Nothing is judged without ``preset.verdict``, or where there is one family only.
    """
    if preset.verdict is None or len(set(lab.families)) < 2:
        return ()
    table = _table(lab, lab.grid)
    return tuple(
        _judged(family, Suite.of(table.select(table["family"] == family)), Advisers(), preset)
        for family in dict.fromkeys(lab.families)
    )


def _judged(name: str, suite: Suite, advisers: Advisers, preset: Preset) -> Verdict:
    assert preset.verdict is not None
    budgets = np.array(preset.train_flops), np.array(preset.verdict.inference_flops)
    return Verdict(name, follow(suite, advisers.contestants(suite.selection), *budgets, seed=preset.seed))


def suites(
    lab: Lab, preset: Preset, answers: Answers | None, advisers: Advisers | None = None
) -> Iterator[tuple[str, Suite]]:
    """The designs as menus, under each rule by its name."""
    assert preset.verdict is not None
    table = _table(lab, lab.grid)
    yield ANY_RIGHT, Suite.of(table)
    for rate in preset.verdict.false_positives:
        yield f"verifier, f = {100 * rate:g}%", Suite.of(table, Selection(Verifier(rate)))
    if preset.verdict.majority and answers is not None:
        advisers = advisers or Advisers(answers)
        # The rule's tail serves those alone who may see all; contestants fit their own.
        yield MAJORITY, VotedSuite.by(table, advisers.tail(table), answers.of([one.run for one in lab.grid]))
    if lab.tuned:
        yield TUNED, Suite.of(_table(lab, lab.tuned), PASS_AT_K)


def _table(lab: Lab, rows: Sequence[Checkpoint]) -> Table:
    """Counts by run and problem, with the loss that each run was trained to."""
    table = lab.table(rows)
    each = len(table) // len(rows)
    # Fine-tuned models stand in the order of those that they were made of.
    loss = np.repeat([float(one.loss or np.nan) for one in lab.grid], each)
    return Table({**table.columns, "loss": loss}, table.origin)


def settings(suite: Suite, preset: Preset) -> list[Setting]:
    """Every choice that the preset's budgets leave."""
    assert preset.verdict is not None
    return suite.checked_settings(np.array(preset.train_flops), np.array(preset.verdict.inference_flops))


def noise(lab: Lab, preset: Preset) -> tuple[float, float]:
    """How much the luck of sampling moves the pass@k of designs on menus: mean standard deviation, and the largest.

    The models' exact likelihoods say what another table of as many samples would hold.
    """
    random = np.random.Generator(np.random.Philox(key=[preset.seed, 5]))
    suite = Suite.of(_table(lab, lab.grid))
    p = np.concatenate([one.probability for one in lab.grid])
    asked = {
        one
        for setting in settings(suite, preset)
        for one in zip(setting.candidates.tolist(), setting.k.tolist(), strict=True)
    }
    found = []
    for place, k in sorted(asked):
        rows = suite.checkpoint == place
        drawn = random.binomial(lab.n_samples, p[rows], (_REDRAWN, int(rows.sum())))
        found.append(float(np.std([np.mean(pass_at_k(lab.n_samples, one, k)) for one in drawn], ddof=1)))
    return float(np.mean(found)), float(np.max(found))


def regret_rows(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """The regrets as a table of text: a row per contestant, two columns (LOBO, forward) per rule."""
    names = list(
        dict.fromkeys(
            row.strategy for one in verdicts for part in one.regret.protocols.values() for row in part.strategies
        )
    )
    head = ["", *(f"{one.rule}, {protocol}" for one in verdicts for protocol in one.regret.protocols)]
    best = ["(best available)"]
    rows = [[name] for name in names]
    for one in verdicts:
        for protocol in one.regret.protocols.values():
            best.append(f"({protocol.best:.3f})")
            regrets = {row.strategy: row for row in protocol.strategies}
            for row in rows:
                cell = regrets.get(row[0])
                row.append("" if cell is None else f"{cell.regret:.3f} [{cell.low:.3f}, {cell.high:.3f}]")
    return [head, *rows, best]


def regret_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """The same for a terminal: a block per rule."""
    lines = []
    for one in verdicts:
        rows = [[one.rule, *one.regret.protocols]]
        names = dict.fromkeys(row.strategy for part in one.regret.protocols.values() for row in part.strategies)
        for name in names:
            cells = []
            for protocol in one.regret.protocols.values():
                found = [row for row in protocol.strategies if row.strategy == name]
                cells.append(f"{found[0].regret:.3f} [{found[0].low:.3f}, {found[0].high:.3f}]" if found else "")
            rows.append([f"  {name}", *cells])
        rows.append(["  (best available)", *(f"({part.best:.3f})" for part in one.regret.protocols.values())])
        lines += [*columns(rows), ""]
    return lines[:-1]


def families(lab: Lab) -> list[list[str]]:
    """Every family by itself as a table of text: the range over the grid, and how far two seeds of a design differ."""
    rows = [["family", "pass@1, least to most", "pass@16, least to most", "two seeds differ in pass@16 by"]]
    most = min(16, lab.n_samples)
    rows[0] = [cell.replace("@16", f"@{most}") for cell in rows[0]]
    for family in dict.fromkeys(lab.families):
        asked = np.array([one == family for one in lab.families])
        cells, seeds = [family], dict[tuple[int, int], list[float]]()
        for k in (1, most):
            rates = [float(np.mean(pass_at_k(lab.n_samples, one.n_correct[asked], k))) for one in lab.grid]
            cells.append(f"{min(rates):.3f} to {max(rates):.3f}")
        for one, rate in zip(lab.grid, rates, strict=True):
            seeds.setdefault((one.n_params, one.n_tokens), []).append(rate)
        apart = [abs(pair[0] - pair[1]) for pair in seeds.values() if len(pair) > 1]
        cells.append(f"{np.mean(apart):.3f} on average, {max(apart):.3f} at most" if apart else "")
        rows.append(cells)
    return rows
