"""inspect with t2fast's sampler: ``inspect eval task.py --model t2fast/./my-model``.

Written against inspect_ai 0.3.285, which finds this module by its entry point.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import queue
import threading
import time
from collections import Counter
from concurrent.futures import Future, InvalidStateError
from typing import Any

import anyio
import sniffio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.sampling.engine.live import Live
from t2fast.sampling.engine.sampler import Sampler
from t2fast.sampling.engine.tree import Floats, Tokens
from t2fast.sampling.params import SamplingParams
from t2fast.sampling.prompts import Prompt
from t2fast.sampling.samples import Sample

__all__ = ["T2FastAPI", "t2fast"]

#: Settings of inspect, and what they are called here.
_SETTINGS = {
    "max_tokens": "max_new_tokens",
    "num_choices": "k",
    "stop_seqs": "stop",
    "reasoning_tokens": "max_thinking_tokens",
    **{name: name for name in ("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty",
                               "logit_bias", "logprobs", "top_logprobs")},
}  # fmt: skip
#: Settings that inspect itself acts on, or that change nothing here.
_THEIRS = frozenset((
    "seed", "system_message", "max_retries", "timeout", "attempt_timeout", "stream_idle_timeout", "max_connections",
    "adaptive_connections", "max_tool_output", "cache", "cache_prompt", "parallel_tool_calls", "internal_tools",
    "reasoning_history",
))  # fmt: skip
_REASONS = {"stop": "stop", "length": "max_tokens", "context": "model_length"}
#: Longest answer where nobody says, as for inspect's other local models.
_MOST_NEW = 2048


class T2FastAPI(ModelAPI):
    """A model provider of inspect that draws with :class:`Sampler`.

    Everything that inspect asks for at the same time is drawn in one batch, and what prompts have in common, such as
    the epochs of a sample, is computed once and read once per step. How often the same is asked numbers the draws: the
    n-th time a prompt is asked with the same settings it is drawn with the same noise in every run, whatever else is.

    Parameters
    ----------
    model_name
        What comes after ``t2fast/``: a folder, or a name on the Hub.
    base_url, api_key
        Not used.
    config
        Settings of inspect; ``seed`` is the key of the random numbers, 0 by default.
    **model_args
        ``-M`` of inspect: ``dtype``, ``device``, ``trust_remote_code``; ``kv_memory``, ``max_batch``, ``page_size``,
        ``prefill_tokens``, ``graphs``, ``trust`` of :class:`Sampler`; ``context``, the longest prompt and answer
        together; ``chat=false`` for prompts that are one message to continue, as models without a chat template are
        asked by themselves; ``chat_template_kwargs``.

    Raises
    ------
    T2Error
        When the model cannot be used, or inspect asks for what t2fast lacks (tools, response schemas, images).

    Examples
    --------
    ::

        inspect_ai.eval("task.py", model="t2fast/./my-model", epochs=64, temperature=0.8)
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        known = ("dtype", "device", "trust_remote_code", "kv_memory", "max_batch", "page_size", "prefill_tokens",
                 "graphs", "trust", "context", "chat", "chat_template_kwargs")  # fmt: skip
        for name in model_args:
            arguments.choice("-M", name, known)
        context = model_args.pop("context", None)
        chat, self._template = model_args.pop("chat", None), dict(model_args.pop("chat_template_kwargs", None) or {})
        self.sampler = Sampler.from_pretrained(model_name, **model_args)
        self._chat = bool(getattr(self.sampler.tokenizer.tokenizer, "chat_template", None)) if chat is None else chat
        most = self.sampler.context
        self._batch = _Batch(
            self.sampler, most if context is None else arguments.whole("context", context, least=2, most=most)
        )
        self._asked: Counter[str] = Counter()

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002
        tools: list[ToolInfo],
        tool_choice: ToolChoice,  # noqa: ARG002
        config: GenerateConfig,
    ) -> ModelOutput:
        """Draw an answer, or as many as ``num_choices``."""
        if tools:
            raise T2Error(
                f"tool {tools[0].name!r}: t2fast draws text and reads no calls of tools in it; leave out the tools"
            )
        begun = time.monotonic()
        params, seed = params_of(config), int(config.seed or 0)
        (tokens,) = self.sampler.tokenizer.encode([self._prompt(input)], params)
        settings = json.dumps(params.override({"k": 1}).to_dict(), sort_keys=True)
        key = hashlib.sha256(tokens.tobytes() + f"{settings} {seed}".encode()).hexdigest()[:16]
        number, self._asked[key] = self._asked[key], self._asked[key] + 1
        samples = await self._batch.draw(
            Prompt(f"{key}/{number}", token_ids=tuple(tokens.tolist())), params, arguments.seed(seed)
        )
        n_answers = sum(len(one.token_ids) for one in samples)
        return ModelOutput(
            model=self.model_name,
            choices=[self._choice(one) for one in samples],
            usage=ModelUsage(input_tokens=len(tokens), output_tokens=n_answers, total_tokens=len(tokens) + n_answers),
            time=time.monotonic() - begun,
        )

    def _prompt(self, messages: list[ChatMessage]) -> Prompt:
        for one in messages:
            parts = [] if isinstance(one.content, str) else [part.type for part in one.content]
            if other := [part for part in parts if part not in ("text", "reasoning")]:
                raise T2Error(f"a message holds {other[0]}: t2fast takes text alone")
        if self._chat:
            chat = tuple({"role": one.role, "content": one.text} for one in messages)
            return Prompt("prompt", messages=chat, chat_template_kwargs=self._template, continue_final_message=False)
        if len(messages) != 1:
            raise T2Error(
                f"the prompt has {len(messages)} messages, and the model has no chat template: ask with one message, "
                "which it continues"
            )
        return Prompt("prompt", text=messages[0].text)

    def _choice(self, sample: Sample) -> ChatCompletionChoice:
        logprobs = None
        if sample.logprobs is not None:
            top_ids = sample.top_token_ids or ((),) * len(sample.token_ids)
            top_values = sample.top_logprobs or ((),) * len(sample.token_ids)
            content = []
            for token, value, ids, values in zip(sample.token_ids, sample.logprobs, top_ids, top_values, strict=True):
                top = [
                    TopLogprob(token=self._piece(one), logprob=its, bytes=list(self._piece(one).encode()))
                    for one, its in zip(ids, values, strict=True)
                ]
                piece = self._piece(token)
                content.append(
                    Logprob(token=piece, logprob=value, bytes=list(piece.encode()), top_logprobs=top or None)
                )
            logprobs = Logprobs(content=content)
        message = ChatMessageAssistant(content=sample.text, model=self.model_name, source="generate")
        return ChatCompletionChoice(
            message=message, stop_reason=_REASONS.get(sample.finish_reason, "unknown"), logprobs=logprobs
        )

    def _piece(self, token: int) -> str:
        return self.sampler.tokenizer.pieces[token]

    async def count_text_tokens(self, text: str) -> int:
        """How many tokens a text has."""
        return len(await self.tokenize(text))

    async def tokenize(self, text: str) -> list[int]:
        """The tokens of a text."""
        return list(self.sampler.tokenizer.tokenizer.encode(text, add_special_tokens=False))

    def max_tokens(self) -> int:
        """Longest answer where nobody says."""
        return _MOST_NEW

    def max_connections(self) -> int:
        """How much inspect asks for at the same time: as much as the batch holds."""
        return self.sampler.config.max_batch or (256 if self._on_gpu else 64)

    @property
    def _on_gpu(self) -> bool:
        return bool(next(self.sampler.model.parameters()).device.type == "cuda")

    def connection_key(self) -> str:
        """Models don't wait for each other."""
        return self.model_name

    def collapse_user_messages(self) -> bool:
        """Chat templates want users and assistants to take turns."""
        return True

    def close(self) -> None:
        """End the batch; it begins anew when more is asked."""
        self._batch.close()


@modelapi(name="t2fast")
def t2fast() -> type[ModelAPI]:
    """The provider, as inspect wants to be given it."""
    return T2FastAPI


def params_of(config: GenerateConfig) -> SamplingParams:
    """Settings of inspect as ours.

    Raises
    ------
    T2Error
        When there is one that t2fast lacks.

    Examples
    --------
    >>> params_of(GenerateConfig(max_tokens=9, stop_seqs=["."])).stop  # doctest: +SKIP
    ('.',)
    """
    settings: dict[str, Any] = {"max_new_tokens": _MOST_NEW}
    for name, value in config.model_dump(exclude_none=True).items():
        if name in _SETTINGS:
            settings[_SETTINGS[name]] = value
        elif name not in _THEIRS:
            raise T2Error(f"{name} = {arguments.shown(value)}: t2fast has no such setting; leave it out")
    return SamplingParams().override(settings)


class _Batch:
    """The thread that draws: prompts join the batch whenever they come."""

    def __init__(self, sampler: Sampler, context: int) -> None:
        self._sampler, self._context = sampler, context
        self._inbox: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        #: The call that prompts join; that thread's alone.
        self._live: Live | None = None

    async def draw(self, prompt: Prompt, params: SamplingParams, seed: int) -> list[Sample]:
        """Draw a prompt's samples."""
        asked = _Asked(prompt, params, seed)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="t2fast inspect", daemon=True)
                self._thread.start()
            self._inbox.put(asked)
        try:
            if sniffio.current_async_library() == "asyncio":
                return await asyncio.wrap_future(asked.future)
            return await anyio.to_thread.run_sync(asked.future.result, abandon_on_cancel=True)
        finally:
            asked.wanted = False  # whoever asked may have been cancelled

    def close(self) -> None:
        """End the thread, once what was asked before is drawn."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._inbox.put(None)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        there: dict[_Asked, int] = {}
        ends = False
        while not ends or there:
            try:
                for asked in [one for one in there if one.over or not one.wanted]:
                    place = there.pop(asked)
                    if self._live is not None and not asked.over:
                        self._live.leave(place)
                ends = ends or self._take(there)
                if there and self._live is not None:
                    self._live.step()
            except Exception as error:  # whatever a device may raise
                for asked in there:
                    asked.failed(error)
                there.clear()
                self._live = None
        if self._live is not None:
            self._live.close()
            self._live = None

    def _take(self, there: dict[_Asked, int]) -> bool:
        """Let prompts in, where there are none wait for one; whether it is time to end."""
        while True:
            try:
                asked = self._inbox.get(block=not there)
            except queue.Empty:
                return False
            if asked is None:
                return True
            if asked.wanted:
                try:
                    self._live = self._live or self._sampler.live(most_context=self._context)
                    there[asked] = self._live.join(asked.prompt, asked.params, asked.seed, asked)
                except T2Error as error:
                    asked.failed(error)


class _Asked:
    """A prompt in the batch; listens to what is drawn for it."""

    follows = False

    def __init__(self, prompt: Prompt, params: SamplingParams, seed: int) -> None:
        self.prompt, self.params, self.seed = prompt, params, seed
        self.future: Future[list[Sample]] = Future()
        #: Whether somebody waits for it; whether the batch is done with it.
        self.wanted, self.over = True, False
        self._samples: list[Sample] = []

    def tokens(self, sample: int, tokens: Tokens, logprobs: Floats, top: Tokens) -> None:
        """Answers are taken whole."""

    def finished(self, sample: Sample, prompt_top: tuple[Tokens, Floats] | None) -> None:  # noqa: ARG002
        """Take a sample in."""
        self._samples.append(sample)
        if len(self._samples) == self.params.k:
            self.over = True
            with contextlib.suppress(InvalidStateError):  # it was cancelled
                self.future.set_result(sorted(self._samples, key=lambda one: one.sample))

    def failed(self, error: Exception | str) -> None:
        """Nothing more comes."""
        self.over = True
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(T2Error(error) if isinstance(error, str) else error)
