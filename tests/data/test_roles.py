"""Columns are found by the names that people give them, the best name first."""

from t2fast.data.roles import ROLES, all_of, find, plain


def test_names_are_compared_as_people_vary_them():
    assert plain(" Num. Samples (Total) ") == "num_samples_total"
    assert find(["ID", "Problem Idx", "n"], "problem") == "Problem Idx"
    assert find(["x", "y"], "problem") is None


def test_all_columns_of_a_role_come_the_best_first():
    names = ["top_p", "Temperature", "x", "condition"]
    assert all_of(names, "condition") == ["condition", "Temperature", "top_p"]


def test_names_of_roles_are_written_as_they_are_compared():
    for names in ROLES.values():
        assert [plain(name) for name in names] == list(names)
        assert len(set(names)) == len(names)
