"""``t2fast serve``: a model behind an OpenAI-compatible API."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from t2fast import sampling
from t2fast import serve as server
from t2fast.cli import sample as of
from t2fast.errors import T2Error
from t2fast.files import read_content, real
from t2fast.quantity import parse_quantity

_ACCESS, _LIMITS, _MODEL = "Access", "Limits", "Model"
#: The variable that is looked at where none is named.
_KEY = "T2FAST_API_KEY"


def _access(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_ACCESS)


def _limit(flag: str, text: str) -> Any:
    return typer.Option(flag, help=text, rich_help_panel=_LIMITS)


def serve(
    model: of.Model,
    host: Annotated[str, _access("--host", "Where to listen; this machine alone by default.")] = "127.0.0.1",
    port: Annotated[int, _access("--port", "0 takes a free one.")] = 8000,
    api_key_env: Annotated[
        str | None, _access("--api-key-env", f"The environment variable with the key; {_KEY} is used where it is set.")
    ] = None,
    api_key_file: Annotated[Path | None, _access("--api-key-file", "A file that holds the key.")] = None,
    everybody: Annotated[bool, _access("--everybody", "Serve other machines without a key.")] = False,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Its name for clients; by default the last part of --model.", rich_help_panel=_MODEL
        ),
    ] = None,
    dtype: of.Dtype = None,
    device: of.Device = None,
    kv_memory: of.KvMemory = None,
    max_batch: Annotated[
        int | None, typer.Option("--max-batch", help="Most samples drawn at once.", rich_help_panel=_MODEL)
    ] = None,
    trust_remote_code: of.RemoteCode = False,
    trust: of.Trust = False,
    generation_config: Annotated[
        bool,
        typer.Option(
            "--generation-config",
            help="Where requests have no settings take the model's own for sampling.",
            rich_help_panel=_MODEL,
        ),
    ] = False,
    max_context: Annotated[
        int | None, _limit("--max-context", "Longest prompt and answer together, in tokens; the model's by default.")
    ] = None,
    max_tokens: Annotated[int | None, _limit("--max-tokens", "Longest answer, in tokens.")] = None,
    max_choices: Annotated[int, _limit("--max-choices", "Prompts times n of one request.")] = server.Limits.choices,
    max_body: Annotated[str, _limit("--max-body", "Bytes of a request.")] = f"{server.Limits.body}",
    max_waiting: Annotated[
        int, _limit("--max-waiting", "Requests that wait for a place in the batch; more get 429.")
    ] = server.Limits.waiting,
    max_connections: Annotated[
        int, _limit("--max-connections", "Open connections; more get 503.")
    ] = server.Limits.connections,
    grace: Annotated[
        float, _limit("--grace", "Seconds that requests have to end after SIGTERM or Ctrl-C.")
    ] = server.Limits.grace,
) -> None:
    """Serve a model by an OpenAI-compatible API.

    All clients share one batch and one tree of prefixes: what their prompts
    have in common is computed once. Then:

    t2fast sample --endpoint http://localhost:8000/v1 --prompts p.jsonl ...

    or any client of OpenAI's API with that base_url.
    """
    run = server.serve  # what it needs is missed before a model is loaded
    limits = server.Limits(
        body=int(parse_quantity(max_body, "--max-body")),
        choices=max_choices,
        tokens=max_tokens,
        context=max_context,
        waiting=max_waiting,
        connections=max_connections,
        grace=grace,
    )
    key = _key(api_key_env, api_key_file)
    if key is None and not everybody and host not in ("localhost", "127.0.0.1", "::1"):
        raise T2Error(
            f"--host {host}: other machines can ask; set a key (the variable {_KEY}, or --api-key-file), or serve "
            "--everybody"
        )
    sampler = of.load(
        model, dtype=dtype, device=device, max_batch=max_batch, kv_memory=of.whole("--kv-memory", kv_memory),
        trust_remote_code=trust_remote_code, trust=trust,
    )  # fmt: skip
    for warning in sampler.warnings:
        sys.stderr.write(f"t2fast: {warning}\n")
    params = sampling.SamplingParams()
    called = name or real(model).name if os.path.exists(model) else name or model

    def ready(address: str) -> None:
        sys.stderr.write(f"t2fast: serving {called} at {address}{'' if key is None else ', with a key'}\n")
        sys.stderr.flush()

    run(
        sampler,
        called,
        host=host,
        port=port,
        limits=limits,
        params=sampler.with_defaults(params) if generation_config else params,
        key=key,
        ready=ready,
    )
    sys.stderr.write("t2fast: ended\n")


def _key(variable: str | None, file: Path | None) -> str | None:
    """The key that clients must present."""
    if variable is not None and file is not None:
        raise T2Error("--api-key-env and --api-key-file exclude each other")
    if file is not None:
        try:
            key = read_content(file, 1 << 20).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise T2Error(f"--api-key-file {file}: cannot be read: {getattr(error, 'strerror', error)}") from None
        if not key:
            raise T2Error(f"--api-key-file {file}: is empty")
        return key
    key = os.environ.get(variable or _KEY, "").strip()
    if not key and variable is not None:
        raise T2Error(f"--api-key-env {variable}: that environment variable is not set")
    return key or None


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(serve)
