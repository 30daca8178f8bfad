"""The tree of shared prefixes."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from t2fast.sampling.engine.tree import build_tree

prefixes = st.lists(st.lists(st.integers(0, 2), max_size=12), min_size=1, max_size=12)


def tokens_of(leaf, prompts):
    return [t for node in (leaf.chain() if leaf else []) for t in prompts[node.prompt][node.begin : node.end]]


@given(prefixes, st.integers(1, 5), st.integers(1, 4))
def test_tree_holds_every_prefix(lists, least, levels):
    prompts = [np.array(p, np.int32) for p in lists]
    leaves = build_tree(prompts, least, levels)
    for prompt, leaf in zip(prompts, leaves, strict=True):
        assert tokens_of(leaf, prompts) == prompt.tolist()
        chain = leaf.chain() if leaf else []
        assert len(chain) <= levels
        # Gapless, and the first prompt below a node is no later than those below its children.
        assert [n.begin for n in chain] == [0, *(n.end for n in chain[:-1])][: len(chain)]
        assert [n.first for n in chain] == sorted(n.first for n in chain)
    # Equal prefixes are one.
    for i, a in enumerate(lists):
        for j, b in enumerate(lists):
            assert (a == b) == (tokens_of(leaves[i], prompts) == tokens_of(leaves[j], prompts))
            if a == b:
                assert leaves[i] is leaves[j]


def test_tree_shares_headers():
    header = list(range(100, 140))
    prompts = [np.array(header + tail, np.int32) for tail in ([1, 2, 3], [1, 5], [], [7] * 50)]
    prompts.append(np.array([9, 9, 9], np.int32))
    leaves = build_tree(prompts, 32, 4)
    root = leaves[2]
    assert (root.begin, root.end) == (0, 40)
    assert leaves[0].parent is leaves[1].parent is leaves[3].parent is root
    assert leaves[4].parent is None
    # Less in common than is worth a node.
    assert all(leaf.parent is None for leaf in build_tree(prompts[:2], 42, 4))
    assert all(leaf is None or leaf.parent is None for leaf in build_tree(prompts, 1, 1))


def test_tree_of_many_equal_beginnings_is_quick():
    rng = np.random.default_rng(0)
    prompts = [np.concatenate([np.zeros(200, np.int32), rng.integers(0, 9, 20).astype(np.int32)]) for _ in range(5000)]
    leaves = build_tree(prompts, 16, 3)
    assert len({id(leaf.chain()[0]) for leaf in leaves}) == 1
