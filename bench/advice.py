"""Is the advice right? Regret, errors and coverage of laws on real checkpoints: ``python bench/advice.py [DATA] [PART ...]``.

DATA is the folder with pythia_passk_counts.csv (Schaeffer et al. 2025: sampled answers of Pythia checkpoints to 128
problems each of GSM8K and MATH); the laboratory's table comes with t2fast. Parts: regret, rules, errors, coverage.

Limits of all that this prints: one family of models, two benchmarks and a made-up world, one seed per size; intermediate
checkpoints are not annealed. The term of overtraining was chosen elsewhere after seeing the Pythia tables. The mean of
three forms was chosen here, among the rules that part ``regret`` lists under "tried", after seeing the same tables.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import t2fast as t2
from t2fast import datasets, fitting
from t2fast.data import Table, read_table
from t2fast.fitting.forms import fit_forms
from t2fast.fitting.refit import Observed
from t2fast.laws import Law, LawAverage

Floats = np.ndarray
LEVEL = 0.9
#: Means of forms that were looked at before one was taken; "average" is the one.
TRIED: Mapping[str, tuple[str, ...]] = {
    "average (overtraining, item-response, beta-ability)": ("overtraining", "item-response", "beta-ability"),
    "t2, overtraining, item-response": ("t2", "overtraining", "item-response"),
    "t2, overtraining, beta-ability": ("t2", "overtraining", "beta-ability"),
    "all four": ("t2", "overtraining", "item-response", "beta-ability"),
    "overtraining, item-response": ("overtraining", "item-response"),
    "item-response, beta-ability": ("item-response", "beta-ability"),
    "t2, item-response": ("t2", "item-response"),
}


def pythia(data: Path, benchmark: str) -> Table:
    """Counts of the checkpoints with 2e9 tokens or more."""
    table = read_table(data / "pythia_passk_counts.csv")
    return table.select((table["benchmark"] == benchmark) & (table["n_tokens"] >= 2e9))


def laboratory() -> Table:
    """Counts of the laboratory's grid, with the loss of each run beside them."""
    lab = datasets.load_lab()
    loss = np.repeat([run.loss for run in lab.grid], len(lab.problem_ids))
    return Table(dict(lab.counts.columns) | {"loss": loss}, "laboratory")


def four(rows: Table) -> dict[str, Law]:
    """T2 and the three forms, fitted to some rows."""
    counts = {name: rows.number(name) for name in ("n_params", "n_tokens", "n_samples", "n_correct")}
    forms = fit_forms(**counts, problem=rows["problem"])
    return {"t2": fitting.fit_t2_pass(**counts).law, **forms.laws}


def regret(name: str, table: Table) -> None:
    """The table of regrets, and of the means that were tried."""
    found = fitting.regret(table)
    print(f"\n== regret, {name}\n{found.summary()}")
    for protocol in found.protocols:
        for other in ("t2", "chinchilla"):
            gap = found.difference(protocol, other, "average")
            print(f"{protocol}: {gap.strategy} = {gap.regret:.3f} [{gap.low:.3f}, {gap.high:.3f}]")
    suite = fitting.suite.Suite.of(table)
    train, inference = suite.budgets(), suite.inference_budgets()
    cache: dict[bytes, dict[str, Law]] = {}

    def fitted(seen: Floats) -> dict[str, Law]:
        if seen.tobytes() not in cache:
            cache[seen.tobytes()] = four(suite.rows(seen))
        return cache[seen.tobytes()]

    print("means of forms that were tried, regret lobo and forward:")
    for label, parts in TRIED.items():
        shown = []
        for protocol in ("lobo", "forward"):
            lost = []
            for one in suite.checked_settings(train, inference):
                seen = np.ones(len(suite), bool)
                seen[one.menu] = False
                if protocol == "forward":
                    seen = suite.flops <= 0.25 * one.train_flops
                    if seen.sum() < 12:
                        continue
                laws = fitted(seen)
                law = LawAverage(tuple(laws[part] for part in parts))
                values = law.value(suite.n_params[one.candidates], suite.n_tokens[one.candidates], one.k)
                results = np.array(
                    [suite.measured(*at) for at in zip(one.candidates.tolist(), one.k.tolist(), strict=True)]
                )
                lost.append(results.max() - results[int(np.argmax(values))])
            shown.append(f"{np.mean(lost):.4f}")
        print(f"  {label:<55}{'  '.join(shown)}")


#: Rules by which answers are chosen; the tail of the vote is assumed, since these tables hold no answers.
RULES = (
    t2.Verifier(false_positive=0.01, recall=0.9),
    t2.Verifier(false_positive=0.05, recall=0.9),
    t2.Majority(t2.Tail.zipf(1.0, 30)),
)


def rules(name: str, table: Table) -> None:
    """The table of regrets under each rule, and what planning by it saves against planning by pass@k."""
    for rule in RULES:
        found = fitting.regret(table, rule=rule)
        print(f"\n== regret under a rule, {name}\n{found.summary()}")
        for protocol in found.protocols:
            for one in ("average", "t2"):
                gap = found.difference(protocol, f"{one} by pass@k", one)
                print(f"{protocol}: {gap.strategy} = {gap.regret:.4f} [{gap.low:.4f}, {gap.high:.4f}]", flush=True)


def measured(rows: Table) -> Observed:
    """pass@1, 4, 16 and 64 of the checkpoints in some rows."""
    n, d = rows.number("n_params"), rows.number("n_tokens")
    seen = fitting.targets.mean_pass_at_k(
        n, d, fitting.rows.checkpoints(n, d), rows.number("n_samples"), rows.number("n_correct")
    )
    few = seen.k <= 64
    return Observed(seen.n_params[few], seen.n_tokens[few], seen.k[few], seen.value[few], seen.quantity)


def splits(table: Table) -> dict[str, list[Floats]]:
    """What is held out, by the question asked: rows of the table."""
    n, d = table["n_params"], table["n_tokens"]
    return {
        "a size": [n == size for size in np.unique(n)],
        "a token count": [d == count for count in np.unique(d)],
        "D > 60B and N < 400M": [(d > 6e10) & (n < 4e8)],
        "N > 1.4B": [n > 1.4e9],
        "D/N > 100": [d / n > 100],
    }


def errors(name: str, table: Table) -> None:
    """Mean absolute error of pass@1, 4, 16, 64 on what was held out."""
    print(f"\n== mean absolute error of pass@k at k = 1, 4, 16, 64 on what was held out, {name}")
    print(f"  {'held out':<24}{'t2':>9}{'overtrain':>11}{'item':>9}{'beta':>9}{'average':>9}")
    for label, held in splits(table).items():
        wrong: dict[str, list[Floats]] = {}
        for rows in held:
            laws = four(table.select(~rows))
            laws["average"] = LawAverage(tuple(laws[form] for form in fitting.FORMS))
            seen = measured(table.select(rows))
            for form, law in laws.items():
                miss = np.abs(np.asarray(law.value(seen.n_params, seen.n_tokens, seen.k)) - seen.value)
                wrong.setdefault(form, []).append(miss)
        row = {form: float(np.concatenate(parts).mean()) for form, parts in wrong.items()}
        print(
            f"  {label:<24}"
            + "".join(f"{value:>{11 if form == 'overtraining' else 9}.4f}" for form, value in row.items())
        )


def coverage(name: str, table: Table) -> None:
    """How often 90% intervals hold the checkpoints of a size that was left out."""
    print(f"\n== 90% predictive intervals of a size left out, {name}: share of (checkpoint, k) covered, mean width")
    ways: dict[str, Callable[[dict[str, Floats]], Law]] = {
        "t2, by checkpoint": lambda c: without_scatter(fitting.fit_t2_pass(**c).bootstrap(400).law()),
        "t2, by run": lambda c: without_scatter(fitting.fit_t2_pass(**c, group=c["n_params"]).bootstrap(400).law()),
        "t2, by run, and scatter": lambda c: fitting.fit_t2_pass(**c, group=c["n_params"]).bootstrap(400).law(),
        "average, by run, and scatter": lambda c: fitting.fit_average(**c, n_resamples=200).law,
    }
    for label, fit in ways.items():
        inside, widths, zeros, begin = [], [], 0, time.perf_counter()
        for size in np.unique(table["n_params"]):
            held = table["n_params"] == size
            rows = table.select(~held)
            given = {one: rows.number(one) for one in ("n_params", "n_tokens", "n_samples", "n_correct")}
            if "average" in label:
                given["problem"] = rows["problem"]
            law = fit(given)
            seen = measured(table.select(held))
            draws = law.predictive(seen.n_params, seen.n_tokens, seen.k)
            low, high = np.quantile(draws, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
            # Where nothing was solved there are no log-odds for an interval to hold.
            solved = seen.value > 0
            zeros += int((~solved).sum())
            inside += ((low <= seen.value) & (seen.value <= high))[solved].tolist()
            widths += (high - low)[solved].tolist()
        seconds = time.perf_counter() - begin
        print(
            f"  {label:<32}{np.mean(inside):.3f}  width {np.mean(widths):.3f}  ({len(inside)} rates, {zeros} zeros left "
            f"out, {seconds:.0f} s)",
            flush=True,
        )


def without_scatter(law: Law) -> Law:
    """The law with draws alone."""
    from dataclasses import replace

    return replace(law, uncertainty={name: value for name, value in law.uncertainty.items() if name != "scatter"})


def main(data: Path | None, parts: list[str]) -> None:
    tables = {"laboratory": laboratory()}
    if data is not None:
        tables = {"Pythia on GSM8K": pythia(data, "gsm8k"), "Pythia on MATH": pythia(data, "math")} | tables
    works = {"regret": regret, "rules": rules, "errors": errors, "coverage": coverage}
    for part in parts or works:
        for name, table in tables.items():
            if part in ("regret", "rules") or "Pythia" in name:
                works[part](name, table)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    main(folder, sys.argv[2:])
