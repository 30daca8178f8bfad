"""Run in a process of its own: vLLM's engine on the CPU over prompts read from stdin, what it answers on stdout.

``T2FAST_VLLM_CPU`` decides whose attention it is. Calls of ours are counted.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


def counted() -> dict[str, Any]:
    """Watch our backend: calls for each layer, and what each plan reads."""
    from t2fast_kernels.serving import RowPlanner
    from t2fast_kernels.vllm.cpu import SharedPrefixCPUImpl

    seen: dict[str, Any] = {"decodes": 0, "prefills": 0, "plans": []}
    plan, decode, packed = RowPlanner.plan, SharedPrefixCPUImpl.decode, SharedPrefixCPUImpl.packed

    def planning(self, block_tables, seq_lens):
        rows = plan(self, block_tables, seq_lens)
        planned = rows.buffers.planned
        n_items, n_rows = planned.counts[:2].tolist()
        items = planned.items[:n_items]
        shared = int((items[:, 4] - items[:, 3]).sum())
        own = int((seq_lens - planned.rows[:n_rows, 1]).sum())
        seen["plans"].append({"rows": n_rows, "shared": shared, "own": own, "all": int(seq_lens.sum())})
        return rows

    def decoding(self, *arguments):
        seen["decodes"] += 1
        decode(self, *arguments)

    def packing(self, *arguments):
        seen["prefills"] += 1
        return packed(self, *arguments)

    RowPlanner.plan, SharedPrefixCPUImpl.decode, SharedPrefixCPUImpl.packed = planning, decoding, packing
    return seen


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM prints
    asked = json.load(sys.stdin)
    from vllm import LLM, SamplingParams

    seen = counted() if os.environ.get("T2FAST_VLLM_CPU") == "1" else {}
    engine = LLM(asked["model"], dtype=asked["dtype"], seed=0, **asked["engine"])
    replies = []
    for each in asked["runs"]:
        params = SamplingParams(logprobs=1, ignore_eos=True, **each["params"])
        if seen:
            seen |= {"decodes": 0, "prefills": 0, "plans": []}
        done = engine.generate([{"prompt_token_ids": ids} for ids in each["prompts"]], params, use_tqdm=False)
        samples = [
            {
                "tokens": list(sample.token_ids),
                "logprobs": [step[t].logprob for step, t in zip(sample.logprobs, sample.token_ids, strict=True)],
            }
            for one in done
            for sample in one.outputs
        ]
        replies.append({"samples": samples, "seen": json.loads(json.dumps(seen))})
        engine.reset_prefix_cache()
    json.dump(replies, answers)
    answers.flush()


if __name__ == "__main__":
    main()
