"""``t2fast fit --rule`` as a user meets it."""

import json

import pytest
from tests.support.commands import t2fast as command


@pytest.fixture
def samples(tmp_path):
    """Samples with a cheap and a trusted verdict, an answer and a score."""
    rows = ["problem,base,passed,text,score"]
    for problem in range(60):
        for sample in range(8):
            right = (7 * problem + 3 * sample) % 10 < 1 + problem % 8
            accepted = right or (problem + sample) % 6 == 0
            answer = problem if right else problem + 1 + sample % 3
            rows.append(f"{problem},{int(accepted)},{int(right)},It is {answer}.,{right + 0.3 * (sample % 5)}")
    (tmp_path / "samples.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        ("verifier", ("--column", "cheap=base", "--fallback", "abstain", "--plot", "f.png")),
        ("majority", ("--extract", "numeric", "--rates", "0.2,0.8", "--plot", "f.png")),
        ("best-of", ("--bootstrap", "50")),
    ],
)
def test_rules_are_fitted_and_written(samples, rule, options):
    from t2fast.rules import load_rule

    done = command(
        "fit",
        "samples.csv",
        "--rule",
        rule,
        "--verdict",
        "passed",
        *options,
        "--out",
        "rule.json",
        "--json",
        cwd=samples,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["fit"]
    made = load_rule(samples / "rule.json")
    assert made.kind == report["rule"]["kind"] == rule
    assert made.n_draws == {"verifier": 400, "majority": 200, "best-of": 50}[rule]
    if "--plot" in options:
        assert (samples / "f.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rule", "verifier", "--verdict", "passed"), "no column of cheap verdicts: name it with --column cheap=..."),
        (("--rule", "majority", "--verdict", "passed"), "say how to find the answer in a text with --extract"),
        (("--rule", "majority", "--rising"), "--rising: has no effect here: --rule majority does not look at it"),
        (("--rule", "majority", "--law", "t2-pass"), "--law: has no effect here: it is an option of laws"),
        (("--rule", "best-of", "--plot", "x.png"), "--plot: has no effect here"),
        (("--rule", "majority", "--verdict", "passed", "--extract", "numeric", "--rates", "0.8,0.2"), "must rise"),
        (("--rule", "guess"), "'guess' is not one of"),
        (("--extract", "numeric"), "--extract: has no effect here: it needs --rule"),
        (("--seed", "1"), "--seed: has no effect here: it needs --bootstrap"),
    ],
)
def test_rules_and_laws_keep_to_their_options(samples, arguments, message):
    done = command("fit", "samples.csv", *arguments, cwd=samples)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
