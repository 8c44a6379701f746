"""A store and a broker in whose midst a process can be killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.rows import Row
from streams.sinks.sink import MemorySink


class CrashError(BaseException):
    """The process is gone. Nothing may catch it: not an Exception."""


class Fuse:
    """Crashes at the n-th place where a process can be killed."""

    def __init__(self, places: int) -> None:
        self.left = places

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise CrashError


class CrashingSink(MemorySink):
    """Dies before or after any table of a write. Only ``state`` is whole or not at all: it is one insert."""

    fuse = Fuse(0)

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[bytes] = []
        """What was sent for rules to look at."""

    async def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        for table, added in rows.items():
            self.fuse.burn()
            await super().write({table: added})
            self.fuse.burn()
