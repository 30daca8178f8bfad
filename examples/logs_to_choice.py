"""Choose among the models that you evaluated, and how many samples to draw of each question, for a price.

``python examples/logs_to_choice.py DOLLARS_PER_QUESTION PRICES.csv LOG [LOG ...]``

Logs are a file or folder for each model, as lm-evaluation-harness writes them with ``--log_samples`` (or any other that
``t2fast passk`` reads); prices have a row per model: ``model, input_dollars, output_dollars`` per million tokens, and
``input_tokens, output_tokens`` of a question.
"""

import sys
from pathlib import Path

import t2fast as t2
from t2fast import choosing, passk


def main(dollars, prices, *logs):
    """Print pass@k of every model and the choice; returns the choice."""
    counts = choosing.read_models([Path(log) for log in logs])
    print(passk.report(counts, [1, 4]), end="\n\n")
    paid = choosing.prices_of(counts, prices)
    choice = t2.choose(counts, paid, choosing.one_budget(paid, dollars=float(dollars), flops=None))
    print(choice)
    return choice


if __name__ == "__main__":
    main(*sys.argv[1:])
