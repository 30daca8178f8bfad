"""``t2fast cost``: seconds, dollars, energy and latency of a model on a card; and calibrating a card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import costs
from t2fast.cli import options as o
from t2fast.errors import T2Error
from t2fast.quantity import parse_quantity


def _option(flag: str, text: str, metavar: str = "NUMBER") -> Any:
    return typer.Option(flag, help=text, metavar=metavar)


#: What a calibration does not look at: measurements say it.
_OF_QUESTIONS = (
    "--prompt-tokens", "--answer-tokens", "-k", "--prompt", "--dtype", "--kv-dtype", "--tensor-parallel", "--batch",
    "--max-batch", "--max-seconds", "--family", "--kv-group", "--confidence-level",
)  # fmt: skip


def cost(
    model: Annotated[
        str | None, typer.Argument(help="A size (8B), a name such as llama-3.1-8b, or an architecture's JSON file.")
    ] = None,
    arch: Annotated[
        Path | None, _option("--arch", "JSON file of an architecture, or a Hugging Face config.json.", "FILE")
    ] = None,
    gpu: Annotated[str, _option("--gpu", "A card's name or file.", "CARD")] = "h100",
    price: Annotated[str | None, _option("--price", "Dollars per hour of one card.")] = None,
    prompt_tokens: Annotated[str, _option("--prompt-tokens", "Tokens of the prompt.")] = "1000",
    answer_tokens: Annotated[str, _option("--answer-tokens", "Tokens of each answer.")] = "300",
    k: Annotated[str, typer.Option("-k", help="Answers to each question.", metavar="NUMBER")] = "1",
    prompt: Annotated[
        str, _option("--prompt", "How samples treat the prompt: recomputed, cached or shared.", "MODE")
    ] = "shared",
    dtype: Annotated[str, _option("--dtype", "Format of the weights: bf16, fp8, int8, fp4.", "FORMAT")] = "bf16",
    kv_dtype: Annotated[
        str | None, _option("--kv-dtype", "Format of keys and values; fp8 beside fp8 weights, else bf16.", "FORMAT")
    ] = None,
    tensor_parallel: Annotated[str, _option("--tensor-parallel", "Cards that share a replica.")] = "1",
    batch: Annotated[str | None, _option("--batch", "Sequences at once; as many as fit by default.")] = None,
    max_batch: Annotated[str, _option("--max-batch", "The most sequences at once.")] = "4096",
    max_seconds: Annotated[
        str | None, _option("--max-seconds", "The most seconds until the answers are there.")
    ] = None,
    family: Annotated[str, _option("--family", "Shape of a size: pythia, llama, qwen.", "NAME")] = "llama",
    kv_group: Annotated[str | None, _option("--kv-group", "Query heads for each KV head of a size.")] = None,
    confidence_level: Annotated[float, _option("--confidence-level", "Level of the intervals.")] = 0.9,
    calibrate: Annotated[
        list[Path] | None,
        _option("--calibrate", "Fit a card's constants to the measurements in this CSV file; may be repeated.", "FILE"),
    ] = None,
    out: Annotated[Path | None, o.output("--out", "Where --calibrate writes the card.", metavar="FILE")] = None,
    as_json: o.AsJson = False,
    csv: o.CsvFile = None,
    plot: o.PlotFile = None,
) -> None:
    """Say what questions cost with a model on a card, in seconds, dollars, watt-hours and latency.

    Numbers come with intervals, and for the three ways to treat a prompt side by
    side. With --calibrate, fit a card's constants to your own measurements:
    columns model, batch, prompt_tokens, answer_tokens, tokens_per_second, or what
    bench.sampling and bench.kernels write with --csv.
    """
    if not calibrate:
        o.no_effect("it needs --calibrate", "--out")
    else:
        o.no_effect("--calibrate takes it from the measurements", *_OF_QUESTIONS)
        if out is None:
            raise T2Error("--calibrate needs --out: the file to write the card to, which --gpu then takes")
        target = costs.load_card(gpu, o.number("--price", price))
        named = model or (str(arch) if arch else None)
        rows = [row for file in calibrate for row in costs.read_results(file, gpu=target, model=named)]
        found = costs.calibrate(rows, target, source=f"fitted to {', '.join(file.name for file in calibrate)}")
        found.save(out)
        o.show(found, as_json, csv, plot)
        return
    if (model is None) == (arch is None):
        raise T2Error("give one model: a size such as 8B, a name (llama-3.1-8b), or --arch FILE.json")
    result = costs.cost(
        model if model is not None else arch or "",
        gpu=gpu,
        price=o.number("--price", price),
        prompt_tokens=parse_quantity(prompt_tokens, "--prompt-tokens"),
        answer_tokens=parse_quantity(answer_tokens, "--answer-tokens"),
        k=parse_quantity(k, "-k"),
        prompt=prompt,
        dtype=dtype,
        kv_dtype=kv_dtype,
        tensor_parallel=parse_quantity(tensor_parallel, "--tensor-parallel"),
        batch=o.number("--batch", batch),
        max_batch=parse_quantity(max_batch, "--max-batch"),
        max_seconds=o.number("--max-seconds", max_seconds),
        family=family,
        kv_group=o.number("--kv-group", kv_group),
        confidence_level=confidence_level,
    )
    o.show(result, as_json, csv, plot)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(cost)
