"""Every place that names the version names the same one."""

import importlib.util
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("release_version", ROOT / ".ci" / "release_version.py")
release_version = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release_version)


@pytest.fixture
def copy(tmp_path):
    for place in {**release_version.PLACES, **release_version.FOLLOWERS}:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    return tmp_path


def test_the_versions_agree():
    assert release_version.faults(ROOT, "") == []


@pytest.mark.parametrize("place", release_version.PLACES)
def test_a_place_left_behind_is_named(copy, place):
    text = (copy / place).read_text()
    found = release_version.re.search(release_version.PLACES[place], text, release_version.re.MULTILINE)
    (copy / place).write_text(text[: found.start(1)] + "9.9.9" + text[found.end(1) :])
    assert f"{place} 9.9.9" in "\n".join(release_version.faults(copy, ""))


@pytest.mark.parametrize("place", release_version.FOLLOWERS)
def test_what_asks_for_another_version_is_named(copy, place):
    text = (copy / place).read_text()
    found = release_version.re.search(release_version.FOLLOWERS[place], text, release_version.re.MULTILINE)
    (copy / place).write_text(text[: found.start(1)] + "0.1" + text[found.end(1) :])
    assert f"{place} asks for 0.1" in "\n".join(release_version.faults(copy, ""))


def test_the_packages_say_what_their_distributions_are():
    import t2fast

    assert t2fast.__version__ == release_version._named(ROOT, "Cargo.toml", release_version.PLACES["Cargo.toml"])


def test_a_tag_must_be_the_version_and_the_changelog_dated(copy):
    changelog = copy / "CHANGELOG.md"
    version = release_version.re.search(
        release_version.PLACES["Cargo.toml"], (copy / "Cargo.toml").read_text(), release_version.re.MULTILINE
    )[1]
    text = changelog.read_text()
    heading = next(line for line in text.splitlines() if line.startswith("## "))
    changelog.write_text(text.replace(heading, f"## {version} (2026-12-01)"))
    assert release_version.faults(copy, f"v{version}") == []
    assert "is not v" in "\n".join(release_version.faults(copy, "v9.9.9"))
    changelog.write_text(text.replace(heading, f"## {version} (unreleased)"))
    assert "no date" in "\n".join(release_version.faults(copy, f"v{version}"))
