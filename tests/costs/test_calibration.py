import math
from dataclasses import replace

import numpy as np
import pytest
from tests.support.real_data import COSTS, needs

import t2fast as t2
from t2fast import costs
from t2fast.costs.calibration import interval

TRUTH = replace(costs.default_constants(), compute=0.6, memory=0.7, layer_seconds=3e-5, names=(), covariance=())


def measurements(noise=0.0, seed=0):
    """Rows that an engine with known constants would give."""
    rng = np.random.default_rng(seed)
    card = costs.load_card("h100")
    rows = []
    for model in ("llama-3.1-8b", "pythia-1b", "llama-7b"):
        for batch in (1, 16, 96):
            for t_in, t_out in ((128, 128), (128, 1024), (1024, 64)):
                row = costs.Measurement(costs.load_architecture(model), card, t_in, t_out, 1.0, batch=batch)
                speed = row.predict(TRUTH)[0] * math.exp(noise * rng.standard_normal())
                rows.append(replace(row, tokens_per_second=speed))
    return rows


def test_known_constants_are_found_again():
    # As far as the priors of scatter and constants let go.
    found = costs.calibrate(measurements()).card.constants
    assert found.compute == pytest.approx(0.6, rel=0.05)
    assert found.memory == pytest.approx(0.7, rel=0.05)


def test_noise_is_in_the_posterior():
    found = [costs.calibrate(measurements(0.1, seed)).card.constants for seed in range(12)]
    sd = math.sqrt(found[0].covariance[1][1])
    off = [c.coordinates()[1] - math.log(0.7 / 0.3) for c in found]
    assert np.sqrt(np.mean(np.square(off))) < 2 * sd


def test_a_card_file_predicts_as_its_calibration(tmp_path):
    fit = costs.calibrate(measurements(0.05), "h100")
    fit.save(tmp_path / "card.json")
    again = costs.load_card(tmp_path / "card.json")
    assert again == fit.card
    row = measurements()[0]
    assert row.predict(again.constants) == row.predict(fit.card.constants)


@pytest.mark.parametrize("name", ["regroup", "step_seconds", "hop_seconds", "request_seconds"])
def test_a_fitted_constant_may_be_0(name):
    # Nothing moves with the logarithm of 0: the interval is that of the others.
    known = costs.default_constants()
    others = replace(known, **{name: 0.0})
    if name not in known.names:
        size = len(known.names) + 1
        wider = np.diag([0.3] * size)
        wider[:-1, :-1] = known.covariance
        others = replace(others, names=(*known.names, name), covariance=tuple(map(tuple, wider.tolist())))
    ask = {"prompt_tokens": 1000, "answer_tokens": 300, "tensor_parallel": 2, "k": 4}
    found = costs.cost("llama-3.1-8b", gpu=replace(costs.load_card("h100"), constants=others), **ask)
    fixed = replace(others, names=(), covariance=())
    alone = costs.cost("llama-3.1-8b", gpu=replace(costs.load_card("h100"), constants=fixed), **ask)
    assert found.dollars == alone.dollars
    low, high = found.intervals["dollars"]
    assert low < alone.intervals["dollars"][0] < alone.intervals["dollars"][1] < high


@pytest.mark.parametrize("name", ["compute", "memory", "link"])
def test_a_fitted_share_may_be_1(name):
    known = replace(costs.default_constants(), **{name: 1.0})
    found = costs.cost(
        "llama-3.1-8b", gpu=replace(costs.load_card("h100"), constants=known), prompt_tokens=10, answer_tokens=300,
        tensor_parallel=2,
    )  # fmt: skip
    assert all(math.isfinite(end) for ends in found.intervals.values() for end in ends)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"covariance": [["a"]], "names": ["compute"]}, "covariance = 'a'"),
        ({"covariance": 3, "names": ["compute"]}, "names and covariance: must be a list"),
        ({"covariance": [[1.0]], "names": ["speed"]}, "names: speed"),
        ({"covariance": [[1.0]]}, "covariance: must have 0 rows"),
        ({"compute": 0.0}, "compute = 0"),
        ({"memory": "fast"}, "memory = 'fast'"),
    ],
)
def test_constants_out_of_range_are_named(change, message):
    with pytest.raises(t2.T2Error, match=message):
        costs.Constants.from_dict(change)


def write(path, text):
    file = path / "rows.csv"
    file.write_text(text)
    return file


HEAD = "model,batch,prompt_tokens,answer_tokens,tokens_per_second\n"


def test_one_row_is_too_few(tmp_path):
    rows = costs.read_measurements(write(tmp_path, HEAD + "8B,16,100,100,1000\n"), "h100")
    with pytest.raises(t2.T2Error, match="1 row is too few"):
        costs.calibrate(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,batch\n8B,1\n", "no column prompt_tokens, answer_tokens, tokens_per_second"),
        (HEAD + "8C,16,100,100,1000\n", "line 2: model = '8C'"),
        (HEAD + "8B,16,100,100,1000\n8B,16,100,100,fast\n", "line 3: tokens_per_second = 'fast'"),
        (HEAD + "8B,16,100,100,-3\n", "line 2: tokens_per_second = -3"),
        (HEAD + "8B,16,100,,10\n", "line 2: answer_tokens: empty"),
        (HEAD + "8B,1e6,100,100,10\n", "line 2: batch = 1000000 does not fit"),
    ],
)
def test_bad_rows_are_named_by_their_line(tmp_path, text, message):
    with pytest.raises(t2.T2Error, match=message):
        costs.read_measurements(write(tmp_path, text), "h100")


def test_the_card_must_be_named(tmp_path):
    with pytest.raises(t2.T2Error, match="no --gpu"):
        costs.read_measurements(write(tmp_path, HEAD + "8B,16,100,100,1000\n"))


def test_rates_per_card_are_of_all_cards_together(tmp_path):
    head = "gpu,dtype,model,batch,tensor_parallel,input_tokens,output_tokens,output_tokens_per_second_per_gpu\n"
    (row,) = costs.read_measurements(write(tmp_path, head + "H100,fp8,LLaMA 70B,480,4,128,2048,1486\n"))
    assert row.tokens_per_second == 4 * 1486
    assert row.model.name == "llama-70b"


@needs(COSTS)
def test_public_rows_held_out_are_predicted():
    old = [replace(row, grouped_reads=False) for row in costs.read_measurements(COSTS / "tensorrt_llm_v06_static.csv")]
    new = costs.read_measurements(COSTS / "tensorrt_llm_v10_max_throughput.csv")
    constants = costs.calibrate(old).card.constants
    found = [interval(row, constants) for row in new]
    errors = np.array([math.log(v / row.tokens_per_second) for (v, _), row in zip(found, new, strict=True)])
    halves = np.array([half for _, half in found])
    assert np.abs(errors).mean() < 0.20
    assert np.mean(np.abs(errors) <= halves) >= 0.85
