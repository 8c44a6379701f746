"""From bytes to events: what is bad is refused alone, and says why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from schemas.dead_letter import Reason
from schemas.events import MAX_EVENT_BYTES, AnnotationEvent, ReviewEvent
from streams.decode import Refusal, check_key, check_payload, decode_annotations, decode_reviews
from tests.builders import HOSTILE_IDS, Document, annotation, record, records, refusal, review


def raw(**overrides: Any) -> bytes:
    return json.dumps(annotation(**overrides)).encode()


def spliced(text: bytes) -> bytes:
    """An annotation with ``text`` in place of the value of a field."""
    return raw(active_seconds=123).replace(b"123", text)


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


NOT_EVENTS: dict[str, tuple[bytes | None, Reason, str]] = {
    "no value": (None, Reason.EMPTY, "message has no value"),
    "empty": (b"", Reason.EMPTY, "message has no value"),
    "too large": (
        raw(features={"a": "x" * MAX_EVENT_BYTES}),
        Reason.TOO_LARGE,
        "message has 262,4",
    ),
    "text": (b"hello", Reason.NOT_JSON, "not JSON: "),
    "cut short": (raw()[:-5], Reason.NOT_JSON, "not JSON: "),
    "invalid UTF-8": (raw(event_id="@").replace(b"@", b"\xff"), Reason.NOT_JSON, "not JSON: str is not valid UTF-8"),
    "UTF-16": (raw().decode().encode("utf-16"), Reason.NOT_JSON, "not JSON: "),
    "lone surrogate": (raw(event_id="@").replace(b"@", rb"\ud800"), Reason.NOT_JSON, "not JSON: no low surrogate"),
    "NaN": (spliced(b"NaN"), Reason.NOT_JSON, "(NaN and Infinity are not JSON)"),
    "Infinity": (spliced(b"-Infinity"), Reason.NOT_JSON, "(NaN and Infinity are not JSON)"),
    "1e999": (spliced(b"1e999"), Reason.NOT_JSON, "number is infinity"),
    "single quotes": (b"{'event_id': 1}", Reason.NOT_JSON, "not JSON: "),
    "nested without end": (spliced(nested(100_000)), Reason.NOT_JSON, "depth limit exceeded"),
    "a list": (b"[" + raw() + b"]", Reason.NOT_JSON, "a JSON object is expected, got list"),
    "a string": (b'"event"', Reason.NOT_JSON, "a JSON object is expected, got str"),
    "null": (b"null", Reason.NOT_JSON, "a JSON object is expected, got NoneType"),
    "two documents": (raw() + b"," + raw(), Reason.NOT_JSON, "unexpected content after document"),
    "an opened array": (b"[" + raw(), Reason.NOT_JSON, "not JSON: "),
    "a closed array": (raw() + b"]", Reason.NOT_JSON, "unexpected content after document"),
    "an empty object": (b"{}", Reason.INVALID_FIELD, "event_id: required field is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "reason", "detail"), NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_not_an_event(value: bytes | None, reason: Reason, detail: str) -> None:
    found = refusal(value)
    assert found is not None
    assert found.reason is reason
    assert detail in found.detail


@pytest.mark.parametrize(("value", "reason", "detail"), NOT_EVENTS.values(), ids=NOT_EVENTS)
def test_neighbours_are_unharmed(value: bytes | None, reason: Reason, detail: str) -> None:
    good = [annotation(event_id=f"e-{i}") for i in range(4)]
    outcomes = decode_annotations(records([good[0], value, value, good[1], good[2], value, good[3]]))
    assert [o.event_id if isinstance(o, AnnotationEvent) else o.reason for o in outcomes] == [
        "e-0", reason, reason, "e-1", "e-2", reason, "e-3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (b"{", b"}"),
        (b"[", b"]"),
        (b"[" + raw(), raw() + b"]"),
        (raw()[:40], raw()[40:]),
        (raw() + b",", raw()),
        (b'{"a":"', b'"}'),
        (b"/*", b"*/"),
        (b"{},{}", b"{},{}"),
    ],
)
def test_halves_do_not_make_a_whole(first: bytes, second: bytes) -> None:
    before, left, right, after = decode_annotations(records([annotation(), first, second, annotation()]))
    assert isinstance(before, AnnotationEvent)
    assert isinstance(left, Refusal)
    assert isinstance(right, Refusal) is (second != raw())
    assert isinstance(after, AnnotationEvent)


def test_many_kinds_of_bad_in_one_batch() -> None:
    bad: list[Document] = [{"event_id": ""}, {"task_id": 5}, {"label": {}}, {"started_at": "now"}, {"mood": 1}]
    events = [annotation(**(bad[i % 5] if i % 3 == 0 else {}), vendor_id=f"v{i}") for i in range(60)]
    outcomes = decode_annotations(records(events))
    for i, outcome in enumerate(outcomes):
        if i % 3 == 0:
            assert isinstance(outcome, Refusal)
            assert outcome.detail.startswith(next(iter(bad[i % 5])))
        else:
            assert isinstance(outcome, AnnotationEvent)
            assert outcome.vendor_id == f"v{i}"


def test_all_bad_and_none_at_all() -> None:
    assert [type(o) for o in decode_annotations(records([b"x", annotation(event_id=""), None]))] == [Refusal] * 3
    assert decode_annotations([]) == []


def test_only_the_first_problem_is_told() -> None:
    found = refusal(annotation(event_id="", task_id=""))
    assert found is not None
    assert "event_id" in found.detail
    assert "task_id" not in found.detail


@pytest.mark.parametrize("field", [b'"schema_version":', b'"features":{"deep":', b'"mood":', b'"label":'])
def test_deep_nesting_is_refused_not_raised(field: bytes) -> None:
    value = raw()[:-1] + b"," + field + nested(1_000) + (b"}}" if b"{" in field else b"}")
    found = refusal(value)
    assert found is not None
    assert found.reason in (Reason.INVALID_FIELD, Reason.UNKNOWN_SCHEMA_VERSION)
    assert "a deeply nested list" in found.detail


@pytest.mark.parametrize(
    "event",
    [
        annotation(**{"\x01" * 30_000: 1}),
        annotation(features={"\x01" * 30_000: []}),
        annotation(label={"kind": "\x01" * 30_000}),
        annotation(task_type=["x" * 200_000]),
        annotation(started_at="x" * 200_000),
        annotation(schema_version="x" * 200_000),
        annotation(features={f"{i}": "x" * 900 for i in range(200)}),
    ],
)
def test_details_stay_short_whatever_the_message_says(event: Any) -> None:
    found = refusal(event)
    assert found is not None
    assert 10 < len(found.detail) < 800


def test_the_largest_message_is_read() -> None:
    room = MAX_EVENT_BYTES - len(raw(label={"kind": "text", "value": ""})) - 2
    text = {"kind": "text", "value": "x" * 100}
    padded = raw(label=text) + b" " * (room - 98)
    assert len(padded) <= MAX_EVENT_BYTES
    padded += b" " * (MAX_EVENT_BYTES - len(padded))
    assert refusal(padded) is None
    assert refusal(padded + b" ") == (Reason.TOO_LARGE, "message has 262,145 bytes, at most 262,144 are read")


class TestKey:
    @pytest.mark.parametrize("task_id", HOSTILE_IDS)
    def test_the_task_is_the_key(self, task_id: str) -> None:
        event = annotation(task_id=task_id)
        assert refusal(event) is None

    @pytest.mark.parametrize(
        ("key", "shown"),
        [
            (b"t-2", "'t-2'"),
            (b"T-1", "'T-1'"),
            (b"", "''"),
            (b" t-1", "' t-1'"),
            (None, "missing"),
            (b"\xff\xfe", "'\ufffd\ufffd'"),
            (b"k" * 10_000, f"'{'k' * 80}'"),
        ],
    )
    def test_anything_else_is_refused(self, key: bytes | None, shown: str) -> None:
        for topic, event in (("annotations", annotation()), ("reviews", review())):
            found = check_payload(topic, key, json.dumps(event).encode())
            assert found == (Reason.KEY_MISMATCH, f"Kafka key is {shown}, task_id is 't-1': they must be equal")

    def test_is_compared_as_bytes(self) -> None:
        event = AnnotationEvent.model_validate(annotation(task_id="é"))
        assert check_key(event, "é".encode()) is None
        assert check_key(event, "é".encode("latin-1")) is not None
        assert check_key(event, "e\u0301".encode()) is not None


class TestReviews:
    def test_good_and_bad_side_by_side(self) -> None:
        good, bad, annotated = decode_reviews(records([review(), review(reviewer_id=""), annotation()]))
        assert isinstance(good, ReviewEvent)
        assert isinstance(bad, Refusal)
        assert isinstance(annotated, Refusal), "an annotation on the wrong topic"
        assert bad.detail.startswith("reviewer_id: ")

    def test_without_verdict(self) -> None:
        (found,) = decode_reviews([record(review(true_label=None))])
        assert found == (Reason.INVALID_FIELD, "a review needs true_label, accepted, or both")


def test_check_payload_knows_the_input_topics() -> None:
    assert check_payload("annotations", b"t-1", raw()) is None
    assert check_payload("reviews", b"t-1", json.dumps(review()).encode()) is None
    with pytest.raises(ValueError, match="'alerts' is not an input topic; known: annotations, reviews"):
        check_payload("alerts", b"t-1", raw())
