"""Speeds of labelers: every source partition tells its own, and forecasts by what all of them know."""

from __future__ import annotations

from typing import Any, cast

import pytest

from detectors.consensus import LabelSpace
from detectors.evidence import UNJUDGED, Evidence, as_one_coin, total
from detectors.labeler_speed import SpeedEvidence, SpeedKey
from detectors.reliability import summarise
from schemas.rows import AnnotationScoreRow
from streams.pipeline import PartitionPipeline
from tests.builders import Document, annotation, make_pipeline, records

SPEED = SpeedEvidence(weight=8.0, log_seconds=3.4, spread=-1.2, seen_ms=5_000)
TEXT: Document = {"label": {"kind": "text", "value": "a cat on a mat"}}


def worked(labeler_id: str, seconds: float, **overrides: Any) -> PartitionPipeline:
    """A partition in which ana takes 20 seconds, and another labeler so many."""
    pipeline = make_pipeline()
    for number in range(60):
        name, took = (labeler_id, seconds) if number % 2 else ("ana", 20.0)
        event = annotation(
            event_id=f"e-{number}", task_id=f"t-{number}", labeler_id=name, at=60.0 * number, took=took, **overrides
        )
        pipeline.process("annotations", records([event], first_offset=number))
    return pipeline


def process_one(pipeline: PartitionPipeline, event: Document) -> AnnotationScoreRow:
    offset = pipeline.state.position("annotations").offset + 1
    (row,) = pipeline.process("annotations", records([event], first_offset=offset)).rows["annotation_scores"]
    return cast(AnnotationScoreRow, row)


def test_evidence_with_a_speed_survives_json_and_keeps_it() -> None:
    evidence = Evidence("confusion", 3, 5_000, {("cat", 0, "cat"): 2.0}, speed=SPEED)
    assert Evidence.from_plain(evidence.to_plain()) == evidence
    assert as_one_coin(evidence).speed == SPEED
    assert "speed" not in Evidence("confusion", 3, 5_000).to_plain()


@pytest.mark.parametrize("speed", [{}, {"weight": 1.0}, [], "fast", {**SPEED.to_plain(), "weight": -1.0}])
def test_an_impossible_speed_from_outside_is_refused(speed: object) -> None:
    plain = {**Evidence("confusion", 3, 5_000).to_plain(), "speed": speed}
    with pytest.raises(ValueError, match="speed"):
        Evidence.from_plain(plain)


def test_what_is_not_judged_says_nothing_of_reliability() -> None:
    judged = Evidence("one_coin", 5, 1_000, {("right", 0, "right"): 4.0})
    unjudged = Evidence(UNJUDGED, 0, 9_000, speed=SPEED)
    assert total([unjudged, judged]) == judged
    assert (summarise([unjudged]).form, summarise([unjudged]).accuracy) == (UNJUDGED, None)


def test_a_changed_speed_goes_out_with_the_evidence() -> None:
    changes = worked("bob", 90.0).state.changes(0)
    evidence = {one.labeler_id: one.evidence for one in changes.evidence}
    assert evidence.keys() == {"ana", "bob"}
    assert {one.form for one in evidence.values()} == {"confusion"}
    speeds = {name: one.speed for name, one in evidence.items()}
    assert speeds["bob"] is not None
    assert speeds["ana"] is not None
    assert speeds["bob"].log_seconds - speeds["ana"].log_seconds == pytest.approx(1.5, abs=0.3), "log(90 / 20)"


def test_of_free_text_only_the_speed_is_evidence() -> None:
    changes = worked("bob", 90.0, **TEXT).state.changes(0)
    assert {(one.labeler_id, one.evidence.form) for one in changes.evidence} == {("ana", UNJUDGED), ("bob", UNJUDGED)}
    assert all(one.evidence.speed is not None for one in changes.evidence)


@pytest.mark.parametrize("overrides", [{}, TEXT], ids=["judged", "free text"])
def test_a_labeler_whom_this_partition_never_saw_is_forecast_by_what_the_others_say(
    overrides: Document,
) -> None:
    slow = worked("bob", 90.0, **overrides)
    (told,) = [one.evidence for one in slow.state.changes(0).evidence if one.labeler_id == "bob"]
    here = worked("cy", 22.0, **overrides)
    space = LabelSpace("animals", "image_class")
    event = annotation(event_id="new", task_id="t-new", labeler_id="bob", at=4_000.0, **overrides)
    unheard = process_one(worked("cy", 22.0, **overrides), event).expected_handling_seconds
    here.hear(space, "bob", {0: told})
    assert here.state.expected_times.speed_evidence(SpeedKey("bob", *space)) is None, "a partition hears only others"
    here.hear(space, "bob", {1: told})
    heard = process_one(here, event).expected_handling_seconds
    assert unheard is not None
    assert heard is not None
    assert heard > 1.5 * unheard


def test_a_partition_does_not_hear_itself() -> None:
    pipeline, other = worked("bob", 90.0), worked("bob", 90.0)
    evidence = Evidence("confusion", 1, 0, speed=SPEED._replace(log_seconds=9.0, weight=10.0))
    pipeline.hear(LabelSpace("animals", "image_class"), "ana", {0: evidence})
    event = annotation(event_id="next", at=4_000.0)
    assert process_one(pipeline, event) == process_one(other, event)
