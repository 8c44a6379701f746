"""A bounded memory that forgets what was used longest ago, and knows what changed since it was last stored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class RecentMemory(Generic[K, V]):
    """Values by key, in order of last use.

    Args:
        most: how many are kept.
        to_plain: a value as JSON can hold it.
        from_plain: the inverse.

    >>> memory: RecentMemory[str, float] = RecentMemory(2, to_plain=float, from_plain=float)
    >>> for name in ("ann", "bob", "ann", "cy"):
    ...     memory.use(name, 1.5)
    >>> "bob" in memory, sorted(memory.take_changed(), key=str)
    (False, [('ann', [2, 1.5]), ('cy', [3, 1.5])])
    >>> memory.use("dee", 2.5)
    >>> list(memory.take_changed())
    [('dee', [4, 2.5]), ('ann', None)]
    >>> again: RecentMemory[str, float] = RecentMemory(2, to_plain=float, from_plain=float)
    >>> again.load(memory.dump())
    >>> again.get("cy"), again.dump() == memory.dump()
    (1.5, True)
    """

    __slots__ = ("_changed", "_clock", "_forgotten", "_from_plain", "_most", "_new", "_to_plain", "_used", "_values")

    def __init__(self, most: int, *, to_plain: Callable[[V], Any], from_plain: Callable[[Any], V]) -> None:
        self._most = most
        self._to_plain = to_plain
        self._from_plain = from_plain
        self._values: OrderedDict[K, V] = OrderedDict()
        self._used: dict[K, int] = {}
        """When each was last used: the number of that use."""
        self._clock = 0
        self._changed: dict[K, None] = {}
        self._new: set[K] = set()
        """Those that were never taken."""
        self._forgotten: dict[K, None] = {}
        """Those that were taken, and forgotten since."""

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: K) -> V | None:
        """The value, if it is remembered; looking is no use."""
        return self._values.get(key)

    def use(self, key: K, value: V) -> None:
        """Remember a value, or that it changed."""
        self._used[key] = self._clock
        self._clock += 1
        if key in self._values:
            self._values.move_to_end(key)
        elif key in self._forgotten:
            del self._forgotten[key]
        else:
            self._new.add(key)
        self._values[key] = value
        self._changed[key] = None
        if len(self._values) > self._most:
            oldest, _ = self._values.popitem(last=False)
            del self._used[oldest]
            self._changed.pop(oldest, None)
            if oldest in self._new:
                self._new.discard(oldest)
            else:
                self._forgotten[oldest] = None

    def changed(self) -> list[K]:
        """Keys that changed since they were last taken."""
        return list(self._changed)

    def take_changed(self) -> Iterator[tuple[K, list[Any] | None]]:
        """What changed since the last call, as plain values; None of what was forgotten."""
        changed, forgotten = self._changed, self._forgotten
        self._changed, self._forgotten, self._new = {}, {}, set()
        for key in changed:
            yield key, self._plain(key)
        for key in forgotten:
            yield key, None

    def dump(self) -> list[tuple[K, list[Any]]]:
        """Everything as plain values, in order of last use."""
        return [(key, self._plain(key)) for key in self._values]

    def load(self, entries: Iterable[tuple[K, list[Any]]]) -> None:
        """Continue from what was dumped, or taken, in whatever order."""
        known = sorted(entries, key=lambda entry: entry[1][0])
        self._values = OrderedDict((key, self._from_plain(plain)) for key, (_, plain) in known)
        self._used = {key: used for key, (used, _) in known}
        self._clock = known[-1][1][0] + 1 if known else 0
        self._changed, self._forgotten, self._new = {}, {}, set()

    def _plain(self, key: K) -> list[Any]:
        return [self._used[key], self._to_plain(self._values[key])]
