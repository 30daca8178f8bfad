"""The scripts of examples/, as modules."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parent.parent.parent / "examples"


def load(name):
    """Import examples/NAME.py, without running what stands under ``__main__``."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
