"""Real data, where it is: the folder that T2FAST_DATA names, or shared/data beside the checkout."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("T2FAST_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
LAWS, PASSK, COSTS, LADDER = (FOLDER / name for name in ("laws", "passk", "costs", "ladder"))


def needs(folder):
    """A mark that skips a test where a folder of the data is absent."""
    return pytest.mark.skipif(not folder.is_dir(), reason=f"no real data at {folder}; set T2FAST_DATA")
