"""Every public name says what it does, with an example that runs."""

from __future__ import annotations

import doctest

import pytest

import t2fast_kernels
from conftest import TRITON


@pytest.mark.skipif(TRITON, reason="the examples show what the CPU reference prints")
@pytest.mark.parametrize("name", t2fast_kernels.__all__)
def test_examples_run(name):
    public = getattr(t2fast_kernels, name)
    examples = [test for test in doctest.DocTestFinder(recurse=False).find(public, name) if test.examples]
    assert examples, f"{name} has no example"
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(examples[0], out=output.append)
    assert not failed, "".join(output)
