"""Draw the figure of docs/choose.md beside this file: ``python docs/figures/choose.py``, with T2FAST_DATA set.

Seven Pythia models, 100 of 10,000 samples on each of 128 problems of MATH (Large Language Monkeys).
"""

import os
from pathlib import Path

import numpy as np
from bench.coverage_choose import FILE, PRICES

from t2fast.choosing import choose
from t2fast.data import read_counts

table = read_counts([Path(os.environ["T2FAST_DATA"]) / FILE])
random = np.random.default_rng(0)
counts = {
    model: (100, random.hypergeometric(table.n_correct[rows], 10_000 - table.n_correct[rows], 100))
    for (model, _), rows in table.groups().items()
}
choose(counts, PRICES, 1e-4).plot(Path(__file__).parent / "choose.png")
