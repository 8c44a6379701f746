"""The bucket that the broker stores in: objects by key, in one SQLite file.

The packaged broker can store in memory or in an S3 bucket. Memory would lose every topic at each stop while
ClickHouse keeps the offsets it has applied, and new events would then look like old ones. So the broker gets
a bucket: objects are rows, a put is one transaction, and a killed process loses nothing that was acknowledged.
Conditional puts (If-Match, If-None-Match) decide between two writers exactly as S3's do.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

_LAST = "\U0010ffff"  # sorts after every character a key can hold
_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, body BLOB NOT NULL, modified TEXT NOT NULL,
                                    version INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (next INTEGER NOT NULL);
INSERT INTO versions SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM versions);
"""


class ObjectStore:
    """Objects by key, in the order of their keys. One thread only.

    A version number, never given twice, serves as the ETag.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        # With a write-ahead log a commit survives the death of every process; only a power cut can lose
        # the last moments, and then the file is still whole.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        newest = self._db.execute("SELECT max(modified) FROM objects").fetchone()[0]
        self._clock = datetime.fromisoformat(newest) if newest else datetime.now(UTC)

    def close(self) -> None:
        self._db.close()

    def get(self, key: str) -> tuple[bytes, str, str] | None:
        """Body, ETag and modification time (ISO, UTC)."""
        row = self._db.execute("SELECT body, version, modified FROM objects WHERE key = ?", (key,)).fetchone()
        return (row[0], etag_of(row[1]), row[2]) if row else None

    def put(self, key: str, body: bytes, *, if_match: str | None = None, if_absent: bool = False) -> str | None:
        """Store and return the new ETag; None when the condition does not hold."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            row = self._db.execute("SELECT version FROM objects WHERE key = ?", (key,)).fetchone()
            current = etag_of(row[0]) if row else None
            if (if_absent and current) or (if_match is not None and current != if_match):
                self._db.execute("ROLLBACK")
                return None
            version = self._db.execute("UPDATE versions SET next = next + 1 RETURNING next - 1").fetchone()[0]
            # The broker takes the object changed last for the newest batch: no two may share a time.
            self._clock = max(self._clock + timedelta(microseconds=1), datetime.now(UTC))
            now = self._clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            self._db.execute(
                "INSERT INTO objects VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET"
                " body = excluded.body, modified = excluded.modified, version = excluded.version",
                (key, body, now, version),
            )
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return etag_of(version)

    def delete(self, key: str) -> None:
        self._db.execute("DELETE FROM objects WHERE key = ?", (key,))

    def keys(self, prefix: str, suffix: str) -> list[str]:
        """Every key that begins and ends so, in order."""
        rows = self._db.execute(
            "SELECT key FROM objects WHERE key >= ? AND key < ? ORDER BY key", (prefix, prefix + _LAST)
        )
        return [key for (key,) in rows if key.endswith(suffix)]

    def last(self, prefix: str) -> tuple[str, bytes] | None:
        """The greatest key under a prefix, with its body."""
        row: tuple[str, bytes] | None = self._db.execute(
            "SELECT key, body FROM objects WHERE key >= ? AND key < ? ORDER BY key DESC LIMIT 1",
            (prefix, prefix + _LAST),
        ).fetchone()
        return row

    def page(
        self, prefix: str, after: str, delimiter: str, limit: int
    ) -> tuple[list[tuple[str, int, str, str]], list[str], str | None]:
        """One page of keys: objects (key, size, ETag, modified), common prefixes, and where to go on."""
        objects: list[tuple[str, int, str, str]] = []
        prefixes: list[str] = []
        position = after
        while len(objects) + len(prefixes) < limit:
            rows = self._db.execute(
                "SELECT key, length(body), version, modified FROM objects"
                " WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
                (prefix, position, prefix + _LAST, limit - len(objects) - len(prefixes)),
            ).fetchall()
            if not rows:
                return objects, prefixes, None
            for key, size, version, modified in rows:
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                if cut >= 0:  # skip what lies under a common prefix instead of reading it
                    common = key[: cut + len(delimiter)]
                    prefixes.append(common)
                    position = common + _LAST
                    break
                objects.append((key, size, etag_of(version), modified))
                position = key
        return objects, prefixes, position


def etag_of(version: int) -> str:
    """The ETag of a version number, quoted as HTTP wants it."""
    return f'"{version:x}"'
