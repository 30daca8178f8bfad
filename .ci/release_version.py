"""Check that every place that names the version names the same one, and the tag $TAG too where it is set.

The places: the workspace of the crates, both distributions, the package, the citation, and the newest section of the
changelog, which must be dated when a tag is released.
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
    "CITATION.cff": r"^version: (\S+)",
    "CHANGELOG.md": r"^## (\S+)",
}
#: The crate's requirement of itself within the workspace, and the extra that names t2fast-kernels.
FOLLOWERS = {"Cargo.toml": r't2fast-core = \{ path = "[^"]+", version = "([^"]+)"'}


def faults(root: Path, tag: str) -> list[str]:
    """What disagrees, a line each; empty when all agree."""
    versions = {}
    for place, pattern in [*PLACES.items(), *FOLLOWERS.items()]:
        found = re.search(pattern, (root / place).read_text(encoding="utf-8"), re.MULTILINE)
        versions[place if place not in versions else f"{place} (t2fast-core)"] = found[1] if found else "none"
    said = []
    if len(set(versions.values())) > 1:
        said.append("versions differ: " + ", ".join(f"{place} {version}" for place, version in versions.items()))
    if tag and tag != f"v{versions['Cargo.toml']}":
        said.append(f"the tag {tag} is not v{versions['Cargo.toml']}")
    heading = re.search(r"^## .*", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    if tag and heading and not re.search(r"\(\d{4}-\d\d-\d\d\)", heading[0]):
        said.append(f"the changelog has no date: {heading[0]!r}")
    return said


if __name__ == "__main__":
    sys.exit("\n".join(faults(ROOT, os.environ.get("TAG", ""))) or None)
