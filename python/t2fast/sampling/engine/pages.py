"""Pages of memory, handed out and taken back."""

from __future__ import annotations

__all__ = ["Pages", "pages_for"]


def pages_for(tokens: int, page_size: int) -> int:
    """Pages that so many tokens fill."""
    return -(-tokens // page_size)


class Pages:
    """The free pages of the pool, handed out and taken back."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = list(range(total - 1, -1, -1))

    @property
    def free(self) -> int:
        """Pages nobody holds."""
        return len(self._free)

    @property
    def taken(self) -> int:
        """Pages in use."""
        return self.total - len(self._free)

    def take(self, count: int) -> list[int]:
        """Hand out ``count`` pages; the caller has made sure that they are there."""
        assert count <= len(self._free)
        return [self._free.pop() for _ in range(count)]

    def give_back(self, pages: list[int]) -> None:
        """Take pages back, so that neighbours are handed out as neighbours again."""
        self._free.extend(reversed(pages))
