"""Throughput of the whole sampler against transformers' own, in the same process, with the floor of the machine beside it.

``python -m bench.sampling`` runs the cases for the machine it is on; ``--model``, ``--case prompts,k,prompt,new`` choose.
Ours and theirs take turns; medians. vLLM joins on the CPU where it is installed: in this environment, or in the one
whose interpreter ``--vllm`` names; ``--no-generate`` leaves the slow peer out. ``--invariance`` measures instead how
samples depend on the size of the batch.
"""

import argparse
import contextlib
import csv
import importlib.util
import io
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from t2fast.sampling import Prompt, Sampler, SamplingParams

MODELS = {
    # 4M parameters.
    "small": (LlamaForCausalLM, LlamaConfig, {
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 4, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 2048,
    }),
    # 32M and 34M parameters.
    "32m": (LlamaForCausalLM, LlamaConfig, {
        "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 10, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 2048,
    }),
    "34m": (LlamaForCausalLM, LlamaConfig, {
        "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10, "num_attention_heads": 8,
        "num_key_value_heads": 4, "vocab_size": 2048,
    }),
    # 58M parameters.
    "50m": (LlamaForCausalLM, LlamaConfig, {
        "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 8, "num_attention_heads": 8,
        "num_key_value_heads": 2, "vocab_size": 32768,
    }),
    # The shape of Qwen3-0.6B.
    "0.6b": (Qwen3ForCausalLM, Qwen3Config, {
        "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28, "num_attention_heads": 16,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True,
    }),
}  # fmt: skip
#: By model: prompts, samples of each, tokens of a prompt, new tokens.
CASES = {
    "cpu": {
        "small": [(1, 64, 512, 64), (4, 16, 512, 64), (16, 4, 64, 32)],
        "34m": [(1, 16, 256, 64)],
        "32m": [(1, 64, 512, 64), (1, 64, 2048, 32), (4, 16, 512, 64), (16, 4, 64, 32)],
    },
    "cuda": {"0.6b": [(1, 128, 2048, 256), (8, 128, 2048, 256)]},
}


class Vllm:
    """vLLM in a process of its own, on one model."""

    def __init__(self, python, model, most_rows):
        self.folder = tempfile.TemporaryDirectory()
        model.save_pretrained(self.folder.name)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in close
        settings = {
            "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": str(torch.get_num_threads()),
        }  # fmt: skip
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        peer = str(Path(__file__).with_name("vllm_peer.py"))
        self.process = subprocess.Popen(
            [python, peer, self.folder.name, str(most_rows), str(model.config.vocab_size)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=outside | settings,
        )  # fmt: skip
        self.versions = json.loads(self.process.stdout.readline() or "null")
        if self.versions is None:
            self.process.communicate()
            self.log.seek(0)
            *_, reason = self.log.read().strip().splitlines() or ["no answer"]
            raise RuntimeError(reason)

    def __call__(self, case):
        print(json.dumps(case), file=self.process.stdin, flush=True)
        return tuple(json.loads(self.process.stdout.readline()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.log.close()
        self.folder.cleanup()


def built(name, device, dtype):
    """A random model without an end token, so that every sample has all of its tokens."""
    model_class, config_class, shape = MODELS[name]
    torch.manual_seed(0)
    config = config_class(**shape, max_position_embeddings=8192, eos_token_id=None, bos_token_id=None, pad_token_id=0)
    with torch.device(device):
        model = model_class._from_config(config, dtype=dtype).eval()
    model.generation_config.eos_token_id = None
    words = Tokenizer(models.WordLevel({str(i): i for i in range(shape["vocab_size"])}, unk_token="0"))
    return model, PreTrainedTokenizerFast(tokenizer_object=words, unk_token="0")


def clock(work):
    """Seconds on the wall, and of the processor, all threads together: the fair ones where others use the machine too."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    begun = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def machine(device, dtype):
    """Bytes and operations per second that a copy and a matrix product reach now."""
    x = torch.empty(1 << (30 if device == "cuda" else 26), dtype=torch.uint8, device=device).fill_(1)
    y = torch.empty_like(x)
    n = 8192 if device == "cuda" else 1024
    a = torch.randn(n, n, device=device, dtype=dtype)
    copies = [clock(lambda: y.copy_(x)) for _ in range(10)]
    products = [clock(lambda: a @ a) for _ in range(10)]
    return 2 * len(x) / min(copies)[0], 2 * n**3 / min(products)[0]


def floor(model, case, bandwidth, rate):
    """Seconds in which the run could be done: each step reads weights, prefixes and own tokens once, or computes.

    The embedding's rows are few and not counted; the head is. A step can't be quicker than its bytes or its operations.
    """
    prompts, k, prompt, new = case
    config = model.config
    itemsize = next(model.parameters()).dtype.itemsize
    parameters = sum(p.numel() for p in model.parameters())
    if not config.tie_word_embeddings:
        parameters -= model.get_input_embeddings().weight.numel()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kv = 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim * itemsize
    rows, own = prompts * k, (new + 1) / 2
    read = parameters * itemsize + kv * (prompts * prompt + rows * own)
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * head_dim
    flops = rows * (2 * parameters + attention * (prompt + own))
    prefill = prompts * prompt * (2 * parameters + attention * prompt / 2) / rate
    return prefill + new * max(read / bandwidth, flops / rate)


def run(model, tokenizer, case, rounds, peers, vllm):
    prompts, k, prompt, new = case
    rng = np.random.default_rng(0)
    ids = [tuple(rng.integers(1, model.config.vocab_size, prompt).tolist()) for _ in range(prompts)]
    sampler = Sampler(model, tokenizer, max_batch=prompts * k)
    sampler.eos = ()

    def ours():
        asked = [Prompt(str(i), token_ids=one) for i, one in enumerate(ids)]
        samples = list(sampler.sample(asked, SamplingParams(k=k, max_new_tokens=new)))
        assert sum(len(s.token_ids) for s in samples) == prompts * k * new

    def generate():
        x = torch.tensor(ids, device=model.device)
        out = model.generate(
            x, attention_mask=torch.ones_like(x), do_sample=True, top_k=0, num_return_sequences=k, max_new_tokens=new
        )
        assert out.shape == (prompts * k, prompt + new)

    def generate_batch():
        config = transformers.GenerationConfig(
            do_sample=True, top_k=0, num_return_sequences=k, max_new_tokens=new, eos_token_id=-1, pad_token_id=0
        )
        out = model.generate_batch([list(one) for one in ids], generation_config=config)
        assert sum(len(one.generated_tokens) for one in out.values()) == prompts * k * new

    ways = {"t2fast": lambda: clock(ours)}
    ways |= {
        peer.__name__: lambda peer=peer: clock(peer) for peer in (generate, generate_batch) if peer.__name__ in peers
    }
    if vllm is not None:
        ways["vllm"] = lambda: vllm(case)
    times = {name: [] for name in ways}
    peaks = {}
    try:
        for i in range(rounds + 1):
            for name, work in list(ways.items()):
                if torch.cuda.is_available():
                    torch.cuda.reset_peak_memory_stats()
                try:
                    with contextlib.redirect_stderr(io.StringIO()):
                        seconds = work()
                except Exception as error:  # a peer that can't run this is said to, and left out
                    print(f"  {name} does not run: {' '.join(str(error).split())[:150]}")
                    del ways[name], times[name]
                    continue
                if i:  # the first round compiles and allocates
                    times[name].append(seconds)
                if torch.cuda.is_available():
                    peaks[name] = torch.cuda.max_memory_allocated()
    except KeyboardInterrupt:
        print("  interrupted: what had been timed")
        return times, peaks, sampler.stats, True
    return times, peaks, sampler.stats, False


def write_row(path, model, name, case, speed, dtype):
    """Append a case of the sampler to a file that ``t2fast cost --calibrate`` reads."""
    prompts, k, prompt, new = case
    config = model.config
    heads = config.num_attention_heads
    shape = {
        "n_params": sum(p.numel() for p in model.parameters()), "layers": config.num_hidden_layers,
        "d_model": config.hidden_size, "heads": heads, "kv_heads": config.num_key_value_heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads, "vocab": config.vocab_size,
        "tied": bool(config.tie_word_embeddings), "name": name,
    }  # fmt: skip
    row = {
        "model": json.dumps(shape), "batch": prompts * k, "k": k, "prompt": "shared", "prompt_tokens": prompt,
        "answer_tokens": new, "tokens_per_second": f"{speed:.6g}",
        "dtype": {"float32": "fp32", "float16": "fp16"}.get(str(dtype).removeprefix("torch."), "bf16"),
    }  # fmt: skip
    new_file = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new_file:
            writer.writeheader()
        writer.writerow(row)


def throughput(args, device):
    cases = {args.model or "small": args.case} if args.case else CASES[device]
    if args.model and not args.case:
        cases = {args.model: CASES[device].get(args.model) or next(iter(CASES[device].values()))}
    for name, some in cases.items():
        model, tokenizer = built(name, device, args.dtype)
        vllm = peer(args.vllm, model, max(case[0] * case[1] for case in some)) if device == "cpu" else None
        measure(args, device, name, some, model, tokenizer, vllm)
        if vllm is not None:
            vllm.close()
    print(f"\npeak of the process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def peer(python, model, most_rows):
    """vLLM on this model, or None and a word."""
    if python is None and importlib.util.find_spec("vllm") is None:
        print("vLLM is not installed here and left out (--vllm names the interpreter of an environment that has it)")
        return None
    try:
        vllm = Vllm(python or sys.executable, model, most_rows)
    except (OSError, RuntimeError) as error:
        print(f"vLLM does not start and is left out: {error}")
        return None
    print("vLLM {}, torch {}".format(*vllm.versions))
    return vllm


def measure(args, device, name, cases, model, tokenizer, vllm):
    bandwidth, rate = machine(device, args.dtype)
    size = sum(p.numel() for p in model.parameters())
    print(
        f"\n{name}: {size / 1e6:.1f}M parameters, {args.dtype}; copy {bandwidth / 1e9:.1f} GB/s, matrix product {rate / 1e12:.3f} TFLOP/s"
    )
    peers = {"generate"} if args.generate else set()
    peers |= {"generate_batch"} if args.generate_batch else set()
    for case in cases:
        prompts, k, prompt, new = case
        least = floor(model, case, bandwidth, rate)
        load = os.getloadavg()[0]
        print(
            f"\n{prompts} prompts of {prompt} tokens, {k} samples each, {new} new tokens; floor {least:.2f} s; load {load:.1f}"
        )
        times, peaks, stats, interrupted = run(model, tokenizer, case, args.rounds, peers, vllm)
        if not times.get("t2fast"):
            sys.exit("t2fast was not timed")
        ours = [statistics.median(one) for one in zip(*times["t2fast"], strict=True)]
        if args.csv:
            write_row(args.csv, model, name, case, prompts * k * new / ours[0], args.dtype)
        for way, seconds in times.items():
            if not seconds:
                continue
            middle, busy = (statistics.median(one) for one in zip(*seconds, strict=True))
            spread = max(seconds)[0] - min(seconds)[0]
            memory = f", peak {peaks[way] / 1e9:.2f} GB" if way in peaks else ""
            print(
                f"  {way:15} {middle:8.2f} s (spread {spread:.2f}) {prompts * k * new / middle:9.0f} tokens/s"
                f"  {least / middle:4.0%} of floor, {middle / ours[0]:5.2f} times ours; "
                f"processor {busy:.2f} s, {busy / ours[1]:.2f} times ours{memory}"
            )
        print(
            f"  prefilled {stats.prefilled} tokens, {stats.steps} steps of {stats.rows / stats.steps:.0f} rows, "
            f"KV {stats.pages * stats.page_bytes / 1e6:.0f} MB at most, host waited {stats.waited / stats.seconds:.0%}"
        )
        if interrupted:
            sys.exit(1)


def invariance(args, device):
    """What of a sample changes with the batch: tokens, and log-probabilities of the tokens before the first that does."""
    prompts = [
        Prompt(str(i), token_ids=tuple(np.random.default_rng(i).integers(1, 2000, 100).tolist())) for i in range(8)
    ]
    params = SamplingParams(k=8, max_new_tokens=64, logprobs=True)
    for dtype in (torch.float32, torch.bfloat16):
        model, tokenizer = built(args.model or "small", device, dtype)
        with torch.no_grad():
            for weight in model.parameters():  # the default's logits are so small that nothing could flip
                if weight.dim() > 1:
                    weight.mul_(4)
        found = {}
        for batch in (64, 1, 7, 32):
            one = Sampler(model, tokenizer, max_batch=batch)
            one.eos = ()
            found[batch] = {(s.prompt_id, s.sample): s for s in one.sample(prompts, params)}
        for batch, samples in found.items():
            if batch == 64:
                continue
            differ, most, same = 0, 0.0, 0
            for key, sample in samples.items():
                other = found[64][key]
                equal = [a == b for a, b in zip(sample.token_ids, other.token_ids, strict=True)]
                length = equal.index(False) if False in equal else len(equal)
                differ += length < len(equal)
                pairs = list(zip(sample.logprobs[:length], other.logprobs[:length], strict=True))
                most = max([most, *(abs(a - b) for a, b in pairs)])
                same += sum(a == b for a, b in pairs)
            total = sum(len(s.token_ids) for s in samples.values())
            print(f"{dtype!s:15} batch {batch:2} against 64: {differ} of 64 samples differ in a token ({total} tokens); "
                  f"log-probabilities by at most {most:.1e}, {same / total:.0%} of them bit by bit the same")  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--case", action="append", type=lambda text: tuple(map(int, text.split(","))))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", type=lambda name: getattr(torch, name))
    parser.add_argument("--vllm", metavar="PYTHON", help="interpreter of an environment with vllm-cpu")
    parser.add_argument("--invariance", action="store_true")
    parser.add_argument("--csv", type=pathlib.Path, help="append the sampler's speeds, for t2fast cost --calibrate")
    parser.add_argument(
        "--generate", action=argparse.BooleanOptionalAction, default=True, help="also run transformers' generate"
    )
    parser.add_argument(
        "--generate-batch", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available(),
        help="also run transformers' continuous batching, which on the CPU takes minutes and most of the memory",
    )  # fmt: skip
    args = parser.parse_args()
    args.dtype = args.dtype or (torch.bfloat16 if args.device == "cuda" else torch.float32)
    chip = torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine()
    print(
        f"{chip}, {os.cpu_count()} CPUs, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {transformers.__version__}; load {os.getloadavg()[0]:.1f}"
    )
    (invariance if args.invariance else throughput)(args, args.device)


if __name__ == "__main__":
    main()
