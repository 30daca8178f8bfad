import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.checkpoints import losses

import t2fast
from t2fast.data import evaluate, read_table


def checkpoints():
    n, d, y = losses(0.005)
    return {"n_params": n, "n_tokens": d, "loss": y, "family": np.where(n > 1e9, "big", "small")}


@pytest.mark.parametrize(
    ("expression", "truth"),
    [
        ("n_params > 1e9", lambda t: t["n_params"] > 1e9),
        ("not n_params > 1e9", lambda t: t["n_params"] <= 1e9),
        ("1e8 < N <= 1e9", lambda t: (t["n_params"] > 1e8) & (t["n_params"] <= 1e9)),
        ("family == 'big' or N < 3e7", lambda t: (t["n_params"] > 1e9) | (t["n_params"] < 3e7)),
        ("D / N > 30 and family != 'small'", lambda t: (t["n_tokens"] / t["n_params"] > 30) & (t["n_params"] > 1e9)),
        ("flops >= 6 * N * D", lambda t: t["n_params"] > 0),
        ("-N < -1e9", lambda t: t["n_params"] > 1e9),
    ],
)
def test_expressions(expression, truth):
    table = read_table(checkpoints())
    np.testing.assert_array_equal(evaluate(expression, table), truth(table))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "N.__class__",
        "(lambda: 1)()",
        "[N > 1 for N in D]",
        "N ** 99999999 > 1",
        "N[0] > 1",
        "loss > ",
        "N",
        "N > 'big'",
        "family > 1",
        "nothing > 1",
        "N > 1 if D else 2",
        "f'{N}' == 'x'",
        "N and D",
        "True",
        "(" * 500,
    ],
)
def test_what_is_no_plain_comparison_is_refused(expression):
    with pytest.raises(t2fast.T2Error, match="holdout = "):
        evaluate(expression, read_table(checkpoints()), "holdout")


@given(st.text(alphabet="ND<>=!&|()+-*/.,'0123456789eand or not_[]{}:", max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_gives_rows_or_a_clear_error(text):
    table = read_table(checkpoints())
    try:
        held = evaluate(text, table)
    except t2fast.T2Error:
        return
    assert held.shape == (60,)
    assert held.dtype == np.bool_
