"""Drives the methods over shapes and logits: set up, check, then time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import torch

from bench.kernels import attention, sampling
from bench.kernels.attention import OURS, Missing
from bench.kernels.case import Case, OutOfTime, until
from bench.kernels.counting import Work, one_read, shared
from bench.kernels.inputs import TOLERANCE, Inputs, error
from bench.kernels.shapes import Logits, Shape
from t2fast_kernels.timing import Call, measure

#: Called with what is being measured.
Progress = Callable[[str], None]


class Runner:
    """Measures group after group, and leaves out from then on what could not be set up in half of a group's time."""

    def __init__(self, device: torch.device, dtype: torch.dtype, page_size: int, progress: Progress) -> None:
        self.device, self.dtype, self.page_size = device, dtype, page_size
        self._progress = progress
        self._slow: dict[tuple[str, str], str] = {}

    def attention(self, shape: Shape, deadline: float) -> list[Case]:
        """All methods on one shape. Ours is held to the definition in fp64, every other method to both."""
        half = (deadline - time.monotonic()) / 2
        inputs = Inputs(shape, self.device, self.dtype, self.page_size)
        tolerance = TOLERANCE[self.dtype]
        some = sorted({int(row) for row in torch.linspace(0, shape.rows - 1, 8)})
        exact = inputs.exact(some)
        mine: list[torch.Tensor] = []  # our result, once it has proved right

        def check(name: str, found: torch.Tensor) -> str | None:
            against = [("fp64", found[some], exact), *(("ours", found, result) for result in mine)]
            for whose, part, wanted in against:
                if (off := error(part, wanted)) > tolerance:
                    return f"relative error {off:.1e} against {whose}, {tolerance:.0e} allowed"
            if name == OURS:
                mine.append(found.clone())
            return None

        cases: list[Case] = []
        detail = f"{shape.heads} {str(self.dtype).removeprefix('torch.')}"
        for name, method in attention.METHODS.items():
            if cases and cases[0].note.startswith(name.removeprefix(f"{OURS} ")):
                continue  # what "auto" chose, and thus timed already

            def prepare(name: str = name, method: attention.Method = method) -> tuple[list[Call], str, str | None]:
                calls, note = method(inputs)
                return calls, note, check(name, calls[0]())  # type: ignore[arg-type]

            work = shared(shape, self.dtype.itemsize)
            cases += self._measure(("attention", str(shape), detail, name), work, prepare, deadline, half)
        return cases

    def sampling(self, logits: Logits, deadline: float) -> list[Case]:
        """All methods on one batch of logits."""
        half = (deadline - time.monotonic()) / 2
        batches = sampling.batches(logits, self.device)
        draws = 2048 if self.device.type == "cuda" else 256
        cases: list[Case] = []
        filtered = "" if logits.top_p is None else f"top-p {logits.top_p}, "
        for name, method in sampling.METHODS.items():

            def prepare(method: sampling.Method = method) -> tuple[list[Call], str, str | None]:
                calls, note = method(logits.top_p, batches)
                return calls, note, sampling.mistake(logits, method, self.device, draws)

            what = ("sampling", str(logits), f"{filtered}spread {logits.spread:g}", name)
            cases += self._measure(what, one_read(logits), prepare, deadline, half)
        return cases

    def _measure(
        self,
        what: tuple[str, str, str, str],
        work: Work,
        prepare: Callable[[], tuple[list[Call], str, str | None]],
        deadline: float,
        half: float,
    ) -> Iterator[Case]:
        kind, shape, _, name = what
        began = time.monotonic()
        self._progress(f"{kind} {shape}: {name}")

        def unmeasured(status: str, note: str) -> Case:
            return Case(*what, cache="", status=status, note=note, work=work)

        if (kind, name) in self._slow:
            yield unmeasured("skipped", self._slow[kind, name])
            return
        try:
            with until(deadline):
                calls, note, wrong = prepare()
                if wrong:
                    yield unmeasured("wrong", wrong)
                    return
                # Collected first: an exception on the way must not leave half a case.
                found = [("warm", measure(calls[:1], self.device))]
                if len(calls) > 1:
                    found.append(("cold", measure(calls, self.device)))
            yield from (Case(*what, cache=cache, status="ok", note=note, work=work, timing=t) for cache, t in found)
        except Missing as reason:
            yield unmeasured("missing", str(reason))
        except OutOfTime:
            yield unmeasured("skipped", "out of time; more with --minutes")
            if deadline - began >= half and name != OURS:
                self._slow[kind, name] = f"took too long at {shape}; more with --minutes"
        except torch.cuda.OutOfMemoryError:
            yield unmeasured("skipped", "does not fit the GPU's memory")
        except Exception as reason:
            # Whatever a peer throws is a line of the report, not the end of the run.
            text = " ".join(str(reason).split())
            yield unmeasured("failed", f"{type(reason).__name__}: {text[:300]}")
        finally:
            calls = []
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
