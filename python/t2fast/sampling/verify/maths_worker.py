"""The process that compares formulas with math-verify: a line of JSON in, a line of JSON out.

It runs by itself, without t2fast, so that it starts fast; a formula that takes for ever is ended by killing it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
from typing import Any

#: Bytes of memory: powers of powers would take it all.
_MOST_MEMORY = 4 << 30


def _limit() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = _MOST_MEMORY if most == resource.RLIM_INFINITY else min(most, _MOST_MEMORY)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def main() -> None:
    """Answer until the input ends."""
    _limit()
    logging.disable(logging.CRITICAL)
    try:
        from math_verify import LatexExtractionConfig, parse, verify
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        return
    latex = (LatexExtractionConfig(boxed_match_priority=0),)

    def read(formula: str) -> Any:
        # Its own time limits need signals and the main thread; ours is the life of this process.
        return parse(f"${formula}$", latex, fallback_mode="no_fallback", parsing_timeout=None)

    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if hasattr(signal, "alarm"):
            # Should the one who asked be gone, nobody would end this process.
            signal.alarm(int(asked["timeout"]) + 10)
        try:
            wanted, found = read(asked["wanted"]), read(asked["found"])
            same = bool(wanted and found) and verify(
                wanted, found, strict=True, allow_set_relation_comp=True, timeout_seconds=None
            )
            said: dict[str, Any] = {"same": bool(same), "read": bool(wanted)}
        except (Exception, RecursionError, MemoryError) as error:
            said = {"error": f"{type(error).__name__}: {error}"[:300]}
        if hasattr(signal, "alarm"):
            signal.alarm(0)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
