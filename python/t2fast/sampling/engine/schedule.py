"""Who runs where: which samples are in the batch, and which pages of memory they hold. Knows no torch.

A *node* is a stretch of text that one or more prompts have in common; its keys and values are stored once. A prompt's
prefix is a chain of nodes and holds all of its tokens but the last. A *row* is a sample being drawn; what is its own
(the last token of the prompt, then what it generated) lies in pages that it alone holds. So a fresh row is fed the last
token of the prompt, every later step the token before, and the first step is no special case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from t2fast.sampling.engine.pages import Pages, pages_for
from t2fast.sampling.engine.tree import Floats, Node, Tokens

__all__ = ["Job", "Row", "Schedule"]


@dataclass(eq=False, slots=True)
class Job:
    """One prompt and the samples to draw for it."""

    #: Its place among the prompts.
    index: int
    #: All of its tokens.
    tokens: Tokens
    #: Samples are numbered from 0 to ``end - 1``.
    end: int
    #: Most tokens that a sample may get.
    limit: int
    #: Samples that are there already.
    skip: Collection[int] = ()
    leaf: Node | None = None
    #: Where to look for the next sample to begin.
    next: int = 0
    #: Rows running or paused.
    active: int = 0
    over: bool = False

    def upcoming(self) -> int | None:
        """Number of the next sample to begin, if there is one."""
        while self.next < self.end and self.next in self.skip:
            self.next += 1
        return self.next if self.next < self.end else None

    def wanted(self) -> int:
        """Samples to draw in all."""
        return sum(1 for sample in range(self.end) if sample not in self.skip)

    def chain(self) -> list[Node]:
        """The nodes of its prefix, in order."""
        return [] if self.leaf is None else self.leaf.chain()


@dataclass(eq=False, slots=True)
class Row:
    """A sample being drawn."""

    job: Job
    sample: int
    #: Order of admission: who came last gives way first.
    serial: int = -1
    slot: int = -1
    pages: list[int] = field(default_factory=list)
    #: What it had generated when it was paused, with the log-probabilities.
    tokens: Tokens = field(default_factory=lambda: np.empty(0, np.int32))
    logprobs: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    #: The likeliest tokens in the place of each, as in :class:`Step`.
    top: Tokens | None = None
    #: Step from which its end of thinking is forced, -1 if it is not; None while that is open.
    forced: int | None = None
    #: Nodes of its prefix that lie before all windows.
    behind: int = 0


class Schedule:
    """Decides which samples run, and moves them in and out of slots as memory allows.

    Samples begin in an order that keeps prompts with common text together, so that each node is computed once and
    leaves when its last sample has ended. When pages run out, nodes that no row reads leave first; then the rows that
    came last are paused, and later their tokens are computed again. The row that came first always goes on, so
    everything ends.

    Parameters
    ----------
    jobs
        What to draw, with ``leaf`` set.
    n_pages, page_size
        Size of the pool, in pages, and of a page, in tokens. It must hold any one prompt with one sample:
        :meth:`least_pages`.
    slots
        Most rows that run together.
    node_tables
        Most nodes in memory.
    n_top
        How many of the likeliest tokens are recorded for each.
    width
        Pages that the tables have room for at least.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        n_pages: int,
        page_size: int,
        slots: int,
        node_tables: int,
        n_top: int = 0,
        width: int = 1,
    ) -> None:
        self.page_size, self.slots = page_size, slots
        self.pages = Pages(n_pages)
        self.running: dict[int, Row] = {}  # by slot
        self.paused: list[Row] = []
        self.preemptions = 0
        #: Counts rows that came or went.
        self.moves = 0
        self._idle: dict[Node, None] = {}  # in memory though no row reads them now, longest idle first
        self._free_slots = list(range(slots - 1, -1, -1))
        self._free_tables = list(range(slots + node_tables - 1, slots - 1, -1))
        self._serial = 0
        paths = {}
        for job in jobs:
            if job.upcoming() is not None:
                chain = job.chain()
                paths[job] = (*(node.first for node in chain), job.index)
                for node in chain:
                    node.waiting += 1
        self._jobs = sorted(paths, key=paths.__getitem__)
        self._at = 0
        #: Page ids, int32 [slots + node_tables, pages of the longest]: a row for each slot, then one for each node; and
        #: the rows that changed since the caller last emptied the set.
        widest = max((self._size(n) for job in self._jobs for n in self._lengths(job)), default=1)
        self.tables = np.zeros((slots + node_tables, max(widest, width)), np.int32)
        self.changed: set[int] = set()
        #: By slot: who is in it, by order of admission, or -1.
        self.serial = np.full(slots, -1, np.int64)
        #: By slot: whether a row is in it, its steps so far (so also where among its own tokens the next one is
        #: written), pages it holds, most tokens it may get.
        self.occupied = np.zeros(slots, bool)
        self.count = np.zeros(slots, np.int32)
        self.held = np.zeros(slots, np.int32)
        self.limit = np.zeros(slots, np.int32)
        #: By slot: pages given back though the row runs; and the position of its first own token.
        self._left = np.zeros(slots, np.int32)
        self._position = np.zeros(slots, np.int32)
        #: By slot: what was generated, with the log-probabilities.
        self.tokens = np.zeros((slots, 64), np.int32)
        self.logprobs = np.zeros((slots, 64), np.float32)
        self.top = np.zeros((slots, 64, 2 * n_top), np.int32)

    @staticmethod
    def _lengths(job: Job) -> Iterator[int]:
        for node in job.chain():
            yield node.end - node.begin
        # One more, for a step that was begun before the end was seen.
        yield job.limit + 1

    def _size(self, tokens: int) -> int:
        return pages_for(tokens, self.page_size)

    def least_pages(self) -> int:
        """Pages without which some sample could not be drawn even alone."""
        return max((sum(map(self._size, self._lengths(job))) for job in self._jobs), default=1)

    # ------------------------------------------------------------------------------------------------ coming and going

    def _peek(self) -> Row | None:
        """The row to begin next: paused ones first, the oldest of them before all."""
        if self.paused:
            return min(self.paused, key=lambda row: row.serial)
        while self._at < len(self._jobs):
            job = self._jobs[self._at]
            sample = job.upcoming()
            if sample is not None:
                return Row(job, sample)
            self._at += 1
        return None

    def admit(self) -> tuple[list[Node], list[Row]]:
        """Let rows begin while there are slots and pages.

        Returns
        -------
        nodes, rows
            Nodes whose keys and values must be computed, each after those before it in its chain; rows that begin or go
            on: those that go on have ``tokens``, and what they generated must be computed again, all but the last.
        """
        nodes: list[Node] = []
        rows: list[Row] = []
        while self._free_slots and (row := self._peek()) is not None:
            chain = row.job.chain()
            missing = [node for node in chain if node.pages is None]
            done = len(row.tokens)
            own = self._size(done + 1)
            need = own + sum(self._size(node.end - node.begin) for node in missing)
            # A page more for each running row, so that beginning one does not at once pause another.
            if not self._make_room(need + len(self.running), len(missing), keep=chain):
                break
            if row.serial < 0:
                row.serial = self._serial
                self._serial += 1
                row.job.next += 1
                row.job.active += 1
            else:
                self.paused.remove(row)
            for node in missing:
                node.pages = self.pages.take(self._size(node.end - node.begin))
                node.table = self._free_tables.pop()
                self._write(node.table, 0, node.pages)
            for node in chain:
                node.running += 1
                self._idle.pop(node, None)
            row.pages = self.pages.take(own)
            row.slot = slot = self._free_slots.pop()
            self._write(slot, 0, row.pages)
            self.running[slot] = row
            self.occupied[slot] = True
            self.serial[slot] = row.serial
            self.moves += 1
            self.count[slot], self.held[slot], self.limit[slot] = done, own, row.job.limit
            self._left[slot], self._position[slot], row.behind = 0, len(row.job.tokens) - 1, 0
            self._widen(done)
            self.tokens[slot, :done], self.logprobs[slot, :done] = row.tokens, row.logprobs
            if row.top is not None:
                self.top[slot, :done] = row.top
            nodes += missing
            rows.append(row)
        return nodes, rows

    def _write(self, table: int, column: int, pages: list[int]) -> None:
        self.tables[table, column : column + len(pages)] = pages
        self.changed.add(table)

    def _make_room(self, pages: int, tables: int = 0, keep: Collection[Node] = ()) -> bool:
        """Let go of idle nodes until so many pages and tables are free; False if that is not enough."""
        for node in list(self._idle):
            if self.pages.free >= pages and len(self._free_tables) >= tables:
                break
            if node not in keep:
                self._drop(node)
        return self.pages.free >= pages and len(self._free_tables) >= tables

    def _drop(self, node: Node) -> None:
        assert node.pages is not None
        assert not node.running
        self._idle.pop(node, None)
        self.pages.give_back(node.pages)
        self._free_tables.append(node.table)
        node.pages, node.table = None, -1

    def _release(self, row: Row) -> None:
        """Take a row out of its slot."""
        del self.running[row.slot]
        self.occupied[row.slot] = False
        self.serial[row.slot] = -1
        self.moves += 1
        self._free_slots.append(row.slot)
        self.pages.give_back(row.pages[self._left[row.slot] :])
        row.pages, row.slot = [], -1
        # The last first: what comes before it is of use to more.
        for node in row.job.chain()[row.behind :][::-1]:
            self._unread(node)

    def _unread(self, node: Node) -> None:
        node.running -= 1
        if not node.running:
            self._idle[node] = None

    def finish(self, row: Row) -> None:
        """Take out a row that has ended; its prompt's nodes leave memory with the last sample below them."""
        self._release(row)
        self._end(row.job, 1)

    def _end(self, job: Job, rows: int) -> None:
        job.active -= rows
        if job.active or job.over or job.upcoming() is not None:
            return
        job.over = True
        for node in job.chain()[::-1]:
            node.waiting -= 1
            if not node.waiting:
                self._unwanted(node)

    def _unwanted(self, node: Node) -> None:
        """No sample below this node is left to draw."""
        if node.pages is not None:
            self._drop(node)

    def stop(self, job: Job, sample: int) -> None:
        """Want no samples of this prompt from number ``sample`` on: rows that draw them leave."""
        job.end = min(job.end, sample)
        running = [row for row in self.running.values() if row.job is job and row.sample >= sample]
        paused = [row for row in self.paused if row.job is job and row.sample >= sample]
        for row in running:
            self._release(row)
        for row in paused:
            self.paused.remove(row)
        self._end(job, len(running) + len(paused))

    # ------------------------------------------------------------------------------------------------ step by step

    def needy(self) -> npt.NDArray[np.int64]:
        """Slots whose next token has no page."""
        return np.flatnonzero(self.occupied & (self.held * self.page_size <= self.count))

    def leave(self, window: int) -> list[Row]:
        """Let go of what no later step reads, where every layer reads the latest ``window`` tokens alone.

        A row's own pages are free at once. Nodes stay, idle, for samples that have not begun, until pages are short.
        Returns the rows that left nodes behind.
        """
        first = self.count - window + 1  # the first of a row's own tokens that its next step reads
        for slot in np.flatnonzero(self.occupied & (first >= (self._left + 1) * self.page_size)).tolist():
            row, left = self.running[slot], int(first[slot]) // self.page_size
            self.pages.give_back(row.pages[self._left[slot] : left])
            self._left[slot] = left
        moved = []
        for slot in np.flatnonzero(self.occupied & (first + self._position > 0)).tolist():
            row = self.running[slot]
            chain = row.job.chain()
            passed = sum(1 for node in chain if node.end <= first[slot] + self._position[slot])
            if passed > row.behind:
                for node in chain[row.behind : passed]:
                    self._unread(node)
                row.behind = passed
                self.moves += 1
                moved.append(row)
            if passed == len(chain):
                self._position[slot] = -(1 << 30)  # nothing is left to pass
        return moved

    def grow(self) -> bool:
        """Give every row the page that its next token needs; pauses the rows that came last where there are too few.

        Everything that was generated must have been recorded before. True if a row was paused.
        """
        before = self.preemptions
        for slot in sorted(self.needy().tolist(), key=lambda slot: self.running[slot].serial):
            while slot in self.running and not self._make_room(1):
                self._pause(max(self.running.values(), key=lambda row: row.serial))
            if slot in self.running:
                pages = self.pages.take(1)
                self._write(slot, int(self.held[slot]), pages)
                self.running[slot].pages += pages
                self.held[slot] += 1
        return self.preemptions > before

    def _pause(self, row: Row) -> None:
        count = self.count[row.slot]
        row.tokens = self.tokens[row.slot, :count].copy()
        row.logprobs = self.logprobs[row.slot, :count].copy()
        row.top = self.top[row.slot, :count].copy()
        self._release(row)
        self.paused.append(row)
        self.preemptions += 1

    def _widen(self, columns: int) -> None:
        """Make the record wide enough for this many tokens."""
        have = self.tokens.shape[1]
        if columns > have:
            more = ((0, 0), (0, max(columns, 2 * have) - have))
            self.tokens, self.logprobs = np.pad(self.tokens, more), np.pad(self.logprobs, more)
            self.top = np.pad(self.top, (*more, (0, 0)))

    def record(
        self, slots: npt.NDArray[np.int64], steps: Tokens, tokens: Tokens, logprobs: Floats, top: Tokens | None = None
    ) -> None:
        """Keep what the rows in ``slots`` generated in their steps ``steps``."""
        if len(slots):
            self._widen(int(steps.max()) + 1)
            self.tokens[slots, steps], self.logprobs[slots, steps] = tokens, logprobs
            if top is not None:
                self.top[slots, steps] = top
