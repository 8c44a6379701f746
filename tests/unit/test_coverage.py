"""Coverage of forecast intervals, watched."""

from __future__ import annotations

import json
import random
from typing import Any, cast

import pytest

from detectors import coverage
from detectors.change.e_process import EProcess
from detectors.coverage import INTERVAL_COVERAGE, CoverageWatch
from schemas.rows import FindingRow
from tests.builders import START_MS, annotation, make_pipeline, records


def test_a_break_is_found_and_steady_intervals_are_left_alone() -> None:
    rng, watch = random.Random(4), CoverageWatch()
    assert not any(watch.see("caption", rng.random() < 0.9, at) for at in range(10_000))
    found = [watch.see("caption", rng.random() < 0.75, at) for at in range(10_000, 10_300)]
    first = next(one for one in found if one)
    assert (first.direction, first.baseline) == ("down", 0.9)
    assert first.level < 0.85
    assert 9_900 < first.since_ms < first.at_ms


def test_task_types_are_apart() -> None:
    watch = CoverageWatch()
    assert not any(watch.see("caption", True, at) or watch.see(f"rare {at}", False, at) for at in range(1_000))


def test_no_more_types_than_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MAX_TASK_TYPES", 2)
    watch = CoverageWatch()
    for at in range(300):
        found = [watch.see(name, False, at) for name in ("a", "b", "c")]
        assert found[2] is None
    assert [name for name, _ in watch.dump()] == ["a", "b"]


def test_restored_it_goes_on_the_same() -> None:
    rng, watch = random.Random(5), CoverageWatch()
    seen = [(f"type {rng.randrange(3)}", rng.random() < 0.8) for _ in range(400)]
    for at, (name, is_covered) in enumerate(seen):
        watch.see(name, is_covered, at)
    again = CoverageWatch()
    again.load(json.loads(json.dumps(watch.dump())))
    for at, (name, is_covered) in enumerate(seen, 400):
        assert again.see(name, is_covered, at) == watch.see(name, is_covered, at)
    assert again.dump() == watch.dump()


def test_a_break_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "METHOD", EProcess(threshold=20, level=0.9, smallest_drop=0.05))
    rng, pipeline = random.Random(1), make_pipeline()
    rows: list[Any] = []
    for number in range(1_000):
        took = 20.0 + rng.random() if number < 700 else rng.choice((1.0, 200.0))
        event = annotation(
            event_id=f"e-{number}", task_id=f"t-{number}", labeler_id=f"l-{number % 7}", at=60.0 * number, took=took
        )
        outcome = pipeline.process("annotations", records([event], first_offset=number))
        rows += [(number, row) for row in outcome.rows["findings"]]
    number, row = cast(tuple[int, FindingRow], next(pair for pair in rows if pair[0] >= 700))
    assert number < 800
    assert row[:5] == (INTERVAL_COVERAGE, "", "image_class", "", "")
    assert (row.at, row.source_partition, row.source_offset) == (START_MS + 60_000 * number, 0, number)
    assert row.level < row.baseline == 0.9
