"""Prices: what is paid once, what for each sample, and price lists as people write them."""

import pytest

from t2fast.choosing import Price, read_prices
from t2fast.errors import DataError, T2Error


def test_an_api_bills_the_prompt_once_or_with_every_sample():
    use = {"input_dollars": 1.0, "output_dollars": 4.0, "input_tokens": 400, "output_tokens": 250}
    assert Price.of_tokens(**use).of(10) == pytest.approx(10 * (400 * 1 + 250 * 4) / 1e6)
    assert Price.of_tokens(**use, prompt_billed="once").of(10) == pytest.approx((400 * 1 + 10 * 250 * 4) / 1e6)


@pytest.mark.parametrize("k", [1, 3, 7, 1000, 12_345])
def test_a_budget_of_exactly_k_samples_pays_for_k(k):
    for price in (Price(0.0, 0.1), Price(1e-7, 3e-5), Price(5.0, 0.7)):
        assert price.most_samples(price.of(k)) == k
        assert price.most_samples(price.of(k) * 0.9999 if k < 1000 else price.of(k - 1)) == k - 1


def test_flops_are_2n_per_token():
    assert Price.of_flops(1e9, input_tokens=10, output_tokens=90).of(2) == 2e9 * 100 * 2
    assert Price.of_flops(1e9, input_tokens=10, output_tokens=90, prompt_billed="once").of(2) == 2e9 * (10 + 180)


def test_price_lists_as_people_write_them(tmp_path):
    (tmp_path / "p.csv").write_text(
        "\ufeffName,Input price,Output price,input_tokens,prompt_billed\na,$0.50,$1.50,1k,once\nb,2,8,,\n\n"
    )
    found = read_prices(tmp_path / "p.csv", input_tokens=100, output_tokens=200)
    assert found["a"] == Price.of_tokens(
        input_dollars=0.5, output_dollars=1.5, input_tokens=1000, output_tokens=200, prompt_billed="once"
    )
    assert found["b"] == Price.of_tokens(input_dollars=2, output_dollars=8, input_tokens=100, output_tokens=200)
    (tmp_path / "flat.csv").write_text("model,dollars_per_sample,dollars_per_question\na,0.01,0.002\n")
    assert read_prices(tmp_path / "flat.csv") == {"a": Price(0.002, 0.01)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a header line"),
        ("a,b\n1,2\n", "no column model; it has a, b"),
        ("model,input\nm,1\n", "needs columns input_dollars and output_dollars"),
        ("model,input,output\nm,1,2\n", r"line 2: input_tokens is missing: add the column, or give --input-tokens"),
        ("model,dollars_per_sample\nm,1\nm,2\n", "line 3 names 'm' again"),
        ("model,input,output\n,1,2\n", "line 2 names no model"),
        ("model,input,output\nm,1\n", "line 2 has 2 cells, line 1 has 3"),
        ("model,dollars_per_sample\nm,free\n", "line 2: dollars_per_sample"),
        ("model,dollars_per_sample\nm,-1\n", "line 2: per_sample = -1"),
        ("model,dollars_per_sample\nm,0\n", "line 2: per_sample = 0"),
    ],
)
def test_bad_price_lists(tmp_path, text, message):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_prices(tmp_path / "p.csv")


def test_a_missing_price_list(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_prices(tmp_path / "none.csv")
    with pytest.raises(T2Error, match="prompt_billed = 'twice'"):
        Price.of_tokens(input_dollars=1, output_dollars=1, input_tokens=1, output_tokens=1, prompt_billed="twice")


def test_prices_of_models_under_different_rules_are_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_text("model,dollars_per_sample,rule\na,0.1,majority\nb,0.2,verifier\n")
    with pytest.raises(
        DataError, match=r"mixes a vote \('majority' in row 2\) and a verifier .* give it with --select"
    ):
        read_prices(path)
    path.write_text("model,dollars_per_sample,rule\na,0.1,majority\nb,0.2,majority\n")
    assert set(read_prices(path)) == {"a", "b"}
