"""Data that come with t2fast: the checkpoints of a laboratory, with the counts of their sampled answers.

:func:`load_lab` gives the suites that ``t2fast lab run`` trained with the presets ``tiny`` and ``small``;
:meth:`Lab.read` reads one of your own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from t2fast import arguments, passk
from t2fast.data import Table
from t2fast.errors import DataError
from t2fast.files import object_from, read_object, write_text
from t2fast.quantity import format_quantity
from t2fast.results import Result

__all__ = ["Checkpoint", "Lab", "lab_names", "load_lab"]

#: Written into every table; a reader refuses what it does not know.
SCHEMA = "t2fast.lab/2"
#: What older tables call the same things.
_OLD_TABLE = {"samples": "n_samples", "questions": "problem_ids"}
_OLD_CHECKPOINT = {"correct": "n_correct"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model and what was measured of it.

    Parameters
    ----------
    run
        Its name.
    stage
        ``"grid"``; ``"tuned"``, one of the grid fine-tuned on one family and asked its problems alone; or
        ``"planned"``, ``"voted"`` and ``"chinchilla"``, the sides of the duel.
    tuned
        Whether it was fine-tuned on problems after training.
    n_params, n_tokens, seed
        N with embeddings, D, and the key of its first weights.
    loss
        Cross-entropy of text that no run trained on, nats per token; ``None`` after fine-tuning.
    answer_nll
        For each problem the negative log likelihood of the right answer with its end mark, nats. A sample is right
        when it is that answer, so that ``exp(-answer_nll)`` is the chance that it is.
    n_correct
        For each problem how many of the samples were right.

    Examples
    --------
    >>> one = load_lab().checkpoints[0]
    >>> one.stage, len(one.n_correct)
    ('chinchilla', 192)
    """

    run: str
    stage: str
    tuned: bool
    n_params: int
    n_tokens: int
    seed: int
    loss: float | None
    answer_nll: NDArray[np.float64]
    n_correct: NDArray[np.int64]

    @property
    def probability(self) -> NDArray[np.float64]:
        """The chance of a right sample, by problem."""
        return np.asarray(np.exp(-self.answer_nll))

    def to_dict(self) -> dict[str, Any]:
        """The checkpoint as JSON data."""
        return self.__dict__ | {"answer_nll": self.answer_nll.tolist(), "n_correct": self.n_correct.tolist()}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Checkpoint:
        """Read what :meth:`to_dict` gives."""
        data = {_OLD_CHECKPOINT.get(name, name): value for name, value in data.items()}
        arrays = {"answer_nll": np.asarray(data["answer_nll"], float), "n_correct": np.asarray(data["n_correct"], int)}
        return Checkpoint(**{**data, **arrays})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Checkpoint) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, repr=False)
class Lab(Result):
    """The table of a laboratory.

    Parameters
    ----------
    checkpoints
        The models.
    problem_ids, families
        Of each problem its id, and its family.
    n_samples
        Samples drawn of every problem by every model.
    manifest
        How the table was made: the preset, versions, device, hash of the text.

    Examples
    --------
    >>> lab = load_lab()
    >>> len(lab.grid), len(lab.side("planned")), lab.n_samples
    (42, 3, 256)
    """

    checkpoints: tuple[Checkpoint, ...]
    problem_ids: tuple[str, ...]
    families: tuple[str, ...]
    n_samples: int
    manifest: Mapping[str, Any]

    @property
    def grid(self) -> tuple[Checkpoint, ...]:
        """The checkpoints that laws are fitted to."""
        return tuple(one for one in self.checkpoints if one.stage == "grid")

    @property
    def tuned(self) -> tuple[Checkpoint, ...]:
        """The grid's models after fine-tuning on one family, in its order; empty where none was."""
        found = {one.run: one for one in self.checkpoints if one.stage == "tuned"}
        names = [f"{one.run}-tuned" for one in self.grid]
        return tuple(found[name] for name in names) if all(name in found for name in names) else ()

    @property
    def lesson(self) -> NDArray[np.bool_]:
        """Which problems are of the family that models were fine-tuned on."""
        family = self.manifest["preset"].get("lessons", {}).get("family")
        return np.array([one == family for one in self.families], dtype=np.bool_)

    def side(self, stage: str, tuned: bool = False) -> tuple[Checkpoint, ...]:
        """The models of one side of the duel, before or after fine-tuning."""
        return tuple(one for one in self.checkpoints if (one.stage, one.tuned) == (stage, tuned))

    def pass_at_k(self, one: Checkpoint, k: int) -> float:
        """Mean pass@k of one of the models over all problems, for k up to ``n_samples``."""
        return float(self.curve(one, np.array([k]))[0])

    def curve(self, one: Checkpoint, ks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean pass@k of one of the models at several k."""
        return np.asarray(passk.mean_pass_at_k(self.n_samples, one.n_correct, ks))

    def summary(self) -> str:
        """The size of the table, and the range of its grid."""
        n, d = ([getattr(one, name) for one in self.grid] for name in ("n_params", "n_tokens"))
        rates = [float(one.n_correct.mean()) / self.n_samples for one in self.grid]
        ranges = f"N {format_quantity(min(n))} to {format_quantity(max(n))}, D {format_quantity(min(d))} to "
        return (
            f"{len(self.grid)} models, {len(self.problem_ids)} problems, {self.n_samples} samples of each\n"
            f"{ranges}{format_quantity(max(d))}, pass@1 {min(rates):.3f} to {max(rates):.3f}"
        )

    def rows(self) -> list[dict[str, Any]]:
        """A row per checkpoint: its run, N, D, loss and mean pass@1."""
        names = ("run", "stage", "tuned", "n_params", "n_tokens", "seed", "loss")
        return [
            {name: getattr(one, name) for name in names} | {"pass_at_1": self.pass_at_k(one, 1)}
            for one in self.checkpoints
        ]

    @property
    def losses(self) -> Table:
        """N, D and loss of the grid, a row per checkpoint: for ``fit_chinchilla``."""
        rows = self.grid
        return Table(
            {
                "group": np.array([one.run for one in rows]),
                "n_params": np.array([one.n_params for one in rows], float),
                "n_tokens": np.array([one.n_tokens for one in rows], float),
                "loss": np.array([one.loss for one in rows], float),
            },
            "laboratory",
        )

    @property
    def counts(self) -> Table:
        """N, D, samples, right ones and the right answer's probability of the grid, a row per checkpoint and problem.

        ``fit_table`` makes of it Approach 1 (``"t2-loss"``, from the probabilities) and the counts likelihood
        (``"t2-pass"``).
        """
        return self.table(self.grid)

    def table(self, rows: Sequence[Checkpoint]) -> Table:
        """The same of any checkpoints that were asked the same problems: all, or those of the fine-tuning's family."""
        asked = np.ones(len(self.problem_ids), dtype=np.bool_)
        if rows and len(rows[0].n_correct) != len(asked):
            asked = self.lesson
        problem, family = np.array(self.problem_ids)[asked], np.array(self.families)[asked]
        each, n = len(problem), len(rows)
        return Table(
            {
                "group": np.repeat(np.array([one.run for one in rows]), each),
                "n_params": np.repeat(np.array([one.n_params for one in rows], float), each),
                "n_tokens": np.repeat(np.array([one.n_tokens for one in rows], float), each),
                "problem": np.tile(problem, n),
                "family": np.tile(family, n),
                "n_samples": np.full(each * n, float(self.n_samples)),
                "n_correct": np.concatenate([one.n_correct for one in rows]).astype(float),
                "probability": np.concatenate([one.probability for one in rows]),
            },
            "laboratory",
        )

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON data; :meth:`read` reads it back."""
        return {
            "schema": SCHEMA,
            "manifest": dict(self.manifest),
            "n_samples": self.n_samples,
            "problem_ids": list(self.problem_ids),
            "families": list(self.families),
            "checkpoints": [one.to_dict() for one in self.checkpoints],
        }

    def write(self, path: str | Path) -> None:
        """Write the table as JSON, a line per checkpoint."""
        data = self.to_dict()
        lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in data.pop("checkpoints"))
        head = json.dumps(data, separators=(",", ":"))
        write_text(path, f'{head[:-1]},"checkpoints":[\n{lines}\n]}}\n')

    @staticmethod
    def read(path: str | Path) -> Lab:
        """Read the table of a laboratory.

        Raises
        ------
        DataError
            When the file is missing or no such table.
        """
        return _lab(read_object(path, DataError), str(path))


def _lab(data: dict[str, Any], origin: str) -> Lab:
    try:
        if data["schema"] not in (SCHEMA, "t2fast.lab/1"):
            raise DataError(f"{origin}: schema = {data['schema']!r}: this version reads {SCHEMA!r} and older")
        data = {_OLD_TABLE.get(name, name): value for name, value in data.items()}
        return Lab(
            tuple(Checkpoint.from_dict(one) for one in data["checkpoints"]),
            tuple(data["problem_ids"]),
            tuple(data["families"]),
            data["n_samples"],
            data["manifest"],
        )
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{origin}: not the table of a laboratory: {error!r}") from None


def load_lab(name: str = "tiny") -> Lab:
    """A suite that comes with t2fast: small language models trained from scratch, their problems and samples.

    Parameters
    ----------
    name
        The preset that trained it; :func:`lab_names` lists those that come with this version.

    Raises
    ------
    T2Error
        For another name.

    Examples
    --------
    >>> print(load_lab())
    42 models, 192 problems, 256 samples of each
    N 5k to 123k, D 33.8k to 8.67M, pass@1 0.006 to 0.610
    """
    arguments.choice("name", name, lab_names())
    file = _tables().joinpath(f"{name}.json")
    return _lab(object_from(file.read_text(encoding="utf-8"), file.name, DataError), file.name)


def lab_names() -> list[str]:
    """Names of the suites that come with t2fast.

    Examples
    --------
    >>> lab_names()
    ['small', 'tiny']
    """
    return sorted(file.name.removesuffix(".json") for file in _tables().iterdir() if file.name.endswith(".json"))


def _tables() -> Traversable:
    return resources.files("t2fast").joinpath("lab", "tables")
