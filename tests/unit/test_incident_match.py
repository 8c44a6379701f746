"""Which alerts belong to which incidents."""

from __future__ import annotations

import pytest

from detectors.incident_match import GRACE_MS, SHOWN_BY, Fired, belongs, match
from schemas.incident import Incident
from schemas.thresholds import MetricName
from schemas.times import to_ms
from schemas.verdicts import VerdictScope

TIMES = {"start": "2026-01-09T06:00:00Z", "end": "2026-01-09T10:00:00Z"}
SOME = Incident.model_validate(
    {**TIMES, "kind": "labelers", "project_id": "p", "task_type": "t", "vendor_id": "v", "labeler_ids": "ann bob"}
)
VENDOR = Incident.model_validate({**TIMES, "kind": "vendor", "vendor_id": "v"})
START, END = to_ms(SOME.start), to_ms(SOME.end)


def scope(text: str, **fields: str) -> VerdictScope:
    kind = text.split()[0] if text.split()[0] in ("labeler", "vendor", "project", "segment", "task_type") else "all"
    return VerdictScope.model_validate({"kind": kind, "text": text, **fields})


def fired(where: VerdictScope, at_ms: int = START + 1, metric: MetricName = "gold_accuracy") -> Fired:
    return Fired("rule", metric, where, at_ms)


@pytest.mark.parametrize(
    ("where", "is_about"),
    [
        (scope("labeler", project_id="p", task_type="t", vendor_id="v", labeler_id="bob"), True),
        (scope("labeler", project_id="p", task_type="t", vendor_id="v", labeler_id="eve"), False),
        (scope("labeler", project_id="q", task_type="t", vendor_id="v", labeler_id="bob"), False),
        (scope("segment", project_id="p", task_type="t", vendor_id="v"), True),
        (scope("segment", project_id="p", task_type="t", vendor_id="w"), False),
        (scope("vendor", vendor_id="v"), True),
        (scope("project", project_id="q"), False),
        (scope("task_type", task_type="t"), True),
        (scope("all"), True),
        (scope('project_id = "p"'), True),
        (scope('project_id = "q" or vendor_id = "w"'), False),
        (scope('vendor where project_id = "q"', vendor_id="v"), False),
        (scope('vendor where project_id = "p"', vendor_id="v"), True),
    ],
)
def test_scope_and_hit_work_must_meet(where: VerdictScope, is_about: bool) -> None:
    assert belongs(fired(where), SOME) is is_about


def test_what_is_not_told_apart_is_no_difference() -> None:
    assert belongs(fired(scope("labeler", project_id="p", task_type="t", vendor_id="v", labeler_id="eve")), VENDOR)
    assert belongs(fired(scope('project_id = "q"')), VENDOR)
    assert not belongs(fired(scope('project_id = "q" and vendor_id = "w"', vendor_id="w")), VENDOR)


@pytest.mark.parametrize(
    ("at_ms", "is_about"), [(START - 1, False), (START, True), (END + GRACE_MS, True), (END + GRACE_MS + 1, False)]
)
def test_only_from_the_start_until_grace_is_over(at_ms: int, is_about: bool) -> None:
    assert belongs(fired(scope("all"), at_ms), SOME) is is_about


@pytest.mark.parametrize(("hours", "is_about"), [(12, True), (13, False)])
def test_reviews_may_come_later(hours: int, is_about: bool) -> None:
    assert belongs(fired(scope("all"), END + hours * 3_600_000, metric="reviewer_reject_rate"), SOME) is is_about


def test_a_metric_that_cannot_show_it_is_about_something_else() -> None:
    everything = scope("all")
    assert not belongs(fired(everything, metric="volume"), SOME)
    assert not belongs(fired(everything), SOME.model_copy(update={"kind": "stall"}))
    assert belongs(fired(everything, metric="volume"), SOME.model_copy(update={"kind": "other"}))
    assert "too_fast_share" in SHOWN_BY["speed"] - SHOWN_BY["labelers"]


def test_segments_that_do_not_exist_are_not_in_common() -> None:
    project = fired(scope("project", project_id="q"))
    assert belongs(project, VENDOR)
    assert not belongs(project, VENDOR, segments=[("q", "t", "w"), ("p", "t", "v")])
    assert belongs(project, VENDOR, segments=[("q", "t", "w"), ("q", "t", "v")])
    assert not belongs(fired(scope('task_type != "t"')), VENDOR, segments=[("p", "t", "v")])


def test_one_alert_may_belong_to_several_and_the_first_counts() -> None:
    later = fired(scope("vendor", vendor_id="v"), START + 300)
    sooner = fired(scope("segment", project_id="p", task_type="t", vendor_id="v"), START + 200)
    lost = fired(scope("vendor", vendor_id="w"), START + 100)
    found = match([later, sooner, lost], [SOME, VENDOR, VENDOR.model_copy(update={"vendor_id": "x"})])
    assert found.of_incident == ((1, 0), (1, 0), ())
    assert found.delays_ms == (200, 200, None)
    assert found.false == (2,)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)


def test_nothing_has_neither_precision_nor_recall() -> None:
    found = match([], [])
    assert found.precision is None
    assert found.recall is None
