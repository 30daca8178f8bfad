"""A sampler without a model: its samples depend on seed, prompt and number alone, and come in an order of chance."""

import hashlib
import os
import random
import signal
import time
from dataclasses import dataclass

from t2fast.sampling import Sample, judge


@dataclass
class StandIn:
    name: str = "stand-in"
    #: Seconds per sample.
    pause: float = 0.0
    #: Key of the order in which samples come.
    order: int = 0
    #: Kills its own process after so many samples; only once, where a file is named that remembers it.
    dies_after: int | None = None
    died: str = ""

    def __post_init__(self):
        self.cancelled, self.unwanted = set(), set()

    def cancel(self, prompt_id):
        self.unwanted.add(prompt_id)
        return True

    def identity(self):
        return {"name": self.name, "weights": "0" * 8, "dtype": "float32", "n_params": 123_000}

    def sample(self, prompts, params, *, seed=0, verifier=None, skip=None, progress=None):
        todo = []
        for prompt in prompts:
            unneeded = frozenset(skip(prompt.id)) if skip else frozenset()
            todo += [(prompt, j) for j in range(prompt.params(params).k) if j not in unneeded]
        random.Random(self.order).shuffle(todo)
        # Those that stop keep their places in the shuffled order and take turns by number.
        stops = {prompt.id for prompt in prompts if prompt.params(params).stop_on_success}
        turns = {name: iter(sorted(j for prompt, j in todo if prompt.id == name)) for name in stops}
        self.tokens, done = 0, set()
        self.cancelled.clear()
        self.unwanted.clear()
        for count, (prompt, j) in enumerate(todo):
            if count == self.dies_after and not os.path.exists(self.died):
                if self.died:
                    open(self.died, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            if prompt.id in done:
                continue
            if prompt.id in self.unwanted:
                self.cancelled.add(prompt.id)
                continue
            time.sleep(self.pause)
            sample = answer(prompt, next(turns[prompt.id]) if prompt.id in stops else j, params, seed, verifier)
            if sample.accepted and prompt.id in stops:
                done.add(prompt.id)
            self.tokens += len(sample.token_ids)
            yield sample
            if progress is not None:
                progress(self)


def answer(prompt, j, params, seed, verifier):
    draw = random.Random(hashlib.sha256(f"{seed} {prompt.id} {j}".encode()).digest())
    length = draw.randrange(1, prompt.params(params).max_new_tokens)
    tokens = tuple(draw.randrange(50_000) for _ in range(length))
    text = f"the answer is {draw.randrange(5)}\n" + '\u00e9\u6f22\u2028"\\' * (length % 3)
    verdict = None if verifier is None else judge(verifier, prompt, text)
    return Sample(
        prompt.id,
        j,
        text,
        tokens,
        draw.choice(["stop", "length"]),
        7,
        tuple(draw.uniform(-9, 0) for _ in tokens) if prompt.params(params).logprobs else None,
        *((None, None, None) if verdict is None else (verdict.correct, verdict.score, verdict.error)),
    )
