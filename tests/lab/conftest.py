"""One synthetic laboratory, judged once for all tests."""

import pytest
from tests.support import laboratory

from t2fast.lab.findings import Findings, find


@pytest.fixture(scope="session")
def found() -> Findings:
    return find(laboratory.make(), laboratory.preset())
