"""What WATCH knows: the rules in force, what its detectors hold (`detectors.watch`), and how far it has read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from detectors.watch.watch import Watch
from schemas.measurements import RulesChange
from schemas.rows import StateRow
from schemas.topics import MEASUREMENTS
from streams.outbox import Message
from streams.state import codecs
from streams.state.partition_state import Changes
from streams.state.position import Position
from streams.thresholds import LoadedThresholds, ThresholdsError, parse_thresholds

CODEC_VERSIONS: Final = {"position": 1, "rules": 1, "watch": 1, "scope": 1, "labeler": 1, "hour": 1, "crew": 1}


class WatchState:
    """State of the one partition of WATCH.

    Args:
        app_id: the application whose measurements these are.
        name: under which the state is kept.
        partition: of `measurements`.
        make: what runs the rules, before anything was seen.
    """

    def __init__(self, app_id: str, name: str, partition: int, make: Callable[[], Watch] = Watch) -> None:
        self.app_id = app_id
        self.partition = partition
        self.watch = make()
        self.change: RulesChange | None = None
        """What brought the rules in force."""
        self.in_force: LoadedThresholds | None = None
        self.refused: str | None = None
        """Why stored rules are not in force; None where they are."""
        self.messages: list[Message] = []
        """Verdicts that the next checkpoint sends."""
        self._name = name
        self._position = Position()
        self._has_moved = False
        self._are_rules_new = False

    def position(self, topic: str) -> Position:
        """The position in `measurements`."""
        if topic != MEASUREMENTS.name:
            raise ValueError(f"WATCH does not read {topic!r}")
        return self._position

    def moved(self) -> None:
        """Note that the position changed."""
        self._has_moved = True

    def put_in_force(self, change: RulesChange, rules: LoadedThresholds) -> None:
        """Note which rules the watch was given."""
        self.change, self.in_force, self.refused = change, rules, None
        self._are_rules_new = True

    def changes(self, now_ms: int) -> Changes:
        """Verdicts to send, and state that changed since the last call."""
        found = Changes(messages=self.messages)
        for kind, key, payload in self.watch.take_changed():
            found.state.append(self._row(kind, key, payload))
        if self._are_rules_new and self.change is not None:
            found.state.append(self._row("rules", "", self.change.model_dump_json()))
        if self._has_moved:
            # What waits is not stored: it is read again.
            waiting = self.watch.oldest
            stored = self._position if waiting is None else replace(self._position, offset=waiting - 1)
            found.state.append(self._row("position", MEASUREMENTS.name, codecs.encode_position(stored)))
        self.messages, self._are_rules_new, self._has_moved = [], False, False
        return found

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Continue from stored rows, whatever their order.

        Raises:
            UnknownCodecError: a row was written by a version of labelwatch that this one cannot read.
        """
        held: list[tuple[str, str, str]] = []
        for row in rows:
            codecs.check_version(row.kind, row.codec_version, CODEC_VERSIONS, "WATCH")
            if row.kind == "position":
                self._position = codecs.decode_position(row.payload)
            elif row.kind == "rules":
                self.change = RulesChange.model_validate_json(row.payload)
            else:
                held.append((row.kind, row.key, row.payload))
        if self.change is not None:
            try:
                self.in_force = read_rules(self.change)
            except ThresholdsError as error:  # accepted by another version of labelwatch
                self.refused = str(error)
            else:
                self.watch.change_rules(self.in_force.rules)
        self.watch.load(held)

    def _row(self, kind: str, key: str, payload: str | None) -> StateRow:
        version, codec = max(self._position.offset, 0), CODEC_VERSIONS[kind]
        is_deleted = payload is None
        return StateRow(self._name, self.partition, kind, key, version, codec, payload or "", is_deleted)


def read_rules(change: RulesChange) -> LoadedThresholds:
    """The rules that a message holds.

    Raises:
        ThresholdsError: they cannot be used.
    """
    changed_at = datetime.fromtimestamp(change.changed_at_ms / 1_000, UTC)
    loaded = parse_thresholds(change.content.encode(), change.source, changed_at=changed_at, owner=change.changed_by)
    return replace(loaded, sha256=change.sha256)  # of the file's bytes, which may have begun with a byte order mark
