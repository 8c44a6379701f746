"""Random streams of annotations for property tests: small alphabets, so that everything meets everything."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from hypothesis import strategies as st

from tests.builders import Document, annotation

SEGMENTS = [("animals", "image_class", "acme"), ("animals", "image_class", "bolt"), ("captions", "caption", "acme")]
LABELS = ["cat", "dog", "emu"]
BAD: list[bytes | None] = [None, b"", b"x", b"[", b"{}", b'{"schema_version": 2}', b"\xff"]


@st.composite
def annotation_streams(draw: st.DrawFn, *, min_size: int = 1, max_size: int = 40) -> list[Document]:
    """Different annotations, in the order in which they were submitted, over a few hours."""
    parts = draw(
        st.lists(
            st.tuples(
                st.integers(0, 90),  # seconds since the one before
                st.integers(0, 5),  # task
                st.integers(0, 3),  # labeler
                st.integers(0, 2),  # label
                st.integers(0, 200),  # tenths of a second of work
                st.sampled_from([None, None, None, 600, 4_000]),  # a pause before, in seconds
            ),
            min_size=min_size,
            max_size=max_size,
        )
    )
    events, now = [], 0.0
    for number, (gap, task, labeler, label, tenths, pause) in enumerate(parts):
        now += gap + (pause or 0)
        project, task_type, vendor = SEGMENTS[task % 3]
        events.append(
            annotation(
                at=now,
                took=tenths / 10,
                event_id=f"e-{number}",
                task_id=f"t-{task}",
                labeler_id=f"l-{labeler}",
                label={"kind": "text", "value": LABELS[label]} if project == "captions" else LABELS[label],
                gold=LABELS[0] if task == 0 else None,
                project_id=project,
                task_type=task_type,
                vendor_id=vendor,
            )
        )
    return events


@st.composite
def disordered(draw: st.DrawFn, events: list[Document], within_seconds: float) -> list[Document | bytes | None]:
    """The stream out of order by at most ``within_seconds``, with duplicates and malformed messages in it."""
    size = len(events)
    shifts = draw(st.lists(st.floats(0, within_seconds), min_size=size, max_size=size))
    submitted = [datetime.fromisoformat(event["submitted_at"]).timestamp() for event in events]
    arrival = sorted(range(size), key=lambda i: submitted[i] + shifts[i])
    stream: list[Document | bytes | None] = [events[i] for i in arrival]
    for at, copy in draw(st.lists(st.tuples(st.integers(0, size), st.booleans()), max_size=10)):
        place = min(at, len(stream))
        extra = stream[place - 1] if copy and place else draw(st.sampled_from(BAD))
        stream.insert(place, extra)
    return stream


def cut(data: st.DataObject, size: int) -> list[slice]:
    """A random way to cut ``size`` messages into batches."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, size - 1)), max_size=8), label="cuts"))
    bounds = [0, *(c for c in cuts if c < size), size]
    return [slice(a, b) for a, b in pairwise(bounds)]
