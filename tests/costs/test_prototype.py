"""Why bills are 15 to 20% above those of the first formula: the same terms, another share of the memory's bandwidth."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.oracles import prototype
from tests.support.real_data import COSTS, needs

from t2fast import costs

PRICE = 2.5
OURS = costs.default_constants()
SAME = {"compute": OURS.compute, "memory": OURS.memory, "activations": OURS.activations, "layer": OURS.layer_seconds}


def bill(n, k, t_in, t_out, prompt, group, **card):
    shape = costs.load_family("pythia", group).architecture(n)
    gpu = replace(costs.load_card("h100", PRICE), **card)
    return shape, costs.cost(shape, gpu=gpu, prompt_tokens=t_in, answer_tokens=t_out, k=k, prompt=prompt)


@pytest.mark.parametrize("workload", prototype.WORKLOADS)
def test_two_constants_reproduce_the_prototypes_figures(workload):
    # Ten figures (and one more below) from two unknowns: these were its constants, but for a percent.
    n, k, t_in, t_out, prompt, group, promised, times, instead = workload
    shape = costs.load_family("pythia", group).architecture(n)
    for samples, dollars in ((k, promised * times), (instead, promised)):
        seconds = sum(prototype.terms(shape, prototype.CONSTANTS, samples, t_in, t_out, prompt, group).values())
        assert seconds * PRICE / 3600 == pytest.approx(dollars, rel=0.03)


def test_its_one_design_in_seconds():
    shape = costs.load_family("pythia").architecture(150e6)
    assert sum(prototype.terms(shape, prototype.CONSTANTS, 543, 1000, 150, "shared").values()) == pytest.approx(
        0.142, rel=0.02
    )


@pytest.mark.parametrize("workload", prototype.WORKLOADS)
def test_with_the_same_constants_the_terms_are_the_same(workload):
    n, k, t_in, t_out, prompt, group, *_ = workload
    shape, found = bill(n, k, t_in, t_out, prompt, group)
    parts = found.question.parts
    theirs = prototype.terms(shape, SAME, k, t_in, t_out, prompt, group)
    assert parts["prefill"] == pytest.approx(theirs["prefill"], rel=1e-9)
    assert parts["compute"] + parts["weights"] == pytest.approx(theirs["matrices"], rel=1e-9)
    assert parts["kv"] == pytest.approx(theirs["kv"], rel=1e-9)
    assert parts["activations"] == pytest.approx(theirs["activations"], rel=1e-9)
    # Steps cost something of their own, and a tenth of the memory is left free: up to 6% of the bill.
    assert parts["overhead"] > theirs["overhead"]
    assert 0 < found.seconds / sum(theirs.values()) - 1 < 0.06


@pytest.mark.parametrize("workload", prototype.WORKLOADS)
def test_with_its_share_of_the_bandwidth_bills_are_its_own(workload):
    # A tenth of keys and values is what is left: within the 10% that was asked.
    n, k, t_in, t_out, prompt, group, promised, times, _ = workload
    known = prototype.CONSTANTS
    constants = replace(
        OURS, compute=known["compute"], memory=known["memory"], activations=known["activations"],
        layer_seconds=known["layer"], step_seconds=0.0, names=(), covariance=(),
    )  # fmt: skip
    _, found = bill(n, k, t_in, t_out, prompt, group, constants=constants)
    assert found.dollars == pytest.approx(promised * times, rel=0.04)


@needs(COSTS)
def test_public_rows_bound_by_keys_and_values_refute_it():
    rows = costs.read_measurements(COSTS / "tensorrt_llm_v06_static.csv")
    rows += costs.read_measurements(COSTS / "tensorrt_llm_v10_max_throughput.csv")

    def bound_by(row):
        ask = {"gpu": row.card, "prompt_tokens": row.prompt_tokens, "answer_tokens": row.answer_tokens}
        ask |= {"dtype": row.dtype, "kv_dtype": row.kv_dtype, "tensor_parallel": row.tensor_parallel}
        return costs.cost(row.model, **ask, batch=row.batch).question.bound_by

    read = [row for row in rows if bound_by(row) == "kv"]
    assert len(read) >= 20

    def off(constants):
        return np.array([math.log(row.predict(constants)[0] / row.tokens_per_second) for row in read])

    faster = off(replace(OURS, memory=prototype.CONSTANTS["memory"], names=(), covariance=()))
    # Its speeds are promised too high by 9%; ours are too low by 3%.
    assert faster.mean() > 0.08
    assert abs(off(OURS).mean()) < 0.04
    assert np.abs(off(OURS)).mean() < 0.6 * np.abs(faster).mean()
