"""Who runs where while prompts come and go: a schedule whose tree of prefixes grows, and outlives its samples."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from t2fast.sampling.engine.schedule import Job, Row, Schedule
from t2fast.sampling.engine.tree import Node, Tokens

__all__ = ["LiveSchedule"]


class LiveSchedule(Schedule):
    """A schedule that prompts join while others run.

    What a prompt has in common with those before it is found in the tree, which stays in memory when nobody reads it
    any more, until pages or tables are short. A node that a new prompt shares in part is cut in two, at the end of a
    page, so that nothing is copied. Of the prompts that wait, the one with the fewest samples in the batch comes first:
    one that wants thousands does not keep others waiting.

    Parameters
    ----------
    n_pages, page_size, slots, node_tables, n_top, width
        As for :class:`Schedule`.
    levels
        Most nodes in a prefix's chain.
    cuts
        Whether nodes may be cut.
    """

    def __init__(
        self,
        *,
        n_pages: int,
        page_size: int,
        slots: int,
        node_tables: int,
        n_top: int,
        width: int,
        levels: int,
        cuts: bool = True,
    ) -> None:
        super().__init__(
            [], n_pages=n_pages, page_size=page_size, slots=slots, node_tables=node_tables, n_top=n_top, width=width
        )
        self._levels, self._cuts = levels, cuts
        self._waiting: list[Job] = []
        #: The tree: what comes below a node, None for the beginnings. Nodes that are not in it have one prompt alone.
        self._below: dict[Node | None, list[Node]] = {None: []}

    @property
    def idle_pages(self) -> int:
        """Pages of prefixes that no row reads now."""
        return sum(len(node.pages or ()) for node in self._idle)

    def pages_of(self, job: Job) -> int:
        """Pages without which not one sample of a prompt could be drawn."""
        return self._size(len(job.tokens) - 1) + self._levels + self._size(job.limit + 1)

    def join(self, job: Job, *, alone: bool = False) -> tuple[list[Node], list[Row]]:
        """Let a prompt in; with ``alone`` its prefix is its own.

        Returns
        -------
        nodes, rows
            Nodes that lie elsewhere than before, and the rows that read them.
        """
        tokens = job.tokens[:-1]
        moved: tuple[list[Node], list[Row]] = [], []
        if alone and len(tokens):
            job.leaf = Node(job.index, 0, len(tokens), None, 0, tokens=tokens.copy())
        elif len(tokens):
            job.leaf, moved = self._grow(job.index, tokens)
        for node in job.chain():
            node.waiting += 1
        if job.upcoming() is not None:
            self._waiting.append(job)
        return moved

    # ------------------------------------------------------------------------------------------------ the tree

    def _grow(self, index: int, tokens: Tokens) -> tuple[Node, tuple[list[Node], list[Row]]]:
        """The last node of a prefix, made where there is none."""
        parent: Node | None = None
        moved: tuple[list[Node], list[Row]] = [], []
        at = depth = 0
        while at < len(tokens):
            rest = tokens[at:]
            best, common = None, 0
            for child in self._below.get(parent, ()):
                if (same := _common(child.tokens, rest)) > common:
                    best, common = child, same
            if best is None:
                break
            whole = common == best.end - best.begin
            if whole and (common == len(rest) or depth + 2 <= self._levels):
                parent, at, depth = best, at + common, depth + 1
                continue
            cut = common // self.page_size * self.page_size
            if not whole and cut >= 2 * self.page_size and depth + 1 + self._height(best) <= self._levels:
                upper, moved = self._cut(best, cut)
                if upper is not None:
                    parent, at = upper, at + cut
            break
        if at < len(tokens):
            leaf = Node(index, at, len(tokens), parent, 0, tokens=tokens[at:].copy())
            self._below.setdefault(parent, []).append(leaf)
            return leaf, moved
        assert parent is not None
        return parent, moved

    def _height(self, node: Node) -> int:
        return 1 + max(map(self._height, self._below.get(node, ())), default=0)

    def _cut(self, node: Node, cut: int) -> tuple[Node | None, tuple[list[Node], list[Row]]]:
        """Cut a node in two after so many tokens; gives the upper part, or None where there is no table for it."""
        assert node.tokens is not None
        there = node.pages is not None
        if not self._cuts or (there and not self._make_room(0, 1, keep=node.chain())):
            return None, ([], [])
        upper = Node(
            node.prompt, node.begin, node.begin + cut, node.parent, 0,
            waiting=node.waiting, running=node.running, tokens=node.tokens[:cut].copy(),
        )  # fmt: skip
        siblings = self._below[node.parent]
        siblings[siblings.index(node)] = upper
        self._below[upper] = [node]
        node.parent, node.begin, node.tokens = upper, node.begin + cut, node.tokens[cut:].copy()
        if node.pages is None:
            return upper, ([], [])
        pages = self._size(cut)
        upper.pages, node.pages = node.pages[:pages], node.pages[pages:]
        upper.table = self._free_tables.pop()
        for part in (upper, node):
            assert part.pages is not None
            self._write(part.table, 0, part.pages)
        if node in self._idle:
            self._idle[upper] = None
        self.moves += 1
        return upper, ([upper, node], [row for row in self.running.values() if node in row.job.chain()])

    def _unwanted(self, node: Node) -> None:
        if node not in self._below.get(node.parent, ()):
            super()._unwanted(node)  # one prompt's own
        elif node.pages is None:
            self._prune(node)

    def _drop(self, node: Node) -> None:
        super()._drop(node)
        self._prune(node)

    def _prune(self, node: Node | None) -> None:
        """Forget nodes that hold nothing, lead to nothing and are waited for by nobody."""
        while node is not None and node.pages is None and not node.waiting and not self._below.get(node):
            siblings = self._below.get(node.parent, [])
            if node not in siblings:
                return
            siblings.remove(node)
            self._below.pop(node, None)
            node = node.parent

    # ------------------------------------------------------------------------------------------------ who is next

    def _peek(self) -> Row | None:
        if self.paused:
            return min(self.paused, key=lambda row: row.serial)
        self._waiting = [job for job in self._waiting if job.upcoming() is not None]
        job = min(self._waiting, key=lambda job: job.active, default=None)
        return None if job is None else Row(job, job.next)

    def stop(self, job: Job, sample: int) -> None:
        """As :meth:`Schedule.stop`."""
        super().stop(job, sample)
        self._waiting = [one for one in self._waiting if one.upcoming() is not None]

    def free(self) -> None:
        """Let go of all prefixes that nobody reads."""
        for node in list(self._idle):
            self._drop(node)

    def check(self) -> Collection[str]:
        """What is wrong with the account of pages and nodes; nothing, one hopes."""
        nodes, at = [], list(self._below[None])
        while at:
            node = at.pop()
            nodes.append(node)
            at += self._below.get(node, ())
        found = []
        own = {node for row in self.running.values() for node in row.job.chain()} - set(nodes)
        held = [page for node in (*nodes, *own, *(set(self._idle) - set(nodes) - own)) for page in node.pages or ()]
        held += [page for row in self.running.values() for page in row.pages[self._left[row.slot] :]]
        if len(held) != len(set(held)) or len(held) != self.pages.taken:
            found.append(f"{self.pages.taken} pages are taken, and {len(set(held))} of {len(held)} known to be")
        if any(node.pages is None and not node.waiting and not self._below.get(node) for node in nodes):
            found.append("a node is kept for nothing")
        if not self.running and any(node.running for node in nodes):
            found.append("a node is said to be read by rows that are gone")
        return found


def _common(a: Tokens | None, b: Tokens) -> int:
    """How many of their first tokens are the same."""
    assert a is not None
    n = min(len(a), len(b))
    differ = np.flatnonzero(a[:n] != b[:n])
    return int(differ[0]) if len(differ) else n
