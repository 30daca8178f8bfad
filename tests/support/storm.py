"""Clients of every kind at once, good and bad, against a server; what each got is checked and counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter

from tests.support import tiny

from t2fast.sampling import Prompt, Sampler, SamplingParams
from t2fast.serve import prompt_id

TEXTS = [
    "The quick brown fox jumps over the lazy dog. The answer is 42. Question: what is 3 + 4?",
    "The quick brown fox jumps over the lazy dog. The answer is 42. Question: what is 12 * 3?",
    "def add(a, b):",
    "naïve, über, 東京, 🙂 " * 8,
]
CHAT = [{"role": "user", "content": "what is 3 + 4?"}]
#: Settings, as a request has them and as the sampler has them.
SETTINGS = [
    ({"max_tokens": 60}, {"max_new_tokens": 60}),
    ({"max_tokens": 25, "temperature": 0.7, "top_p": 0.9}, {"max_new_tokens": 25, "temperature": 0.7, "top_p": 0.9}),
    ({"max_tokens": 40, "stop": ["e", "th"]}, {"max_new_tokens": 40, "stop": ("e", "th")}),
    ({"max_tokens": 20, "presence_penalty": 1.0}, {"max_new_tokens": 20, "presence_penalty": 1.0}),
    ({"max_tokens": 10, "logit_bias": {"5": 3}}, {"max_new_tokens": 10, "logit_bias": {5: 3.0}}),
]
MOST = 8
GARBAGE = [
    b"", b"{", b"[]", b'{"prompt": 5}', b'{"prompt": "x", "n": 1e9}', b"\xff\xfe\x00", b'{"prompt": "x", "temperature": NaN}',
    b'{"prompt": ["' + b"x" * 10_000, b'{"messages": [{}]}', b'{"prompt": "x", "stop": [1, 2]}', b"[" * 50_000,
    b'{"prompt": "x", "unheard": "of"}', b'{"prompt": [1, 2, 99999999]}', b'{"prompt": [1, -2]}', b'{"prompt": ""}',
]  # fmt: skip


def cases(sampler=None):
    """Requests with seeds, each with the texts that the sampler draws for it by itself."""
    sampler = sampler or Sampler(tiny.model(), tiny.tokenizer())
    found = []
    for i, (theirs, ours) in enumerate(SETTINGS):
        for j, text in enumerate([*TEXTS, None]):
            if text is None:
                ids = tiny.tokenizer().apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
            else:
                ids = tiny.tokenizer()(text)["input_ids"]
            seed = 100 * i + j
            prompt = Prompt(prompt_id(ids), token_ids=tuple(ids))
            samples = {s.sample: s.text for s in sampler.sample([prompt], SamplingParams(k=MOST, **ours), seed=seed)}
            body = {**theirs, "seed": seed, **({"messages": CHAT} if text is None else {"prompt": text})}
            found.append((text is None, body, [samples[n] for n in range(MOST)]))
    return found


class Storm:
    def __init__(self, port, known, seed=0, most_body=4 << 20):
        self.port, self.known, self.most_body = port, known, most_body
        self.chance, self.counted, self.wrong = random.Random(seed), Counter(), []

    async def ask(self, path, data, *, leave=None, slow=False, pieces=1):
        """Status and body of an answer; None where the client left before, or was refused without a word."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
        try:
            head = f"POST {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            writer.write(head.encode())
            size = max(1, -(-len(data) // pieces))
            for at in range(0, len(data), size):
                writer.write(data[at : at + size])
                await writer.drain()
                if pieces > 1:
                    await asyncio.sleep(self.chance.uniform(0, 0.1))
            found = b""
            if leave is not None and leave == 0:
                return None
            while part := await reader.read(512 if slow else 1 << 16):
                found += part
                if leave is not None and len(found) > leave:
                    return None
                if slow:
                    await asyncio.sleep(0.01)
            head, _, body = found.partition(b"\r\n\r\n")
            return int(head.split()[1]), body
        finally:
            writer.close()

    def check(self, kind, chat, body, known, found):
        status, text = found
        if status in (429, 503):
            error = json.loads(text)["error"]
            self.counted[f"{kind}: {status}"] += 1
            if not error["message"]:
                self.wrong.append((kind, status, text[:200]))
            return
        if status != 200:
            self.wrong.append((kind, status, text[:200]))
            return
        n = body.get("n", 1)
        if body.get("stream"):
            texts = [""] * n
            lines = text.decode().split("\n\n")
            if lines[-2] != "data: [DONE]":
                self.wrong.append((kind, "cut", text[-200:]))
                return
            for line in lines[:-2]:
                for choice in json.loads(line.removeprefix("data: "))["choices"]:
                    texts[choice["index"]] += (choice["delta"].get("content") or "") if chat else choice["text"]
        else:
            texts = [c["message"]["content"] if chat else c["text"] for c in json.loads(text)["choices"]]
        if texts == known[:n]:
            self.counted[f"{kind}: right"] += 1
        else:
            self.wrong.append((kind, body, texts, known[:n]))

    async def one(self):
        """One request of a random kind."""
        chance = self.chance
        kind = chance.choices(
            ["whole", "stream", "slow reader", "slow writer", "leaves", "leaves at once", "garbage", "huge", "half"],
            [8, 6, 2, 2, 5, 3, 3, 1, 1],
        )[0]
        chat, fields, known = chance.choice(self.known)
        body = {**fields, "n": chance.choice([1, 1, 2, 4, MOST])}
        path = "/v1/chat/completions" if chat else "/v1/completions"
        try:
            if kind == "half":
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"POST /v1/completions HTT")
                await asyncio.sleep(chance.uniform(0, 0.05))
                writer.close()
                self.counted["half: left"] += 1
                return
            if kind == "garbage":
                status, text = await self.ask("/v1/completions", chance.choice(GARBAGE))
                known_error = 400 <= status < 500 and json.loads(text)["error"]["message"]
                self.counted["garbage: refused"] += bool(known_error)
                if not known_error:
                    self.wrong.append((kind, status, text[:200]))
                return
            if kind == "huge":
                try:
                    status, _ = await self.ask("/v1/completions", b'{"prompt": "' + b"x" * self.most_body + b'"}')
                    self.counted[f"huge: {status}"] += 1
                    if status not in (413, 503):
                        self.wrong.append((kind, status))
                except (ConnectionError, IndexError):  # refused while it was being sent
                    self.counted["huge: cut off"] += 1
                return
            if kind in ("stream", "slow reader") or (kind == "leaves" and chance.random() < 0.7):
                body["stream"] = True
            data = json.dumps(body).encode()
            if kind.startswith("leaves"):
                leave = 0 if kind == "leaves at once" else chance.randint(1, 3000)
                if leave and not body.get("stream"):
                    with_time = self.ask(path, data, leave=1 << 30)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(with_time, chance.uniform(0, 0.3))
                else:
                    await self.ask(path, data, leave=leave)
                self.counted[f"{kind}: left"] += 1
                return
            pieces = 5 if kind == "slow writer" else 1
            self.check(kind, chat, body, known, await self.ask(path, data, slow=kind == "slow reader", pieces=pieces))
        except Exception as error:
            self.wrong.append((kind, type(error).__name__, str(error)))

    async def run(self, clients, requests):
        """So many clients at once, each with so many requests."""

        async def client():
            for _ in range(requests):
                await self.one()
                await asyncio.sleep(self.chance.uniform(0, 0.02))

        await asyncio.gather(*(client() for _ in range(clients)))
        return self
