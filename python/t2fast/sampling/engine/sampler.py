"""The sampler: k samples for each of many prompts, every prefix computed and stored once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from t2fast.errors import T2Error
from t2fast.sampling.cancelling import Cancellable
from t2fast.sampling.engine.call import Call, Stats
from t2fast.sampling.engine.config import Config, Graphs
from t2fast.sampling.engine.endings import end_tokens
from t2fast.sampling.engine.fingerprint import fingerprint
from t2fast.sampling.engine.live import Live
from t2fast.sampling.engine.loading import load
from t2fast.sampling.engine.memory import Memory
from t2fast.sampling.engine.prepared import Prepared, prepare
from t2fast.sampling.engine.probe import Shape
from t2fast.sampling.engine.replica import unwrapped
from t2fast.sampling.engine.score import Score, scores, token_scores
from t2fast.sampling.engine.selftest import complaint
from t2fast.sampling.engine.text import Tokenizer
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import Sample
from t2fast.sampling.verify import Verifier

__all__ = ["Sampler"]


class Sampler(Cancellable):
    """Draws samples from a Hugging Face model.

    Every distinct prefix is computed once, stored once, and read once per step for all of its samples. Samples of all
    prompts run together in one batch, which is refilled as they end.

    Parameters
    ----------
    model
        A decoder-only model of transformers whose attention can be replaced; inside DistributedDataParallel,
        torch.compile or PEFT too. It is never changed, and every call takes it as it is then: a model in training, with
        other weights, types, adapters or vocabulary. Calls in several threads, and training steps beside them, don't
        disturb each other.
    tokenizer
        Its tokenizer.
    kv_memory
        Bytes for keys and values; by default 85% of what is free on the GPU, or half of what is free on the CPU, but no
        more than needed.
    max_batch
        Most samples drawn together; by default 256 on a GPU and 64 on the CPU.
    page_size
        Tokens in a page of memory.
    graphs
        How steps are launched: "cuda" graphs, "compile" (torch.compile), "none"; "auto" takes graphs on a GPU.
    prefill_tokens
        Most tokens of prefixes computed at once.
    ahead
        Steps launched before the host has looked at the last; one on a GPU by default.
    name
        The model's name in tables; its own by default.
    trust
        Whether a model that fails the comparison with its own attention is run all the same; :attr:`warnings` says so.

    Raises
    ------
    T2Error
        When the model or the tokenizer cannot be used; the message says why.

    Examples
    --------
    ::

        sampler = Sampler(model, tokenizer)
        for sample in sampler.sample([Prompt("q1", "2 + 2 =")], SamplingParams(k=8)):
            print(sample.sample, sample.text)
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        kv_memory: int | None = None,
        max_batch: int | None = None,
        page_size: int = 16,
        graphs: Graphs = "auto",
        prefill_tokens: int = 1024,
        ahead: int | None = None,
        name: str | None = None,
        trust: bool = False,
    ) -> None:
        super().__init__()
        #: How the machine is used; replace it to change that.
        self.config = Config(kv_memory, max_batch, page_size, graphs, prefill_tokens, ahead=ahead)
        self.model, self.trust = model, trust
        inner = unwrapped(model)
        self.tokenizer = Tokenizer(tokenizer, 1 << 62)
        #: Tokens that end samples.
        self.eos: tuple[int, ...] = end_tokens(inner, tokenizer, 1 << 62)
        self.name = name or str(getattr(inner.config, "_name_or_path", "") or type(inner).__name__)
        #: What whoever uses the samples should know.
        self.warnings: tuple[str, ...] = ()
        #: What the latest call did.
        self.stats = Stats()
        #: What the latest call had on the device, while none is running.
        self._kept: Memory | None = None
        prepared = self._prepare()
        self.eos = tuple(prepared.eos)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        trust_remote_code: bool = False,
        **options: Any,
    ) -> Sampler:
        """Load model and tokenizer from a folder, or by their name on the Hub.

        Parameters
        ----------
        path
            A folder with config.json, safetensors and tokenizer; other kinds of weights are refused, since loading them
            can run code.
        dtype
            Such as "bfloat16"; by default what the files hold.
        device
            By default the GPU if there is one.
        trust_remote_code
            Whether Python files that come with the model may run.
        **options
            As for :class:`Sampler`.

        Raises
        ------
        T2Error
            When files are missing or incomplete, or the model cannot be used.
        """
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        model, tokenizer = load(path, dtype=dtype, device=where, trust_remote_code=trust_remote_code)
        return cls(model, tokenizer, **{"name": str(path), **options})

    def identity(self) -> dict[str, Any]:
        """What the samples depend on: model, weights, number type, tokenizer."""
        model = unwrapped(self.model)
        parameters = list(model.parameters())
        return {
            "name": self.name,
            "architecture": type(model).__name__,
            "weights": fingerprint(model),
            "dtype": str(self.shape.dtype).removeprefix("torch."),
            "tokenizer": self.tokenizer.fingerprint(),
            "n_params": sum(p.numel() for p in {id(p): p for p in parameters}.values()),
        }

    # ------------------------------------------------------------------------------------------------ sampling

    def with_defaults(self, params: SamplingParams) -> SamplingParams:
        """Settings with the model's own (generation_config.json) wherever they still have our default.

        Raises
        ------
        T2Error
            When the model's generation configuration has settings that t2fast lacks.
        """
        return params.with_defaults(unwrapped(self.model).generation_config)

    def sample(
        self,
        prompts: Sequence[Prompt],
        params: SamplingParams | None = None,
        *,
        seed: int = 0,
        verifier: Verifier | None = None,
        on_sample: Callable[[Sample], None] | None = None,
        on_tokens: Callable[[Prompt, int, Sequence[int]], None] | None = None,
        skip: Callable[[str], Collection[int]] | None = None,
        progress: Callable[[Stats], None] | None = None,
    ) -> Iterator[Sample]:
        """Draw samples and give each as soon as it is finished; their order is not fixed.

        Sample j of a prompt depends on the seed, the prompt's id and j, and on nothing else that is drawn, but for what
        the model's matrix products owe to the number of rows: see docs/sample-engine.md.

        Parameters
        ----------
        prompts, params
            What to draw, and how; prompts may have settings of their own.
        seed
            Key of the random numbers, 64 bits.
        verifier
            Asked about every answer, in threads of its own; samples carry its verdict. A prompt with
            ``stop_on_success`` gives its samples in the order of their numbers and ends with the first accepted one.
        on_sample
            Called with every sample before it is given.
        on_tokens
            Called with a prompt, the number of a sample and its tokens so far, after each step: for streaming.
        skip
            Tells which samples of a prompt (by its id) nobody needs, such as those that an earlier run stored.
        progress
            Called with :attr:`stats` after every step.

        Raises
        ------
        T2Error
            When a prompt cannot be drawn from (no tokens, too long, no chat template), ids are repeated, memory does
            not hold a single sample, or the model computes NaN.
        """
        if not prompts:
            return iter(())
        prepared = self._prepare()
        kept, self._kept = self._kept, None
        with prepared.running():
            call = Call(prepared, prompts, params or SamplingParams(), seed, verifier, skip, on_tokens, progress, kept)
        self.stats = call.stats
        self._begins(call)
        return self._iterate(prepared, call, on_sample)

    def _iterate(self, prepared: Prepared, call: Call, on_sample: Callable[[Sample], None] | None) -> Iterator[Sample]:
        with closing(call):
            steps = call.steps()
            try:
                while True:
                    with prepared.running():
                        samples = next(steps, None)
                    if samples is None:
                        return
                    for sample in samples:
                        if on_sample is not None:
                            on_sample(sample)
                        yield sample
            finally:
                self._ends(call)
                self._keep(prepared, call)

    def _keep(self, prepared: Prepared, call: Call) -> None:
        """Keep what a call leaves behind where the next can use it: graphs, and the memory that they name."""
        if prepared.graphs == "cuda":
            self._kept = call.memory

    def live(self, *, most_context: int | None = None) -> Live:
        """A call without end that prompts join while it runs, as a server needs it; :class:`Live` says how.

        It takes the model as it is now, and memory for as many of the longest texts as the batch has rows, or what
        ``kv_memory`` allows.

        Parameters
        ----------
        most_context
            Longest prompt and answer together, in tokens; by default the model's own limit.

        Raises
        ------
        T2Error
            When the model cannot be used.

        Examples
        --------
        ::

            live = sampler.live(most_context=8192)
        """
        prepared = self._prepare()
        prepared = replace(prepared, config=replace(prepared.config, levels=max(8, prepared.config.levels)))
        with prepared.running():
            return Live(prepared, most_context=most_context or prepared.context)

    def warmup(self, prompts: Sequence[Prompt], params: SamplingParams | None = None) -> str:
        """Compile and capture, before they are needed, all steps of a call with such prompts; says what was done.

        Where steps are captured in CUDA graphs they are captured once for each number of rows (1, 2, 4, 8, 16, 24 and
        so on), when it first occurs: two seconds for the first, a fraction of one for each of the others. What is
        captured serves later calls of this sampler with the same settings, whatever their prompts, as long as the model
        keeps its weights in place and the memory for keys and values suffices. Elsewhere there is nothing to do.

        Parameters
        ----------
        prompts, params
            Like those to come: the longest, as many, with the settings to be used.

        Raises
        ------
        T2Error
            As :meth:`sample` would.

        Examples
        --------
        ::

            print(sampler.warmup(prompts, params))
        """
        prepared = self._prepare()
        if prepared.graphs != "cuda":
            return (
                f"nothing to warm up: with graphs = {prepared.graphs!r} on {prepared.device.type} no step is captured"
            )
        begun = time.monotonic()
        kept, self._kept = self._kept, None
        with prepared.running():
            call = Call(prepared, prompts, params or SamplingParams(), kept=kept)
            with closing(call):
                sizes = call.runner.warmup()
        self._keep(prepared, call)
        took = f"steps of {', '.join(map(str, sizes))} rows in {time.monotonic() - begun:.1f} s"
        if not call.runner.lasting:
            return (
                f"compiled {took}; with biases, forbidden words, shortest lengths, likeliest tokens or a budget of "
                "thinking each call captures its own"
            )
        return f"captured {took}"

    def release(self) -> None:
        """Give back the memory that captured steps hold between calls, keys and values above all; the next begins anew.

        Examples
        --------
        ::

            sampler.release()  # before training goes on beside it
        """
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.drop()

    def score(self, prompts: Sequence[Prompt]) -> Iterator[Score]:
        """Compute the negative log-likelihoods of each prompt's choices, or of its answer where it has none.

        A prompt is computed once for all of its answers, and what prompts have in common once for all of them. An
        answer's tokens are those that the text of prompt and answer together has beyond the prompt's own.

        Parameters
        ----------
        prompts
            Each with an answer or choices.

        Raises
        ------
        T2Error
            When a prompt has neither answer nor choices, its answer is none of its choices or has no tokens, or the two
            are longer than the model's context.
        """
        return scores(self._prepare(), prompts)

    def score_tokens(self, texts: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Iterator[tuple[int, float, bool]]:
        """Compute the negative log-likelihoods of continuations that are given as tokens.

        What texts have in common before their continuations is computed once.

        Parameters
        ----------
        texts
            What comes before, at least one token, and the tokens to score. All but the last must fit the context.

        Yields
        ------
        place, nll, greedy
            Which of the texts, in no fixed order; -ln of the probability of its continuation, in nats; and whether
            every token of that is the likeliest.

        Raises
        ------
        T2Error
            When a text is empty or too long, or has tokens that the model lacks.
        """
        return token_scores(self._prepare(), texts)

    def _prepare(self) -> Prepared:
        """Make ready the model as it is now; one of a kind not met before is compared with its own attention."""
        model = unwrapped(self.model)
        prepared = prepare(model, self.tokenizer, self.eos, self.config)
        #: What its attention looks like.
        self.shape: Shape = prepared.shape
        #: Most tokens of a text.
        self.context: int = prepared.context
        found = complaint(prepared, model)
        if found is not None:
            if not self.trust:
                raise T2Error(f"{found}: t2fast cannot run it (--engine generate can; --trust runs it all the same)")
            self.warnings = (found,)
        return prepared
