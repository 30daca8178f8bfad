"""A Ray cluster of several processes: what runs on it gives what one process gives, and what is lost is said."""

import os
import signal

import numpy as np
import pytest
from tests.support.checkpoints import counts, losses
from tests.support.cluster import cluster as ray_here
from tests.support.nano_lab import preset as nano

import t2fast.cluster
from t2fast import T2Error, fitting
from t2fast.cluster import Cluster

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 't2fast[ray]'")
# Ray's own use of what Python and the system deprecate.
pytestmark = pytest.mark.filterwarnings("ignore:::ray", "ignore::ResourceWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _ray():
    with ray_here(cpus=2):
        yield


def _square(number):
    return number * number, os.getcwd()


def _refuse(number):
    raise T2Error(f"number = {number}: must not be")


def _die(number, died):
    # Once only, where a file remembers it.
    if number == 2 and not (died and os.path.exists(died)):
        if died:
            open(died, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.slow
def test_tasks_run_where_the_program_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for workers in (None, 1):
        with Cluster(workers) as machines:
            found = dict(machines.run(_square, [(i,) for i in range(5)]))
        assert found == {i: (i * i, str(tmp_path)) for i in range(5)}
    assert ray.is_initialized()


@pytest.mark.slow
def test_a_task_whose_process_dies_is_done_again(tmp_path):
    with Cluster() as machines:
        assert dict(machines.run(_die, [(i, str(tmp_path / "died")) for i in range(4)])) == {i: i for i in range(4)}
        assert (tmp_path / "died").exists()
        with pytest.raises(T2Error, match="4 processes died over the same part of the work"):
            dict(machines.run(_die, [(2, "")]))
        with pytest.raises(T2Error, match="^number = 7: must not be$"):
            dict(machines.run(_refuse, [(7,)]))


@pytest.mark.parametrize("law", ["chinchilla", pytest.param("t2-pass", marks=pytest.mark.slow)])
def test_a_bootstrap_is_the_same_on_a_cluster(law):
    if law == "chinchilla":
        fit = fitting.fit_chinchilla(*losses(0.01))
    else:
        n, d, samples, correct, problem = counts()
        fit = fitting.fit_t2_pass(n, d, n_samples=samples, n_correct=correct, problem=problem)
    seen = []
    with Cluster() as machines:
        there = fit.bootstrap(140, seed=5, cluster=machines, progress=seen.append)
    assert there == fit.bootstrap(140, seed=5)
    assert not np.isnan(there.samples).any()
    assert seen[-1].done == seen[-1].total == 140


@pytest.mark.slow
def test_ctrl_c_keeps_the_first_replicates():
    def stop(_):
        raise KeyboardInterrupt

    fit = fitting.fit_chinchilla(*losses(0.01))
    with Cluster(1) as machines:
        boot = fit.bootstrap(1000, cluster=machines, progress=stop)
    assert boot.interrupted
    assert boot.samples.tolist() == fit.bootstrap(128).samples.tolist()


def test_a_head_that_is_lost_is_an_error(monkeypatch, caplog):
    with Cluster() as machines:
        assert machines.look()
        machines.head = "127.0.0.1:1"
        assert not machines.look()
        assert "the head of the Ray cluster at 127.0.0.1:1 does not answer" in caplog.text
        monkeypatch.setattr(t2fast.cluster, "_PATIENCE", -1.0)
        with pytest.raises(T2Error, match="at 127.0.0.1:1 does not answer: what arrived is kept; start it again, set"):
            machines.look()


@pytest.mark.slow
def test_a_laboratory_is_the_same_on_a_cluster(tmp_path):
    pytest.importorskip("torch")
    from t2fast.lab import jobs, suite

    preset = nano()
    runs = jobs.grid_jobs(preset)[:3]
    tables = []
    for place in ("here", "there"):
        suite.prepare(preset, tmp_path / place)
        with Cluster() as machines:
            suite.run_jobs(runs, tmp_path / place, "cpu", 1 if place == "here" else machines)
        tables.append(suite.table(preset, tmp_path / place, runs, "cpu").checkpoints)
    assert tables[0] == tables[1]
