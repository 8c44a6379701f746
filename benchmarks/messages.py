"""Annotation messages for benchmarks: about 500 bytes of JSON with some 20 fields, keyed by task id."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson

from schemas.events import SCHEMA_VERSIONS

_START = datetime(2026, 1, 5, 9, tzinfo=UTC)
_CLASSES = ("cat", "dog", "bird", "horse", "sheep", "none")
_TASK_TYPES = ("image_class", "image_quality", "text_sentiment", "audio_language")
_TOOLS = ("web-3.14.2", "web-3.15.0", "mobile-2.8.1")


def annotation_messages(count: int, seed: int = 7, labelers: int = 200) -> Iterator[tuple[bytes, bytes]]:
    """``count`` pairs of (key, JSON of an `AnnotationEvent`), the same for the same ``seed``.

    Each task gets three answers of different labelers, at most 10 messages apart; 5 % of tasks are gold.

    >>> key, value = next(annotation_messages(1))
    >>> key
    b'task-00000000'
    >>> 450 < len(value) < 650
    True
    """
    rng = random.Random(seed)
    now = _START
    for number in range(count):
        # Every block of 30 messages answers 10 tasks three times.
        task = number // 30 * 10 + number % 10
        now += timedelta(milliseconds=rng.randrange(20, 400))
        yield f"task-{task:08d}".encode(), orjson.dumps(_annotation(rng, number, task, labelers, now))


def _annotation(rng: random.Random, number: int, task: int, labelers: int, now: datetime) -> dict[str, object]:
    labeler = rng.randrange(labelers)
    truth = _CLASSES[task * 7919 % len(_CLASSES)]
    seconds = round(rng.lognormvariate(2.6, 0.6), 3)
    event: dict[str, object] = {
        "schema_version": max(SCHEMA_VERSIONS),
        "event_id": f"{number:012x}-{rng.getrandbits(32):08x}",
        "task_id": f"task-{task:08d}",
        "labeler_id": f"labeler-{labeler:05d}",
        "labeler_kind": "model" if labeler % 20 == 0 else "human",
        "project_id": f"project-{task % 4}",
        "vendor_id": f"vendor-{labeler % 3}",
        "task_type": _TASK_TYPES[task % len(_TASK_TYPES)],
        "label": {"kind": "class", "value": truth if rng.random() < 0.85 else rng.choice(_CLASSES)},
        "started_at": (now - timedelta(seconds=seconds)).isoformat(timespec="milliseconds"),
        "submitted_at": now.isoformat(timespec="milliseconds"),
        "active_seconds": seconds,
        "features": {
            "media_seconds": round(rng.uniform(1, 60), 2),
            "width": rng.choice((640, 1280, 1920)),
            "height": rng.choice((480, 720, 1080)),
            "objects": rng.randrange(12),
            "tool": rng.choice(_TOOLS),
            "language": rng.choice(("en", "de", "pt")),
        },
    }
    if task % 20 == 0:
        event["gold_label"] = {"kind": "class", "value": truth}
    return event
