"""An OpenAI-compatible server whose answers follow from their seeds, and that fails in every way a real one does."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FaultyServer(ThreadingHTTPServer):
    # Whoever closes the server waits for those it serves, so that no connection is left to the next test.
    daemon_threads = False
    request_queue_size = 128

    def __init__(self, faults=(), rate=0.0, most_n=None, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        #: Faults to inject, how often, and the most choices that an answer has.
        self.faults, self.rate, self.most_n = list(faults), rate, most_n
        self.chance, self.lock = random.Random(0), threading.Lock()
        self.bodies, self.headers, self.counted = [], [], Counter()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def fault(self):
        with self.lock:
            return self.chance.choice(self.faults) if self.faults and self.chance.random() < self.rate else None

    def handle_error(self, *_):
        """Broken connections are what this is for."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def say(self, code, body, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        for name, value in (("Content-Type", "application/json"), ("Content-Length", len(data)), *headers):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        self.say(200, {"data": [{"id": "toy"}]}) if self.path == "/v1/models" else self.say(404, {"error": "no"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.server.fault()
        with self.server.lock:
            self.server.counted[fault or "whole"] += 1
            self.server.bodies.append(body)
            self.server.headers.append(dict(self.headers))
        if fault in ("429", "503", "500"):
            return self.say(int(fault), {"error": {"message": "too many requests"}}, [("Retry-After", "0.01")])
        answer = json.dumps(self.answer(body)).encode()
        if fault == "drop":
            self.close_connection = True
            return self.connection.close()
        if fault == "half":
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer[: len(answer) // 2])
            self.close_connection = True
            return None
        if fault == "garbage":
            return self.say(200, b'{"choices": [{"tex')
        if fault == "unfinished":
            return self.say(200, {"choices": [{"text": "the ans", "finish_reason": None}]})
        return self.say(200, answer)

    def answer(self, body):
        chat = self.path.endswith("/chat/completions")
        n = min(body.get("n", 1), self.server.most_n or 10**6)
        asked = body["messages"][-1]["content"] if chat else body["prompt"]
        choices = []
        for i in range(n):
            key = hashlib.sha256(f"{body.get('seed')} {asked} {i}".encode()).digest()
            text = f"the answer is {key[0] % 5}"
            choice = {"index": i, "finish_reason": "stop" if key[1] % 4 else "length"}
            choices.append(choice | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text}))
            if body.get("logprobs"):
                tokens = [-0.5, -key[2] / 100]
                one = {"content": [{"logprob": x} for x in tokens]} if chat else {"token_logprobs": tokens}
                choices[-1]["logprobs"] = one
        usage = {"prompt_tokens": 5, "completion_tokens": 4 * n, "total_tokens": 5 + 4 * n}
        return {"choices": choices, "usage": usage}


@contextmanager
def serving(*arguments, **options):
    server = FaultyServer(*arguments, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
