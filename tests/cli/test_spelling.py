"""Messages name remedies in the spelling of the command that shows them, whoever wrote them."""

import ast
import json
import re
from pathlib import Path

import pytest
import typer

import t2fast
from t2fast import cli
from t2fast.cli.spelling import REMEDIES, spelled, spelled_warnings

COMMANDS = typer.main.get_command(cli.build()).commands


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        ("passk", "missing='drop' leaves it out", "--missing drop leaves it out"),
        ("choose", "a.csv:3: bad; malformed='skip' leaves", "a.csv:3: bad; --skip-malformed leaves"),
        ("passk", "name it with columns={'verdict': 'ok'}", "name it with --column verdict=ok"),
        ("passk", "with columns={'problem': ..., 'verdict': ...}", "with --column problem=... --column verdict=..."),
        ("fit", "columns={'loss': 'my loss'}", "--column 'loss=my loss'"),
        ("fit", "with units={'n_tokens': 1e9}", "with --unit n_tokens=1e9"),
        ("fit", "with units={'n_tokens':\n  1e9}", "with --unit n_tokens=1e9"),
        ("fit", "give group=, or n_resamples=0", "give --group, or --bootstrap 0"),
        ("regret", "or n_resamples=0", "or --n-resamples 0"),
        ("fit", "with budgets=[...], or", "with --isoflop-budgets ..., or"),
        ("passk", "choose one with metric=acc/mean", "choose one with --verdict acc/mean"),
        ("passk", "use metric='base'", "use --verdict base"),
        ("passk", "to count them together, give model=", "to count them together, give --model"),
        ("passk", "such as tau=0.5.", "such as --tau 0.5."),
        ("passk", "extrapolate_with='auto'", "--extrapolate auto"),
        ("passk", "scope = 'samples': has none; use scope='problems'", "scope = 'samples': has none; use --scope problems"),
        # What the command has no option for, and what is no argument at all.
        ("plan", "missing='drop'", "missing='drop'"),
        ("passk", "a.jsonl: no verdict", "a.jsonl: no verdict"),
        ("passk", "fit_t2_pass(model='x')", "fit_t2_pass(model='x')"),
    ],
)  # fmt: skip
def test_messages_are_spelled_for_the_command(command, text, shown):
    assert spelled(text, COMMANDS[command]) == shown


def test_outside_of_commands_nothing_changes():
    assert spelled("missing='drop'") == "missing='drop'"
    assert spelled_warnings({"warnings": ["missing='drop'"], "n": 1}) == {"warnings": ["missing='drop'"], "n": 1}


def messages():
    """Every text in the code of the package but docstrings; what is filled in is shown as ``...``."""
    for file in sorted(Path(t2fast.__file__).parent.rglob("*.py")):
        if file.parent.name in ("cli", "app"):  # they speak of options already, and write Python
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        inner = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                inner |= {id(one) for one in ast.walk(node) if one is not node}
                yield file.name, "".join(one.value if isinstance(one, ast.Constant) else "..." for one in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield file.name, node.value


def test_every_remedy_that_a_command_has_an_option_for_is_spelled():
    found = {}
    for file, text in messages():
        for name in re.findall(r"(?<![\w.\-/'\"@(])([a-z_]+)=(?=['\[{\w.]|$|[,;:\s])", text):
            found.setdefault(name, file)
    assert len(found) > 12
    parameters = {one.name for command in COMMANDS.values() for one in command.params}
    assert {name: file for name, file in found.items() if name in parameters and name not in REMEDIES} == {}


@pytest.mark.parametrize("name", REMEDIES)
def test_every_spelling_belongs_to_a_command(name):
    parameters = {one.name for command in COMMANDS.values() for one in command.params}
    assert set(REMEDIES[name]) <= parameters


def test_errors_and_warnings_reach_the_user_so_spelled(run, tmp_path):
    log = tmp_path / "a.jsonl"
    log.write_text('{"task_id": "a", "passed": true}\nnot json\n')
    for command in (("passk", log), ("choose", log, log)):
        code, out, err = run(*command)
        assert (code, out) == (2, "")
        assert "--skip-malformed leaves such lines out" in err
        assert "malformed=" not in err
    one = tmp_path / "one.csv"
    one.write_text("problem_id,n,c\na,10,3\n")
    code, out, err = run("passk", one)
    assert code == 0, err
    assert "use --scope samples" in out
    code, out, err = run("passk", one, "--json")
    assert "use --scope samples" in json.dumps(json.loads(out))
    table = tmp_path / "t.csv"
    table.write_text("params,tokens,val_loss\n1,2,3\n4,5,6\n")
    code, out, err = run("fit", table)
    assert "give the unit with --unit n_params=1e9" in err
    assert "units=" not in err


def test_choose_reads_logs_as_passk_does(run, tmp_path):
    for name, word in (("a", "yes"), ("b", "no")):
        lines = [f'{{"frage": "{q}", "gut": {str(word == "yes" or q == "x").lower()}}}' for q in "xyxyxy"]
        (tmp_path / f"{name}.jsonl").write_text("\n".join([*lines, "torn"]))
    (tmp_path / "prices.csv").write_text("model,dollars_per_sample\na,0.001\nb,0.001\n")
    code, out, err = run(
        "choose", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--prices", tmp_path / "prices.csv",
        "--dollars-per-question", "0.002", "--column", "problem=frage", "--column", "verdict=gut", "--skip-malformed",
        "--n-resamples", 20, "--json",
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["model"] == "a"
