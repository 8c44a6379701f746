"""The topic registry: every Kafka topic, declared once. Creation, docs and checks read it from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel

from schemas.dead_letter import DeadLetter
from schemas.events import AnnotationEvent, ReviewEvent
from schemas.evidence import EvidenceBatch
from schemas.measurements import MeasurementMessage
from schemas.reliability import ReliabilityRecord
from schemas.verdicts import Verdicts

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic.

    ``partitions`` of topics in the same ``copartition`` group must be equal: the same partition number
    of each is read by the same worker, which owns the state of those tasks (or labelers). A topic without a group
    has no state that depends on its partitions.
    """

    name: str
    key: str
    partitions: int
    retention_ms: int
    compacted: bool
    schema: type[BaseModel]
    version: int
    written_by: str
    read_by: str
    purpose: str
    copartition: str | None = None
    stamped_by_broker: bool = False
    """Whether record timestamps are the broker's arrival time. Event times are checked against it: a producer whose
    clock is wrong must not be its own witness."""

    @property
    def config(self) -> dict[str, str]:
        """Topic configuration in Kafka's own words."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(1_048_576),
            "message.timestamp.type": "LogAppendTime" if self.stamped_by_broker else "CreateTime",
        }


ANNOTATIONS: Final = Topic(
    name="annotations",
    key="task_id",
    partitions=4,
    retention_ms=14 * DAY_MS,
    compacted=False,
    schema=AnnotationEvent,
    version=1,
    written_by="annotation tools, `labelwatch replay`",
    read_by="SCORE",
    purpose="One message an answer. Kept long enough to rebuild ClickHouse after a loss.",
    copartition="task",
    stamped_by_broker=True,
)
REVIEWS: Final = Topic(
    name="reviews",
    key="task_id",
    partitions=4,
    retention_ms=14 * DAY_MS,
    compacted=False,
    schema=ReviewEvent,
    version=1,
    written_by="review tools, `labelwatch replay`",
    read_by="SCORE",
    purpose="Later verdicts on answers and true labels of tasks.",
    copartition="task",
    stamped_by_broker=True,
)
DEAD_LETTERS: Final = Topic(
    name="annotations-dlq",
    key="the bad message's key",
    partitions=1,
    retention_ms=30 * DAY_MS,
    compacted=False,
    schema=DeadLetter,
    version=1,
    written_by="SCORE, LABELERS, WATCH, NOTIFY",
    read_by="`labelwatch dlq`",
    purpose="Input that can never be used, with reason, origin and payload.",
)

LABELER_EVIDENCE: Final = Topic(
    name="labeler-evidence",
    key="(partition by labeler_id)",
    partitions=4,
    retention_ms=7 * DAY_MS,
    compacted=False,
    schema=EvidenceBatch,
    version=1,
    written_by="SCORE",
    read_by="LABELERS",
    purpose="What each source partition knows of the labelers whose evidence changed; batches.",
    copartition="labeler",
)
LABELER_RELIABILITY: Final = Topic(
    name="labeler-reliability",
    key="JSON: app, project, task type, labeler",
    partitions=1,
    retention_ms=-1,
    compacted=True,
    schema=ReliabilityRecord,
    version=1,
    written_by="LABELERS",
    read_by="every worker; anyone",
    purpose="How far each labeler can be trusted, with the evidence of every source partition. Kept for good.",
)
MEASUREMENTS: Final = Topic(
    name="measurements",
    key="(none)",
    partitions=1,
    retention_ms=14 * DAY_MS,
    compacted=False,
    schema=MeasurementMessage,
    version=1,
    written_by="SCORE; rules by any worker",
    read_by="WATCH, `labelwatch thresholds backtest`",
    purpose="What rules look at, and the rules themselves, in one order: budgets are of the whole fleet.",
)
ALERTS: Final = Topic(
    name="alerts",
    key="(none)",
    partitions=1,
    retention_ms=30 * DAY_MS,
    compacted=False,
    schema=Verdicts,
    version=1,
    written_by="WATCH",
    read_by="NOTIFY",
    purpose="Breaches of rules and their ends, numbered, and how far everything was judged.",
)

TOPICS: Final = (ANNOTATIONS, REVIEWS, DEAD_LETTERS, LABELER_EVIDENCE, LABELER_RELIABILITY, MEASUREMENTS, ALERTS)


def by_name(name: str) -> Topic:
    """The topic of that name.

    Raises:
        KeyError: no such topic; the message lists those that exist.
    """
    for topic in TOPICS:
        if topic.name == name:
            return topic
    raise KeyError(f"no topic {name!r}; known: {', '.join(t.name for t in TOPICS)}")
