"""The simulator as a source: determinism, order, validity, calm, scale, and agreement with its truth file."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pytest

from schemas.events import AnnotationEvent, LabelerKind, ReviewEvent
from schemas.labels import canonical
from schemas.times import to_ms
from streams.sources.simulate import Scenario, Simulation, Truth
from streams.sources.source import SourceError, to_message

CALM = Scenario.load("calm").scaled(0.3)
SMALL = CALM.scaled(0.3)


@pytest.fixture(scope="module")
def calm() -> list[AnnotationEvent | ReviewEvent]:
    return list(Simulation(CALM, seed=1))


@pytest.fixture(scope="module")
def calm_truth() -> Truth:
    return Simulation(CALM, seed=1).truth()


def annotations_in(events: Iterable[AnnotationEvent | ReviewEvent]) -> list[AnnotationEvent]:
    return [event for event in events if isinstance(event, AnnotationEvent)]


def digest(events: Iterable[AnnotationEvent | ReviewEvent]) -> str:
    sha = hashlib.sha256()
    for event in events:
        message = to_message(event)
        sha.update(message.topic.encode() + message.key + message.value)
    return sha.hexdigest()


def event_ms(event: AnnotationEvent | ReviewEvent) -> int:
    return to_ms(event.submitted_at if isinstance(event, AnnotationEvent) else event.reviewed_at)


def test_same_seed_gives_the_same_bytes_twice_and_in_another_object() -> None:
    simulation = Simulation(SMALL, seed=1)
    assert digest(simulation) == digest(simulation) == digest(Simulation(SMALL, seed=1))


def test_another_seed_gives_another_operation() -> None:
    one, other = (annotations_in(Simulation(SMALL, seed)) for seed in (1, 2))
    assert {e.labeler_id for e in other if e.labeler_kind is LabelerKind.HUMAN}.isdisjoint(
        e.labeler_id for e in one if e.labeler_kind is LabelerKind.HUMAN
    )
    assert {e.task_id for e in other} != {e.task_id for e in one}


def test_events_come_in_event_time_order_and_have_their_own_ids(calm: list[AnnotationEvent | ReviewEvent]) -> None:
    times = [event_ms(event) for event in calm]
    assert times == sorted(times)
    ids = [event.event_id for event in annotations_in(calm)]
    assert len(ids) > 3_000
    assert len(set(ids)) == len(ids)


def test_events_survive_the_wire(calm: list[AnnotationEvent | ReviewEvent]) -> None:
    for event in calm[::7]:
        assert type(event).model_validate_json(to_message(event).value) == event


def test_every_kind_of_label_and_of_labeler_and_reviews_appear() -> None:
    events = list(islice(Simulation(Scenario.load("incidents").scaled(0.1), seed=1), 5_000))
    assert {e.label.kind for e in annotations_in(events)} == {"class", "rating", "multiclass", "text"}
    assert {e.labeler_kind for e in annotations_in(events)} == set(LabelerKind)
    assert any(isinstance(e, ReviewEvent) and e.true_label is not None for e in events)
    assert any(e.active_seconds is not None for e in annotations_in(events))
    assert any(e.gold_label is not None for e in annotations_in(events))


def test_a_labeler_does_a_task_once_but_for_revisions(calm: list[AnnotationEvent | ReviewEvent]) -> None:
    seen: dict[tuple[str, str], int] = defaultdict(int)
    for event in annotations_in(calm):
        seen[event.task_id, event.labeler_id] += 1
    revisions = sum(count - 1 for count in seen.values())
    assert max(seen.values()) == 2
    assert 0.005 < revisions / len(annotations_in(calm)) < 0.015


def test_tasks_get_the_labels_the_project_wants_within_minutes_to_hours(
    calm: list[AnnotationEvent | ReviewEvent],
) -> None:
    overlap = {project.id: project.overlap for project in CALM.projects}
    labelers: dict[str, set[str]] = defaultdict(set)
    times: dict[str, list[int]] = defaultdict(list)
    wanted: dict[str, int] = {}
    for event in annotations_in(calm):
        labelers[event.task_id].add(event.labeler_id)
        times[event.task_id].append(event_ms(event))
        wanted[event.task_id] = overlap[event.project_id]
    complete = [task for task in wanted if len(labelers[task]) == wanted[task]]
    assert all(len(labelers[task]) <= wanted[task] for task in wanted)
    assert len(complete) > 0.9 * len(wanted)
    spreads = sorted((max(times[task]) - min(times[task])) / 60_000 for task in complete)
    assert 1 < spreads[len(spreads) // 2] < 180


def test_people_pause_and_models_do_not(calm: list[AnnotationEvent | ReviewEvent]) -> None:
    longest: dict[LabelerKind, float] = defaultdict(float)
    last: dict[str, AnnotationEvent] = {}
    for event in annotations_in(calm):
        if event.labeler_id in last:
            gap = (event.started_at - last[event.labeler_id].submitted_at).total_seconds()
            longest[event.labeler_kind] = max(longest[event.labeler_kind], gap)
        last[event.labeler_id] = event
    assert longest[LabelerKind.HUMAN] > 8 * 3600
    assert longest[LabelerKind.MODEL] < 1800


def test_handling_time_depends_on_the_labeler_and_idle_time_is_told_apart(
    calm: list[AnnotationEvent | ReviewEvent],
) -> None:
    logs: dict[str, list[float]] = defaultdict(list)
    for event in annotations_in(calm):
        if event.project_id == "image-safety" and event.labeler_kind is LabelerKind.HUMAN:
            logs[event.labeler_id].append(math.log(event.handling_seconds))
    means = [math.fsum(values) / len(values) for values in logs.values() if len(values) > 50]
    assert max(means) - min(means) > 0.3
    idle = [
        (e.submitted_at - e.started_at).total_seconds() - e.active_seconds
        for e in annotations_in(calm)
        if e.active_seconds is not None
    ]
    assert min(idle) > -0.002
    assert 0.005 < sum(seconds > 30 for seconds in idle) / len(idle) < 0.06


def test_nothing_happens_in_calm(calm: list[AnnotationEvent | ReviewEvent], calm_truth: Truth) -> None:
    assert calm_truth.incidents == []
    assert all(labeler.bad == [] for labeler in calm_truth.labelers)
    assert all(
        len({a.project_id for a in labeler.accuracy}) == len(labeler.accuracy) for labeler in calm_truth.labelers
    )
    known = {task.task_id: canonical(task.label) for task in calm_truth.tasks}
    right: dict[bool, list[bool]] = {False: [], True: []}
    middle = CALM.start + CALM.duration / 2
    for event in annotations_in(calm):
        if event.project_id == "image-safety":
            right[event.submitted_at > middle].append(canonical(event.label) == known[event.task_id])
    first, second = (sum(values) / len(values) for values in right.values())
    assert abs(first - second) < 0.04


def test_text_counts_as_right_when_it_would_be_accepted() -> None:
    simulation = Simulation(CALM, seed=4)
    truth = simulation.truth()
    rows = [a for labeler in truth.labelers for a in labeler.accuracy if a.project_id == "video-captions"]
    answered, right = sum(a.answered for a in rows), sum(a.right for a in rows)
    assert answered > 50
    assert 0.85 < right / answered < 0.99
    verdicts = [e.accepted for e in simulation if isinstance(e, ReviewEvent) and e.project_id == "video-captions"]
    assert sum(v is True for v in verdicts) > sum(v is False for v in verdicts)


def test_written_truth_is_read_back_and_holds_one_task_a_line(tmp_path: Path, calm_truth: Truth) -> None:
    path = tmp_path / "truth.json"
    Simulation(CALM, seed=1).write_truth(path)
    assert Truth.load(path) == calm_truth
    lines = path.read_text().splitlines()
    assert len(lines) == len(calm_truth.tasks) + 2
    assert json.loads(lines[1].rstrip(","))["task_id"] == calm_truth.tasks[0].task_id
    assert list(tmp_path.iterdir()) == [path]


def test_truth_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "truth.json"
    with pytest.raises(SourceError, match=r"absent/truth.json: the truth file cannot be written"):
        Simulation(SMALL, seed=1).write_truth(path)


def test_estimate_is_near(calm: list[AnnotationEvent | ReviewEvent]) -> None:
    assert abs(Simulation(CALM, seed=1).estimate() / len(calm) - 1) < 0.2


def test_scale_changes_labelers_and_not_time() -> None:
    half, twice = CALM.scaled(0.5), CALM.scaled(2)
    assert sum(v.labelers for v in half.vendors) < sum(v.labelers for v in CALM.vendors)
    assert [v.labelers for v in twice.vendors] == [2 * v.labelers for v in CALM.vendors]
    assert half.duration == twice.duration == CALM.duration
