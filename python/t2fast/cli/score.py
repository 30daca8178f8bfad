"""``t2fast score``: how likely a model finds the reference answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from t2fast import sampling
from t2fast.cli import options as o
from t2fast.cli import sample as of


def score(
    model: of.Model,
    prompts: of.Prompts,
    out: Annotated[Path, typer.Option("--out", help="The table to write, a .jsonl file, for t2fast fit.")],
    benchmark: Annotated[str, typer.Option("--benchmark", help="The prompts' name in tables.")] = "",
    name: of.Name = None,
    n_params: of.NParams = None,
    n_tokens: of.NTokens = None,
    dtype: of.Dtype = None,
    device: of.Device = None,
    kv_memory: of.KvMemory = None,
    trust_remote_code: of.RemoteCode = False,
    trust: of.Trust = False,
    as_json: o.AsJson = False,
) -> None:
    """Score the reference answer of every prompt: its negative log-likelihood.

    A prompt is computed once for all of its choices. Tables of several
    checkpoints, joined, are what t2fast fit reads:

    cat scores-*.jsonl > all.jsonl; t2fast fit all.jsonl --law t2-loss
    """
    asked = sampling.read_prompts(prompts)
    sampler = of.load(
        model, dtype=dtype, device=device, kv_memory=of.whole("--kv-memory", kv_memory),
        trust_remote_code=trust_remote_code, trust=trust,
    )  # fmt: skip
    with o.progress_bar("Scoring") as progress:
        scores = sampling.score_to_file(
            sampler,
            asked,
            out,
            name=name,
            benchmark=benchmark,
            n_params=o.number("--n-params", n_params),
            n_tokens=o.number("--n-tokens", n_tokens),
            progress=progress,
        )
    o.show(scores, as_json)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(score)
