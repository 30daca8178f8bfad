"""Fits the presets that rest on published data: ``python bench/presets/make_presets.py DATA OUT``.

DATA holds pythia_passk_counts.csv (Schaeffer et al. 2025) and gadre_models.csv (Gadre et al. 2024); OUT is
python/t2fast/presets. The data themselves are not part of t2fast.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from t2fast import fitting
from t2fast.data import Table, read_table
from t2fast.fitting.measured import measured

REPLICATES = 4000
#: Draws that a preset carries.
SHIPPED = 300
PYTHIA = (
    "t2fast: beta-binomial likelihood with a latent loss on counts of sampled answers, {checkpoints} checkpoints of "
    "Pythia (Biderman et al. 2023, arXiv 2304.01373) with at least 1e9 tokens on {benchmark}, sampled by Schaeffer et "
    "al. 2025 (arXiv 2502.17578); negative log likelihood {objective:.2f}"
)
AVERAGE = (
    "t2fast: mean in log-odds of three forms fitted to counts of sampled answers (T2 with a term of overtraining; item "
    "response and beta-binomial likelihood with ability quadratic in ln N and ln D), {checkpoints} checkpoints of Pythia "
    "(Biderman et al. 2023, arXiv 2304.01373) with at least 1e9 tokens on {benchmark}, sampled by Schaeffer et al. 2025 "
    "(arXiv 2502.17578)"
)
GADRE = (
    "t2fast: sum of Huber losses (delta 1e-3) of log residuals on C4 validation loss, all {checkpoints} models trained "
    "on {corpus} by Gadre et al. 2024 (arXiv 2403.08540)"
)


SAMPLES, LOSS = "pass@k of sampled answers: plan N, D and k", "loss per token: plan N and D"
#: What bench/advice.py and docs/fit.md measured; mean absolute error of pass@1, 4, 16, 64 on a size left out.
HELD_OUT = {
    "pythia-gsm8k": "a size: .020",
    "pythia-math": "a size: .009",
    "pythia-gsm8k-average": "a size: .014",
    "pythia-math-average": "a size: .007",
    "gadre-c4-all": "D/N > 100: 3.0%",
    "gadre-redpajama-all": "D/N > 100: 1.6%",
    "gadre-refinedweb-all": "D/N > 100: 2.8%",
}


def save(
    fit: fitting.FitResult,
    out: Path,
    name: str,
    title: str,
    source: str,
    warnings: tuple[str, ...],
    labels: Mapping[str, str],
    **more: Any,
) -> None:
    law = fit.bootstrap(REPLICATES).law()
    # Intervals rest on all replicates; a preset carries as many draws as its size allows.
    draws = {coefficient: values[:SHIPPED] for coefficient, values in law.uncertainty["draws"].items()}
    law = replace(
        law,
        name=name,
        title=title,
        source=source.format(checkpoints=fit.n_checkpoints, objective=fit.objective, **labels),
        params_counted="total",
        purpose=SAMPLES if law.predicts_pass else LOSS,
        held_out=HELD_OUT[name],
        warnings=(*warnings, *fit.warnings),
        uncertainty=dict(law.uncertainty) | {"draws": draws},
        **more,
    )
    law.save(out / f"{name}.json")
    print(fit, end="\n\n")


def pythia(table: Table, out: Path) -> None:
    family = "One model family on one benchmark: other data, tokenizers and questions move the optimum."
    # In MATH the rows with 2e9 tokens hold no success at all, and from 2e10 on more tokens don't help small models.
    tokens = (
        "How pass@k depends on D is not determined: nothing is solved at 2e9 tokens, and from 2e10 on more tokens do "
        "not help the smaller models. Don't choose D by this law."
    )
    for benchmark, label, warnings in (("gsm8k", "GSM8K", (family,)), ("math", "MATH", (family, tokens))):
        rows = table.select((table["benchmark"] == benchmark) & (table["n_tokens"] >= 1e9))
        # All checkpoints of one size come from one training run, and share its luck.
        group = rows["n_params"]
        counts = {role: rows.number(role) for role in ("n_params", "n_tokens", "n_samples", "n_correct")}
        title = f"pass@k of Pythia on {label}, from real sampled answers"
        labels = {"benchmark": label}
        fit = fitting.fit_table(rows, "t2-pass", group=group)
        save(fit, out, f"pythia-{benchmark}", title, PYTHIA, warnings, labels, checkpoints=measured(**counts))
        mean = fitting.average_table(rows, group=group, n_resamples=SHIPPED, name=f"pythia-{benchmark}-average")
        law = replace(
            mean.law,
            title=f"{title}: the mean of three forms",
            source=AVERAGE.format(checkpoints=mean.n_checkpoints, **labels),
            params_counted="total",
            purpose=SAMPLES,
            held_out=HELD_OUT[mean.law.name],
            warnings=(family, *mean.warnings),
        )
        law.save(out / f"{law.name}.json")
        print(mean, end="\n\n")


def gadre(table: Table, out: Path) -> None:
    corpora = (
        ("c4_original", "c4", "C4"),
        ("rpj", "redpajama", "RedPajama"),
        ("rw_original", "refinedweb", "RefinedWeb"),
    )
    for value, short, label in corpora:
        rows = table.select(table["train_set"] == value)
        title = f"Over-training on {label}, loss on C4 validation text, all models"
        fit = fitting.fit_chinchilla(rows["n_params"], rows["n_tokens"], rows["loss_c4_val"])
        save(fit, out, f"gadre-{short}-all", title, GADRE, (), {"corpus": label})


if __name__ == "__main__":
    data, presets = Path(sys.argv[1]), Path(sys.argv[2])
    pythia(read_table(data / "pythia_passk_counts.csv"), presets)
    gadre(read_table(data / "gadre_models.csv"), presets)
