"""The mean of several forms fitted to the same counts, with draws by training run and the checkpoints' scatter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from t2fast import arguments
from t2fast.errors import T2Error
from t2fast.fitting.ability import fit_beta_ability
from t2fast.fitting.draws import drawn
from t2fast.fitting.forms import FORMS, Forms, fit_forms
from t2fast.fitting.left_out import LeftOut, left_out
from t2fast.fitting.measured import measured
from t2fast.fitting.refit import Observed
from t2fast.fitting.rows import IntArray, Labels
from t2fast.fitting.scatter import pass_residuals, scatter
from t2fast.laws import Law, LawAverage
from t2fast.results import Progress, Report, Result
from t2fast.text import columns as aligned
from t2fast.text import warning_lines

__all__ = ["AverageFit", "fit_average"]

#: Coefficients by which a mean of these forms can bend to its checkpoints: as many as its largest part.
_COEFFICIENTS = 8
_WEIGHTS = {"equal": "equal weights", "lobo": "weights from training budgets left out"}


@dataclass(frozen=True, repr=False)
class AverageFit(Result):
    """The mean of several laws fitted to one table of counts; :func:`fit_average` makes one.

    Attributes
    ----------
    law
        The mean; its parts carry the draws of the bootstrap, it the scatter of the checkpoints.
    errors
        Mean absolute residual in pass@k, of the mean (``"average"``) and of each form.
    weighting
        ``"equal"`` or ``"lobo"``: where the weights come from.
    left_out
        How each form, ``"equal"`` and ``"lobo"`` (the mean with either weights) did on training budgets left out one by
        one; empty where the table offers no choice at two budgets.
    n_rows, n_checkpoints
        Rows fitted, and distinct (N, D) among them.
    n_resamples, seed
        Replicates behind the draws, and the key of the random numbers.
    warnings
        What a user must know before relying on the law.
    observed
        The rows that the law was fitted to, as mean pass@k.

    Examples
    --------
    >>> from t2fast.datasets import load_lab
    >>> from t2fast.fitting import average_table
    >>> found = average_table(load_lab().counts, n_resamples=0)
    >>> found.n_checkpoints, len(found.law.laws)
    (42, 3)
    """

    law: LawAverage
    errors: Mapping[str, float]
    n_rows: int
    n_checkpoints: int
    n_resamples: int
    seed: int
    weighting: str
    left_out: Mapping[str, LeftOut]
    warnings: tuple[str, ...]
    observed: Observed = field(repr=False, compare=False)

    __hash__ = None  # type: ignore[assignment]

    def law_with_draws(self) -> Law:
        """The law: what ``t2fast.plan(fit, budget)`` plans with."""
        return self.law

    def headline(self) -> str:
        """How many forms, checkpoints, and the residual."""
        return (
            f"mean of {len(self.law.laws)} forms, {self.n_checkpoints} checkpoints, residual "
            f"{self.errors['average']:.2g} in pass@k"
        )

    def summary(self) -> str:
        """The forms, their residuals and how they did on budgets left out, as a table of at most 80 columns."""
        table = [["  form", "weight", "residual", *(["error", "regret"] if self.left_out else [])]]
        for row in self.rows():
            cells = (row["weight"], row["residual"], row["error"], row["regret"])
            shown = ["" if cell is None else f"{cell:.{2 if i == 0 else 4}f}" for i, cell in enumerate(cells)]
            table.append([f"  {row['form']}", *shown][: len(table[0])])
        lines = [self.headline(), *aligned(table)]
        if self.left_out:
            lines += self._gain()
        if self.n_resamples:
            lines.append(f"  draws: {self.n_resamples} over training runs, seed {self.seed}")
        return "\n".join([*lines, *warning_lines(self.warnings, "  ")])

    def _gain(self) -> list[str]:
        """What the mean gains over the best single form, in words."""
        mean = self.left_out[self.weighting]
        lines = ["  error and regret in pass@k: on training budgets left out, one by one"]
        for what, own in (("error", mean.error), ("regret", mean.regret)):
            best, form = min((getattr(self.left_out[form], what), form) for form in FORMS)
            lines.append(f"  {what} of the mean minus that of the best form, {form}: {own - best:+.4f}")
        return lines

    def rows(self) -> list[dict[str, Any]]:
        """A row per form, and one for each mean.

        form, weight, mean absolute residual in pass@k, and error and regret on training budgets left out.
        """
        weights = dict(zip(FORMS, self.law.weights, strict=True))
        found = []
        for name in ("equal", "lobo", *FORMS):
            if name == self.weighting or name in FORMS or name in self.left_out:
                scores = self.left_out.get(name)
                found.append(
                    {
                        "form": f"average, {name} weights" if name not in FORMS else name,
                        "weight": weights.get(name),
                        "residual": self.errors.get("average" if name == self.weighting else name),
                        "error": None if scores is None else scores.error,
                        "regret": None if scores is None else scores.regret,
                    }
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The fit as JSON data, without the rows that were fitted."""
        return {
            "law": self.law.to_dict(),
            "errors": dict(self.errors),
            "weighting": self.weighting,
            "left_out": {name: asdict(one) for name, one in self.left_out.items()},
            "n_rows": self.n_rows,
            "n_checkpoints": self.n_checkpoints,
            "n_resamples": self.n_resamples,
            "seed": self.seed,
            "warnings": list(self.warnings),
        }


def fit_average(
    n_params: ArrayLike,
    n_tokens: ArrayLike,
    *,
    n_samples: ArrayLike,
    n_correct: ArrayLike,
    problem: Labels,
    group: Labels | None = None,
    weights: Literal["equal", "lobo"] = "equal",
    n_resamples: int = 200,
    seed: int = 0,
    threads: int | None = None,
    name: str = "",
    params_counted: str = "",
    progress: Report | None = None,
) -> AverageFit:
    """Fit three forms to counts and average them in log-odds: the default where counts by problem exist.

    No single form is right. Sums of powers cannot say that small models get worse late in training unless a term of
    overtraining lets them; quadratics bend anywhere, but mean nothing far outside the data. Their mean picks designs of
    real checkpoints as well as the best of them does (docs/fit.md). The forms are the T2 law with a term of
    overtraining, item response in two stages with an ability quadratic in (ln N, ln D), and the beta-binomial
    likelihood with such an ability.

    The fit says how every form and the mean did where each training budget is left out in turn: mean absolute error of
    pass@1, 4, 16 and 64, and the regret of choosing by it (as in :func:`regret`).

    Parameters
    ----------
    n_params, n_tokens, n_samples, n_correct, problem
        A row per checkpoint and problem: parameters, training tokens, samples drawn, correct ones, the problem's label.
    group
        Labels of training runs, which the bootstrap draws; by default checkpoints of one size are one run.
    weights
        ``"equal"``, or ``"lobo"``: in inverse proportion to the mean squared error of each form on the training budgets
        left out. Neither is surely better than the other on real checkpoints (docs/fit.md).
    n_resamples
        Replicates of the bootstrap; 0 for none. In each, item response keeps its difficulties.
    seed, threads
        Key of the random numbers; number of threads, all of the machine's by default.
    name, params_counted
        Written into the law.
    progress
        Called with a :class:`~t2fast.results.Progress` now and then.

    Raises
    ------
    T2Error
        For values out of range, or checkpoints that do not determine the forms: fewer than nine, or without a spread of
        N, D and D/N; or where ``weights="lobo"`` and no two training budgets offer a choice.

    Examples
    --------
    >>> import numpy as np
    >>> import t2fast
    >>> from t2fast import fitting
    >>> n, d, j = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e9, 4), np.geomspace(2e9, 2e11, 4), range(40)))
    >>> truth = t2fast.load_law("pythia-gsm8k")
    >>> rng = np.random.default_rng(0)
    >>> right = rng.binomial(64, rng.beta(0.3, 0.3 / truth.value(n, d) - 0.3))
    >>> fit = fitting.fit_average(n, d, n_samples=np.full(len(n), 64), n_correct=right, problem=j, n_resamples=20)
    >>> len(fit.law.laws), len(list(fit.law.resampled())) > 10
    (3, True)
    """
    total = arguments.whole("n_resamples", n_resamples)
    key = arguments.seed(seed)
    weighting = arguments.choice("weights", weights, ("equal", "lobo"))
    forms = fit_forms(n_params, n_tokens, n_samples, n_correct, problem, group=group, threads=threads)
    observed = forms.t2.observed
    data = forms.t2.law.data_range
    draws: dict[str, Mapping[str, list[float]]] = {}
    if total:
        draws = _draws(forms, total, key, threads, progress)
    laws = tuple(
        replace(law, name=form, title=FORMS[form], data_range=data, uncertainty={"draws": draws[form]} if draws else {})
        for form, law in forms.laws.items()
    )
    tested = left_out(n_params, n_tokens, n_samples, n_correct, problem)
    if tested is None and weighting == "lobo":
        raise T2Error(
            "weights = 'lobo': no two training budgets offer a choice of three checkpoints whose laws the others "
            "determine: add checkpoints, or take weights = 'equal'"
        )
    bare = LawAverage(laws, tested.weights if tested is not None and weighting == "lobo" else ())
    errors = {
        one: float(np.abs(pass_residuals(law, observed)).mean())
        for one, law in {"average": bare, **dict(zip(FORMS, laws, strict=True))}.items()
    }
    # What only concerns the inside of one form (a coefficient at its bound, the scale of its loss) is left to that.
    inside = (*(f"{name} = " for name in forms.t2.at_bound), "the loss inside this law")
    warnings = tuple(line for line in forms.t2.warnings if not line.startswith(inside))
    law = replace(
        bare,
        name=name,
        title="mean of several laws of pass@k",
        source=f"fitted by t2fast: mean in log-odds, {_WEIGHTS[weighting]}, of {'; '.join(FORMS.values())}",
        params_counted=params_counted,
        data_range=data,
        checkpoints=measured(*(np.asarray(x, dtype=np.float64) for x in (n_params, n_tokens, n_samples, n_correct))),
        uncertainty={
            "method": f"bootstrap over training runs, {total} replicates, seed {key}; scatter of the checkpoints",
            "scatter": scatter(bare, observed, _COEFFICIENTS),
        },
        warnings=warnings,
    )
    scores = {} if tested is None else tested.scores
    return AverageFit(
        law, errors, forms.t2.n_rows, forms.t2.n_checkpoints, total, key, weighting, scores, warnings, observed
    )


def _draws(
    forms: Forms, total: int, seed: int, threads: int | None, progress: Report | None
) -> dict[str, Mapping[str, list[float]]]:
    """Coefficients by form and name, replicate by replicate of one bootstrap over training runs."""
    refit, tally = forms.t2.refit, forms.tally
    _, first = np.unique(tally.checkpoint, return_index=True)
    run: IntArray = refit.cluster[first]
    runs = int(run.max()) + 1
    if runs < 3:
        raise T2Error(
            f"{runs} training runs: a bootstrap over runs needs three at least; give group=, or n_resamples=0"
        )
    power, _ = refit.replicates(("group",), seed, 0, total, threads)
    rows: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for i in range(total):
        weights = drawn(runs, seed, i)[run].astype(np.float64)
        # Where the runs drawn determine no quadratic, the replicate is left out of all forms.
        if (
            np.isfinite(power[i]).all()
            and np.linalg.matrix_rank(tally.design()[weights > 0]) == tally.design().shape[1]
        ):
            rows["overtraining"].append(dict(zip(refit.core.names(), power[i].tolist(), strict=True)))
            rows["item-response"].append(forms.stage.law(weights).coefficients)
            rows["beta-ability"].append(fit_beta_ability(tally, weights, forms.beta).coefficients)
        if progress is not None:
            progress(Progress(i + 1, total, "replicates"))
    if len(rows["overtraining"]) < 2:
        raise T2Error("too few of the resampled tables determine the forms: add training runs, or set n_resamples=0")
    return {
        form: {name: [float(f"{row[name]:.7g}") for row in found] for name in found[0]} for form, found in rows.items()
    }
