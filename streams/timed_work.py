"""Annotations as the model of handling times takes them."""

from __future__ import annotations

from detectors.expected_time import Work
from detectors.handling_time import trusted_time
from schemas.events import AnnotationEvent
from schemas.times import to_ms


def timed_work(event: AnnotationEvent) -> Work:
    """What of an annotation bears on its time. Impossible times are left out: they are forecast, but not learned."""
    started_ms, submitted_ms = to_ms(event.started_at), to_ms(event.submitted_at)
    time = trusted_time(event.active_seconds, started_ms, submitted_ms, event.label.kind, event.labeler_kind.value)
    return Work(
        event.labeler_id,
        event.project_id,
        event.task_type,
        event.vendor_id,
        event.task_id,
        started_ms,
        submitted_ms,
        None if time.is_impossible else time.seconds,
        time.is_page_time,
        event.labeler_kind.value,
        event.features,
    )
