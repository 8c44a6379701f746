"""What one partition of LABELERS knows: the latest evidence of every source partition on each of its labelers.

Rows and records are made of it at a checkpoint. Rows are a function of the messages alone: one a labeler and minute of
event time, as of the last evidence of that minute. When a record is published depends on the wall clock; what it says
does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from detectors.consensus import shared
from detectors.evidence import UNJUDGED, Evidence
from detectors.reliability import Reliability, summarise
from schemas.rows import Row, StateRow
from schemas.topics import LABELER_EVIDENCE
from streams.outbox import Message
from streams.settings import ReliabilitySettings
from streams.state import codecs
from streams.state.partition_state import Changes
from streams.state.position import Position
from streams.state.reliability_rows import reliability_key, reliability_record, reliability_row

CODEC_VERSIONS: Final = {"position": 1, "reliability": 1}
MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
#: An interval so much wider or narrower than the published one is news, whatever became of its middle.
MATERIAL_WIDTH: Final = 0.25


class LabelerKey(NamedTuple):
    """One labeler in one label space."""

    project_id: str
    task_type: str
    labeler_id: str


class Part(NamedTuple):
    """The latest that one source partition said, and the sequence number that it includes."""

    version: int
    evidence: Evidence


class Published(NamedTuple):
    """What was last told of a labeler."""

    version: int
    accuracy: float | None
    width: float | None
    """Of the credible interval."""


NEVER: Final = Published(-1, None, None)


@dataclass(slots=True)
class KnownLabeler:
    """Evidence on one labeler, by source partition."""

    parts: dict[int, Part] = field(default_factory=dict)
    published: Published = NEVER
    published_ms: int = 0
    """By the wall clock; 0 after a restore: what is new since is due."""

    @property
    def seen_ms(self) -> int:
        """Event time of the labeler's latest answer."""
        return max(part.evidence.seen_ms for part in self.parts.values())

    @property
    def as_of_ms(self) -> int:
        """The minute of it."""
        return self.seen_ms // MINUTE_MS * MINUTE_MS

    @property
    def version(self) -> int:
        """Grows with every part."""
        return sum(part.version for part in self.parts.values())

    def reliability(self) -> Reliability:
        """The summary of all parts, which does not depend on the order in which they came."""
        return summarise([self.parts[partition].evidence for partition in sorted(self.parts)])


class LabelersState:
    """State of one partition of LABELERS.

    Args:
        app_id: the application whose labelers these are.
        name: under which the state is kept.
        partition: of `labeler-evidence`.
        settings: when to publish, and when to forget.
        checkpoint_seconds: how often `changes` is called; what is due before the next call is published now.
    """

    def __init__(
        self, app_id: str, name: str, partition: int, settings: ReliabilitySettings, checkpoint_seconds: float = 0.0
    ) -> None:
        self.app_id = app_id
        self.partition = partition
        self.labelers: dict[LabelerKey, KnownLabeler] = {}
        self._name = name
        self._settings = settings
        self._publish_ms = max(0.0, settings.publish_seconds - checkpoint_seconds) * 1_000
        self._forget_ms = settings.forget_days * DAY_MS
        self._latest_ms = 0
        self._swept_ms = 0
        self._position = Position()
        self._finished: list[Row] = []
        """Rows of minutes that are over."""
        self._unwritten: dict[LabelerKey, None] = {}
        self._unpublished: dict[LabelerKey, None] = {}
        self._moved = False

    def position(self, topic: str) -> Position:
        """The position in `labeler-evidence`."""
        if topic != LABELER_EVIDENCE.name:
            raise ValueError(f"LABELERS does not read {topic!r}")
        return self._position

    def moved(self) -> None:
        """Note that the position changed."""
        self._moved = True

    def take(self, key: LabelerKey, source_partition: int, version: int, evidence: Evidence) -> bool:
        """Use what a source partition now knows of a labeler; False if that was known, or is older."""
        self._latest_ms = max(self._latest_ms, evidence.seen_ms)
        known = self.labelers.get(key)
        if known is None:
            known = self.labelers[LabelerKey(shared(key[0]), shared(key[1]), shared(key[2]))] = KnownLabeler()
        else:
            is_forgotten = self._is_idle(known)  # whether or not it was dropped yet
            part = known.parts.get(source_partition)
            if part is not None and not is_forgotten and (version < part.version or part == (version, evidence)):
                return False
            if key in self._unwritten and evidence.seen_ms >= known.as_of_ms + MINUTE_MS:
                self._finish(self._finished, key, known, known.reliability())
            if is_forgotten:
                known.parts.clear()
        known.parts[source_partition] = Part(version, evidence)
        self._unwritten[key] = self._unpublished[key] = None
        return True

    def is_due(self, now_ms: int) -> bool:
        """Whether something small has waited long enough to be published."""
        return any(self._has_waited(self.labelers[key], now_ms) for key in self._unpublished)

    def changes(self, now_ms: int) -> Changes:
        """Rows, and records to publish, for what changed since the last call.

        `source_progress` is not written: it tells BI how far the sources are read, and evidence is no source.
        """
        found = Changes()
        rows = found.results["labeler_reliability"] = self._finished
        stored = dict(self._unwritten)
        for key in list(self._unpublished):
            known = self.labelers[key]
            is_new = key in self._unwritten
            if not is_new and not self._has_waited(known, now_ms):
                continue
            reliability = known.reliability()
            if is_new:
                self._finish(rows, key, known, reliability)
            if self._has_waited(known, now_ms) or self._is_material(known.published, reliability):
                found.messages.append(self._record(key, known, reliability))
                known.published = Published(known.version, reliability.accuracy, _width(reliability))
                known.published_ms = now_ms
                stored[key] = None
                del self._unpublished[key]
        for key in self._forget():
            found.messages.append(Message(*reliability_key(self.app_id, key), None))
            found.state.append(self._row("reliability", _dumps(list(key)), "", is_deleted=True))
        for key in stored:
            if key in self.labelers:
                found.state.append(self._row("reliability", _dumps(list(key)), _encode(self.labelers[key])))
        if self._moved:
            found.state.append(self._row("position", LABELER_EVIDENCE.name, codecs.encode_position(self._position)))
        self._finished, self._unwritten, self._moved = [], {}, False
        return found

    def restore(self, rows: Iterable[StateRow]) -> None:
        """Continue from stored rows, whatever their order.

        Raises:
            UnknownCodecError: a row was written by a version of labelwatch that this one cannot read.
        """
        for row in rows:
            codecs.check_version(row.kind, row.codec_version, CODEC_VERSIONS, "LABELERS")
            if row.kind == "position":
                self._position = codecs.decode_position(row.payload)
                continue
            key = LabelerKey(*map(shared, orjson.loads(row.key)))
            known = self.labelers[key] = _decode(row.payload)
            self._latest_ms = max(self._latest_ms, known.seen_ms)
            if known.published.version != known.version:
                self._unpublished[key] = None

    def _finish(self, rows: list[Row], key: LabelerKey, known: KnownLabeler, reliability: Reliability) -> None:
        """Write what is known as of a minute; nothing of labelers whose answers are not judged."""
        if reliability.form != UNJUDGED:
            rows.append(reliability_row(key, known.as_of_ms, known.version, reliability))

    def _has_waited(self, known: KnownLabeler, now_ms: int) -> bool:
        return now_ms - known.published_ms >= self._publish_ms

    def _is_material(self, published: Published, now: Reliability) -> bool:
        accuracy, width = now.accuracy, _width(now)
        if accuracy is None or width is None or published.accuracy is None or published.width is None:
            return published is NEVER or (accuracy is None) != (published.accuracy is None)
        return (
            abs(accuracy - published.accuracy) >= self._settings.material_change
            or abs(width - published.width) >= MATERIAL_WIDTH * published.width
        )

    def _is_idle(self, known: KnownLabeler) -> bool:
        return known.seen_ms + self._forget_ms <= self._latest_ms

    def _forget(self) -> list[LabelerKey]:
        """Drop who has not answered for long; looked for at the start, and then once a day of event time."""
        if self._latest_ms - self._swept_ms < DAY_MS:
            return []
        self._swept_ms = self._latest_ms
        idle = [key for key, known in self.labelers.items() if self._is_idle(known)]
        for key in idle:
            del self.labelers[key]
            self._unpublished.pop(key, None)
        return idle

    def _record(self, key: LabelerKey, known: KnownLabeler, reliability: Reliability) -> Message:
        parts = {partition: (part.version, part.evidence) for partition, part in sorted(known.parts.items())}
        value = reliability_record(self.app_id, key, known.as_of_ms, reliability, parts)
        return Message(*reliability_key(self.app_id, key), value)

    def _row(self, kind: str, key: str, payload: str, *, is_deleted: bool = False) -> StateRow:
        version, codec = max(self._position.offset, 0), CODEC_VERSIONS[kind]
        return StateRow(self._name, self.partition, kind, key, version, codec, payload, is_deleted)


def _width(now: Reliability) -> float | None:
    return None if now.accuracy_low is None or now.accuracy_high is None else now.accuracy_high - now.accuracy_low


def _encode(known: KnownLabeler) -> str:
    parts = [[partition, part.version, part.evidence.to_plain()] for partition, part in known.parts.items()]
    return _dumps({"parts": parts, "published": list(known.published)})


def _decode(payload: str) -> KnownLabeler:
    plain = orjson.loads(payload)
    parts = {partition: Part(version, Evidence.from_plain(one)) for partition, version, one in plain["parts"]}
    return KnownLabeler(parts, Published(*plain["published"]))


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()
