"""What the server did, counted, in the text format of Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

__all__ = ["Metrics"]

_SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
#: Numbers that only grow, with what they say.
_COUNTERS = {
    "prompt_tokens": "Tokens of prompts, each counted once however many choices it has.",
    "prefilled_tokens": "Tokens of prompts that were computed: those found in the tree of prefixes were not.",
    "generated_tokens": "Tokens drawn.",
    "samples": "Choices finished.",
    "cancelled_samples": "Choices dropped since their client left, or the server ended.",
    "steps": "Steps of the batch.",
    "rows": "Rows in all steps together.",
    "preemptions": "Choices paused since memory was short.",
    "disconnects": "Requests whose client left before the answer.",
    "restarts": "Times that the batch was begun anew after an error.",
}
_GAUGES = {
    "requests_running": "Requests with a place in the batch.",
    "requests_waiting": "Requests that wait for one.",
    "rows_running": "Choices that are being drawn.",
    "pages_used": "Pages of keys and values that choices hold.",
    "pages_cached": "Pages of prefixes that nobody reads now, kept for those who may.",
    "pages_total": "Pages of keys and values in all.",
    "page_bytes": "Bytes of a page.",
}


class Metrics:
    """Counters and gauges; from any thread.

    Examples
    --------
    >>> metrics = Metrics()
    >>> metrics.answered("completions", 200, 0.5)
    >>> 't2fast_requests_total{endpoint="completions",status="200"} 1' in metrics.text()
    True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By name.
        self.counters: Counter[str] = Counter()
        self.gauges: dict[str, float] = dict.fromkeys(_GAUGES, 0)
        self._answers: Counter[tuple[str, int]] = Counter()
        self._seconds: Counter[float] = Counter()
        self._sum = 0.0
        #: Seconds of a request, lately.
        self.usual = 1.0

    def add(self, name: str, count: int = 1) -> None:
        """Count."""
        with self._lock:
            self.counters[name] += count

    def set(self, **gauges: float) -> None:
        """Say how things stand."""
        with self._lock:
            self.gauges.update(gauges)

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """A request was answered."""
        with self._lock:
            self._answers[endpoint, status] += 1
            if status == 200:
                self._seconds[next((most for most in _SECONDS if seconds <= most), float("inf"))] += 1
                self._sum += seconds
                self.usual += 0.1 * (seconds - self.usual)

    def text(self) -> str:
        """Everything, as Prometheus reads it."""
        with self._lock:
            lines = ["# HELP t2fast_requests_total Requests answered.", "# TYPE t2fast_requests_total counter"]
            lines += [
                f't2fast_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}'
                for (endpoint, status), count in sorted(self._answers.items())
            ]
            for kind, known, values in (("counter", _COUNTERS, self.counters), ("gauge", _GAUGES, self.gauges)):
                for name, help_text in known.items():
                    full = f"t2fast_{name}{'_total' if kind == 'counter' else ''}"
                    lines += [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", f"{full} {values[name]:g}"
                              if isinstance(values[name], float) else f"{full} {values[name]}"]  # fmt: skip
            lines += ["# HELP t2fast_request_seconds From request to whole answer.",
                      "# TYPE t2fast_request_seconds histogram"]  # fmt: skip
            total = 0
            for most in _SECONDS:
                total += self._seconds[most]
                lines.append(f't2fast_request_seconds_bucket{{le="{most:g}"}} {total}')
            total += self._seconds[float("inf")]
            lines.append(f't2fast_request_seconds_bucket{{le="+Inf"}} {total}')
            lines += [f"t2fast_request_seconds_sum {self._sum:.6f}", f"t2fast_request_seconds_count {total}"]
        return "\n".join(lines) + "\n"
