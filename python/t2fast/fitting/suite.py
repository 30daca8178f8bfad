"""Measured checkpoints as a menu: what each achieves at any k, and the choices that a budget leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from t2fast.arguments import integers
from t2fast.costs import inference_flops, train_flops
from t2fast.data import Table
from t2fast.errors import DataError, T2Error
from t2fast.fitting.rows import FloatArray, IntArray, checkpoints
from t2fast.fitting.selection import PASS_AT_K, Selection

__all__ = ["Setting", "Suite"]

#: A menu holds the checkpoints whose training cost lies between these shares of its budget.
LEAST_SHARE, MOST_SHARE = 0.25, 1.15
#: Choices that make a choice.
FEWEST = 3
#: Inference budgets asked about.
_BUDGETS = 9


@dataclass(frozen=True, eq=False)
class Setting:
    """One choice: a training and an inference budget, and the checkpoints on offer with the k that each pays for."""

    train_flops: float
    inference_flops: float
    #: All checkpoints at that training budget, which no law may see.
    menu: IntArray
    #: Those that can be chosen, with the most samples that each may draw.
    candidates: IntArray
    k: IntArray
    #: Samples paid for at each: as many as k, or more or fewer on average where sampling stops at an answer.
    paid: FloatArray


@dataclass(frozen=True, eq=False)
class Suite:
    """Checkpoints of one benchmark, with counts by problem or with losses."""

    table: Table
    checkpoint: IntArray
    n_params: FloatArray
    n_tokens: FloatArray
    #: Fewest samples of any problem of each checkpoint; one where only losses are known.
    fewest: IntArray
    quantity: str
    selection: Selection = PASS_AT_K
    _known: dict[tuple[int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Table, selection: Selection = PASS_AT_K) -> Suite:
        """Gather a table's rows by checkpoint; answers are chosen as ``selection`` says.

        Raises
        ------
        DataError
            When it has neither counts nor losses, or losses where answers are chosen by a rule.
        """
        n, d = table.number("n_params"), table.number("n_tokens")
        counts = "n_samples" in table and "n_correct" in table
        if not counts and ("loss" not in table or "k" in table):
            raise DataError(
                f"{table.origin}: regret needs n_samples, n_correct and problem (a row per checkpoint and problem), or "
                f"loss (a row per checkpoint); it has {', '.join(table.columns)}"
            )
        if not counts and not selection.any_correct:
            raise DataError(
                f"{table.origin}: rule = {selection.rule.kind}: what a rule makes is measured on n_samples and "
                "n_correct by problem; the table has losses"
            )
        for name, values in (("n_params", n), ("n_tokens", d)):
            if (wrong := np.flatnonzero(~(np.isfinite(values) & (values > 0)))).size:
                raise DataError(
                    f"{table.origin}: {name} = {values[wrong[0]]:g} in row {wrong[0] + 1}: must be positive and finite"
                )
        checkpoint = checkpoints(n, d)
        _, first = np.unique(checkpoint, return_index=True)
        fewest = np.ones(len(first), dtype=np.int64)
        if counts:
            fewest = np.full(len(first), np.iinfo(np.int64).max)
            np.minimum.at(fewest, checkpoint, integers("n_samples", table.number("n_samples")))
        return cls(table, checkpoint, n[first], d[first], fewest, selection.quantity if counts else "loss", selection)

    def __len__(self) -> int:
        return len(self.n_params)

    @property
    def flops(self) -> FloatArray:
        """Training cost of each checkpoint."""
        return np.array([train_flops(n, d) for n, d in zip(self.n_params, self.n_tokens, strict=True)])

    def rows(self, chosen: NDArray[np.bool_]) -> Table:
        """The rows of some checkpoints."""
        return self.table.select(chosen[self.checkpoint])

    def measured(self, place: int, k: int) -> float:
        """What a checkpoint makes of k samples, its mean over problems, or its mean loss.

        pass@k, and what a rule makes that does not depend on the success rate, are unbiased: means over all choices of
        k of each problem's samples.
        """
        return self.measured_at(np.array([place]), np.array([k]))[0]

    def measured_at(self, places: IntArray, k: IntArray) -> list[float]:
        """The same at several places."""
        asked = list(zip(places.tolist(), k.tolist(), strict=True))
        missing = list(dict.fromkeys(one for one in asked if one not in self._known))
        if missing and self.quantity == "loss":
            loss = self.table.number("loss")
            self._known.update((one, float(loss[self.checkpoint == one[0]].mean())) for one in missing)
        elif missing:
            rows = [np.flatnonzero(self.checkpoint == place) for place, _ in missing]
            each = np.concatenate(rows)
            n, c = (integers(name, self.table.number(name))[each] for name in ("n_samples", "n_correct"))
            sizes = [len(one) for one in rows]
            values = self.selection.of_counts(n, c, np.repeat([k for _, k in missing], sizes))
            ends = np.cumsum(sizes)[:-1]
            self._known.update(zip(missing, (float(part.mean()) for part in np.split(values, ends)), strict=True))
        return [self._known[one] for one in asked]

    def best_of(self, setting: Setting) -> float:
        """The best result on offer: of any candidate, at any number of samples where more may hurt."""
        places, k = setting.candidates, setting.k
        if self.quantity == "loss":
            return min(self.measured_at(places, k))
        tried = [self.selection.fewer(one) for one in k.tolist()]
        at = np.repeat(places, [len(one) for one in tried]), np.concatenate(tried)
        return max([*self.measured_at(*at), *self.selection.silence])

    def _drawable(self, place: int, paid: float) -> int:
        """The most samples of which ``paid`` are drawn on average; none where the samples don't reach."""
        rows = self.checkpoint == place
        n, c = (integers(name, self.table.number(name))[rows] for name in ("n_samples", "n_correct"))
        low, high = 0, int(self.fewest[place]) + 1

        def drawn(k: int) -> float:
            return float(self.selection.drawn_of_counts(n, c, np.full(len(n), k)).mean())

        if drawn(high - 1) < paid:
            return 0
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if drawn(middle) <= paid * (1 + 1e-12) else (low, middle)
        return low

    def budgets(self) -> FloatArray:
        """Training budgets to ask about: 1 and 3 times powers of ten up to the costliest checkpoint, and that one."""
        cost = self.flops
        powers = 10.0 ** np.arange(np.floor(np.log10(cost.min())), np.ceil(np.log10(cost.max())) + 1)
        steps = np.sort(np.concatenate([powers, 3 * powers]))
        return np.append(steps[(steps > cost.min()) & (steps < cost.max() / MOST_SHARE)], cost.max())

    def inference_budgets(self) -> FloatArray:
        """Inference budgets, from half of the samples drawn by the smallest model to all of them by the largest."""
        if self.quantity == "loss":
            return np.array([inference_flops(float(self.n_params.max()), 1)])
        most = float(self.fewest.min())
        ends = (
            inference_flops(float(self.n_params.min()), most / 2),
            inference_flops(float(self.n_params.max()), most),
        )
        return np.geomspace(*ends, _BUDGETS)

    def settings(self, train: FloatArray, inference: FloatArray) -> Iterator[Setting]:
        """Every choice that these budgets leave: three candidates or more, none beyond its samples."""
        cost = self.flops
        per_sample = np.array([inference_flops(n, 1) for n in self.n_params.tolist()])
        for budget in train.tolist():
            menu = np.flatnonzero((cost > LEAST_SHARE * budget) & (cost <= MOST_SHARE * budget))
            if len(menu) < FEWEST:
                continue
            for spent in inference.tolist():
                paid = spent / per_sample[menu]
                if self.selection.stop_on_success:
                    k = np.array([self._drawable(*one) for one in zip(menu.tolist(), paid.tolist(), strict=True)])
                else:
                    k = np.floor(paid * (1 + 1e-12)).astype(np.int64)
                k = np.ones_like(k) if self.quantity == "loss" else k
                able = (k >= 1) & (k <= self.fewest[menu])
                if np.count_nonzero(able) >= FEWEST:
                    yield Setting(budget, spent, menu, menu[able], k[able], paid[able])

    def checked_settings(self, train: FloatArray, inference: FloatArray) -> list[Setting]:
        """The same as a list.

        Raises
        ------
        T2Error
            When there is none.
        """
        found = list(self.settings(train, inference))
        if not found:
            raise T2Error(
                f"{self.table.origin}: no training budget offers a choice of {FEWEST} checkpoints of {len(self)} with "
                f"{LEAST_SHARE} to {MOST_SHARE} of its cost: add checkpoints, or name budgets that have more"
            )
        return found
