"""``t2fast sample``: k samples for every prompt, from a Hugging Face model into a file."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from t2fast import sampling
from t2fast.cli import options as o
from t2fast.errors import T2Error
from t2fast.quantity import format_quantity, parse_quantity
from t2fast.sampling.verify import usual

_CONTROLS, _VERDICTS, _MODEL = "Controls", "Verdicts", "Model"


def _control(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_CONTROLS)


def _verdict(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_VERDICTS)


def _of_model(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_MODEL)


#: What ``t2fast score`` needs of a model too.
Model = Annotated[str, typer.Option("--model", help="A model's folder, or its name on the Hugging Face hub.")]
Prompts = Annotated[Path, typer.Option("--prompts", help='JSON Lines: {"id": ..., "prompt": ..., "answer": ...} each.')]
Name = Annotated[str | None, _of_model("--name", "Its name in tables; the model's own by default.")]
NParams = Annotated[str | None, _of_model("--n-params", "Its parameters, for t2fast fit; counted by default.")]
NTokens = Annotated[str | None, _of_model("--n-tokens", "The tokens that it was trained on, for t2fast fit.")]
Dtype = Annotated[str | None, _of_model("--dtype", "bfloat16, float16 or float32; the model's own by default.")]
Device = Annotated[str | None, _of_model("--device", "cuda, cpu, ...; the GPU by default where there is one.")]
KvMemory = Annotated[
    str | None, _of_model("--kv-memory", "Bytes for keys and values, such as 8G; what fits by default.")
]
RemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=_MODEL)
]


def load(model: str, **options: Any) -> Any:
    """Load a sampler, leaving to it what was not given."""
    make = sampling.Sampler.from_pretrained
    if not sys.stderr.isatty():
        logging: Any = importlib.import_module("transformers.utils.logging")
        logging.disable_progress_bar()
    given = {name: value for name, value in options.items() if value is not None}
    return make(model, **given)


def whole(flag: str, text: str | None) -> int | None:
    """A number of bytes given to a flag."""
    return None if text is None else int(parse_quantity(text, flag))


@contextmanager
def _workers(how: str, make: Callable[[], Any]) -> Iterator[Any]:
    """One sampler here, or many in Ray actors."""
    if how == "local":
        yield make()
        return
    match = re.fullmatch(r"ray(?::(\d+))?", how)
    if match is None:
        raise T2Error(f"--workers {how}: must be local, ray or ray:NUMBER")
    with sampling.RayWorkers(make, workers=None if match[1] is None else int(match[1])) as workers:
        yield workers


@contextmanager
def _bar(out: Path) -> Iterator[Callable[[sampling.Progress], None]]:
    """Samples, tokens per second, memory and time left, on stderr; silent when that is no terminal.

    After Ctrl-C it says what the file holds.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("Sampling"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]} tokens/s, {task.fields[memory]:.1f} GB,"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task: Any = None
        last: sampling.Progress | None = None

        def show(now: sampling.Progress) -> None:
            nonlocal task, last
            last = now
            if task is None:
                # What was stored before does not count for the time that is left.
                task = bar.add_task("", total=now.total, completed=now.samples - now.drawn, rate="-", memory=0.0)
            rate = format_quantity(now.tokens / now.seconds) if now.seconds > 0 else "-"
            bar.update(task, completed=now.samples, total=now.total, rate=rate, memory=now.memory / 1e9)

        try:
            yield show
        except KeyboardInterrupt:
            kept = f"{last.samples} of {last.total} samples" if last else "what it held"
            console.print(f"{out} keeps {kept}; --resume goes on", soft_wrap=True, highlight=False, markup=False)
            raise


def sample(
    model: Model,
    prompts: Prompts,
    out: Annotated[Path, typer.Option("--out", help="The file of samples; its manifest goes beside it.")],
    k: Annotated[int, typer.Option("-k", help="Samples for every prompt.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Key of the random numbers.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run ended, however it did.")] = False,
    temperature: Annotated[float, _control("--temperature", "Divides the logits; 0 takes the likeliest token.")] = 1.0,
    top_k: Annotated[int | None, _control("--top-k", "Only so many likeliest tokens remain.")] = None,
    top_p: Annotated[float, _control("--top-p", "Only tokens that together reach this probability remain.")] = 1.0,
    min_p: Annotated[float, _control("--min-p", "Only tokens so likely, relative to the likeliest, remain.")] = 0.0,
    repetition_penalty: Annotated[float, _control("--repetition-penalty", "1 has no effect.")] = 1.0,
    presence_penalty: Annotated[float, _control("--presence-penalty", "0 has no effect.")] = 0.0,
    frequency_penalty: Annotated[float, _control("--frequency-penalty", "0 has no effect.")] = 0.0,
    max_new_tokens: Annotated[int, _control("--max-new-tokens", "Longest answer, in tokens.")] = 256,
    stop: Annotated[list[str] | None, _control("--stop", "A text that ends an answer; may be repeated.")] = None,
    stop_token: Annotated[list[int] | None, _control("--stop-token", "A token that does; may be repeated.")] = None,
    logprobs: Annotated[bool, _control("--logprobs", "Keep the log-probabilities of the tokens.")] = False,
    verifier: Annotated[
        str,
        _verdict(
            "--verifier",
            "exact, normalised, numeric, choice, regex:PATTERN, command:PROGRAM ARGUMENTS, module:function, none; "
            "auto takes the one that fits the prompts' answers.",
        ),
    ] = "auto",
    verifier_timeout: Annotated[float, _verdict("--verifier-timeout", "Seconds for one answer.")] = 30.0,
    stop_on_success: Annotated[
        bool, _verdict("--stop-on-success", "End a prompt with the first sample that is right.")
    ] = False,
    benchmark: Annotated[str, _verdict("--benchmark", "The prompts' name in tables.")] = "",
    name: Name = None,
    n_params: NParams = None,
    n_tokens: NTokens = None,
    dtype: Dtype = None,
    device: Device = None,
    kv_memory: KvMemory = None,
    max_batch: Annotated[int | None, _of_model("--max-batch", "Most samples drawn at once.")] = None,
    trust_remote_code: RemoteCode = False,
    workers: Annotated[
        str, _of_model("--workers", "local, or ray: one per GPU of a Ray cluster; ray:8 for that many.")
    ] = "local",
    parquet: Annotated[
        Path | None,
        typer.Option("--parquet", help="Also copy the finished file to Parquet.", rich_help_panel="Output"),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Draw k samples for every prompt, each prompt's prefix computed once.

    What is drawn survives a crash: run the same command with --resume. Then:

    t2fast passk samples.jsonl -k 1,8,64
    """
    asked = sampling.read_prompts(prompts)
    params = sampling.SamplingParams(
        k, temperature, top_k, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty,
        max_new_tokens, tuple(stop or ()), tuple(stop_token or ()), logprobs, stop_on_success,
    )  # fmt: skip
    make = partial(
        load, model, dtype=dtype, device=device, kv_memory=whole("--kv-memory", kv_memory), max_batch=max_batch,
        trust_remote_code=trust_remote_code,
    )  # fmt: skip
    judge = usual(asked) if verifier == "auto" else None if verifier == "none" else verifier
    with _workers(workers, make) as sampler, _bar(out) as progress:
        run = sampling.draw(
            sampler,
            asked,
            params,
            out,
            seed=seed,
            verifier=judge,
            verifier_timeout=verifier_timeout,
            resume=resume,
            name=name,
            benchmark=benchmark,
            n_params=o.number("--n-params", n_params),
            n_tokens=o.number("--n-tokens", n_tokens),
            progress=progress,
        )
    o.show(run, as_json)
    if parquet is not None:
        sampling.write_parquet(out, parquet)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(sample)
