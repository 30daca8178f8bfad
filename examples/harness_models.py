"""Train tiny models on two-step sums in words, and write down the sums they never saw as a task of harnesses.

    python examples/harness_models.py FOLDER

writes ``FOLDER/models/N-D`` for nine models (three sizes, three lengths of training), ``FOLDER/sums.jsonl`` with the
held-out problems, and ``FOLDER/tasks/sums.yaml``, the task of the lm-evaluation-harness. It stands in for the models
and the benchmark that you have: docs/harnesses.md goes on from there. Two minutes on two cores.
"""

import json
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WIDTHS, STEPS = (16, 32, 64), (100, 300, 900)
ROWS = 32
NAMES = ("ana", "ben", "eva", "tom")
WORDS = (
    "<eos>", "<pad>", "Q:", "A:", "has", "gets", "gives", "then", "left", "?", "+", "-", "=", ";", "####",
    *NAMES, *map(str, range(28)),
)  # fmt: skip
TASK = """\
task: sums
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
repeats: 64
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["Q:"]
  do_sample: true
  temperature: 1.0
  max_gen_toks: 24
filter_list:
  - name: number  # as GSM8K's strict-match, but keeps all repeats
    filter:
      - function: regex
        regex_pattern: "#### ([0-9]+)"
metric_list:
  - metric: exact_match
"""


def problem(name: int, a: int, b: int, c: int, kind: int) -> tuple[str, str, str]:
    """A question, its worked answer, and the number: as GSM8K has them, with ``####`` before the number."""
    who = NAMES[name]
    if kind:
        steps, told = [(a, "+", b, a + b), (a + b, "-", c, a + b - c)], f"gets {b} then gives {c}"
    else:
        steps, told = [(a, "+", b, a + b), (a + b, "+", c, a + b + c)], f"gets {b} then gets {c}"
    worked = " ; ".join(f"{x} {sign} {y} = {z}" for x, sign, y, z in steps)
    answer = str(steps[-1][3])
    return f"Q: {who} has {a} {told} left ? A:", f"{worked} #### {answer}", answer


def problems() -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Problems to train on, and those held out: no numbers of theirs occur in training."""
    seen, held_out = [], []
    for a in range(1, 10):
        for b in range(1, 10):
            for c in range(1, 10):
                for kind in range(2):
                    if kind and c > a + b:
                        continue
                    if (31 * a + 17 * b + 7 * c + kind) % 13 == 0:
                        held_out.append(problem((a + b + c) % 4, a, b, c, kind))
                    else:
                        seen += [problem(name, a, b, c, kind) for name in range(4)]
    return seen, held_out[::2]


def tokenizer() -> PreTrainedTokenizerFast:
    """A token for each word."""
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")


def train(width: int, steps: int, rows: torch.Tensor) -> tuple[LlamaForCausalLM, int]:
    """A model of this width, trained for so many steps; and the tokens it saw."""
    torch.manual_seed(width)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=width, intermediate_size=3 * width, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, head_dim=16, max_position_embeddings=64,
        tie_word_embeddings=True, eos_token_id=0, bos_token_id=None, pad_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps, pct_start=0.1)
    n_tokens = 0
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (ROWS,))]
        logits = model(batch[:, :-1]).logits
        cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), ignore_index=1).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        n_tokens += int((batch != 1).sum())
    return model.eval(), n_tokens


def main(folder: Path, widths: tuple[int, ...] = WIDTHS, lengths: tuple[int, ...] = STEPS) -> None:
    """Train and write everything."""
    seen, held_out = problems()
    one = tokenizer()
    texts = [one(f"{question} {worked} <eos>")["input_ids"] for question, worked, _ in seen]
    longest = max(map(len, texts))
    rows = torch.tensor([text + [1] * (longest - len(text)) for text in texts])
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "sums.jsonl"
    data.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, _, a in held_out))
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / "sums.yaml").write_text(TASK.format(data=data.resolve()))
    print("model,n_params,n_tokens")
    for width in widths:
        for steps in lengths:
            model, n_tokens = train(width, steps, rows)
            n_params = sum(p.numel() for p in model.parameters())
            where = folder / "models" / f"{n_params}-{n_tokens}"
            model.save_pretrained(where)
            one.save_pretrained(where)
            print(f"{where},{n_params},{n_tokens}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
