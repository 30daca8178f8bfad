"""k samples for every prompt, from whatever draws them into a file: each is stored as soon as it is finished."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from t2fast.errors import T2Error
from t2fast.quantity import format_quantity
from t2fast.results import Progress, Result
from t2fast.sampling.manifest import SCHEMA, described_model, versions
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt, digest, unique
from t2fast.sampling.samples import Sample
from t2fast.sampling.store import Store
from t2fast.sampling.verify import Verifier, load_verifier, suit
from t2fast.text import columns, warning_lines

__all__ = ["Draws", "SampledFile", "SamplingProgress", "peak_memory", "sample_to_file"]

#: Seconds between two reports of progress: asking a GPU for its memory at every step would hold it up.
_REPORT = 0.1
#: Verdicts after which it is worth a warning that the verifier accepted none.
_MANY_VERDICTS = 200


class Draws(Protocol):
    """What draws samples: :class:`Sampler`, :class:`RayWorkers`, :class:`Endpoint`."""

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
        """What the samples depend on: model, weights, number type, tokenizer."""

    def cancel(self, prompt_id: str) -> bool:
        """Draw no more samples of a prompt, while a call is under way that has it; whether there is one."""

    @property
    def cancelled(self) -> Collection[str]:
        """Prompts of the latest call that were cancelled, and so lack samples."""


@dataclass(frozen=True, slots=True)
class SamplingProgress(Progress):
    """How far a run is: samples stored, those of earlier runs included, of those that there will be.

    ``total`` falls when prompts stop early.

    Attributes
    ----------
    n_drawn
        Samples of this run.
    tokens
        Tokens of this run's samples, where possible with those of samples that are not finished.
    seconds
        Since the run began.
    memory
        Highest memory use so far in bytes: of the GPU, or of the process where there is none.

    Examples
    --------
    >>> SamplingProgress(30, 96, "samples", n_drawn=10, tokens=400, seconds=2.0).done
    30
    """

    n_drawn: int = 0
    tokens: int = 0
    seconds: float = 0.0
    memory: int = 0


@dataclass(frozen=True, repr=False)
class SampledFile(Result):
    """A file of samples and what the run that wrote it did; :func:`sample_to_file` makes it.

    Attributes
    ----------
    path
        The file.
    n_problems, n_samples
        Prompts, and samples in the file.
    n_drawn, tokens, seconds
        What this run drew: samples, their tokens, and how long it took.
    memory
        Highest memory use in bytes: of the GPU, or of the process where there is none.
    finish_reasons
        Why this run's samples ended, and how many each.
    verifier
        Its name; empty if there was none.
    n_accepted, n_failed
        Samples of this run that it accepted, and that it gave no verdict on.
    n_solved
        Prompts of which a sample is accepted, by this run or an earlier one.
    cost
        What the server counted, by field of its usage; empty for a model that runs here.
    warnings
        What to know.

    Examples
    --------
    >>> run = SampledFile("s.jsonl", 2, 8, 8, 80, 4.0, 0, {"stop": 8}, "exact", 3, 0, 1, {})
    >>> run.tokens_per_second
    20.0
    >>> run
    <SampledFile: s.jsonl, 8 samples of 2 problems>
    """

    path: str
    n_problems: int
    n_samples: int
    n_drawn: int
    tokens: int
    seconds: float
    memory: int
    finish_reasons: Mapping[str, int]
    verifier: str
    n_accepted: int
    n_failed: int
    n_solved: int
    cost: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def tokens_per_second(self) -> float:
        """Tokens drawn per second, all samples together."""
        return self.tokens / self.seconds if self.seconds > 0 else 0.0

    def headline(self) -> str:
        """The file and what it holds."""
        return f"{self.path}, {self.n_samples} samples of {self.n_problems} problems"

    def summary(self) -> str:
        """The result as a table of at most 80 columns."""
        drawn = "" if self.n_samples == self.n_drawn else f"{self.n_drawn} of them drawn now"
        rows = [("problems", str(self.n_problems), ""), ("samples", str(self.n_samples), drawn)]
        if self.n_drawn:
            ends = ", ".join(f"{name} {count}" for name, count in sorted(self.finish_reasons.items()))
            rows += [
                ("tokens", str(self.tokens), f"{self.tokens / self.n_drawn:.1f} per sample; ended by {ends}"),
                ("time", f"{self.seconds:.1f} s", f"{format_quantity(self.tokens_per_second)} tokens/s"),
            ]
            if self.cost:
                rows += [(name, format_quantity(count), "counted by the server") for name, count in self.cost.items()]
            else:
                rows.append(("memory", f"{self.memory / 1e9:.2f} GB", "at most"))
            if self.verifier:
                share = f"{self.n_accepted / self.n_drawn:.2%} by {self.verifier}"
                rows.append(("accepted", str(self.n_accepted), share))
        if self.verifier:
            rows.append(("solved", str(self.n_solved), f"{self.n_solved / self.n_problems:.2%} of the problems"))
        return "\n".join(
            [self.path, *("  " + line for line in columns(rows, left=(0, 2))), *warning_lines(self.warnings)]
        )

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON data."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return fields | {
            "finish_reasons": dict(self.finish_reasons),
            "cost": dict(self.cost),
            "warnings": list(self.warnings),
            "tokens_per_second": self.tokens_per_second,
        }


def peak_memory() -> int:
    """Highest memory use so far in bytes: of the GPU, or of the process where there is none."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    try:
        import resource
    except ImportError:  # no Unix
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _described(verifier: Verifier) -> str:
    function = getattr(verifier, "function", verifier)
    return f"{function.__module__}:{getattr(function, '__qualname__', None) or repr(function)}"


def sample_to_file(
    sampler: Draws,
    prompts: Sequence[Prompt],
    params: SamplingParams,
    out: str | Path,
    *,
    seed: int = 0,
    verifier: str | Verifier | None = None,
    verifier_timeout: float = 30.0,
    reasoning_end: str | None = None,
    resume: bool = False,
    name: str | None = None,
    benchmark: str = "",
    n_params: float | None = None,
    n_tokens: float | None = None,
    on_sample: Callable[[Sample], None] | None = None,
    progress: Callable[[SamplingProgress], object] | None = None,
) -> SampledFile:
    """Draw k samples for every prompt into a file.

    Parameters
    ----------
    sampler
        A :class:`Sampler`, :class:`RayWorkers` or :class:`Endpoint`.
    prompts, params
        What to draw, and how; ids must differ.
    out
        The file of samples, which ``t2fast passk`` reads; its manifest goes beside it. ``-`` is standard output.
    seed
        Key of the random numbers: sample j of a prompt is the same under a seed, whatever else is drawn.
    verifier, verifier_timeout, reasoning_end
        As in :func:`load_verifier`; None for no verdicts.
    resume
        Continue the file of an earlier run, however it ended; k may be larger than before.
    name, benchmark
        Of the model and of the prompts, for tables; the model's own name by default.
    n_params, n_tokens
        Parameters of the model, counted where not given, and training tokens, for fitting a law to several models.
    on_sample
        Called with every sample once it is stored.
    progress
        Called now and then, and when the run ends, however it does.

    Raises
    ------
    T2Error
        When something cannot be used, before anything is drawn; or when the disk is full. Whatever raises, Ctrl-C
        included, leaves a file that :func:`sample_to_file` can continue.

    Examples
    --------
    With ``sampler = Sampler.from_pretrained("my-model")``::

        sample_to_file(sampler, read_prompts("prompts.jsonl"), SamplingParams(k=64), "samples.jsonl")
    """
    unique(prompts)
    settings = {prompt.id: prompt.params(params) for prompt in prompts}
    judge = None if verifier is None else load_verifier(verifier, timeout=verifier_timeout, reasoning_end=reasoning_end)
    if judge is not None:
        suit(judge, prompts)
    elif any(one.stop_on_success for one in settings.values()):
        raise T2Error("stop_on_success = True: needs a verifier that says what success is")
    judged_by = "" if verifier is None else verifier if isinstance(verifier, str) else _described(verifier)
    if judged_by and reasoning_end is not None:
        judged_by += f" after {reasoning_end}"
    manifest = {
        "schema": SCHEMA,
        "begun": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": described_model(sampler.identity(), name, n_params, n_tokens),
        "benchmark": benchmark,
        "prompts": {"count": len(prompts), "sha256": digest(prompts)},
        "params": params.to_dict(),
        "seed": seed,
        "verifier": judged_by,
        "versions": versions(),
    }
    with Store.open(out, manifest, resume=resume) as store:
        run = _Run(sampler, settings, store, on_sample, progress)
        run.draw(prompts, params, seed, judge)
        return run.result(judged_by)


class _Run:
    """One call of :func:`sample_to_file`: what it counts while samples arrive."""

    def __init__(
        self,
        sampler: Draws,
        settings: Mapping[str, SamplingParams],
        store: Store,
        on_sample: Callable[[Sample], None] | None,
        progress: Callable[[SamplingProgress], object] | None,
    ) -> None:
        self.sampler, self.settings, self.store = sampler, settings, store
        self.on_sample, self.progress = on_sample, progress
        self.begun = time.monotonic()
        self.before = store.samples
        self.reasons: Counter[str] = Counter()
        self.tokens = self.live = self.judged = self.accepted = self.failed = 0
        self.failure = ""
        self.cancelled: list[str] = []
        self.reported = -math.inf
        # Workers elsewhere have memories of their own.
        self.memory: Callable[[], int] = getattr(sampler, "memory", peak_memory)
        self.total = sum(len(store.stored(one)) if self.ended(one) else set_.k for one, set_ in settings.items())

    def ended(self, prompt_id: str) -> bool:
        """Whether a prompt has its first success already."""
        return self.settings[prompt_id].stop_on_success and self.store.accepted(prompt_id) is not None

    def unneeded(self, prompt_id: str) -> Collection[int]:
        """Samples of a prompt that need not be drawn."""
        return range(self.settings[prompt_id].k) if self.ended(prompt_id) else self.store.stored(prompt_id)

    def report(self, drawn: Any = None, *, last: bool = False) -> None:
        """Tell how far the run is, now and then."""
        self.live = max(self.live, self.tokens, 0 if drawn is None else drawn.tokens)
        now = time.monotonic()
        if self.progress is not None and (last or now - self.reported >= _REPORT):
            self.reported = now
            done = self.store.samples
            self.progress(
                SamplingProgress(
                    done, self.total, "samples", "", done - self.before, self.live, now - self.begun, self.memory()
                )
            )

    def draw(self, prompts: Sequence[Prompt], params: SamplingParams, seed: int, judge: Verifier | None) -> None:
        """Draw and store what is missing."""
        try:
            for sample in self.sampler.sample(
                prompts, params, seed=seed, verifier=judge, skip=self.unneeded, progress=self.report
            ):
                self._take(sample)
                self.report()
        finally:
            self.report(last=True)
        self.cancelled = sorted(set(self.sampler.cancelled) & set(self.settings))
        missing = [one for one in self.settings if not self._complete(one) and one not in self.cancelled]
        done = self.store.samples
        if done != self.total and missing:
            raise T2Error(f"the sampler ended with {done} of {self.total} samples; prompt {missing[0]!r} lacks some")

    def _complete(self, prompt_id: str) -> bool:
        return self.ended(prompt_id) or len(self.store.stored(prompt_id)) >= self.settings[prompt_id].k

    def _take(self, sample: Sample) -> None:
        settings, store = self.settings[sample.prompt_id], self.store
        if settings.stop_on_success:
            if self.ended(sample.prompt_id) or sample.sample != len(store.stored(sample.prompt_id)):
                raise T2Error(f"the sampler gave sample {sample.sample} of {sample.prompt_id!r} out of turn")
            store.append(sample, stop_on_success=True)
            if sample.accepted:
                self.total -= settings.k - 1 - sample.sample
        else:
            store.append(sample)
        self.tokens += sample.n_answer_tokens
        self.reasons[sample.finish_reason] += 1
        self.accepted += sample.accepted
        self.judged += sample.correct is not None or sample.score is not None
        if sample.verifier_error is not None:
            self.failed += 1
            self.failure = self.failure or f"sample {sample.sample} of {sample.prompt_id!r}: {sample.verifier_error}"
        if self.on_sample is not None:
            self.on_sample(sample)

    def result(self, judged_by: str) -> SampledFile:
        """What the run did."""
        return SampledFile(
            path=str(self.store.path),
            n_problems=len(self.settings),
            n_samples=self.store.samples,
            n_drawn=self.store.samples - self.before,
            tokens=self.tokens,
            seconds=time.monotonic() - self.begun,
            memory=self.memory(),
            finish_reasons=dict(self.reasons),
            verifier=judged_by,
            n_accepted=self.accepted,
            n_failed=self.failed,
            n_solved=sum(self.store.accepted(one) is not None for one in self.settings),
            cost=dict(getattr(self.sampler, "usage", None) or {}),
            warnings=tuple(self._warnings(judged_by)),
        )

    def _warnings(self, judged_by: str) -> Iterator[str]:
        yield from getattr(self.sampler, "warnings", ())
        if self.store.torn:
            yield f"the last line was incomplete and its sample was drawn again ({self.store.torn} bytes removed)"
        if self.cancelled:
            some = f"{len(self.cancelled)} prompts were cancelled, such as {self.cancelled[0]!r}"
            yield f"{some}; --resume draws what they lack"
        if self.failed:
            yield f"{self.failed} samples have no verdict; the first, {self.failure}"
        if self.judged >= _MANY_VERDICTS and not self.accepted:
            yield (
                f"{judged_by} judged {self.judged} answers and accepted none: look at some, and choose another "
                "--verifier if it misreads them"
            )
