"""``t2fast sample``: k samples for every prompt, from a Hugging Face model into a file."""

from __future__ import annotations

import importlib
import json
import os
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
from t2fast.arguments import choice
from t2fast.cli import options as o
from t2fast.errors import T2Error
from t2fast.files import is_file
from t2fast.quantity import format_quantity, parse_quantity
from t2fast.sampling.verify import usual

_CONTROLS, _VERDICTS, _MODEL, _SERVER = "Controls", "Verdicts", "Model", "Server"


def _control(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_CONTROLS)


def _verdict(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_VERDICTS)


def _server(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_SERVER)


def _of_model(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_MODEL)


#: What ``t2fast score`` needs of a model too.
Model = Annotated[str, typer.Option("--model", help="A model's folder, or its name on the Hugging Face hub.")]
Prompts = Annotated[
    Path,
    typer.Option("--prompts", help='JSON Lines, {"id": ..., "prompt": ..., "answer": ...} each; - is standard input.'),
]
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
Trust = Annotated[
    bool,
    typer.Option("--trust", help="Run a model that fails the check of its attention; says so.", rich_help_panel=_MODEL),
]


def load(model: str, engine: str = "t2fast", **options: Any) -> Any:
    """Load a sampler, leaving to it what was not given."""
    make: Any = sampling.GenerateSampler if engine == "generate" else sampling.Sampler
    if not sys.stderr.isatty():
        logging: Any = importlib.import_module("transformers.utils.logging")
        logging.disable_progress_bar()
    given = {name: value for name, value in options.items() if value is not None}
    return make.from_pretrained(model, **given)


def whole(flag: str, text: str | None) -> int | None:
    """A number of bytes given to a flag."""
    return None if text is None else int(parse_quantity(text, flag))


def endpoint(
    address: Annotated[
        str | None, _server("--endpoint", "An OpenAI-compatible API, such as http://host:8000/v1.")
    ] = None,
    concurrency: Annotated[int, _server("--concurrency", "Requests under way at once.")] = 16,
    per_request: Annotated[int, _server("--per-request", "Samples of one request; the seed is then one for all.")] = 1,
    no_seeds: Annotated[bool, typer.Option("--no-seeds", help="Send no seeds.", rich_help_panel=_SERVER)] = False,
    api_key_env: Annotated[str, _server("--api-key-env", "The environment variable with the key.")] = "OPENAI_API_KEY",
    timeout: Annotated[float, _server("--timeout", "Seconds until an answer must be whole.")] = 600.0,
    retries: Annotated[int, _server("--retries", "Attempts after the first, with growing pauses.")] = 8,
) -> Callable[[str | None], Any] | None:
    """What makes the server that the options describe, from a model's name; None without --endpoint."""
    if address is None:
        return None
    return partial(
        sampling.Endpoint, address, concurrency=concurrency, per_request=per_request, seeds=not no_seeds,
        api_key_env=api_key_env, timeout=timeout, retries=retries,
    )  # fmt: skip


@contextmanager
def _workers(how: str, make: Callable[[], Any]) -> Iterator[Any]:
    """One sampler here, or many in Ray actors."""
    if how == "local":
        yield make()
        return
    with sampling.RayWorkers(make, workers=o.on_ray(how)) as workers:
        yield workers


@contextmanager
def _bar(out: Path) -> Iterator[Callable[[sampling.SamplingProgress], None]]:
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
        last: sampling.SamplingProgress | None = None

        def show(now: sampling.SamplingProgress) -> None:
            nonlocal task, last
            last = now
            if task is None:
                # What was stored before does not count for the time that is left.
                task = bar.add_task("", total=now.total, completed=int(now.done) - now.n_drawn, rate="-", memory=0.0)
            rate = format_quantity(now.tokens / now.seconds) if now.seconds > 0 else "-"
            bar.update(task, completed=now.done, total=now.total, rate=rate, memory=now.memory / 1e9)

        try:
            yield show
        except KeyboardInterrupt:
            # The file itself knows best: the last samples may have come after the last report.
            done = out.read_bytes().count(b"\n") if is_file(out) else last.done if last else 0
            kept = f"{done:.0f} of {last.total:.0f} samples" if last else "what it held"
            console.print(f"{out} keeps {kept}; --resume continues", soft_wrap=True, highlight=False, markup=False)
            raise


def controls(
    k: Annotated[int, typer.Option("-k", help="Samples for every prompt.")] = 1,
    temperature: Annotated[float, _control("--temperature", "Divides the logits; 0 takes the likeliest token.")] = 1.0,
    top_k: Annotated[int | None, _control("--top-k", "Keep this many of the likeliest tokens.")] = None,
    top_p: Annotated[float, _control("--top-p", "Keep the likeliest tokens that together reach this.")] = 1.0,
    min_p: Annotated[float, _control("--min-p", "Keep tokens this likely, relative to the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, _control("--repetition-penalty", "1 has no effect.")] = 1.0,
    presence_penalty: Annotated[float, _control("--presence-penalty", "0 has no effect.")] = 0.0,
    frequency_penalty: Annotated[float, _control("--frequency-penalty", "0 has no effect.")] = 0.0,
    max_new_tokens: Annotated[int, _control("--max-new-tokens", "Longest answer, in tokens.")] = 256,
    min_new_tokens: Annotated[int, _control("--min-new-tokens", "Tokens before an end token may come.")] = 0,
    stop: Annotated[list[str] | None, _control("--stop", "A text that ends an answer; may be repeated.")] = None,
    stop_token: Annotated[list[int] | None, _control("--stop-token", "A token that does; may be repeated.")] = None,
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Draw on after the model's end tokens.", rich_help_panel=_CONTROLS)
    ] = False,
    keep_special_tokens: Annotated[
        bool, typer.Option("--keep-special-tokens", help="Show special tokens in texts.", rich_help_panel=_CONTROLS)
    ] = False,
    add_special_tokens: Annotated[
        bool | None,
        _control("--add-special-tokens/--no-special-tokens", "Whether prompts get BOS and the like; by default once."),
    ] = None,
    logit_bias: Annotated[
        list[str] | None, _control("--logit-bias", "TOKEN=NUMBER, added to a token's logit; may be repeated.")
    ] = None,
    allowed_token: Annotated[
        list[int] | None, _control("--allowed-token", "Draw only tokens given so; may be repeated.")
    ] = None,
    bad_word: Annotated[list[str] | None, _control("--bad-word", "A text that must not come; may be repeated.")] = None,
    logprobs: Annotated[
        int | None,
        _control("--logprobs", "Keep the log-probabilities of tokens, and of this many of the likeliest; 0 for none."),
    ] = None,
    prompt_logprobs: Annotated[
        bool,
        typer.Option("--prompt-logprobs", help="Sample 0 carries those of the prompt.", rich_help_panel=_CONTROLS),
    ] = False,
    max_thinking_tokens: Annotated[
        int | None, _control("--max-thinking-tokens", "Force the end of thinking after so many tokens.")
    ] = None,
    thinking_end: Annotated[str, _control("--thinking-end", "What ends thinking.")] = "</think>",
    stop_on_success: Annotated[
        bool,
        typer.Option(
            "--stop-on-success", help="End a prompt with the first sample that is right.", rich_help_panel=_VERDICTS
        ),
    ] = False,
) -> sampling.SamplingParams:
    """The settings that the options describe."""
    return sampling.SamplingParams(
        k=k,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        presence_penalty=presence_penalty,
        frequency_penalty=frequency_penalty,
        max_new_tokens=max_new_tokens,
        min_new_tokens=min_new_tokens,
        stop=tuple(stop or ()),
        stop_token_ids=tuple(stop_token or ()),
        ignore_eos=ignore_eos,
        skip_special_tokens=not keep_special_tokens,
        add_special_tokens=add_special_tokens,
        logprobs=logprobs is not None,
        top_logprobs=logprobs or 0,
        prompt_logprobs=prompt_logprobs,
        max_thinking_tokens=max_thinking_tokens,
        thinking_end=thinking_end,
        logit_bias=_biases(logit_bias or []),
        allowed_token_ids=tuple(allowed_token) if allowed_token else None,
        bad_words=tuple(bad_word or ()),
        stop_on_success=stop_on_success,
    )


def _biases(given: list[str]) -> tuple[tuple[int, float], ...]:
    found = []
    for one in given:
        token, _, bias = one.partition("=")
        try:
            found.append((int(token), float(bias)))
        except ValueError:
            raise T2Error(f"--logit-bias {one}: must be TOKEN=NUMBER, such as 42=-3.5") from None
    return tuple(found)


@o.shared(params=controls, server=endpoint)
def sample(
    prompts: Prompts,
    out: Annotated[
        Path, typer.Option("--out", help="The file of samples; its manifest goes beside it. - is standard output.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="A model's folder, its name on the hub, or on the server.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Key of the random numbers.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an earlier run, however it ended.")] = False,
    verifier: Annotated[
        str,
        _verdict(
            "--verifier",
            "exact, normalised, numeric, math, choice, regex:PATTERN, command:PROGRAM ARGUMENTS, module:function, "
            "none; auto takes the one that fits the prompts' answers.",
        ),
    ] = "auto",
    verifier_timeout: Annotated[float, _verdict("--verifier-timeout", "Seconds for one answer.")] = 30.0,
    reasoning_end: Annotated[
        str | None, _verdict("--reasoning-end", "Judge what follows this mark, such as '</think>'.")
    ] = None,
    benchmark: Annotated[str, _verdict("--benchmark", "The prompts' name in tables.")] = "",
    name: Name = None,
    n_params: NParams = None,
    n_tokens: NTokens = None,
    dtype: Dtype = None,
    device: Device = None,
    kv_memory: KvMemory = None,
    max_batch: Annotated[int | None, _of_model("--max-batch", "Most samples drawn at once.")] = None,
    trust_remote_code: RemoteCode = False,
    trust: Trust = False,
    engine: Annotated[
        str, _of_model("--engine", "t2fast, or generate: transformers' own generation, slow, for any causal model.")
    ] = "t2fast",
    generation_config: Annotated[
        bool,
        typer.Option(
            "--generation-config", help="Start from the model's own settings for sampling.", rich_help_panel=_MODEL
        ),
    ] = False,
    workers: Annotated[
        str, _of_model("--workers", "local, or ray: one per GPU of a Ray cluster; ray:8 for that many.")
    ] = "local",
    parquet: Annotated[
        Path | None,
        typer.Option("--parquet", help="Also copy the finished file to Parquet.", rich_help_panel="Output"),
    ] = None,
    as_json: o.AsJson = False,
    *,
    params: sampling.SamplingParams,
    server: Callable[[str | None], Any] | None,
) -> None:
    """Draw k samples for every prompt, each prompt's prefix computed once.

    The model runs here, or on a server: --endpoint.

    What is drawn survives a crash: run the same command with --resume. Then:

    t2fast passk samples.jsonl -k 1,8,64
    """
    _unused(server is not None, engine, verifier)
    asked = sampling.read_prompts(prompts)
    make: Callable[[], Any]
    if server is not None:
        if workers != "local":
            raise T2Error("--workers and --endpoint exclude each other")
        make = partial(server, model)
    elif model is None:
        raise T2Error("--model: missing; give a model's folder or its name on the hub, or --endpoint")
    else:
        make = partial(
            load, model, choice("--engine", engine, ("t2fast", "generate")), dtype=dtype, device=device,
            max_batch=max_batch, trust_remote_code=trust_remote_code,
            **({} if engine == "generate" else {"kv_memory": whole("--kv-memory", kv_memory), "trust": trust}),
        )  # fmt: skip
    judge = usual(asked) if verifier == "auto" else None if verifier == "none" else verifier
    if generation_config and (server is not None or workers != "local"):
        raise T2Error("--generation-config: needs a model that runs in this process (no --endpoint, no --workers)")
    with _workers(workers, make) as sampler, _bar(out) as progress:
        if generation_config:
            params = sampler.with_defaults(params)
        sampled = sampling.sample_to_file(
            sampler,
            asked,
            params,
            out,
            seed=seed,
            verifier=judge,
            verifier_timeout=verifier_timeout,
            reasoning_end=reasoning_end,
            resume=resume,
            name=name,
            benchmark=benchmark,
            n_params=o.number("--n-params", n_params),
            n_tokens=o.number("--n-tokens", n_tokens),
            progress=progress,
        )
    if to_stdout(out):
        sys.stderr.write((json.dumps(sampled.to_dict(), indent=2) if as_json else sampled.summary()) + "\n")
    else:
        o.show(sampled, as_json)
    if parquet is not None:
        sampling.write_parquet(out, parquet)
    if sampled.n_failed and sampled.n_failed == sampled.n_drawn:
        raise T2Error(f"the verifier failed on all {sampled.n_drawn} samples; {out} holds them without verdicts")


#: Options that a server does not look at, those that it alone does, and those that need a verifier.
_OF_MODEL = ("--dtype", "--device", "--kv-memory", "--max-batch", "--trust-remote-code", "--trust", "--engine")
_OF_SERVER = ("--concurrency", "--per-request", "--no-seeds", "--api-key-env", "--timeout", "--retries")
_OF_VERIFIER = ("--verifier-timeout", "--reasoning-end")


def _unused(served: bool, engine: str, verifier: str) -> None:
    """Refuse options that this run would not look at."""
    if served:
        o.no_effect("the model runs on the server of --endpoint", *_OF_MODEL)
    else:
        o.no_effect("it needs --endpoint", *_OF_SERVER)
    if engine == "generate":
        o.no_effect("--engine generate does not look at it", "--kv-memory", "--trust")
    if verifier == "none":
        o.no_effect("--verifier none judges nothing", *_OF_VERIFIER)


def to_stdout(out: Path) -> bool:
    """Whether what is written is the standard output, so that nothing else may be."""
    if str(out) == "-":
        return True
    try:
        return os.path.samestat(os.stat(out), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(sample)
