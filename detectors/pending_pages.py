"""Observations that wait until everything that came with them was forecast.

Answers of one page are submitted together and share their time: who learned the first of them would know the others.
So none is learned before all of them were forecast.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

#: Observations that may wait; beyond it the oldest page is learned, complete or not.
MAX_PENDING: Final = 500

T = TypeVar("T")


class PendingPages(Generic[T]):
    """Pages in order of arrival, each with its observations.

    A page is a labeler's answers with the same start and submit time. Files without a clock give a page's time to each
    of its answers, so answers in a row of one labeler with exactly the same time are one page, too.
    A page is due once an answer of another page, submitted later, was seen.

    >>> pending: PendingPages[str] = PendingPages()
    >>> first = pending.page("ann", started_ms=0, submitted_ms=9_000, seconds=3.0)
    >>> pending.due(first, 9_000), pending.add(first, 9_000, "one")
    ([], None)
    >>> first == pending.page("ann", started_ms=0, submitted_ms=9_000, seconds=3.0)
    True
    >>> pending.due(first, 9_000), pending.add(first, 9_000, "two")
    ([], None)
    >>> other = pending.page("bob", started_ms=1_000, submitted_ms=12_000, seconds=11.0)
    >>> pending.due(other, 12_000)
    [['one', 'two']]
    """

    __slots__ = ("_earliest", "_last", "_latest_ms", "_pages", "_size")

    def __init__(self) -> None:
        self._pages: dict[str, tuple[int, list[T]]] = {}
        """Page to the latest submit time of its answers, and what waits."""
        self._last: tuple[str, float, str] = ("", -1.0, "")
        """Labeler, seconds and page of the previous answer."""
        self._latest_ms = -1
        self._earliest = -1
        """No page was submitted before this (ms)."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def page(self, labeler_id: str, started_ms: int, submitted_ms: int, seconds: float) -> str:
        """The page of the next answer."""
        labeler, same, name = self._last
        if labeler != labeler_id or same != seconds:
            name = f"{started_ms} {submitted_ms} {labeler_id}"
        self._last = (labeler_id, seconds, name)
        return name

    def due(self, page: str, submitted_ms: int) -> list[list[T]]:
        """What is to be learned before an answer of this page is forecast, page by page."""
        if submitted_ms > self._latest_ms:
            self._latest_ms = submitted_ms
        latest_ms = self._latest_ms
        taken: list[list[T]] = []
        if self._earliest < latest_ms and self._pages:
            for name in [name for name, (at_ms, _) in self._pages.items() if at_ms < latest_ms and name != page]:
                taken.append(self._take(name))
            self._earliest = min([at_ms for at_ms, _ in self._pages.values()]) if self._pages else latest_ms
        while self._size >= MAX_PENDING:
            taken.append(self._take(next(iter(self._pages))))
        return taken

    def add(self, page: str, submitted_ms: int, observation: T) -> None:
        """Let an observation wait."""
        at_ms, waiting = self._pages.get(page) or (submitted_ms, [])
        waiting.append(observation)
        self._pages[page] = (submitted_ms if submitted_ms > at_ms else at_ms, waiting)
        if submitted_ms < self._earliest:
            self._earliest = submitted_ms
        self._size += 1

    def _take(self, name: str) -> list[T]:
        _, waiting = self._pages.pop(name)
        self._size -= len(waiting)
        return waiting

    def dump(self) -> list[Any]:
        """As plain values, if what waits is plain."""
        pages = [[name, at_ms, list(waiting)] for name, (at_ms, waiting) in self._pages.items()]
        return [list(self._last), self._latest_ms, self._earliest, pages]

    def load(self, state: list[Any]) -> None:
        """Continue from dumped state."""
        (labeler_id, seconds, name), self._latest_ms, self._earliest, pages = state
        self._last = (labeler_id, seconds, name)
        self._pages = {name: (at_ms, list(waiting)) for name, at_ms, waiting in pages}
        self._size = sum(len(waiting) for _, waiting in self._pages.values())
