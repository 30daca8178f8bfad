"""Run in a process of its own: SGLang's engine on the CPU over prompts read from stdin, what it answers on stdout.

The process of its scheduler imports this file too, where steps that our backend plans are noted in the file that
``SEEN`` names.
"""

from __future__ import annotations

import json
import os
import sys

if os.environ.get("SEEN"):
    from t2fast_kernels.serving import RowPlanner

    plan = RowPlanner.plan

    def planning(self, block_tables, seq_lens):
        rows = plan(self, block_tables, seq_lens)
        planned = rows.buffers.planned
        n_items, n_rows = planned.counts[:2].tolist()
        items = planned.items[:n_items]
        seen = {"rows": n_rows, "shared": int((items[:, 4] - items[:, 3]).sum()), "all": int(seq_lens.sum())}
        with open(os.environ["SEEN"], "a") as file:
            print(json.dumps(seen), file=file)
        return rows

    RowPlanner.plan = planning


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # SGLang prints
    asked = json.load(sys.stdin)
    import sglang

    engine = sglang.Engine(
        model_path=asked["model"],
        attention_backend=asked["backend"],
        device="cpu",
        dtype="float32",
        skip_tokenizer_init=True,
        disable_cuda_graph=True,
        disable_overlap_schedule=True,
        sampling_backend="pytorch",
        max_total_tokens=4096,
        max_running_requests=8,
        context_length=1024,
    )
    try:
        engine.generate(input_ids=asked["prompts"][0], sampling_params={"max_new_tokens": 1})  # fills the radix tree
        replies = engine.generate(input_ids=asked["prompts"], sampling_params=asked["params"], return_logprob=True)
    finally:
        engine.shutdown()
    json.dump(
        [
            {"tokens": one["output_ids"], "logprobs": [p for p, *_ in one["meta_info"]["output_token_logprobs"]]}
            for one in replies
        ],
        answers,
    )
    answers.flush()


if __name__ == "__main__":
    main()
