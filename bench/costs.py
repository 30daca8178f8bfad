"""How far the cost model is from public measurements that it was not fitted to: ``python -m bench.costs``.

It needs the public tables (T2FAST_DATA, or shared/data beside the checkout; their numbers are not part of this repository)
and prints, for each way of holding rows out, the mean and median of |log(predicted / measured)| of output tokens per second,
the bias, and how many rows lie inside their 90% intervals. Beside it stands the best rule of one utilisation, tokens
per second = u F / (2 N (T_in + T_out) / T_out), with u fitted on the same rows. ``--write`` also fits all rows together
and writes the constants that come with t2fast; ``--figure FILE`` draws predicted against measured.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import t2fast.costs as costs
from t2fast.costs.calibration import Calibration, interval
from t2fast.costs.constants import Constants
from t2fast.costs.measurements import Measurement

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("T2FAST_DATA") or ROOT.parent / "shared" / "data") / "costs"

#: Model FLOP utilisation in training with llm-foundry's public table (MosaicML): card, peak FLOP/s, bytes/s, N, layers,
#: width, utilisation. Middles of the ranges; sequences of 2048.
TRAINING = [
    ("A100", 3.12e14, 2.04e12, 1.25e8, 12, 768, 0.44),
    ("A100", 3.12e14, 2.04e12, 3.55e8, 24, 1024, 0.51),
    ("H100", 9.89e14, 3.35e12, 7.6e8, 24, 1536, 0.365),
    ("H100", 9.89e14, 3.35e12, 1.3e9, 24, 2048, 0.415),
    ("H100", 9.89e14, 3.35e12, 6.7e9, 32, 4096, 0.46),
]


def rows() -> dict[str, list[Measurement]]:
    """The public tables."""
    static = costs.read_measurements(DATA / "tensorrt_llm_v06_static.csv")
    sweeps = costs.read_measurements(DATA / "inferencemax_gptoss120b_vllm.csv", model="gpt-oss-120b")
    return {
        # Attention in that version reads keys and values for each query head: kernels that share them came later.
        "v0.6": [replace(row, grouped_reads=False) for row in static],
        "v0.6, groups unknown": static,
        "v1.0": costs.read_measurements(DATA / "tensorrt_llm_v10_max_throughput.csv"),
        "H100": [row for row in sweeps if row.card.name == "h100"],
        "H200": [row for row in sweeps if row.card.name == "h200"],
    }


def errors(held: Sequence[Measurement], constants: Constants) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of predicted over measured, and the half-widths of the 90% intervals."""
    found = [interval(row, constants) for row in held]
    off = [math.log(value / row.tokens_per_second) for (value, _), row in zip(found, held, strict=True)]
    return np.array(off), np.array([half for _, half in found])


def one_utilisation(fitted: Sequence[Measurement], held: Sequence[Measurement]) -> np.ndarray:
    """Errors of the best rule tokens per second = u peak / FLOP per output token, 2 N each."""

    def rate(row: Measurement) -> float:
        params = row.model.active_params or row.model.n_params
        flops = 2 * params * (row.prompt_tokens + row.answer_tokens) / row.answer_tokens
        return row.card.peak(row.dtype) * row.tensor_parallel / flops

    u = float(np.median([math.log(row.tokens_per_second / rate(row)) for row in fitted]))
    return np.array([math.log(rate(row) / row.tokens_per_second) + u for row in held])


def said(off: np.ndarray) -> str:
    return f"{np.abs(off).mean():6.1%} {np.median(np.abs(off)):7.1%} {off.mean():+7.1%} {np.abs(off).max():6.0%}"


def held_out(
    name: str, fitted: Sequence[Measurement], held: Sequence[Measurement], lines: list[str]
) -> tuple[Calibration, np.ndarray]:
    """Fit on some rows, predict others, and say how well."""
    fit = costs.calibrate(fitted)
    off, half = errors(held, fit.card.constants)
    covered = np.mean(np.abs(off) <= half)
    rule = np.abs(one_utilisation(fitted, held)).mean()
    lines.append(f"{name:<44} {len(fitted):4} {len(held):4} {said(off)} {covered:6.0%} {rule:8.0%}")
    return fit, off


def leave_out(
    name: str, all_rows: Sequence[Measurement], key: Callable[[Measurement], object], lines: list[str]
) -> None:
    """Leave out one group after another."""
    off, inside, rule = [], [], []
    for group in sorted({str(key(row)) for row in all_rows}):
        fitted = [row for row in all_rows if str(key(row)) != group]
        held = [row for row in all_rows if str(key(row)) == group]
        errors_held, half = errors(held, costs.calibrate(fitted).card.constants)
        off.append(errors_held)
        inside.append(np.abs(errors_held) <= half)
        rule.append(one_utilisation(fitted, held))
    every = np.concatenate(off)
    covered = np.concatenate(inside).mean()
    lines.append(
        f"{name:<44} {'':4} {len(every):4} {said(every)} {covered:6.0%} {np.abs(np.concatenate(rule)).mean():8.0%}"
    )


def training() -> tuple[float, float, list[str]]:
    """Share of the peak and bytes of activations that fit the public utilisations of training."""
    memory = costs.default_constants().memory
    best = (math.inf, 0.0, 0.0)
    measured = np.log([row[-1] for row in TRAINING])

    def utilisation(share: float, between: float) -> np.ndarray:
        found = []
        for _, peak, bandwidth, n, layers, width, _ in TRAINING:
            # Their count of operations has attention without the causal half; their embeddings are tied.
            seconds = (6 * n + 6 * layers * width * 2048) / (share * peak) + between * layers * width / (
                bandwidth * memory
            )
            found.append((6 * n + 12 * layers * width * 2048) / seconds / peak)
        return np.array(found)

    for share in np.linspace(0.4, 0.95, 111):
        for between in np.linspace(0.0, 1000.0, 101):
            loss = float(((np.log(utilisation(share, between)) - measured) ** 2).sum())
            best = min(best, (loss, float(share), float(between)))
    _, share, between = best
    lines = ["training: model FLOP utilisation, llm-foundry's public table", "card     N      measured  model"]
    for row, value in zip(TRAINING, utilisation(share, between), strict=True):
        lines.append(f"{row[0]}  {row[3]:8.2e}  {row[-1]:6.1%}  {value:6.1%}")
    lines.append(f"train_compute {share:.3g}, train_activations {between:.3g}")
    return share, between, lines


def first_tokens(sets: dict[str, list[Measurement]]) -> dict[str, list[Measurement]]:
    """The sweeps' rows at the lowest concurrency, where no queue delays the first token, with its seconds."""
    found: dict[str, list[Measurement]] = {"H100": [], "H200": []}
    with (DATA / "inferencemax_gptoss120b_vllm.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    for card in found:
        ours = [line for line in table if line["gpu_model"].upper() == card]
        for row, line in zip(sets[card], ours, strict=True):
            if row.batch == 4:
                found[card].append(replace(row, first_token_seconds=float(line["mean_time_to_first_token_sec"])))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the constants that come with t2fast")
    parser.add_argument("--figure", type=Path, help="draw predicted against measured to this file")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "costs.txt")
    arguments = parser.parse_args()
    sets = rows()
    lines = [
        "python -m bench.costs: output tokens per second, log(predicted / measured)",
        "",
        f"{'':<44} {'fit':>4} {'rows':>4} {'mean':>6} {'median':>7} {'bias':>7} {'worst':>6} {'in 90%':>6} {'2N rule':>8}",
    ]
    old, new = sets["v0.6"], sets["v1.0"]
    held_out("v0.6 -> v1.0", old, new, lines)
    held_out("v0.6, re-reading of groups unknown -> v1.0", sets["v0.6, groups unknown"], new, lines)
    held_out("sweeps H100 -> H200", sets["H100"], sets["H200"], lines)
    held_out("sweeps H200 -> H100", sets["H200"], sets["H100"], lines)
    leave_out("v0.6, one model left out", old, lambda row: row.model.name, lines)
    leave_out("v1.0, one model left out", new, lambda row: row.model.name, lines)
    leave_out("v0.6 and v1.0, one card left out", [*old, *new], lambda row: row.card.name, lines)
    first = first_tokens(sets)
    both = [*old, *new, *sets["H100"], *sets["H200"]]
    slow = [
        *[row for row in both if row.batch != 4 or row.model.name != "gpt-oss-120b"],
        *first["H100"],
        *first["H200"],
    ]
    fit = costs.calibrate(slow, source="public measurements")
    constants = fit.card.constants
    lines += ["", "all rows fitted together, the same rows"]
    for name, part in (("v0.6", old), ("v1.0", new), ("sweeps H100", sets["H100"]), ("sweeps H200", sets["H200"])):
        off, half = errors(part, constants)
        lines.append(f"{name:<44} {'':4} {len(part):4} {said(off)} {np.mean(np.abs(off) <= half):6.0%}")
    lines += ["", "seconds to the first token at concurrency 4 (with as many requests, none waits)"]
    for one, other in (("H100", "H200"), ("H200", "H100")):
        known = costs.calibrate([*[row for row in sets[one] if row.batch != 4], *first[one]]).card.constants
        off = np.array([math.log(row.predict(known)[1] / (row.first_token_seconds or 1)) for row in first[other]])
        lines.append(f"{f'{one} -> {other}':<44} {'':4} {len(off):4} {said(off)}")
    share, between, more = training()
    lines += ["", *more, "", "constants fitted to all rows (standard deviation of the logarithm, or of the log odds)"]
    sizes = np.sqrt(np.diag(np.array(constants.covariance)))
    for name, sd in zip(constants.names, sizes, strict=True):
        lines.append(f"{name:<24}{getattr(constants, name):10.3g}{sd:8.2f}")
    lines.append(f"{'scatter':<24}{constants.sigma:10.3g}")
    text = "\n".join(lines) + "\n"
    print(text)
    arguments.out.write_text(text, encoding="utf-8")
    if arguments.write:
        keep = [place for place, name in enumerate(constants.names) if name != "regroup"]
        shipped = replace(
            constants,
            regroup=0.0,
            names=tuple(constants.names[place] for place in keep),
            covariance=tuple(tuple(float(f"{constants.covariance[i][j]:.4g}") for j in keep) for i in keep),
            train_compute=share,
            train_activations=between,
            source="fitted to public tables: TensorRT-LLM's performance pages of versions 0.6 and 1.0 (67 rows), "
            "SemiAnalysis InferenceMAX of gpt-oss-120b with vLLM (95 rows); training: llm-foundry (5 rows)",
        )
        data = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in shipped.to_dict().items()}
        target = ROOT / "python" / "t2fast" / "costs" / "constants.json"
        target.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    if arguments.figure:
        fit.plot(arguments.figure)


if __name__ == "__main__":
    main()
