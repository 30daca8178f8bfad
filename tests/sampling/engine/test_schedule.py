"""The scheduler alone: no model, no torch."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from t2fast.sampling.engine.schedule import Job, Schedule
from t2fast.sampling.engine.tree import build_tree

jobs_drawn = st.lists(
    st.tuples(
        st.lists(st.integers(0, 1), min_size=1, max_size=20),  # tokens
        st.integers(1, 6),  # k
        st.integers(1, 20),  # limit
        st.sets(st.integers(0, 6), max_size=3),  # skip
    ),
    min_size=1,
    max_size=8,
)


def make(drawn, slots, spare, page_size=4, levels=3, node_tables=None):
    jobs = [Job(i, np.array(t, np.int32), k, limit, skip) for i, (t, k, limit, skip) in enumerate(drawn)]
    leaves = build_tree([job.tokens[:-1] for job in jobs], 4, levels)
    for job, leaf in zip(jobs, leaves, strict=True):
        job.leaf = leaf
    node_tables = slots * levels if node_tables is None else node_tables
    least = Schedule(jobs, n_pages=1, page_size=page_size, slots=slots, node_tables=node_tables).least_pages()
    for leaf in leaves:
        for node in leaf.chain() if leaf else ():
            node.waiting = 0
    return jobs, Schedule(jobs, n_pages=least + spare, page_size=page_size, slots=slots, node_tables=node_tables)


def check(schedule):
    """No page has two holders, none is lost, and the tables say who holds what."""
    held, nodes = [], {}
    for slot, row in schedule.running.items():
        assert row.slot == slot
        assert schedule.occupied[slot]
        assert schedule.tables[slot, : len(row.pages)].tolist() == row.pages
        assert len(row.pages) == schedule.held[slot]
        held += row.pages
        for node in row.job.chain():
            assert node.pages is not None
            nodes[id(node)] = node
    for node in schedule._idle:
        assert id(node) not in nodes
        nodes[id(node)] = node
    for node in nodes.values():
        assert schedule.tables[node.table, : len(node.pages)].tolist() == node.pages
        held += node.pages
    assert len(held) == len(set(held))
    assert len(held) + schedule.pages.free == schedule.pages.total
    assert schedule.occupied.sum() == len(schedule.running)
    tables = [node.table for node in nodes.values()]
    assert len(set(tables)) == len(tables)
    assert all(table >= schedule.slots for table in tables)


def value(job, sample, step):
    return 1000 * job.index + 50 * sample + step


def drive(schedule, rng, stops=()):
    """Run to the end with rows of arbitrary lengths; what each sample generated, and how often nodes were computed."""
    out, computed = {}, {}
    lengths = {}
    for _ in range(100_000):
        nodes, _rows = schedule.admit()
        for node in nodes:
            computed[id(node)] = computed.get(id(node), 0) + 1
        schedule.grow()
        check(schedule)
        if not schedule.running:
            assert not schedule.paused
            assert schedule.admit() == ([], [])
            return out, computed
        slots = np.flatnonzero(schedule.occupied)
        assert not len(schedule.needy())
        steps = schedule.count[slots].copy()
        schedule.count[slots] += 1
        owners = [schedule.running[s] for s in slots.tolist()]
        fresh = np.array([value(r.job, r.sample, int(s)) for r, s in zip(owners, steps, strict=True)], np.int32)
        schedule.record(slots, steps, fresh, -fresh.astype(np.float32))
        for row in owners:
            if row.slot < 0:
                continue  # left with its prompt
            key = (row.job.index, row.sample)
            length = lengths.setdefault(key, int(rng.integers(1, row.job.limit + 1)))
            if schedule.count[row.slot] == length:
                assert key not in out
                out[key] = (schedule.tokens[row.slot, :length].tolist(), schedule.logprobs[row.slot, :length].tolist())
                schedule.finish(row)
                if key in stops:
                    schedule.stop(row.job, row.sample + 1)
    raise AssertionError("does not end")


@given(jobs_drawn, st.integers(1, 5), st.integers(0, 12), st.integers(0, 2**32))
def test_every_sample_ends_once_however_little_memory(drawn, slots, spare, seed):
    jobs, schedule = make(drawn, slots, spare)
    out, _ = drive(schedule, np.random.default_rng(seed))
    assert set(out) == {(job.index, j) for job in jobs for j in range(job.end) if j not in job.skip}
    for (i, j), (tokens, logprobs) in out.items():
        assert tokens == [value(jobs[i], j, s) for s in range(len(tokens))]
        assert logprobs == [-float(t) for t in tokens]
    assert schedule.pages.free == schedule.pages.total
    assert not schedule._idle


@given(jobs_drawn, st.integers(1, 5), st.integers(0, 2**32))
def test_each_node_is_computed_once_if_memory_suffices(drawn, slots, seed):
    jobs, schedule = make(drawn, slots, 1000)
    _, computed = drive(schedule, np.random.default_rng(seed))
    wanted = {id(node) for job in jobs if len(set(range(job.end)) - job.skip) for node in job.chain()}
    assert computed == dict.fromkeys(wanted, 1)
    assert schedule.preemptions == 0


@given(jobs_drawn, st.integers(1, 5), st.integers(0, 12), st.data())
def test_a_stopped_prompt_draws_no_more(drawn, slots, spare, data):
    jobs, schedule = make(drawn, slots, spare)
    wanted = [(job.index, j) for job in jobs for j in range(job.end) if j not in job.skip]
    stops = data.draw(st.sets(st.sampled_from(wanted))) if wanted else set()
    out, _ = drive(schedule, np.random.default_rng(0), stops)
    for i, j in wanted:
        earlier = [b for a, b in stops if a == i and b < j]
        if not earlier:
            assert (i, j) in out
    assert schedule.pages.free == schedule.pages.total


def test_little_memory_pauses_the_youngest():
    pauses = 0
    for seed in range(10):
        _, schedule = make([([0, 1, 0, 1, 0], 4, 16, set())], slots=4, spare=0)
        drive(schedule, np.random.default_rng(seed))
        pauses += schedule.preemptions
    assert pauses > 0
