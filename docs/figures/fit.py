"""Draws the figures of docs/fit.md from the published data: ``python docs/figures/fit.py DATA``."""

import sys
from pathlib import Path

from t2fast import fitting
from t2fast.data import read_table

data, here = Path(sys.argv[1]), Path(__file__).parent
chinchilla = read_table(data / "chinchilla_epoch245.csv")
fit = fitting.fit_table(chinchilla.select(chinchilla["kept_by_besiroglu"] == 1), "chinchilla")
fit.plot(here / "fit-chinchilla.png")
pythia = read_table(data / "pythia_passk_counts.csv")
gsm8k = pythia.select((pythia["benchmark"] == "gsm8k") & (pythia["n_tokens"] >= 1e9))
fit = fitting.fit_table(gsm8k, "t2-pass")
fit.plot(here / "fit-gsm8k.png")
fitting.regret(pythia.select((pythia["benchmark"] == "gsm8k") & (pythia["n_tokens"] >= 2e9))).plot(
    here / "fit-regret.png"
)
