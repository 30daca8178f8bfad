"""The back-test: laws fitted to part of the grid predict the runs that were held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from t2fast import fitting, passk
from t2fast.data import evaluate
from t2fast.datasets import Lab
from t2fast.lab.fits import fit_laws
from t2fast.lab.preset import Preset
from t2fast.laws import Law

__all__ = ["COUNTS", "NEGATIVE_LOG", "HeldOut", "back_test"]

FloatArray = NDArray[np.float64]
#: Laws: of the likelihood of counts, and of -log pass@k.
COUNTS, NEGATIVE_LOG = "counts likelihood", "Approach 1"


@dataclass(frozen=True)
class HeldOut:
    """How well a law predicts runs that it was not fitted to.

    Parameters
    ----------
    law, quantity
        Which law, and what it predicts: pass@k, or for Approach 1, which predicts that alone, the mean of -log pass@k.
    n_params, n_tokens
        The runs.
    observed, predicted
        The quantity, measured and predicted, by run.
    """

    law: str
    quantity: str
    n_params: FloatArray
    n_tokens: FloatArray
    observed: FloatArray
    predicted: FloatArray

    @property
    def errors(self) -> FloatArray:
        """Relative errors, by run."""
        return self.predicted / self.observed - 1


def back_test(lab: Lab, preset: Preset) -> tuple[HeldOut, ...]:
    """Fit all laws without the runs that the preset holds out and predict those; empty where too few are left."""
    held = evaluate(preset.holdout, lab.losses)
    grid = np.array(lab.grid, dtype=object)
    kept, hidden = grid[~held].tolist(), grid[held].tolist()
    if not hidden or len(kept) < 8:
        return ()
    laws = fit_laws(lab, kept)
    n, d = (np.array([float(getattr(one, name)) for one in hidden]) for name in ("n_params", "n_tokens"))
    k = preset.predicted_k
    rate = np.array([float(passk.mean_pass_at_k(lab.n_samples, one.n_correct, k)) for one in hidden])
    table = lab.table(hidden)
    shown, tokens, p = (table.number(name) for name in ("n_params", "n_tokens", "probability"))
    # In an order of its own.
    n1, d1, _, nll = fitting.neg_log_pass_at_k(shown, tokens, p, [k])
    found = [
        HeldOut(NEGATIVE_LOG, f"-log pass@{k}", n1, d1, nll, _values(laws.approach_1.law, n1, d1, k)),
        HeldOut("Approach 2", f"pass@{k}", n, d, rate, _values(laws.approach_2.law, n, d, k)),
        HeldOut(COUNTS, f"pass@{k}", n, d, rate, _values(laws.counts.law, n, d, k)),
    ]
    return tuple(found)


def _values(law: Law, n: FloatArray, d: FloatArray, k: float) -> FloatArray:
    return np.asarray(law.value(n, d, k))
