"""Tables are what their columns say, and what they don't say is asked for."""

import pytest
from tests.support.logs import lines, pairs, written

from t2fast import T2Error
from t2fast.data import read_counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("instance_id,resolved\na,True\na,False\nb,False\n", {"a": (2, 1), "b": (1, 0)}),
        ("Problem Idx,Num. Samples Total,Num. Samples Correct\n8,100,12\n", {"8": (100, 12)}),
        ("task,n,c\nfix-a,8,3\nfix-b,8,0\n", {"fix-a": (8, 3), "fix-b": (8, 0)}),
        ("task,trial,passed\nfix-a,0,1\nfix-a,1,0\n", {"fix-a": (2, 1)}),
        ("task_id,total,correct\na,8,3\n", {"a": (8, 3)}),
        ("task_id,n,pass@1\na,8,0.375\n", {"a": (8, 3)}),
        ("task_id,n,pass@2\na,4,0.5\n", {"a": (4, 1)}),
        ("Unnamed: 0,task_id,passed\n0,a,1\n1,a,0\n", {"a": (2, 1)}),
        ('task_id,n,c\na,"1,000","10"\n', {"a": (1000, 10)}),
        ("id,n,c\na,2e3,10\n", {"a": (2000, 10)}),
    ],
)
def test_names_people_use(tmp_path, text, expected):
    assert pairs(read_counts(written(tmp_path / "x.csv", text))) == expected


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{"id": "a", "is_corrects": [True, False]}], {"a": (2, 1)}),
        ([{"question_id": "a", "graded_list": [True, False, False]}], {"a": (3, 1)}),
        ([{"uid": "a", "rewards": [1.0, 0.0]}], {"a": (2, 1)}),
        ([{"uid": "a", "acc": True, "score": 1.0}, {"uid": "a", "acc": False, "score": -1.0}], {"a": (2, 1)}),
        ([{"problem": "q", "symbolic_correct": True}, {"problem": "q", "symbolic_correct": False}], {"q": (2, 1)}),
    ],
)
def test_lists_and_names_of_logs(tmp_path, records, expected):
    assert pairs(read_counts(written(tmp_path / "x.jsonl", lines(records)))) == expected
    assert pairs(read_counts(written(tmp_path / "x.json", records))) == expected


def test_list_columns_of_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": ["a", "b"], "is_correct": [[True, False], [True]]}), tmp_path / "x.parquet")
    assert pairs(read_counts(tmp_path / "x.parquet")) == {"a": (2, 1), "b": (1, 1)}


def test_columns_named_by_the_caller(tmp_path):
    path = written(tmp_path / "x.csv", "Aufgabe,geschafft\na,1\na,0\n")
    with pytest.raises(
        T2Error, match="no column for the verdict .* and no column for the problem .*Aufgabe, geschafft"
    ):
        read_counts(path)
    assert pairs(read_counts(path, columns={"problem": "Aufgabe", "verdict": "geschafft"})) == {"a": (2, 1)}
    with pytest.raises(T2Error, match="'verdikt' is no role; did you mean verdict"):
        read_counts(path, columns={"verdikt": "geschafft"})
    with pytest.raises(T2Error, match="no column 'geschaft' for the verdict; did you mean geschafft"):
        read_counts(path, columns={"verdict": "geschaft"})


def test_two_columns_that_could_be_the_verdict_are_asked_about(tmp_path):
    path = written(tmp_path / "x.csv", "id,passed,correct\na,1,0\n")
    with pytest.raises(T2Error, match="columns passed and correct could each be the verdict"):
        read_counts(path)
    assert pairs(read_counts(path, columns={"verdict": "correct"})) == {"a": (1, 0)}
    assert pairs(read_counts(path, metric="passed")) == {"a": (1, 1)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,benchmark,total,num_correct\nm,humaneval,164,50\n", "counts of solved problems say nothing"),
        ("model,benchmark,total,num_correct\nm,x,164,50\nm,y,500,50\n", "counts of solved problems say nothing"),
        ("model,task,n,c\nm,HumanEval,164,50\n", "HumanEval is a benchmark"),
        ("task_id,pass@1,pass@10\na,0.5,0.9\n", "averages over samples, not verdicts"),
        ("task_id,n,pass@8\na,8,1.0\n", "1 to 8 correct samples of 8 give it"),
        ("task_id,n,pass@1\na,8,0.3\n", "not a multiple of 1/n"),
        ("task_id,passed,passed\na,1,1\n", "names column 'passed' twice"),
        ("task_id,passed\n,1\n", "column task_id is empty"),
        ("id,n,c\na,1e19,1\n", r"at most 2\^50"),
        ("id,n,c\na,100000000000000000000,1\n", r"at most 2\^50"),
    ],
)
def test_what_is_no_verdict_is_refused(tmp_path, text, message):
    with pytest.raises(T2Error, match=message):
        read_counts(written(tmp_path / "x.csv", text))


@pytest.mark.parametrize("words", [("1", "0"), ("True", "False"), ("pass", "fail"), ("correct", "incorrect")])
def test_repeated_headers_are_no_trials(tmp_path, words):
    yes, no = words
    for name in ("passed", "correct", "success"):
        head = f"task_id,{name}\n"
        counts = read_counts(written(tmp_path / "x.csv", f"{head}a,{yes}\nb,{no}\n{head}a,{no}\nb,{no}\n"))
        assert pairs(counts) == {"a": (2, 1), "b": (2, 0)}
        assert any("header" in text for text in counts.warnings)


def test_what_the_caller_knows_of_the_model(tmp_path):
    path = written(tmp_path / "x.csv", "id,passed\na,1\n")
    counts = read_counts(path, n_params=7e7, n_tokens=3e11)
    assert counts.n_params.tolist() == [7e7]
    assert counts.n_tokens.tolist() == [3e11]
    with pytest.raises(T2Error, match="n_params = -1"):
        read_counts(path, n_params=-1)
