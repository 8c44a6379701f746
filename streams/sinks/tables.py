"""Identity and version of every table, as data. A test ties them to the migrated database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from schemas.rows import TABLES, Row


@dataclass(frozen=True, slots=True)
class Key:
    """What makes two rows of a table the same (``identity``), and which of them counts (highest ``version``)."""

    identity: tuple[str, ...]
    version: str
    deleted: str | None = None
    """The column that says that the row is gone, where the table has one."""


KEYS: Final[dict[str, Key]] = {
    "annotation_scores": Key(
        ("project_id", "task_type", "vendor_id", "submitted_at", "task_id", "event_id"), "source_offset"
    ),
    "task_confidence": Key(("project_id", "task_id"), "version"),
    "reviews": Key(("project_id", "task_id", "labeler_id", "reviewer_id", "reviewed_at"), "source_offset"),
    "window_partials": Key(
        ("window_start", "project_id", "task_type", "vendor_id", "source_partition", "first_offset"), "last_offset"
    ),
    "labeler_reliability": Key(("project_id", "task_type", "labeler_id", "as_of"), "version"),
    "confidence_outcomes": Key(("project_id", "task_id"), "version"),
    "closed_tasks": Key(("app_id", "source_partition", "project_id", "task_id"), "version"),
    "findings": Key(
        ("metric", "project_id", "task_type", "vendor_id", "labeler_id", "at", "source_partition", "rule"),
        "source_offset",
    ),
    "threshold_changes": Key(("app_id", "changed_at", "sha256"), "accepted_at"),
    "alerts": Key(("app_id", "alert_id"), "version"),
    "alert_deliveries": Key(("app_id", "alert_id", "target", "number"), "version"),
    "alert_notes": Key(("app_id", "note_id"), "noted_at"),
    "measurements": Key(("app_id", "arrived_at", "source_offset"), "sent_at"),
    "dead_letters": Key(("origin_topic", "origin_partition", "origin_offset"), "version"),
    "source_progress": Key(("app_id", "topic", "source_partition"), "version"),
    "state": Key(("app_id", "source_partition", "kind", "key"), "version", "is_deleted"),
    "partition_claims": Key(("app_id", "source_partition"), "epoch"),
}

#: Written after all others of a call, and in one insert: what it says was applied must be there.
LAST: Final = "state"


def identity_of(table: str) -> Callable[[Row], tuple[Any, ...]]:
    """A function that returns a row's identity, as a tuple of at least two values."""
    fields = TABLES[table]._fields
    return itemgetter(*(fields.index(column) for column in KEYS[table].identity))


def require_known(table: str) -> None:
    """Raise KeyError, naming the tables that exist, when there is no such table."""
    if table not in TABLES:
        raise KeyError(f"no table {table!r}; known: {', '.join(TABLES)}")
