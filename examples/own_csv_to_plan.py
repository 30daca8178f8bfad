"""From a table of your own checkpoints to a plan: fit, check on what was held out, plan with an interval.

``python examples/own_csv_to_plan.py counts.csv TRAIN_FLOPS INFERENCE_FLOPS``

A row per checkpoint and problem: ``run, n_params, n_tokens, problem_id, n_samples, n_correct``; the column ``run`` says
which checkpoints come from one training, so that the bootstrap draws trainings. Without arguments it takes the
laboratory's 42 small models, which come with t2fast.
"""

import sys

import t2fast as t2
from t2fast import fitting
from t2fast.data import read_table
from t2fast.datasets import load_lab


def laboratory():
    """The laboratory's table, as a mapping of columns; a data frame would do as well."""
    lab = load_lab()
    rows = [
        (one.run, one.n_params, one.n_tokens, problem, lab.n_samples, correct)
        for one in lab.grid
        for problem, correct in zip(lab.problem_ids, one.n_correct, strict=True)
    ]
    names = ("run", "n_params", "n_tokens", "problem_id", "n_samples", "n_correct")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def main(path=None, train_flops="3e11", inference_flops="2e6"):
    """Fit, check, plan; returns the plan."""
    # Models of some thousand parameters are meant as they stand; a table of larger ones needs no unit.
    table = read_table(path) if path else read_table(laboratory(), units={"n_params": 1})
    law = fitting.fit_table(table, "t2-pass")
    held_out = fitting.backtest(table, "tokens_per_param > 60", laws=["t2-pass"])
    print(held_out)
    plan = t2.plan(
        law.bootstrap(200), t2.Budget(train_flops=float(train_flops), inference_flops=float(inference_flops))
    )
    print(plan)
    return plan


if __name__ == "__main__":
    main(*sys.argv[1:])
