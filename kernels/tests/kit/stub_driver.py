"""A CUDA driver that launches nothing: kernels are bound and compiled as on a GPU, over CPU tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from triton.backends.compiler import GPUTarget
from triton.runtime import driver


class _Utils:
    def load_binary(self, *_: object) -> tuple[int, int, int, int, int]:
        return 1, 1, 32, 0, 1024

    def unload_module(self, *_: object) -> None:
        pass

    def get_device_properties(self, _device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "multiprocessor_count": 132, "warpSize": 32}


class _Driver:
    utils = _Utils()
    #: Kernels launched: their names.
    launched: list[str]
    #: What each was given, in the order of its parameters.
    arguments: list[Any]

    def __init__(self) -> None:
        self.launched, self.arguments = [], []

    def launcher_cls(self, source: Any, *_: object) -> Any:
        name = source.fn.__name__

        def launch(*given: Any) -> None:
            current = driver.active  # compiled kernels outlive the stub that they were first launched with
            current.launched.append(name)
            current.arguments.append(given[9:])  # after grid, stream, function, metadata and hooks

        return launch

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def set_current_device(self, _device: int) -> None:
        pass

    def get_current_stream(self, _device: int) -> int:
        return 0

    def map_python_to_cpp_type(self, kind: str) -> str:
        return kind


@contextmanager
def stubbed(*operators: Any) -> Iterator[_Driver]:
    """Let the modules of these operators launch their kernels on CPU tensors, through a driver that does nothing."""
    stub = _Driver()
    before = driver._active
    driver.set_active(stub)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for module in operators:
                patch.setattr(module, "runs_triton", lambda _tensor: True)
            yield stub
    finally:
        driver.set_active(before)
