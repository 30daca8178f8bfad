"""The one place from which kernels are launched: always on their tensors' device, whatever device is current."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from t2fast_kernels.configs import chip_of, overlaps

__all__ = ["Repeat", "launch", "overlapping", "repeated"]

#: Whether launches may begin while the one before is at work, where the chip can do that.
OVERLAP = True


def launch(kernel: Any, grid: tuple[int, ...], on: Tensor, /, *arguments: Any, **options: Any) -> Any:
    """Launch a Triton kernel over ``grid`` on the device of ``on``; returns what was compiled for it."""
    with torch.cuda.device_of(on):
        return kernel[grid](*arguments, **options)


def overlapping(on: Tensor) -> dict[str, bool]:
    """What a kernel that waits for the launch before it by itself is launched with."""
    overlap = OVERLAP and overlaps(chip_of(on.device))
    return {"OVERLAP": overlap} | ({"launch_pdl": True} if overlap else {})


class Repeat:
    """A launch once more, on other tensors of the same layout: without asking again what to compile for them."""

    def __init__(self, compiled: Any, grid: tuple[int, ...], names: list[str], arguments: dict[str, Any]) -> None:
        tensors = {name for name, value in arguments.items() if isinstance(value, Tensor)}
        self._places = [(i, name) for i, name in enumerate(names) if name in tensors]
        # Tensors are not kept alive for the sake of a later call.
        self._values = [None if name in tensors else arguments[name] for name in names]
        self._run = compiled[(*grid, *(1,) * (3 - len(grid)))]

    def __call__(self, on: Tensor, tensors: dict[str, Any]) -> None:
        """Launch on the device of ``on``; ``tensors`` by the names of the kernel's parameters."""
        values = self._values.copy()
        for i, name in self._places:
            values[i] = tensors[name]
        with torch.cuda.device_of(on):
            self._run(*values)


def repeated(
    kernel: Any, grid: tuple[int, ...], on: Tensor, arguments: dict[str, Any], options: dict[str, Any]
) -> Repeat | None:
    """Launch, and return what repeats it; None in the interpreter, which compiles nothing."""
    compiled = launch(kernel, grid, on, **arguments, **options)
    return None if compiled is None else Repeat(compiled, grid, kernel.arg_names, arguments)
