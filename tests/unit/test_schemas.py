"""What an event may hold; every refusal has a reason and a sentence that a person understands."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from schemas.dead_letter import DeadLetter, Origin, Reason
from schemas.events import MAX_FEATURES, AnnotationEvent, LabelerKind, ReviewEvent
from tests.builders import START, Document, annotation, refusal, review, without

REVIEWS = "reviews"


def test_a_minimal_annotation_has_these_defaults() -> None:
    event = AnnotationEvent.model_validate(annotation())
    assert event.labeler_kind is LabelerKind.HUMAN
    assert (event.schema_version, event.active_seconds, event.gold_label, event.features) == (1, None, None, {})


def test_handling_time_is_active_time_or_else_submit_minus_start() -> None:
    assert AnnotationEvent.model_validate(annotation(took=12.345678)).handling_seconds == 12.345678
    assert AnnotationEvent.model_validate(annotation(took=100, active_seconds=7.5)).handling_seconds == 7.5
    assert AnnotationEvent.model_validate(annotation(took=100, active_seconds=0)).handling_seconds == 0.0


def test_events_are_values() -> None:
    event = AnnotationEvent.model_validate(annotation())
    with pytest.raises(ValidationError, match="frozen"):
        event.task_id = "other"


@pytest.mark.parametrize(
    "field", ["event_id", "task_id", "labeler_id", "project_id", "vendor_id", "task_type", "label"]
)
def test_missing_field(field: str) -> None:
    found = refusal(without(annotation(), field))
    assert found == (Reason.INVALID_FIELD, f"{field}: required field is missing")


FIELDS: dict[str, tuple[Document, str]] = {
    "oversized id": ({"event_id": "x" * 201}, "event_id: String should have at most 200 characters (got 'xxxx"),
    "empty id": ({"labeler_id": ""}, "labeler_id: String should have at least 1 character (got '')"),
    "number as id": ({"labeler_id": 7}, "labeler_id: Input should be a valid string (got 7)"),
    "unknown labeler kind": ({"labeler_kind": "robot"}, "labeler_kind: Input should be 'human' or 'model'"),
    "unknown field": ({"mood": "good"}, "mood: Extra inputs are not permitted (got 'good')"),
    "too many features": (
        {"features": {f"f{i}": i for i in range(MAX_FEATURES + 1)}},
        "features: Dictionary should have at most 64 items after validation, not 65",
    ),
    "nested feature": (
        {"features": {"deep": {"a": 1}}},
        "features.deep: must be a finite number, true or false, or text of at most 1,000 characters (got {'a': 1})",
    ),
    "oversized feature": (
        {"features": {"essay": "x" * 1_001}},
        "features.essay: must be a finite number, true or false, or text of at most 1,000 characters (got 'xxx",
    ),
    "null feature": ({"features": {"n": None}}, "features.n: must be a finite number"),
    "feature named [key]": ({"features": {"[key]": []}}, "features.[key]: must be a finite number"),
    "oversized feature name": ({"features": {"n" * 65: 1}}, "[key]: String should have at most 64 characters"),
    "features as list": ({"features": [1]}, "features: Input should be a valid dictionary (got [1])"),
    "nan as text": ({"active_seconds": "nan"}, "active_seconds: Input should be a valid number (got 'nan')"),
    "infinity as text": ({"active_seconds": "-inf"}, "active_seconds: Input should be"),
    "a number as text": ({"active_seconds": "12.5"}, "active_seconds: Input should be a valid number (got '12.5')"),
    "true as a number": ({"active_seconds": True}, "active_seconds: Input should be a valid number (got True)"),
    "a clock that was never set": (
        {"started_at": "2000-01-01T00:00:00Z"},
        "9,501 days from started_at to submitted_at, at most 31 are work",
    ),
    "negative active time": ({"active_seconds": -1}, "active_seconds: Input should be greater than or equal to 0"),
    "active for months": ({"active_seconds": 1e8}, "active_seconds: Input should be less than or equal to 2678400"),
    "naive time": ({"started_at": "2026-01-05T09:00:00"}, "started_at: time has no zone: write 2026-01-05T09:00:00Z"),
    "numeric time": ({"submitted_at": 1767596400}, "submitted_at: time must be an ISO 8601 string with a zone"),
    "year 1970": ({"started_at": "1970-01-01T00:00:00Z"}, "started_at: year 1970 is outside 2000-2100: was the clock"),
    "year 0001": ({"started_at": "0001-01-01T00:00:00+05:00"}, "started_at: time out of range"),
    "gold of another kind": (
        {"gold_label": {"kind": "rating", "value": 3}},
        "gold_label is a rating, label is a class",
    ),
    "label without kind": ({"label": {"value": "cat"}}, "label: Unable to extract tag using discriminator 'kind'"),
    "label of unknown kind": ({"label": {"kind": "smell", "value": "cat"}}, "label: Input tag 'smell'"),
    "label as text": ({"label": ["cat"]}, "label: Input should be a valid dictionary"),
    "a time that says before": (
        {"started_at": "x is before started_at"},
        "started_at: not an ISO 8601 time: 'x is before started_at'",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "detail"), FIELDS.values(), ids=FIELDS)
def test_invalid_field(overrides: Document, detail: str) -> None:
    found = refusal(annotation(**overrides))
    assert found is not None
    assert found.reason is Reason.INVALID_FIELD
    assert detail in found.detail


def test_submit_before_start() -> None:
    found = refusal(annotation(took=-60))
    assert found == (
        Reason.SUBMITTED_BEFORE_STARTED,
        "submitted_at 2026-01-05T07:00:30+00:00 is before started_at 2026-01-05T07:01:30+00:00",
    )
    assert refusal(annotation(took=0)) is None


@pytest.mark.parametrize("version", [2, 0, "1", None, True, 1.0, [1], {}])
def test_unknown_schema_version(version: object) -> None:
    for event, topic in ((annotation(), "annotations"), (review(), REVIEWS)):
        found = refusal(event | {"schema_version": version}, topic)
        assert found == (Reason.UNKNOWN_SCHEMA_VERSION, f"schema_version {version!r} is not known here; known: 1")


def test_version_one_may_be_said() -> None:
    assert refusal(annotation(schema_version=1)) is None


def test_whole_numbers_beyond_64_bits_are_numbers() -> None:
    assert refusal(annotation(features={"big": 10**30})) is None


REVIEW_FIELDS: dict[str, tuple[Document, str]] = {
    "no verdict": ({"true_label": None}, "a review needs true_label, accepted, or both"),
    "accepted without labeler": ({"accepted": True}, "accepted judges one labeler's answer: labeler_id is missing"),
    "accepted is a word": ({"accepted": "perhaps", "labeler_id": "a"}, "accepted: Input should be a valid boolean"),
    "naive time": ({"reviewed_at": "2026-01-05T09:00:00"}, "reviewed_at: time has no zone"),
    "unknown field": ({"event_id": "e"}, "event_id: Extra inputs are not permitted"),
}


@pytest.mark.parametrize(("overrides", "detail"), REVIEW_FIELDS.values(), ids=REVIEW_FIELDS)
def test_invalid_review(overrides: Document, detail: str) -> None:
    found = refusal(review(**overrides), REVIEWS)
    assert found is not None
    assert found.reason is Reason.INVALID_FIELD
    assert detail in found.detail


def test_a_review_names_its_project() -> None:
    assert refusal(without(review(), "project_id"), REVIEWS) == (
        Reason.INVALID_FIELD,
        "project_id: required field is missing",
    )


def test_a_review_may_judge_a_task_or_an_answer() -> None:
    assert ReviewEvent.model_validate(review()).labeler_id is None
    assert ReviewEvent.model_validate(review(accepted=False, labeler_id="ana")).true_label is None
    assert ReviewEvent.model_validate(review(reviewed_at="2026-01-05T09:00:00+02:00")).reviewed_at == START


class TestDeadLetter:
    def letter(self, payload: bytes = b"\xff\x00{") -> DeadLetter:
        return DeadLetter(
            reason=Reason.NOT_JSON,
            detail="not JSON",
            origin=Origin(topic="annotations", partition=0, offset=5),
            key=b"\xfe",
            payload=payload,
            failed_at=datetime(2026, 1, 5, tzinfo=UTC),
        )

    def test_bytes_survive_json(self) -> None:
        letter = self.letter(bytes(range(256)))
        wire = letter.model_dump_json()
        json.loads(wire)
        assert DeadLetter.model_validate_json(wire) == letter

    def test_origin_is_a_place(self) -> None:
        with pytest.raises(ValidationError):
            Origin(topic="annotations", partition=-1, offset=0)
