"""Print the oldest versions that the metadata allows, as pip constraints: ``python .ci/floors.py >floors.txt``.

What the metadata claims, CI runs: one leg of ``.ci/run`` installs these and runs the tests on them.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def floors() -> dict[str, str]:
    """The highest floor that either distribution sets, by package; a distribution of our own has none."""
    found: dict[str, str] = {}
    for manifest in (ROOT / "pyproject.toml", ROOT / "kernels" / "pyproject.toml"):
        project = tomllib.loads(manifest.read_text(encoding="utf-8"))["project"]
        # What only developers use has no floor worth testing: format, lints and types run with the newest.
        extras = [one for name, extra in project["optional-dependencies"].items() if name != "dev" for one in extra]
        listed = [*project["dependencies"], *extras]
        for requirement in listed:
            match = re.match(r"([A-Za-z0-9._-]+)(?:\[.*?\])?>=([0-9.]+)", requirement)
            if match is None or match[1].startswith("t2fast"):
                continue
            name, version = match[1].lower(), match[2]
            if _parts(version) > _parts(found.get(name, "0")):
                found[name] = version
    return found


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


if __name__ == "__main__":
    # A floor of 2.11 means the first release of that line.
    print("\n".join(f"{name}=={version}" for name, version in sorted(floors().items())))
