"""The claims of the second study, in the order in which they were registered before anything was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast.data import evaluate
from t2fast.datasets import Checkpoint, Lab
from t2fast.errors import T2Error
from t2fast.lab.answers import Answers
from t2fast.lab.claims import Claim
from t2fast.lab.contestants import APPROACH_1, AVERAGE, CHINCHILLA, RATIO, T2, Advisers
from t2fast.lab.intervals import DRAWS, interval
from t2fast.lab.preset import Preset
from t2fast.lab.verdict import ANY_RIGHT, MAJORITY, Verdict, settings, suites
from t2fast.passk import mean_pass_at_k

__all__ = ["COMPARED", "comparisons", "differences", "larger_by_vote", "overtrained", "unseen"]

#: Pairs of contestants that claims compare: the first should cost more.
COMPARED = ((CHINCHILLA, AVERAGE), (CHINCHILLA, T2), (T2, AVERAGE), (RATIO, AVERAGE))
_SAYS = {
    (CHINCHILLA, AVERAGE): "The mean of forms costs less than Chinchilla's law refitted.",
    (CHINCHILLA, T2): "T2 alone costs less than Chinchilla's law refitted.",
    (T2, AVERAGE): "The mean of forms costs less than T2 alone.",
    (RATIO, AVERAGE): "The mean of forms costs less than 20 tokens per parameter.",
    (T2, APPROACH_1): "Approach 1 is no worse an adviser than Approach 2.",
}
#: A wider interval cannot tell a difference of .02.
_WIDE = 0.04


def _holds(low: float, high: float, at: float) -> bool | None:
    return True if low > at else False if high < at else None


def differences(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """All differences between the compared, a row per rule, protocol and pair."""
    rows = []
    for verdict in verdicts:
        for name, protocol in verdict.regret.protocols.items():
            for pair in COMPARED:
                if all(one in protocol.regrets for one in pair):
                    found = verdict.regret.difference(name, *pair)
                    rows.append(
                        {
                            "rule": verdict.rule,
                            "protocol": name,
                            "difference": f"{pair[0]} - {pair[1]}",
                            "value": found.regret,
                            "low": found.low,
                            "high": found.high,
                            "holds": _holds(found.low, found.high, 0.0),
                        }
                    )
    return rows


def comparisons(verdicts: Sequence[Verdict], pairs: Sequence[tuple[str, str]] = COMPARED) -> list[Claim]:
    """Claims on differences of regret under pass@k, all budgets but the menu's being seen."""
    regret = {one.rule: one.regret for one in verdicts}[ANY_RIGHT]
    protocol = regret.protocols["lobo"]
    found = []
    for pair in pairs:
        lost = [f"{name}: {protocol.failures[name]}" for name in pair if name in protocol.failures]
        if lost:
            found.append(Claim(_SAYS[pair], None, np.nan, np.nan, np.nan, "difference in regret", f"{lost[0]}."))
            continue
        one = regret.difference("lobo", *pair)
        wide = one.high - one.low > _WIDE
        found.append(
            Claim(
                _SAYS[pair],
                _holds(one.low, one.high, 0.0),
                one.regret,
                one.low,
                one.high,
                "difference in regret, pass@k",
                f"{pair[0]} {np.mean(protocol.regrets[pair[0]]):.3f}, {pair[1]} "
                f"{np.mean(protocol.regrets[pair[1]]):.3f}; {protocol.n_settings} choices at {protocol.n_budgets} "
                f"training budgets, laws see all others. Interval over budgets"
                + (": too wide to tell a difference of .02." if wide else "."),
            )
        )
    return found


def unseen(lab: Lab, preset: Preset, random: np.random.Generator) -> Claim | None:
    """Whether the mean of forms predicts the designs held out, beside the floor that seeds leave; None without any."""
    held = evaluate(preset.holdout, lab.losses)
    grid = np.array(lab.grid, dtype=object)
    kept, hidden = grid[~held].tolist(), grid[held].tolist()
    if not hidden or len(kept) < 8:
        return None
    k = preset.predicted_k
    claim = f"The mean of forms, fitted without the designs of {preset.holdout}, predicts their pass@{k} within 10%."
    try:
        law = Advisers().average(lab.table(kept))
    except T2Error as error:
        return Claim(claim, None, np.nan, np.nan, np.nan, "mean relative error", f"Not fitted: {error}.")
    by_design: dict[tuple[int, int], list[float]] = {}
    for one in hidden:
        rate = float(mean_pass_at_k(lab.n_samples, one.n_correct, k))
        by_design.setdefault((one.n_params, one.n_tokens), []).append(rate)
    n, d = (np.array(column, float) for column in zip(*by_design, strict=True))
    observed = np.array([np.mean(rates) for rates in by_design.values()])
    errors = np.abs(np.asarray(law.value(n, d, k)) / observed - 1)
    pairs = [rates for rates in by_design.values() if len(rates) > 1]
    floor = (
        0.0
        if not pairs
        else float(np.mean([abs(a / b - 1) for a, b, *_ in pairs for a, b in ((a, b), (b, a))])) / 2**0.5
    )
    low, high = interval(random.choice(errors, size=(DRAWS, len(errors))).mean(axis=1))
    value = float(errors.mean())
    return Claim(
        claim,
        True if high <= 0.1 else False if low > max(0.1, floor) else None,
        value,
        low,
        high,
        "mean relative error",
        f"{len(errors)} designs, the mean of their seeds; largest error {errors.max():.1%}. The floor: one seed "
        f"predicts another within {floor * 2**0.5:.1%}, over the root of two {floor:.1%}. Interval over designs.",
    )


def larger_by_vote(lab: Lab, preset: Preset, answers: Answers, random: np.random.Generator) -> Claim:
    """Whether the best trained design is larger where answers are chosen by vote."""
    by_rule = dict(suites(lab, preset, answers))
    single, voted = by_rule[ANY_RIGHT], by_rule[MAJORITY]
    ratios: dict[float, list[float]] = {}
    for setting in settings(single, preset):
        sizes = [
            float(suite.n_params[setting.candidates[int(np.argmax(suite.measured_at(setting.candidates, setting.k)))]])
            for suite in (voted, single)
        ]
        ratios.setdefault(setting.train_flops, []).append(float(np.log(sizes[0] / sizes[1])))
    total, count = np.array([[sum(one), len(one)] for one in ratios.values()]).T
    drawn = random.integers(len(total), size=(DRAWS, len(total)))
    low, high = np.exp(interval(total[drawn].sum(1) / count[drawn].sum(1)))
    return Claim(
        "By vote the best trained design is larger than for pass@k.",
        _holds(low, high, 1.0),
        float(np.exp(total.sum() / count.sum())),
        float(low),
        float(high),
        "times the parameters",
        f"Geometric mean over {int(count.sum())} choices at {len(total)} training budgets, all samples voting that are "
        "paid for. Interval over budgets.",
    )


def overtrained(lab: Lab, preset: Preset, random: np.random.Generator) -> Claim | None:
    """Whether fine-tuning favours less overtrained designs; None without fine-tuned models."""
    if not lab.tuned:
        return None
    asked = lab.lesson
    before = _rates(lab.grid, [one.n_correct[asked] for one in lab.grid])
    after = _rates(lab.tuned, [one.n_correct for one in lab.tuned])
    designs = list(before)
    ratio = np.array([d / n for n, d in designs])
    cost = np.array([6.0 * n * d for n, d in designs])
    menus = [np.flatnonzero((cost > 0.25 * c) & (cost <= 1.15 * c)) for c in preset.train_flops]
    menus = [menu for menu in menus if len(menu) > 2]

    def moved(problems: NDArray[np.int64]) -> float:
        logs = []
        for menu in menus:
            best = [
                ratio[max(menu, key=lambda i: float(rates[designs[i]][problems].mean()))] for rates in (after, before)
            ]
            logs.append(np.log(best[0] / best[1]))
        return float(np.exp(np.mean(logs)))

    total = int(asked.sum())
    value = moved(np.arange(total))
    low, high = interval(np.array([moved(random.integers(total, size=total)) for _ in range(DRAWS // 10)]))
    gain = np.array([float(after[one].mean() - before[one].mean()) for one in designs]) / lab.n_samples
    # At equal cost: a plane in the logarithms of cost and of tokens per parameter.
    plane = np.stack([np.ones(len(gain)), np.log(cost), np.log(ratio)], axis=1)
    slope = float(np.linalg.lstsq(plane, gain, rcond=None)[0][2])
    return Claim(
        "Overtrained models are harder to tune.",
        True if high < 1 else False if low > 1 else None,
        value,
        low,
        high,
        "times the tokens per parameter",
        "The design best at one sample of the family after fine-tuning against the one before, geometric "
        f"mean over {len(menus)} training budgets. Fine-tuning adds {gain.mean():+.3f} on average, "
        f"{slope:+.4f} per e-fold of tokens per parameter at equal cost. Interval over problems.",
    )


def _rates(
    rows: Sequence[Checkpoint], right: Sequence[NDArray[np.int64]]
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Right samples by design and problem, the mean of its seeds."""
    found: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
    for one, correct in zip(rows, right, strict=True):
        found.setdefault((one.n_params, one.n_tokens), []).append(correct)
    return {design: np.asarray(np.mean(seeds, axis=0)) for design, seeds in found.items()}
