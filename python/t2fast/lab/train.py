"""Training one model: plain PyTorch, a Llama-shaped model of transformers, AdamW, a cosine matched to the run.

A run reads its batches by number and draws nothing at random but its first weights: it can be interrupted and goes on
from its last checkpoint to the same end.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from t2fast.errors import T2Error
from t2fast.lab.corpus import Corpus
from t2fast.results import Progress, Report

__all__ = ["Recipe", "build", "count_params", "evaluate", "finetune", "load", "pretrain"]

#: A LlamaForCausalLM; the types of transformers lose that it is a module.
Model = Any
#: Target that costs nothing.
_IGNORED = -100
_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Recipe:
    """Everything that a trained model depends on, besides the text.

    Parameters
    ----------
    width, layers, head_dim, vocabulary, context
        Shape of the model; context is also the length of a training row.
    n_tokens
        Training tokens, rounded to whole batches.
    batch_rows
        Rows per step.
    learning_rate
        Highest, reached after as many tokens as the model has parameters, and at most a tenth of the run.
    seed
        Key of the first weights.
    """

    width: int
    layers: int
    head_dim: int
    vocabulary: int
    context: int
    n_tokens: int
    batch_rows: int
    learning_rate: float
    seed: int

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return max(1, round(self.n_tokens / self.batch_tokens))

    @property
    def batch_tokens(self) -> int:
        """Tokens per step."""
        return self.batch_rows * self.context


def build(recipe: Recipe) -> Model:
    """Make a model with first weights that follow from the seed."""
    heads = max(1, recipe.width // recipe.head_dim)
    config = LlamaConfig(
        vocab_size=recipe.vocabulary,
        hidden_size=recipe.width,
        intermediate_size=max(16, recipe.width * 8 // 3 // 8 * 8),
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
    )
    config._attn_implementation = "sdpa"
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(config)


def count_params(recipe: Recipe) -> int:
    """All parameters, the embedding counted once: output and input share it."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in build(recipe).parameters())


def load(folder: Path, device: str) -> Model:
    """Load a trained model."""
    model: Model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    return model.to(device)


def _rows(corpus: Corpus, first: int, count: int, context: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of consecutive rows; each target is the token after its input."""
    tokens = np.asarray(corpus[first * context : (first + count) * context + 1]).astype(np.int64)
    tensor = torch.from_numpy(tokens).to(device)
    return tensor[:-1].view(count, context), tensor[1:].view(count, context)


def _autocast(device: str) -> contextlib.AbstractContextManager[Any]:
    # Small models on a processor gain nothing from bf16.
    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else contextlib.nullcontext()


def _loss(model: Model, inputs: torch.Tensor, targets: torch.Tensor, device: str) -> torch.Tensor:
    with _autocast(device):
        logits = model(input_ids=inputs, use_cache=False).logits
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=_IGNORED)


def evaluate(model: Model, corpus: Corpus, rows: int, context: int, device: str) -> float:
    """Cross-entropy, nats per token, over the last rows of a corpus."""
    last = (len(corpus) - 1) // context
    total, chunk = 0.0, 128
    with torch.no_grad():
        for first in range(last - rows, last, chunk):
            count = min(chunk, last - first)
            total += float(_loss(model, *_rows(corpus, first, count, context, device), device)) * count
    return total / rows


def _optimiser(model: Model, rate: float) -> torch.optim.AdamW:
    return torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=1e-4, fused=True)


def _step(
    model: Model, optimiser: torch.optim.Optimizer, batch: tuple[torch.Tensor, torch.Tensor], device: str
) -> torch.Tensor:
    loss = _loss(model, *batch, device)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return loss.detach()


def _rate(step: int, steps: int, warmup: int, peak: float) -> float:
    """Linear warm-up, then a cosine that ends at zero with the run."""
    return peak * min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    device: str = "cpu",
    checkpoint_seconds: float = 20.0,
    progress: Report | None = None,
) -> Model:
    """Train a model, or go on with it, and leave it in ``folder/model`` beside its loss curve ``loss.json``.

    Parameters
    ----------
    recipe, corpus, tokenizer
        What to train, on which text; the tokenizer is saved with the model.
    folder
        Of this run. A checkpoint lies there while it trains.
    device
        ``"cpu"`` or ``"cuda"``, where the forward pass runs in bf16.
    checkpoint_seconds
        Time between two checkpoints.
    progress
        Called now and then with the tokens seen.

    Raises
    ------
    T2Error
        When the loss is no longer a number.
    """
    model = build(recipe).to(device)
    peak, steps = recipe.learning_rate, recipe.steps
    warmup = max(1, min(count_params(recipe) // recipe.batch_tokens, steps // 10))
    optimiser = _optimiser(model, peak)
    done, curve = 0, []
    saved = folder / _CHECKPOINT
    if saved.is_file():
        state = torch.load(saved, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done, curve = state["step"], state["curve"]
    every = max(1, steps // 200)
    last = time.monotonic()
    for step in range(done, steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, steps, warmup, peak)
        batch = _rows(corpus, step * recipe.batch_rows, recipe.batch_rows, recipe.context, device)
        loss = _step(model, optimiser, batch, device)
        if (step + 1) % every == 0 or step + 1 == steps:
            if not math.isfinite(value := float(loss)):
                raise T2Error(f"loss = {value} after {step + 1} steps: lower the learning rate {peak:g}")
            curve.append([(step + 1) * recipe.batch_tokens, round(value, 5)])
            if progress is not None:
                progress(Progress((step + 1) * recipe.batch_tokens, steps * recipe.batch_tokens, "tokens"))
            if time.monotonic() - last > checkpoint_seconds:
                unfinished = saved.with_suffix(".new")
                state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
                torch.save(state | {"step": step + 1, "curve": curve}, unfinished)
                unfinished.replace(saved)
                last = time.monotonic()
    model.eval()
    (folder / "loss.json").write_text(json.dumps(curve) + "\n", encoding="utf-8")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    saved.unlink(missing_ok=True)
    return model


def finetune(
    model: Model,
    prompts: NDArray[np.int32],
    answers: NDArray[np.int32],
    rate: float,
    batch_rows: int,
    device: str = "cpu",
) -> None:
    """Train on problems with their answers, each once; only tokens of answers count.

    Parameters
    ----------
    model
        Changed in place.
    prompts, answers
        Token numbers, a problem per row, padded at the end with -1; both begin with their first word.
    rate
        Highest learning rate; a cosine ends it at zero.
    batch_rows
        Problems per step.
    """
    rows, wanted = _pairs(prompts, answers)
    optimiser = _optimiser(model, rate)
    steps = len(rows) // batch_rows
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, steps, max(1, steps // 20), rate)
        chosen = slice(step * batch_rows, (step + 1) * batch_rows)
        _step(model, optimiser, (rows[chosen].to(device), wanted[chosen].to(device)), device)
    model.eval()


def _pairs(prompts: NDArray[np.int32], answers: NDArray[np.int32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets: end mark, prompt, answer, end mark, with padding at the end."""
    asked, said = (prompts >= 0).sum(axis=1), (answers >= 0).sum(axis=1)
    width = int((asked + said).max()) + 2
    inputs, targets = np.zeros((2, len(prompts), width - 1), dtype=np.int64)
    targets[:] = _IGNORED
    for row, (a, b) in enumerate(zip(asked.tolist(), said.tolist(), strict=True)):
        inputs[row, 1 : 1 + a + b] = [*prompts[row, :a], *answers[row, :b]]
        targets[row, a : a + b + 1] = [*answers[row, :b], 0]
    return torch.from_numpy(inputs), torch.from_numpy(targets)
