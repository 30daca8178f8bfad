"""Tables that mix results of pass@k, votes and other rules are refused, by row, value and remedy."""

import json

import pytest

import t2fast as t2
from t2fast.data import read_counts, read_table, read_trials
from t2fast.data.deciding import one_rule, rule_of
from t2fast.errors import DataError
from t2fast.fitting import fit_table, regret


@pytest.mark.parametrize(
    ("cell", "rule"),
    [
        ("pass", "pass@k"), ("pass@8", "pass@k"), ("Pass@k", "pass@k"), ("pass_at_1", None), ("any-correct", "pass@k"),
        ("maj@32", "a vote"), ("majority vote", "a vote"), ("cons@64", "a vote"), ("self-consistency", "a vote"),
        ("best-of-8", "the best score"), ("BoN", "the best score"), ("best-of", "the best score"), ("pass^4", "pass^k"),
        ("pass-hat", "pass^k"), ("verifier", "a verifier"), ("g-pass", "G-pass@k"), ("exact_match", None), ("f1", None),
        ("accuracy", None), (3.0, None), ("", None),
    ],
)  # fmt: skip
def test_words_for_rules_are_known(cell, rule):
    assert rule_of(cell) == rule


def lines(column, cells):
    """Counts of one problem each, one row for each cell."""
    rows = [f"m,p{i},{cell},16,{i + 1}" for i, cell in enumerate(cells)]
    return "\n".join([f"model,problem_id,{column},n_samples,n_correct", *rows]) + "\n"


@pytest.mark.parametrize("column", ["metric", "rule", "Selection"])
def test_counts_of_two_rules_are_refused_by_row(tmp_path, column):
    path = tmp_path / "counts.csv"
    path.write_text(lines(column, ["pass@8", "pass@8", "maj@8"]))
    with pytest.raises(DataError) as error:
        read_counts(path)
    for part in ("counts.csv:4", column, "pass@k ('pass@8' in row 2)", "a vote ('maj@8' in row 4)", "keep the rows of"):
        assert part in str(error.value)


@pytest.mark.parametrize("read", [read_counts, lambda path: read_trials(path, ["answers"])])
def test_trials_of_two_rules_are_refused(tmp_path, read):
    path = tmp_path / "trials.jsonl"
    rows = [{"problem_id": "a", "trial": i, "rule": rule, "answer": "7", "passed": True}
            for i, rule in enumerate(["verifier", "verifier", "majority"])]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"column rule mixes a verifier .* and a vote \('majority' in row 3\)"):
        read(path)


def test_many_equal_rows_are_looked_at_too(tmp_path):
    path = tmp_path / "trials.csv"
    path.write_text("problem_id,metric,passed\n" + "a,pass,1\nb,pass,0\n" * 500 + "a,best-of,1\n")
    with pytest.raises(DataError, match="the best score"):
        read_counts(path)


def test_other_metrics_are_kept_apart_and_one_rule_is_said(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text(lines("metric", ["exact_match", "f1"]))
    assert set(read_counts(path).benchmark) == {"metric=exact_match", "metric=f1"}
    path.write_text(lines("metric", ["pass@1", "pass@1"]))
    assert read_counts(path).warnings == ()
    path.write_text(lines("metric", ["maj@8", "maj@8"]))
    assert "results of a vote, not of samples" in read_counts(path).warnings[0]


def table(metrics):
    """A table of checkpoints whose rows name a metric."""
    sizes = [1e8 * 2**i for i in range(len(metrics))]
    return {
        "n_params": sizes, "n_tokens": [20 * n for n in sizes], "metric": metrics, "problem": ["a"] * len(metrics),
        "n_samples": [16] * len(metrics), "n_correct": list(range(1, len(metrics) + 1)),
    }  # fmt: skip


@pytest.mark.parametrize(
    "use", [lambda data: fit_table(data, "t2-pass"), regret, lambda data: regret(data, rule=t2.Verifier(0.1))]
)
def test_tables_of_two_rules_and_of_votes_alone_are_refused(use):
    with pytest.raises(DataError) as error:
        use(table(["maj@8", "pass@8", "pass@8"]))
    for part in ("a vote ('maj@8' in row 1)", "pass@k ('pass@8' in row 2)", "--where \"metric == 'pass@8'\""):
        assert part in str(error.value)
    with pytest.raises(DataError, match=r"'maj@8' \(row 1\): results of a vote.*plan by the rule with --select"):
        use(table(["maj@8"] * 3))


def test_tables_of_losses_may_name_their_metric():
    one_rule(read_table({"metric": ["loss", "max", "loss"], "loss": [3.0, 2.0, 1.0]}), wants_pass=False)
    one_rule(read_table({"metric": ["pass@1", "pass@8"], "k": [1, 8]}), wants_pass=True)
    one_rule(read_table({"metric": [1.0, 2.0]}), wants_pass=True)
