"""Several models from files, and what their samples cost."""

import numpy as np
import pytest

from t2fast.choosing import Price, one_budget, prices_of, read_models
from t2fast.data import Counts
from t2fast.errors import DataError, T2Error


def write(path, rows, header="problem_id,n,c"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_models_go_by_the_names_of_their_files(tmp_path):
    files = [write(tmp_path / f"{name}.csv", [("x", 10, 3), ("y", 10, c)]) for name, c in (("small", 1), ("large", 9))]
    counts = read_models(files)
    assert counts.model == ("small", "small", "large", "large")
    assert counts.n_correct.tolist() == [3, 1, 3, 9]
    named = write(tmp_path / "n.csv", [("m", "x", 10, 3), ("m", "y", 10, 3)], "model,problem_id,n,c")
    assert set(read_models([named]).model) == {"m"}


def test_problems_common_to_all(tmp_path):
    one = write(tmp_path / "a.csv", [("x", 10, 3), ("y", 10, 1), ("z", 10, 1)])
    two = write(tmp_path / "b.csv", [("y", 10, 4), ("x", 10, 2)])
    counts = read_models([one, two], common=True)
    assert sorted(counts.problem_id) == ["x", "x", "y", "y"]
    assert any("1 problems that not all models have were left out" in line for line in counts.warnings)
    other = write(tmp_path / "c.csv", [("w", 10, 4)])
    with pytest.raises(DataError, match="no problem in common"):
        read_models([one, other], common=True)


def test_a_file_given_twice_is_refused(tmp_path):
    one = write(tmp_path / "a.csv", [("x", 10, 3), ("y", 10, 1)])
    with pytest.raises(DataError, match="has problem 'x' of model 'a'"):
        read_models([one, one])


def test_prices_by_list_or_by_flops(tmp_path):
    counts = Counts.of(10, [1, 2], model="m", n_params=1e9)
    assert prices_of(counts, output_tokens=10) == {"m": Price(0, 2e10, "flops")}
    (tmp_path / "p.csv").write_text("model,dollars_per_sample\nm,0.5\n")
    assert prices_of(counts, tmp_path / "p.csv") == {"m": Price(0, 0.5)}
    with pytest.raises(T2Error, match="output_tokens: needed without a price list"):
        prices_of(counts)
    card = prices_of(counts, input_tokens=100, output_tokens=10, gpu="h100", dollars_per_hour=2.0)["m"]
    assert card.unit == "dollars"
    twice = prices_of(counts, input_tokens=100, output_tokens=10, gpu="h100", dollars_per_hour=4.0)["m"]
    assert twice.of(7) == pytest.approx(2 * card.of(7))
    shared = prices_of(
        counts, input_tokens=100, output_tokens=10, gpu="h100", dollars_per_hour=2.0, prompt_billed="once"
    )
    assert shared["m"].of(50) < card.of(50)
    with pytest.raises(T2Error, match="prices and gpu: give one of them"):
        prices_of(counts, tmp_path / "p.csv", gpu="h100")
    with pytest.raises(T2Error, match="give a price list"):
        prices_of(Counts.of(10, [1, 2], model="m"), output_tokens=10)


def test_a_budget_is_in_the_unit_of_the_prices():
    dollars, flops = {"m": Price(0, 1.0)}, {"m": Price(0, 1.0, "flops")}
    assert one_budget(dollars, dollars=2) == one_budget(flops, flops=2) == 2
    assert one_budget(dollars) is None
    for prices, given, message in (
        (dollars, {"flops": 1}, "flops_per_question: the prices are in dollars"),
        (flops, {"dollars": 1}, "dollars_per_question: needs prices in dollars"),
        (flops, {"dollars": 1, "flops": 1}, "give one of them"),
    ):
        with pytest.raises(T2Error, match=message):
            one_budget(prices, **given)
    assert np.isfinite(one_budget(dollars, dollars=1e-9))
