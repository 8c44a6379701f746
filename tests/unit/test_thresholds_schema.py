"""Scopes, durations and quiet hours: what is read, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.duration import format_duration, parse_duration
from schemas.schedule import Schedule
from schemas.scope import KINDS, parse_scope
from schemas.thresholds import Thresholds

SEGMENT = {"project_id": "x", "task_type": "box", "vendor_id": "a"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("segment", True),
        ('project_id = "x"', True),
        ("project_id == 'y'", False),
        ('project_id = "x" and vendor_id in ("a","b")', True),
        ('vendor_id not in ("a", "b")', False),
        ('not (vendor_id = "b" or task_type != "box")', True),
        ('vendor_id = "b" and task_type = "no" or project_id = "x"', True),
        ('vendor_id = "b" and (task_type = "no" OR project_id = "x")', False),
        ('labeler where task_type = "box"', True),
        ('task_type where task_type = "no"', False),
        ('task_type = "a \\"quoted\\" \\\\ name"', False),
    ],
)
def test_a_scope_selects_segments(text: str, matches: bool) -> None:
    assert parse_scope(text).matches(SEGMENT) is matches


def test_a_scope_tells_its_streams_apart() -> None:
    fields = {**SEGMENT, "labeler_id": "ana"}
    keys = {kind: parse_scope(kind).key(fields) for kind in KINDS}
    assert keys["labeler"] == ("x", "box", "ana")
    assert keys["segment"] == ("x", "box", "a")
    assert keys["all"] == parse_scope('project_id = "x"').key(fields) == ()
    assert parse_scope('vendor where project_id = "x"').key(fields) == ("a",)


def test_a_scope_names_what_it_speaks_of() -> None:
    scope = parse_scope('segment where project_id in ("x", "y") and not vendor_id = "v"')
    assert sorted(scope.names()) == [("project_id", "x"), ("project_id", "y"), ("vendor_id", "v")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("labler", "'labler' at character 1: not a scope"),
        ("segment of", "'of' at character 9: expected `where` after segment"),
        ("segment where", "the end: expected a field"),
        ("project_id", "the end: expected `=`"),
        ("project_id x", "expected `=`"),
        ("project_id = x", "'x' at character 14: expected a value in quotes"),
        ('project_id = "x', "cannot be read; values are in quotes"),
        ('project_id = ""', "1 to 200 characters"),
        ('labeler_id = "x"', "not a scope"),
        ('project_id in ("x"', "the end: expected `)`"),
        ("project_id in ()", "expected a value in quotes"),
        ('project_id = "x" vendor_id = "y"', "'vendor_id' at character 18: expected `and`, `or`, or the end"),
        ('project_id = "x") or (vendor_id = "y"', "expected `and`"),
        ("__import__('os').system('true')", "cannot be read"),
        ("not " * 30 + 'project_id = "x"', "nested deeper than 20"),
        ("(" * 500, "nested deeper than 20"),
        ("a" * 3_000, "longer than 2,000"),
        (7, "must be text"),
    ],
)
def test_other_scopes_are_refused(text: object, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_scope(text)


@pytest.mark.parametrize("wrong", ["5", "m", "5 minutes", "-5m", "1w", "٣m", 1.5, True, None, -1, "29d", [5]])
def test_other_durations_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(wrong)


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 90, 3_600, 86_400, 100_000])
def test_a_duration_is_written_as_it_is_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


def schedule(*hours: dict[str, Any], zone: str = "Europe/Berlin") -> Schedule:
    return Schedule.model_validate({"time_zone": zone, "quiet_hours": list(hours)})


def quiet(of: Schedule, *times: str) -> list[bool]:
    return [of.is_quiet(datetime.fromisoformat(time).replace(tzinfo=UTC)) for time in times]


class TestQuietHours:
    def test_across_midnight_they_belong_to_the_day_they_begin_on(self) -> None:
        friday = schedule({"from": "22:00", "to": "06:00", "days": ["fri"]}, zone="UTC")
        times = ["2026-11-20T21:59", "2026-11-20T22:00", "2026-11-21T05:59", "2026-11-21T06:00", "2026-11-21T23:00"]
        assert quiet(friday, *times) == [False, True, True, False, False]
        assert quiet(friday, "2026-11-20T05:00") == [False]  # that night began on Thursday

    def test_whole_days(self) -> None:
        weekend = schedule({"from": "00:00", "to": "24:00", "days": ["sat", "sun"]}, zone="UTC")
        times = ["2026-11-20T23:59", "2026-11-21T00:00", "2026-11-22T23:59", "2026-11-23T00:00"]
        assert quiet(weekend, *times) == [False, True, True, False]

    def test_when_clocks_are_put_forward(self) -> None:
        # Berlin, 2026-03-29: 01:59 is followed by 03:00, at 01:00 UTC
        night = schedule({"from": "02:30", "to": "04:00"})
        assert quiet(night, "2026-03-29T00:59", "2026-03-29T01:00", "2026-03-29T02:00") == [False, True, False]

    def test_when_clocks_are_put_back_the_hour_is_quiet_twice(self) -> None:
        # Berlin, 2026-10-25: 02:59 is followed by 02:00, at 01:00 UTC
        night = schedule({"from": "02:00", "to": "03:00"})
        times = ["2026-10-24T23:59", "2026-10-25T00:00", "2026-10-25T01:59", "2026-10-25T02:00"]
        assert quiet(night, *times) == [False, True, True, False]

    def test_none_are_never(self) -> None:
        assert not Schedule().is_quiet(datetime(2026, 1, 1, tzinfo=UTC))

    @pytest.mark.parametrize(
        "hours",
        [
            {"from": "22:00", "to": "22:00"},
            {"from": "24:00", "to": "06:00"},
            {"from": "25:00", "to": "06:00"},
            {"from": "22.00", "to": "06:00"},
            {"from": 1320, "to": "06:00"},
            {"from": "22:00"},
            {"from": "22:00", "to": "06:00", "days": []},
            {"from": "22:00", "to": "06:00", "days": ["friday"]},
        ],
    )
    def test_others_are_refused(self, hours: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            schedule(hours)

    @pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "Europe", "", "\0"])
    def test_unknown_zones_are_refused(self, zone: str) -> None:
        with pytest.raises(ValidationError, match="no time zone"):
            schedule(zone=zone)


def test_what_moved_to_the_defaults_is_the_same_rule() -> None:
    rule = {"name": "a", "metric": "gold_accuracy"}
    said = Thresholds.model_validate({"version": 1, "rules": [{**rule, "for": "5m"}]})
    default = Thresholds.model_validate({"version": 1, "defaults": {"for": 300}, "rules": [rule]})
    assert said.rules == default.rules
