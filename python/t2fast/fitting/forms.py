"""Several forms of law fitted to one table of counts, each by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from t2fast.fitting.ability import Abilities, Tally, abilities, fit_beta_ability
from t2fast.fitting.fits import fit_t2_pass
from t2fast.fitting.result import FitResult
from t2fast.fitting.rows import Labels, checkpoints, columns, labels
from t2fast.laws import BetaAbilityLaw, Law

__all__ = ["FORMS", "Forms", "fit_forms"]

#: The forms that are averaged, by what they are called, with what each is.
FORMS: Mapping[str, str] = {
    "overtraining": "T2 law with a term of overtraining",
    "item-response": "ability quadratic in ln N and ln D, a difficulty per problem",
    "beta-ability": "ability quadratic in ln N and ln D, Beta-distributed success",
}


@dataclass(frozen=True, eq=False)
class Forms:
    """Every form of :data:`FORMS` fitted to one table."""

    tally: Tally
    t2: FitResult
    stage: Abilities
    beta: BetaAbilityLaw

    @property
    def laws(self) -> dict[str, Law]:
        """The laws by the names of their forms."""
        return {"overtraining": self.t2.law, "item-response": self.stage.law(), "beta-ability": self.beta}


def fit_forms(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    n_samples: ArrayLike,
    n_correct: ArrayLike,
    problem: Labels,
    *,
    group: Labels | None = None,
    overtraining: bool = True,
    threads: int | None = None,
) -> Forms:
    """Fit every form, each by itself."""
    n, d, drawn_, right = columns(n_params=n_params, n_tokens=n_tokens, n_samples=n_samples, n_correct=n_correct)
    runs = n if group is None else group
    t2 = fit_t2_pass(
        n, d, n_samples=drawn_, n_correct=right, problem=problem, group=runs, overtraining=overtraining, threads=threads
    )
    checkpoint = checkpoints(n, d)
    _, first = np.unique(checkpoint, return_index=True)
    tally = Tally(n[first], d[first], checkpoint, labels(problem, len(n), "problem"), drawn_, right)
    return Forms(tally, t2, abilities(tally), fit_beta_ability(tally))
