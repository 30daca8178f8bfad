"""One run: prompts go through a sampler, and every sample is stored as soon as it is finished."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from t2fast.errors import T2Error
from t2fast.quantity import format_quantity
from t2fast.sampling.request import Prompt, Sample, SamplingParams, digest
from t2fast.sampling.store import SCHEMA, Store
from t2fast.sampling.verify import Verifier, load_verifier, suit
from t2fast.text import columns, warning_lines

__all__ = ["Draws", "Progress", "Run", "draw", "peak_memory", "sized"]

#: Distributions whose versions a manifest names.
_VERSIONS = ("t2fast", "t2fast-kernels", "torch", "transformers")
#: Seconds between two reports of progress: asking a GPU for its memory at every step would hold it up.
_REPORT = 0.1


class Draws(Protocol):
    """What draws samples: :class:`t2fast.sampling.Sampler`, and the workers that stand for many of them."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[Any], None] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples and give each as soon as it is finished.

        Those of a prompt that stops at its first success come in the order of their numbers and end with it, so that
        which ones are kept does not depend on which happened to finish first. ``skip`` names those that nobody needs;
        ``progress`` is called with something that has the number of ``tokens`` drawn so far.
        """

    def identity(self) -> dict[str, Any]:
        """Tell what the samples depend on: model, weights, number type, tokenizer."""


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    #: Samples stored, those of earlier runs included.
    samples: int
    #: Samples that there will be; prompts that stop early make it fall.
    total: int
    #: Samples of this run.
    drawn: int
    #: Tokens of this run's samples, where possible with those of samples that are not finished.
    tokens: int
    #: Seconds since it began.
    seconds: float
    #: Highest memory use so far in bytes: of the GPU, or of the process where there is none.
    memory: int


@dataclass(frozen=True)
class Run:
    """What a run did; :func:`draw` makes it."""

    #: The file of samples.
    path: str
    #: Prompts.
    prompts: int
    #: Samples in the file.
    samples: int
    #: Of these, drawn by this run.
    drawn: int
    #: Tokens that this run drew.
    tokens: int
    #: Seconds that drawing took.
    seconds: float
    #: Highest memory use in bytes: of the GPU, or of the process where there is none.
    memory: int
    #: Why this run's samples ended, and how many each.
    finish_reasons: Mapping[str, int]
    #: The verifier's name; empty if there was none.
    verifier: str
    #: Samples of this run that it accepted.
    accepted: int
    #: Prompts of which a sample is accepted, by this run or an earlier one.
    solved: int
    #: What to know.
    warnings: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Tokens drawn per second, all samples together."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    def summary(self) -> str:
        """Tell the result as a table of at most 80 columns."""
        rows = [
            ("prompts", str(self.prompts), ""),
            ("samples", str(self.samples), "" if self.samples == self.drawn else f"{self.drawn} of them drawn now"),
        ]
        if self.drawn:
            ends = ", ".join(f"{name} {count}" for name, count in sorted(self.finish_reasons.items()))
            rows += [
                ("tokens", str(self.tokens), f"{self.tokens / self.drawn:.1f} per sample; ended by {ends}"),
                ("time", f"{self.seconds:.1f} s", f"{format_quantity(self.tokens_per_second)} tokens/s"),
                ("memory", f"{self.memory / 1e9:.2f} GB", "at most"),
            ]
            if self.verifier:
                rows.append(("accepted", str(self.accepted), f"{self.accepted / self.drawn:.2%} by {self.verifier}"))
        if self.verifier:
            rows.append(("solved", str(self.solved), f"{self.solved / self.prompts:.2%} of the prompts"))
        return "\n".join(
            [self.path, *("  " + line for line in columns(rows, left=(0, 2))), *warning_lines(self.warnings)]
        )

    __str__ = summary

    def to_dict(self) -> dict[str, Any]:
        """Give the result as JSON holds it."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {
            "finish_reasons": dict(self.finish_reasons),
            "warnings": list(self.warnings),
            "tokens_per_second": self.tokens_per_second,
        }


def peak_memory() -> int:
    """Give the highest memory use so far in bytes: of the GPU, or of the process where there is none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # no Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _described(verifier: Verifier) -> str:
    function = getattr(verifier, "function", verifier)
    return f"{function.__module__}:{getattr(function, '__qualname__', None) or repr(function)}"


def sized(
    identity: Mapping[str, Any], name: str | None, n_params: float | None, n_tokens: float | None
) -> dict[str, Any]:
    """Add to a model's identity what tables of several models tell them apart by.

    Raises
    ------
    T2Error
        When a size is not positive.
    """
    for label, value in (("n_params", n_params), ("n_tokens", n_tokens)):
        if value is not None and not 0 < value < math.inf:
            raise T2Error(f"{label} = {value:g}: must be positive and finite")
    own = str(identity.get("name", ""))
    # A folder's place is not the model's name.
    own = Path(own).resolve().name if Path(own).is_dir() else own
    sizes = {"n_params": n_params or identity.get("n_params"), "n_tokens": n_tokens}
    return {**identity, "name": name or own, **sizes}


def draw(
    sampler: Draws,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    out: str | Path,
    *,
    seed: int = 0,
    verifier: str | Verifier | None = None,
    verifier_timeout: float = 30.0,
    resume: bool = False,
    name: str | None = None,
    benchmark: str = "",
    n_params: float | None = None,
    n_tokens: float | None = None,
    on_sample: Callable[[Sample], None] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Draw k samples for every prompt into a file.

    Parameters
    ----------
    sampler
        A :class:`t2fast.sampling.Sampler`, or :class:`t2fast.sampling.RayWorkers`.
    prompts, params
        What to draw, and how; ids must differ.
    out
        The file of samples, which ``t2fast passk`` reads; its manifest goes beside it.
    seed
        Key of the random numbers: sample j of a prompt is the same under a seed, whatever else is drawn.
    verifier, verifier_timeout
        As in :func:`t2fast.sampling.load_verifier`; None for no verdicts.
    resume
        Go on where an earlier run ended, for whatever reason it did.
    name, benchmark
        Of the model and of the prompts, for tables; the model's own name by default.
    n_params, n_tokens
        Of the model, for fitting a law to several; parameters are counted where not given.
    on_sample
        Called with every sample once it is stored.
    progress
        Called now and then, and when the run ends, however it does.

    Raises
    ------
    T2Error
        When something cannot be used, before anything is drawn; or when the disk is full. Whatever raises, Ctrl-C
        included, leaves a file that :func:`draw` can go on with.
    """
    settings = {prompt.id: prompt.params(params) for prompt in prompts}
    if len(settings) < len(prompts):
        twice = next(name for name, count in Counter(prompt.id for prompt in prompts).items() if count > 1)
        raise T2Error(f"two prompts have the id {twice!r}: ids must differ")
    judge = None if verifier is None else load_verifier(verifier, timeout=verifier_timeout)
    if judge is not None:
        suit(judge, prompts)
    elif any(one.stop_on_success for one in settings.values()):
        raise T2Error("stop_on_success = True: needs a verifier that says what success is")
    judged_by = "" if verifier is None else verifier if isinstance(verifier, str) else _described(verifier)
    identity = sampler.identity()
    manifest = {
        "schema": SCHEMA,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": sized(identity, name, n_params, n_tokens),
        "benchmark": benchmark,
        "prompts": {"count": len(prompts), "sha256": digest(prompts)},
        "params": params.to_dict(),
        "seed": seed,
        "verifier": judged_by,
        "versions": _versions(),
    }
    with Store.open(out, manifest, resume=resume) as store:
        return _draw(sampler, settings, prompts, params, store, seed, judge, judged_by, on_sample, progress)


def _draw(
    sampler: Draws,
    settings: Mapping[str, SamplingParams],
    prompts: Sequence[Prompt],
    params: SamplingParams,
    store: Store,
    seed: int,
    judge: Verifier | None,
    judged_by: str,
    on_sample: Callable[[Sample], None] | None,
    progress: Callable[[Progress], None] | None,
) -> Run:
    begun = time.monotonic()
    before = store.samples
    reasons: Counter[str] = Counter()
    tokens = live = accepted = failed = 0
    failure = ""
    reported = -math.inf
    # Workers elsewhere have memories of their own.
    memory: Callable[[], int] = getattr(sampler, "memory", peak_memory)

    def ended(prompt_id: str) -> bool:
        return settings[prompt_id].stop_on_success and store.accepted(prompt_id) is not None

    def unneeded(prompt_id: str) -> Collection[int]:
        return range(settings[prompt_id].k) if ended(prompt_id) else store.stored(prompt_id)

    total = sum(len(store.stored(one)) if ended(one) else set_.k for one, set_ in settings.items())

    def report(drawn: Any = None, *, last: bool = False) -> None:
        nonlocal live, reported
        live = max(live, tokens, 0 if drawn is None else drawn.tokens)
        now = time.monotonic()
        if progress is not None and (last or now - reported >= _REPORT):
            reported = now
            progress(Progress(store.samples, total, store.samples - before, live, now - begun, memory()))

    try:
        for sample in sampler.sample(prompts, params, seed=seed, verifier=judge, skip=unneeded, progress=report):
            if settings[sample.prompt_id].stop_on_success:
                if ended(sample.prompt_id) or sample.sample != len(store.stored(sample.prompt_id)):
                    raise T2Error(f"the sampler gave sample {sample.sample} of {sample.prompt_id!r} out of turn")
                store.append(sample, stop_on_success=True)
                if sample.accepted:
                    total -= settings[sample.prompt_id].k - 1 - sample.sample
            else:
                store.append(sample)
            tokens += len(sample.token_ids)
            reasons[sample.finish_reason] += 1
            accepted += sample.accepted
            if sample.verifier_error is not None:
                failed += 1
                failure = failure or f"sample {sample.sample} of {sample.prompt_id!r}: {sample.verifier_error}"
            if on_sample is not None:
                on_sample(sample)
            report()
    finally:
        report(last=True)
    if store.samples != total:
        short = next(one for one, set_ in settings.items() if not ended(one) and len(store.stored(one)) < set_.k)
        raise T2Error(f"the sampler ended with {store.samples} of {total} samples; prompt {short!r} lacks some")
    warnings = []
    if store.torn:
        warnings.append(f"the last line was torn, and its sample drawn again ({store.torn} bytes cut off)")
    if failed:
        warnings.append(f"{failed} samples have no verdict; the first, {failure}")
    return Run(
        str(store.path),
        len(prompts),
        store.samples,
        store.samples - before,
        tokens,
        time.monotonic() - begun,
        memory(),
        dict(reasons),
        judged_by,
        accepted,
        sum(store.accepted(one) is not None for one in settings),
        tuple(warnings),
    )
