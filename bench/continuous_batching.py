"""transformers' continuous batching with t2fast's attention beside its own, on the CPU, in one process.

``python -m bench.continuous_batching`` takes the cases below, ``--case prompts,k,prompt,new`` others. The same tokens are
asked of each attention (k forks of each prompt, greedy), which take turns; medians of the processor's seconds, all
threads together, for the whole call of ``generate_batch``.
"""

import argparse
import logging
import statistics
import time
import warnings

import numpy as np
import torch
import transformers
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig

import t2fast.integrations.transformers  # noqa: F401 - registers the attention
from bench.machine import CORES, commit, cpu
from bench.sampling import built

IMPLEMENTATIONS = ("paged|t2fast", "sdpa", "paged|eager")
CASES = [(1, 64, 512, 64), (1, 64, 2048, 32), (4, 16, 512, 64), (16, 4, 64, 32)]
PAGE = 16


def run(model, implementation, case):
    """Seconds of the processor that a call takes, and the tokens it gives."""
    prompts, k, prompt, new = case
    rng = np.random.default_rng(0)
    asked = [rng.integers(1, model.config.vocab_size, prompt).tolist() for _ in range(prompts)]
    model.set_attn_implementation(implementation)
    settings = GenerationConfig(max_new_tokens=new, do_sample=False, eos_token_id=-1, pad_token_id=0)
    settings.num_return_sequences = k  # its check allows this with sampling only; forks are what is measured
    pages = -(-prompt // PAGE) * prompts + (-(-new // PAGE) + 2) * prompts * k
    batching = ContinuousBatchingConfig(
        page_size=PAGE, num_blocks=2 * pages, max_batch_tokens=max(512, prompts * k), max_requests_per_batch=prompts * k
    )
    begun = time.process_time()
    found = model.generate_batch(asked, generation_config=settings, continuous_batching_config=batching)
    seconds = time.process_time() - begun
    assert len(found) == prompts * k
    return seconds, [one.generated_tokens for one in found.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", action="append", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--model", default="32m")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    model, _ = built(chosen.model, "cpu", torch.float32)
    print(
        f"t2fast {commit()}, transformers {transformers.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} of {CORES} threads, {cpu()}, model {chosen.model}, float32, pages of {PAGE}"
    )
    print(f"{'case':>18} {'paged|t2fast':>13} {'sdpa':>8} {'ratio':>6} {'paged|eager':>12} {'ratio':>6}  tokens equal")
    for case in chosen.case or CASES:
        seconds = {one: [] for one in IMPLEMENTATIONS}
        tokens = {}
        for _ in range(chosen.rounds):
            for one in IMPLEMENTATIONS:
                took, tokens[one] = run(model, one, case)
                seconds[one].append(took)
        ours, sdpa, eager = (statistics.median(seconds[one]) for one in IMPLEMENTATIONS)
        same = np.mean([a == b for a, b in zip(tokens["paged|t2fast"], tokens["sdpa"], strict=True)])
        name = "{}x{},{},{}".format(*case)
        print(
            f"{name:>18} {ours:11.1f} s {sdpa:6.1f} s {sdpa / ours:6.1f} {eager:10.1f} s {eager / ours:6.1f}  {same:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
