"""The tree of shared prefixes: text that prompts have in common is stored once. Knows no torch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Node", "Tokens", "build_tree"]

Tokens = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(eq=False, slots=True)
class Node:
    """A stretch of text whose keys and values are stored once for all that contain it there."""

    #: A prompt that contains it; it holds tokens ``begin`` to ``end - 1`` of that prompt.
    prompt: int
    begin: int
    end: int
    parent: Node | None
    #: First of the prompts below it, for the order in which they run.
    first: int
    #: Prompts below it that have samples left to draw.
    waiting: int = 0
    #: Rows that read it now.
    running: int = 0
    #: Its row in the page tables and its pages, while it is in memory.
    table: int = -1
    pages: list[int] | None = None
    #: Its tokens, where it may outlive that prompt.
    tokens: Tokens | None = None

    def chain(self) -> list[Node]:
        """Itself and what comes before it, first text first."""
        chain, node = [self], self.parent
        while node is not None:
            chain.append(node)
            node = node.parent
        return chain[::-1]


def build_tree(prompts: Sequence[Tokens], least: int, levels: int) -> list[Node | None]:
    """Find the text that prompts have in common.

    Parameters
    ----------
    prompts
        The tokens of each prompt's prefix.
    least
        Tokens that must be shared for a node of their own to be worth it. Equal prefixes always share.
    levels
        Longest chain of nodes, at least 1.

    Returns
    -------
    list
        The last node of each prefix; None where it is empty.
    """
    # In the order of their tokens, prompts with common beginnings are neighbours; big-endian bytes sort like tokens.
    order = sorted(range(len(prompts)), key=lambda i: prompts[i].astype(">u4").tobytes())
    common = np.zeros(len(order), np.int64)
    for i in range(1, len(order)):
        above, below = prompts[order[i - 1]], prompts[order[i]]
        n = min(len(above), len(below))
        differ = np.flatnonzero(above[:n] != below[:n])
        common[i] = differ[0] if len(differ) else n
    leaves: list[Node | None] = [None] * len(prompts)
    # Stretches of the order that share ``start`` tokens, which end with ``parent``.
    stack: list[tuple[int, int, int, Node | None, int]] = [(0, len(order), 0, None, 1)] if order else []
    while stack:
        low, high, start, parent, level = stack.pop()
        inner = common[low + 1 : high]
        cuts = np.flatnonzero(inner < start + least) + low + 1 if level < levels else np.arange(low + 1, high)
        bounds = [low, *cuts.tolist(), high]
        for a, b in itertools.pairwise(bounds):
            first = min(order[a:b])
            length = len(prompts[order[a]])
            if b - a > 1:
                end = int(common[a + 1 : b].min())
                stack.append((a, b, end, Node(order[a], start, end, parent, first), level + 1))
            elif length == start:
                leaves[order[a]] = parent
            elif a > low and common[a] == length == len(prompts[order[a - 1]]):
                leaf = leaves[order[a]] = leaves[order[a - 1]]  # a prompt asked twice
                assert leaf is not None
                leaf.first = min(leaf.first, first)
            else:
                leaves[order[a]] = Node(order[a], start, length, parent, first)
    return leaves
