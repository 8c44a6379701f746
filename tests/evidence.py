"""Evidence on labelers for tests: batches as SCORE sends them, and what comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from detectors.evidence import Evidence
from streams.labelers import LabelersPipeline
from streams.outbox import ChangedEvidence, Message, evidence_messages
from streams.settings import ReliabilitySettings
from streams.state.labelers import LabelersState
from tests import builders
from tests.builders import NOW_MS, START_MS

APP_ID = "labelwatch"
KeyValue = tuple[bytes, bytes | None]


def evidence(right: float = 8.0, wrong: float = 2.0, *, at: float = 0.0, **fields: Any) -> Evidence:
    """What is known of a labeler with so many right and wrong answers, the last ``at`` seconds after START."""
    counts = {("right", 0, "right"): right, ("right", 0, "wrong"): wrong}
    known = {"form": "one_coin", "labels": round(right + wrong), "seen_ms": START_MS + round(at * 1_000)}
    return Evidence(**({**known, "counts": counts} | fields))


def evidence_record(
    known: Evidence | None = None,
    *,
    offset: int = 0,
    source: int = 0,
    version: int = 1,
    labeler: str = "ana",
    app_id: str = APP_ID,
) -> builders.Message:
    """A message of one entry, as on `labeler-evidence`."""
    changed = ChangedEvidence("animals", "image_class", labeler, version, known or evidence())
    (message,) = evidence_messages(app_id, source, [changed], 1)
    return builders.Message(offset, NOW_MS, None, message.value)


def make_labelers(*, partition: int = 0, checkpoint_seconds: float = 0.0, **settings: Any) -> LabelersPipeline:
    """An empty pipeline of LABELERS."""
    known = ReliabilitySettings(**settings)
    return LabelersPipeline(LabelersState(APP_ID, f"{APP_ID}.labelers", partition, known, checkpoint_seconds))


def record_of(message: Message) -> Mapping[str, Any]:
    """A published record as JSON."""
    assert message.value is not None
    document: Mapping[str, Any] = orjson.loads(message.value)
    return document


def record(
    known: Evidence | None = None, *, labeler: str = "ana", version: int = 1, app_id: str = APP_ID
) -> tuple[bytes, bytes]:
    """Key and value as LABELERS publishes them."""
    pipeline = make_labelers()
    pipeline.process("labeler-evidence", [evidence_record(known, labeler=labeler, version=version)])
    (message,) = pipeline.state.changes(NOW_MS).messages
    assert message.key is not None
    assert message.value is not None
    key, value = message.key, message.value
    return key.replace(APP_ID.encode(), app_id.encode()), value.replace(APP_ID.encode(), app_id.encode())
