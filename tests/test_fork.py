"""Children of a process that has worked already work too, however they were made."""

import multiprocessing

import numpy as np
import pytest

import t2fast as t2
from t2fast import passk

#: Seconds after which a child is taken for stuck.
PATIENCE = 60


def work():
    """Calls that use several threads, by every way into the core."""
    n, c = np.full(200_000, 100), np.arange(200_000) % 101
    law, budget = t2.load_law("pythia-gsm8k"), t2.Budget(train_flops=1e21, inference_flops=1.4e11)
    axes = (np.geomspace(1e7, 1e10, 40), np.geomspace(1e9, 1e12, 40), np.arange(1, 100))
    return [
        passk.mean_pass_at_k(n, c, [1, 10]).tolist(),
        t2.grid_search(law, budget, *axes).best.to_dict(),
        t2.grid_search(law, budget, *axes, threads=2).best.to_dict(),
        [one.k for one in t2.frontier(law, budget.sweep(train_flops=np.geomspace(1e20, 1e22, 9))).plans],
        law.value(axes[0], 1e10, 4).tolist(),
    ]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
# Python 3.12 and later warn of threads where a process forks: that they do no harm is what is tested.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_finds_what_its_parent_found(method):
    found = work()
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(work).get(PATIENCE) == found


def test_a_child_of_a_child():
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    found = work()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def descend(depth):
        if depth:
            child = context.Process(target=descend, args=(depth - 1,))
            child.start()
            child.join(PATIENCE)
        work()
        if not depth:
            sender.send(work())

    child = context.Process(target=descend, args=(2,))
    child.start()
    assert receiver.poll(PATIENCE)
    assert receiver.recv() == found
    child.join(PATIENCE)
    assert child.exitcode == 0
