"""The core's cost model against a slow one, and what it must say where the answer is known."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.oracles import roofline as slow
from tests.support.strategies import powers

from t2fast import InfeasibleError, _core

CARD = {"flops": 9.89e14, "train_flops": 9.89e14, "bandwidth": 3.35e12, "memory": 8e10, "link": 4.5e11}
NAMES = (
    "compute", "memory", "activations", "layer", "expert_layer", "step", "link", "hop", "request", "regroup",
    "train_compute", "train_activations",
)  # fmt: skip
IDEAL = dict.fromkeys(NAMES, 0.0) | {"compute": 1.0, "memory": 1.0, "link": 1.0, "train_compute": 1.0}


@st.composite
def constants(draw):
    shares = {name: draw(st.floats(0.1, 1.0)) for name in ("compute", "memory", "link", "train_compute")}
    return {
        "compute": shares["compute"],
        "memory": shares["memory"],
        "activations": draw(st.floats(0, 100)),
        "layer": draw(st.floats(0, 1e-4)),
        "expert_layer": draw(st.floats(0, 1e-4)),
        "step": draw(st.floats(0, 1e-2)),
        "link": shares["link"],
        "hop": draw(st.floats(0, 1e-4)),
        "request": draw(st.floats(0, 0.1)),
        "regroup": draw(st.floats(0, 1)),
        "train_compute": shares["train_compute"],
        "train_activations": draw(st.floats(0, 1000)),
    }


@st.composite
def shapes(draw):
    d = draw(st.sampled_from([512, 2048, 4096, 8192]))
    layers, vocab = draw(st.integers(4, 80)), draw(st.sampled_from([0, 32000, 128256]))
    tied = draw(st.booleans())
    n = 12.0 * layers * d * d + vocab * d * (1 if tied else 2)
    experts = None
    if draw(st.booleans()):
        count = draw(st.integers(4, 64))
        chosen = draw(st.integers(1, count - 1))
        feed = 8.0 * layers * d * d
        experts = (float(count), float(chosen), n - feed + feed * chosen / count)
    group = draw(st.sampled_from([1, 4, 8]))
    windowed = draw(st.sampled_from([0.0, 0.5]))
    return {
        "n_params": n, "layers": float(layers), "d_model": float(d), "q_width": float(d), "kv_width": d / group,
        "vocab": float(vocab), "tied": tied, "experts": experts, "windowed": windowed, "window": 128.0 if windowed else 0.0,
    }  # fmt: skip


def machine(constants, serving, card=CARD, most_seconds=None):
    return _core.Roofline(
        list(card.values()), [constants[name] for name in NAMES], serving["weight_bytes"], serving["kv_bytes"],
        serving["cards"], serving["most_sequences"], serving["batch"], most_seconds, 2048.0,
    )  # fmt: skip


def core(shape):
    return _core.Shape(**shape)


@st.composite
def servings(draw):
    return {
        "weight_bytes": draw(st.sampled_from([0.5625, 1.0, 2.0])),
        "kv_bytes": draw(st.sampled_from([1.0, 2.0])),
        "cards": float(draw(st.sampled_from([1, 2, 8]))),
        "most_sequences": draw(st.sampled_from([8.0, 256.0, 4096.0])),
        "batch": draw(st.sampled_from([None, None, 1.0, 4.0])),
    }


@given(
    constants(),
    shapes(),
    servings(),
    powers(1, 4),
    powers(0.5, 3.5),
    powers(0, 4),
    st.sampled_from(["recomputed", "cached", "shared"]),
)
def test_a_question_is_counted_step_by_step(constants, shape, serving, t_in, t_out, k, prompt):
    free = slow.room(CARD, shape, serving)
    one = 2 * shape["layers"] * shape["kv_width"] * serving["kv_bytes"] * slow.seen(shape, t_in + t_out)
    assume(free > 4 * one)
    found = machine(constants, serving).bill(core(shape), t_in, t_out, k, prompt)
    expected = slow.question(CARD, constants, shape, serving, t_in, t_out, k, prompt)
    for name, value in expected.items():
        assert math.isclose(getattr(found, name), value, rel_tol=1e-9), name
    assert math.isclose(sum(value for _, value in found.parts), found.seconds, rel_tol=1e-12)


@given(constants(), shapes())
def test_training_is_counted(constants, shape):
    serving = {"weight_bytes": 2.0, "kv_bytes": 2.0, "cards": 1.0, "most_sequences": 1.0, "batch": None}
    found = machine(constants, serving).train_seconds(core(shape))
    assert math.isclose(found, slow.training(CARD, constants, shape, 2048), rel_tol=1e-12)


@given(
    powers(4, 12),
    st.sampled_from(
        [(0.3, 0.56, 12.0, 50304.0, False), (1 / 128, 1.0, 12.0, 0.0, False), (1.0, 0.46, 16.4, 151936.0, True)]
    ),
)
def test_a_familys_width_solves_its_equation(n, family):
    found = _core.Family(*family, 4.0).shape(n)
    assert math.isclose(found.d_model, slow.family_width(family, n), rel_tol=1e-9)
    assert math.isclose(found.kv_width, found.d_model / 4)


def test_an_ideal_machine_counts_2nk():
    serving = {"weight_bytes": 0.0, "kv_bytes": 0.0, "cards": 1.0, "most_sequences": 4096.0, "batch": None}
    shape = core(
        {"n_params": 1e9, "layers": 16.0, "d_model": 2048.0, "q_width": 2048.0, "kv_width": 2048.0, "vocab": 0.0,
         "tied": False, "experts": None, "windowed": 0.0, "window": 0.0}
    )  # fmt: skip
    found = machine(IDEAL, serving).bill(shape, 0.0, 1.0, 100.0, "shared")
    assert found.seconds * CARD["flops"] == pytest.approx(2 * 1e9 * 100, rel=1e-14)


@given(constants(), servings(), powers(1, 3), powers(1, 3), powers(0, 3))
def test_a_latency_that_is_met_costs_no_less(constants, serving, t_in, t_out, k):
    shape = core(
        {"n_params": 1e9, "layers": 16.0, "d_model": 2048.0, "q_width": 2048.0, "kv_width": 1024.0, "vocab": 32000.0,
         "tied": False, "experts": None, "windowed": 0.0, "window": 0.0}
    )  # fmt: skip
    serving = serving | {"batch": None}
    free = machine(constants, serving).bill(shape, t_in, t_out, k, "shared")
    for share in (0.999, 0.7, 0.3):
        try:
            capped = machine(constants, serving, most_seconds=share * free.latency).bill(
                shape, t_in, t_out, k, "shared"
            )
        except InfeasibleError:
            continue
        assert capped.latency <= share * free.latency * (1 + 1e-9)
        assert capped.seconds >= free.seconds * (1 - 1e-9)
        assert capped.batch <= free.batch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_params": 1e11}, "the weights need 200.0 GB"),
        ({"layers": 1e5}, "one sequence of"),
    ],
)
def test_what_does_not_fit_is_said_with_a_remedy(change, message):
    shape = {
        "n_params": 1e9, "layers": 16.0, "d_model": 2048.0, "q_width": 2048.0, "kv_width": 2048.0, "vocab": 0.0,
        "tied": False, "experts": None, "windowed": 0.0, "window": 0.0,
    } | change  # fmt: skip
    serving = {"weight_bytes": 2.0, "kv_bytes": 2.0, "cards": 1.0, "most_sequences": 4096.0, "batch": None}
    with pytest.raises(InfeasibleError, match=message) as error:
        machine(IDEAL, serving).bill(core(shape), 1000.0, 1000.0, 1.0, "shared")
    assert "--tensor-parallel" in str(error.value)
