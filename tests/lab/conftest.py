"""One synthetic laboratory, judged once for all tests, and a folder of one that trains."""

import pytest
from tests.support import laboratory, nano_lab

from t2fast.lab.findings import Findings, find


@pytest.fixture(scope="session")
def found() -> Findings:
    return find(laboratory.make(), laboratory.preset())


@pytest.fixture(scope="session")
def preset():
    return nano_lab.preset()


@pytest.fixture(scope="session")
def folder(preset, tmp_path_factory):
    """Text, tokenizer and problems of models of a few thousand parameters; not to be written to."""
    from t2fast.lab.suite import prepare

    place = tmp_path_factory.mktemp("lab") / "lab"
    prepare(preset, place)
    return place
