"""Every command and code block of README.md and docs/*.md runs and prints what the page shows."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from t2fast.cli import VERBS, build

_spec = importlib.util.spec_from_file_location("render", Path(__file__).parent.parent / "docs" / "render.py")
render = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(render)


#: Pages whose blocks need more than t2fast itself.
NEEDS = {
    "integrations": "trl",
    "kernels": "t2fast_kernels",
    "kernels-sampling": "t2fast_kernels",
    "sample": "transformers",
    "sample-engine": "transformers",
    "score": "transformers",
    "serve": "openai",
}


@pytest.mark.parametrize("page", render.pages(), ids=lambda page: page.name)
def test_page_shows_what_its_blocks_print(page, tmp_path):
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason="needs an extra")
    shown = page.read_text(encoding="utf-8")
    assert render.settled(render.render(page, tmp_path)) == render.settled(shown)


def readme_rows():
    """The README's first table: for whom, the command, the numbers."""
    lines = (render.ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    table = lines[first + 1 : lines.index("", first)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


@pytest.mark.parametrize(
    ("row", "source"),
    [(0, "README.md"), (1, "docs/passk.md"), (2, "bench/results/sampling-cpu.txt"), (3, "")],
    ids=["train", "evaluate", "sample", "serve"],
)
def test_numbers_of_the_readmes_first_table_are_those_shown_elsewhere(row, source, tmp_path):
    _, command, learned = readme_rows()[row]
    command = command.strip("`")
    shown = (render.ROOT / source).read_text(encoding="utf-8") if source else render.run_command(command, tmp_path)
    if source == "README.md":
        assert f"&& {command}\n" in shown
        shown = shown[shown.index(f"&& {command}\n") :]
    found = [float(number) for number in re.findall(r"\d+(?:\.\d+)?(?:e-?\d+)?", shown)]
    said = re.findall(r"\d+\.\d+", learned)
    assert said
    for number in said:
        # Rounded to as many digits as the table has.
        assert any(f"{one:.{len(number.split('.')[1])}f}" == number for one in found), f"{number}: {learned}"


def test_what_the_readme_says_of_the_second_study_is_what_its_page_says():
    """The page itself is held to the table that comes with t2fast, by a slow test of the laboratory."""
    readme = (render.ROOT / "README.md").read_text(encoding="utf-8")
    page = (render.ROOT / "docs" / "lab-small.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    claims = {row[0]: row for row in rows if row[0].isdecimal()}
    words = " ".join(readme.split())
    low, high = claims["6"][3].split(" to ")
    assert f"(difference {claims['6'][2]}, 90% interval {low} to +{high})" in words
    assert "it solved .703 of the problems and Chinchilla's .700" in words
    assert "solved .703 of the problems" in " ".join(page.split())
    regrets = {row[0].split("**")[0]: row for row in rows if len(row) == 3}
    same = {"the default: the mean of three forms": "average", "T2, as published, refitted": "T2",
            "Chinchilla's law": "Chinchilla refitted"}  # fmt: skip
    table = readme[readme.index("| rule | Pythia") :].splitlines()[2:8]
    for name, *_, said in ([cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table):
        _, value, interval = regrets[same.get(name, name)]
        assert said in (value, f"{value} [{interval.replace(' to ', ', ')}]"), name


#: A command wherever it stands: in a block that is not run, within a line, continued by a backslash.
COMMAND = re.compile(r"(?:^|[`\s])t2fast ([a-z]+)((?:\\\n|[^`\n#|;&])*)", re.MULTILINE)
FLAG = re.compile(r"(?<![\w-])(--?[A-Za-z][\w-]*)")


def _flags(verb, words):
    """The flags that a command knows."""
    command = typer.main.get_command(build([verb]))
    if hasattr(command, "commands"):
        command = command.commands[verb]
    if hasattr(command, "commands"):
        command = command.commands[next(word for word in words.split() if word in command.commands)]
    return {"--help"}.union(*(one.opts + one.secondary_opts for one in command.params))


@pytest.mark.parametrize(
    "page", [*render.pages(), *sorted(render.ROOT.glob("examples/*.py"))], ids=lambda one: one.name
)
def test_commands_have_the_flags_that_pages_show(page):
    for verb, words in COMMAND.findall(page.read_text(encoding="utf-8")):
        if verb in VERBS and FLAG.search(words):
            unknown = set(FLAG.findall(words)) - _flags(verb, words)
            assert not unknown, f"t2fast {verb}{words}: {', '.join(sorted(unknown))}"
