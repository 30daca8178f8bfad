"""Small models and small tasks with local data, for harnesses."""

import json
import random
from pathlib import Path

CHOICES = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: gold
doc_to_choice: options
metric_list:
  - metric: acc
  - metric: acc_norm
metadata: {{version: 1}}
"""
GREEDY = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n", "e"]
  do_sample: false
  max_gen_toks: 12
metric_list:
  - metric: exact_match
metadata: {{version: 1}}
"""
ROLLING = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: text
metric_list:
  - metric: word_perplexity
  - metric: bits_per_byte
metadata: {{version: 1}}
"""
#: As GSM8K is asked with repeats: a filter that finds the number, and keeps all repeats.
REPEATS = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {data}}}
test_split: test
output_type: generate_until
repeats: {repeats}
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["\\n"]
  do_sample: true
  temperature: 0.8
  max_gen_toks: 12
filter_list:
  - name: first-number
    filter:
      - function: regex
        regex_pattern: "(-?[0-9]+)"
        group_select: 0
metric_list:
  - metric: exact_match
metadata: {{version: 1}}
"""


def documents(n):
    draw = random.Random(0)
    for _ in range(n):
        a, b = draw.randrange(1, 10), draw.randrange(1, 10)
        options = [f" {a + b}", f" {a + b + 1}", f" {a * b} or so"]
        yield {
            "question": f"what is {a} + {b}?",
            "answer": str(a + b),
            "options": options,
            "gold": 0,
            "text": f"The quick brown fox jumps over the lazy dog. The answer is {a}. " * draw.randrange(1, 30),
        }


def write_tasks(folder: Path, n: int = 6, **tasks: str) -> Path:
    """A folder of tasks over n documents, each given by its name and its description."""
    folder.mkdir(exist_ok=True)
    data = folder / "documents.json"
    data.write_text("".join(json.dumps(one) + "\n" for one in documents(n)))
    for name, text in tasks.items():
        (folder / f"{name}.yaml").write_text(text.format(name=name, data=data, repeats=8))
    return folder
