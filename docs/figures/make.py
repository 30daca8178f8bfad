"""Draw the documentation's figures beside this file: ``python docs/figures/make.py``."""

from pathlib import Path

import numpy as np

import t2fast as t2
from t2fast.plots import planning as plots

here = Path(__file__).parent
law = t2.load_law("pythia-gsm8k")
budget = t2.Budget(train_flops=1e22, inference_flops=1.4e11)

t2.plan("pythia-gsm8k-average", budget).plot(here / "plan.png")

sweep = t2.Budget().sweep(inference_flops=[2e9, 1.4e11, 1e13], train_flops=np.geomspace(1e19, 1e24, 41).tolist())
t2.frontier(law, sweep).plot(here / "frontier.png")

sizes = np.geomspace(1e7, 2e10, 200)
curves = [t2.isoflop(law, t2.Budget(train_flops=c, inference_flops=1.4e11), sizes) for c in (1e19, 1e20, 1e21, 1e22)]
plots.isoflop(curves, here / "isoflop.png")

axes = np.geomspace(1e7, 2e10, 160), np.geomspace(1e9, 3e13, 160), np.unique(np.geomspace(1, 1e4, 200).round())
t2.grid_search(law, budget, *axes).plot(here / "grid.png")
