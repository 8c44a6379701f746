"""Random streams of annotations for property tests: small alphabets, so that everything meets everything."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from tests.builders import Document, annotation, class_label, records, review
from tests.builders import Message as Record

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


@st.composite
def reviews_of(draw: st.DrawFn, events: list[Document], *, verdicts: bool = True) -> list[Document]:
    """Reviews of the stream's tasks, and of some that are in no stream; with or without mere verdicts on an answer."""
    parts = draw(
        st.lists(
            st.tuples(
                st.integers(0, 6), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3_000), st.integers(0, 2)
            ),
            max_size=8,
        )
    )
    found = []
    for task, labeler, label, at, kind in parts:
        project, _, _ = SEGMENTS[task % 3]
        verdict: Document = {"true_label": class_label(LABELS[label])}
        if verdicts and kind:
            verdict = {"accepted": kind == 1, "labeler_id": f"l-{labeler}"}
        found.append(review(at=at, task_id=f"t-{task}", project_id=project, **verdict))
    return found


Interval = list[tuple[str, list[Record]]]
"""What is read between two checkpoints: topic and records."""


def interleaved(data: st.DataObject, events: list[Any], reviews: list[Document]) -> list[Interval]:
    """Annotations and reviews between checkpoints at random places; at the end some without anything."""
    annotations, verdicts = records(events), records(reviews)
    marks = st.lists(st.integers(0, len(events)), min_size=len(reviews), max_size=len(reviews))
    places = sorted(data.draw(marks, label="places of the reviews"))
    intervals: list[Interval] = []
    for part in cut(data, len(events)):
        interval: Interval = []
        for at in range(part.start, part.stop):
            interval += [("reviews", [verdicts[i]]) for i, place in enumerate(places) if place == at]
            interval.append(("annotations", [annotations[at]]))
        intervals.append(interval)
    last: Interval = [("reviews", [verdicts[i]]) for i, place in enumerate(places) if place == len(events)]
    return [*intervals, last, [], []]


def cut(data: st.DataObject, size: int) -> list[slice]:
    """A random way to cut ``size`` messages into batches."""
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, size - 1)), max_size=8), label="cuts"))
    bounds = [0, *(c for c in cuts if c < size), size]
    return [slice(a, b) for a, b in pairwise(bounds)]
