"""Check that every place that names the version names the same one, and the tag $TAG too where it is set.

The places: the workspace of the crates, both distributions and their packages, the citations, and the newest section of
the changelog, which must be dated when a tag is released.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: Where the version stands, and what surrounds it there.
PLACES = {
    "Cargo.toml": r'^version = "([^"]+)"',
    "kernels/pyproject.toml": r'^version = "([^"]+)"',
    "python/t2fast/__init__.py": r'^__version__ = "([^"]+)"',
    "kernels/t2fast_kernels/__init__.py": r'^__version__ = "([^"]+)"',
    "CITATION.cff": r"^version: (\S+)",
    "README.md": r"^  version = \{([^}]+)\}",
    "CHANGELOG.md": r"^## (\S+)",
}
#: What must ask for that version, as far as it names one: the core within the workspace, and the extras for kernels,
#: since both distributions are released together.
FOLLOWERS = {
    "Cargo.toml": r't2fast-core = \{ path = "[^"]+", version = "([^"]+)"',
    "pyproject.toml": r'"t2fast-kernels>=([^"]+)"',
}


def faults(root: Path, tag: str) -> list[str]:
    """What disagrees, a line each; empty when all agree."""
    versions = {place: _named(root, place, pattern) for place, pattern in PLACES.items()}
    said = []
    if len(set(versions.values())) > 1:
        said.append("versions differ: " + ", ".join(f"{place} {version}" for place, version in versions.items()))
    for place, pattern in FOLLOWERS.items():
        asked = _named(root, place, pattern)
        if not f"{versions['Cargo.toml']}.".startswith(f"{asked}."):
            said.append(f"{place} asks for {asked}, but the version is {versions['Cargo.toml']}")
    if tag and tag != f"v{versions['Cargo.toml']}":
        said.append(f"the tag {tag} is not v{versions['Cargo.toml']}")
    heading = re.search(r"^## .*", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if tag and heading and not re.search(r"\(\d{4}-\d\d-\d\d\)", heading[0]):
        said.append(f"the changelog has no date: {heading[0]!r}")
    return said


def _named(root: Path, place: str, pattern: str) -> str:
    found = re.search(pattern, (root / place).read_text(encoding="utf-8"), re.MULTILINE)
    return found[1] if found else "none"


if __name__ == "__main__":
    sys.exit("\n".join(faults(ROOT, os.environ.get("TAG", ""))) or None)
