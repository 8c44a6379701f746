"""Each incident does to the stream what the scenario says, when it says so, and to nobody else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from datetime import timedelta
from statistics import fmean, median
from typing import Any

import pytest
import yaml

from schemas.events import AnnotationEvent
from schemas.labels import canonical
from schemas.times import to_ms
from streams.sources.simulate import Simulation, Truth
from streams.sources.simulation.incident import IncidentType
from streams.sources.simulation.scenario import Scenario, ScenarioError, parse_scenario

BASE: dict[str, Any] = {
    "name": "test",
    "duration": "12h",
    "projects": [
        {
            "id": "images",
            "task_type": "image_class",
            "kind": "class",
            "classes": {"cat": 3, "dog": 3, "owl": 2},
            "handling_seconds": 45,
            "gold_share": 0.1,
        },
        {
            "id": "videos",
            "task_type": "video_rating",
            "kind": "rating",
            "classes": {"1": 1, "2": 2, "3": 1},
            "handling_seconds": 60,
        },
    ],
    "vendors": [
        {
            "id": name,
            "time_zone": "UTC",
            "labelers": 8,
            "projects": ["images", "videos"],
            "accuracy": 0.9,
            "shift_starts": [0.5],
            "shift_hours": 10,
        }
        for name in ("north", "south")
    ],
}
START, END = "5h", "8h"


def scenario_with(**incident: Any) -> Scenario:
    data = copy.deepcopy(BASE)
    data["incidents"] = [{"id": "trouble", "start": START, "end": END, **incident}]
    return parse_scenario(yaml.safe_dump(data), "test")


class Run:
    """A simulation's annotations beside their truth, and the one incident."""

    def __init__(self, **incident: Any) -> None:
        self.simulation = Simulation(scenario_with(**incident), seed=5)
        self.truth: Truth = self.simulation.truth()
        self.incident = self.truth.incidents[0]
        self.true = {(t.project_id, t.task_id): canonical(t.label) for t in self.truth.tasks}
        self.events = list(self.simulation)
        self.annotations = [e for e in self.events if isinstance(e, AnnotationEvent)]

    def during(self, event: AnnotationEvent) -> bool:
        return self.incident.start <= event.submitted_at < self.incident.end

    def hit(self, event: AnnotationEvent) -> bool:
        return event.labeler_id in self.incident.labelers and event.project_id in self.incident.projects

    def right(self, event: AnnotationEvent) -> bool:
        return canonical(event.label) == self.true[event.project_id, event.task_id]

    def accuracy(self, wanted: Callable[[AnnotationEvent], bool]) -> float:
        """Share of right answers; at least 100, or it says nothing."""
        answers = [self.right(e) for e in self.annotations if wanted(e)]
        assert len(answers) >= 100
        return fmean(answers)

    def stated(self, incident: str | None) -> float:
        """Mean stated accuracy of the labelers hit, in the project hit, over what they answered."""
        rows = [
            (a.accuracy, a.answered)
            for labeler in self.truth.labelers
            if labeler.labeler_id in self.incident.labelers
            for a in labeler.accuracy
            if a.project_id in self.incident.projects and (incident in a.incidents if incident else not a.incidents)
        ]
        return sum(accuracy * n for accuracy, n in rows) / sum(n for _, n in rows)


def test_spammers_answer_at_random_while_it_lasts() -> None:
    run = Run(type="spammer_wave", target={"project": "images", "labelers": 4})
    assert len(run.incident.labelers) == 4
    assert run.accuracy(lambda e: run.hit(e) and run.during(e)) == pytest.approx(1 / 3, abs=0.07)
    assert run.accuracy(lambda e: run.hit(e) and not run.during(e)) > 0.8
    assert run.accuracy(lambda e: not run.hit(e) and run.during(e)) > 0.8
    assert run.stated("trouble") == pytest.approx(1 / 3)


def test_constant_spammers_give_one_class_each() -> None:
    run = Run(type="spammer_wave", target={"vendor": "north", "project": "images", "labelers": 3}, answers="constant")
    given: dict[str, set[str]] = {}
    for event in run.annotations:
        if run.hit(event) and run.during(event):
            given.setdefault(event.labeler_id, set()).add(canonical(event.label))
    assert len(given) == 3
    assert all(len(classes) == 1 for classes in given.values())
    assert run.incident.vendors == ["north"]


def test_newcomers_work_only_while_it_lasts() -> None:
    run = Run(type="spammer_wave", target={"vendor": "south", "project": "images", "labelers": 3, "new": True})
    theirs = [e for e in run.annotations if run.hit(e)]
    assert {e.labeler_id for e in theirs} == set(run.incident.labelers)
    assert min(e.started_at for e in theirs) >= run.incident.start
    assert max(e.started_at for e in theirs) <= run.incident.end
    bad = {labeler.labeler_id: labeler.bad for labeler in run.truth.labelers if labeler.bad}
    assert set(bad) == set(run.incident.labelers)
    assert all(b[0].start == run.incident.start and b[0].incident == "trouble" for b in bad.values())


def test_guideline_change_swaps_two_classes_and_leaves_the_third() -> None:
    run = Run(type="guideline_change", target={"project": "images"}, classes=["cat", "dog"])
    swapped = [e for e in run.annotations if run.hit(e) and run.during(e)]

    def share(true: str, given: str) -> float:
        answers = [canonical(e.label) for e in swapped if run.true[e.project_id, e.task_id] == true]
        assert len(answers) > 100
        return answers.count(given) / len(answers)

    assert share("cat", "dog") > 0.8
    assert share("dog", "cat") > 0.8
    assert share("owl", "owl") > 0.8
    assert run.accuracy(lambda e: run.hit(e) and not run.during(e)) > 0.8
    assert run.accuracy(lambda e: e.project_id == "videos" and run.during(e)) > 0.8
    measured = run.accuracy(lambda e: run.hit(e) and run.during(e))
    assert run.stated("trouble") == pytest.approx(measured, abs=0.04)


def test_guideline_change_is_followed_by_the_share_asked_for() -> None:
    run = Run(type="guideline_change", target={"project": "images"}, classes=["cat", "dog"], strength=0.5)
    everybody = {t.labeler_id for t in run.truth.labelers if "images" in {a.project_id for a in t.accuracy}}
    assert len(run.incident.labelers) == pytest.approx(len(everybody) / 2, abs=1)


def test_vendor_loses_the_points_asked_for_and_the_other_none() -> None:
    run = Run(type="vendor_degradation", target={"vendor": "north"}, strength=0.2)
    before = run.accuracy(lambda e: run.hit(e) and not run.during(e))
    assert before - run.accuracy(lambda e: run.hit(e) and run.during(e)) == pytest.approx(0.2, abs=0.04)
    assert run.stated(None) - run.stated("trouble") == pytest.approx(0.2, abs=0.01)
    others_before = run.accuracy(lambda e: not run.hit(e) and not run.during(e))
    assert run.accuracy(lambda e: not run.hit(e) and run.during(e)) == pytest.approx(others_before, abs=0.03)
    assert {b.incident for labeler in run.truth.labelers for b in labeler.bad} == {"trouble"}


def test_bots_answer_in_seconds_and_badly() -> None:
    run = Run(type="speeding_bots", target={"project": "images", "labelers": 3}, strength=0.4)
    theirs = [e for e in run.annotations if run.hit(e) and run.incident.start <= e.started_at < run.incident.end]
    others = [e for e in run.annotations if not run.hit(e) and e.project_id == "images"]
    assert median(e.handling_seconds for e in theirs) < 2.5
    assert median(e.handling_seconds for e in others) > 15
    assert run.accuracy(lambda e: run.hit(e) and run.during(e)) == pytest.approx(0.4, abs=0.04)
    assert run.stated("trouble") == pytest.approx(0.4)


def test_handling_time_grows_by_the_ratio_asked_for_and_answers_stay_right() -> None:
    run = Run(type="handling_time_drift", target={"project": "images"}, strength=0.5)

    def typical(project: str, during: bool) -> float:
        return median(
            e.handling_seconds
            for e in run.annotations
            if e.project_id == project and (run.incident.start <= e.started_at < run.incident.end) is during
        )

    assert typical("images", True) / typical("images", False) == pytest.approx(1.5, abs=0.12)
    assert typical("videos", True) / typical("videos", False) == pytest.approx(1.0, abs=0.12)
    assert run.accuracy(run.during) > 0.8
    assert all(not labeler.bad for labeler in run.truth.labelers)


def test_missing_class_is_gone_while_it_lasts_and_another_is_given() -> None:
    run = Run(type="missing_class", target={"project": "images"}, classes=["owl"], instead="dog")

    def share(during: bool, given: str) -> float:
        answers = [canonical(e.label) for e in run.annotations if e.project_id == "images" and run.during(e) is during]
        return answers.count(given) / len(answers)

    assert share(True, "owl") == 0
    assert share(False, "owl") == pytest.approx(0.25, abs=0.05)
    assert share(True, "dog") > share(False, "dog") + 0.15
    measured = run.accuracy(lambda e: run.hit(e) and run.during(e))
    assert run.stated("trouble") == pytest.approx(measured, abs=0.04)


def test_stall_lets_events_go_together_in_their_own_order_with_their_own_times() -> None:
    run = Run(type="ingestion_stall", target={"vendor": "north"})
    arrived_ms, late = 0, []
    for event in run.events:
        at = to_ms(event.submitted_at if isinstance(event, AnnotationEvent) else event.reviewed_at)
        if at < arrived_ms:
            assert isinstance(event, AnnotationEvent)
            late.append(event)
        arrived_ms = max(arrived_ms, at)
    held = [e for e in run.annotations if run.during(e) and e.vendor_id == "north"]
    assert len(held) > 200
    assert [e.event_id for e in held] == [e.event_id for e in sorted(held, key=lambda e: e.submitted_at)]
    assert {e.event_id for e in late} <= {e.event_id for e in held}
    assert len(late) > 0.95 * len(held)
    positions = [run.events.index(e) for e in (held[0], held[-1])]
    assert positions[1] - positions[0] == len(held) - 1
    before = [e for e in run.events[: positions[0]] if isinstance(e, AnnotationEvent)]
    after = [e for e in run.events[positions[1] + 1 :] if isinstance(e, AnnotationEvent)]
    assert all(e.submitted_at < run.incident.end for e in before)
    assert all(e.submitted_at >= run.incident.end for e in after)


def test_stall_that_outlives_the_work_loses_nothing() -> None:
    run = Run(type="ingestion_stall", target={"project": "images"}, end="12h")
    answered = sum(a.answered for labeler in run.truth.labelers for a in labeler.accuracy)
    assert len(run.annotations) == answered


def test_incidents_of_one_labeler_add_up() -> None:
    data = copy.deepcopy(BASE)
    data["incidents"] = [
        {"id": "tired", "type": "vendor_degradation", "start": "4h", "end": "8h", "target": {"vendor": "north"}},
        {
            "id": "swap",
            "type": "guideline_change",
            "start": "6h",
            "target": {"project": "images"},
            "classes": ["cat", "dog"],
        },
    ]
    truth = Simulation(parse_scenario(yaml.safe_dump(data), "test"), seed=1).truth()
    north = next(t for t in truth.labelers if t.vendor_id == "north" and t.accuracy[0].project_id == "images")
    rows = [a for a in north.accuracy if a.project_id == "images"]
    assert [a.incidents for a in rows] == [[], ["tired"], ["tired", "swap"], ["swap"]]
    assert [a.end - a.start for a in rows if a.end] == [timedelta(hours=4), timedelta(hours=2), timedelta(hours=2)]
    assert rows[0].accuracy > rows[1].accuracy > rows[2].accuracy


def test_shipped_incidents_hold_every_type_once_or_more() -> None:
    assert _types(Scenario.load("incidents")) == set(IncidentType)
    assert _types(Scenario.load("calm")) == set()


def _types(scenario: Scenario) -> set[IncidentType]:
    return {incident.type for incident in scenario.incidents}


def test_incident_that_hits_nobody_is_refused() -> None:
    data = copy.deepcopy(BASE)
    data["vendors"][1].update(labelers=0, models=1)  # models do not slow down
    target = {"vendor": "south", "project": "videos"}
    data["incidents"] = [{"id": "trouble", "type": "handling_time_drift", "start": "1h", "target": target}]
    scenario = parse_scenario(yaml.safe_dump(data), "test")
    with pytest.raises(ScenarioError, match=r"incidents\[0\] \(trouble\).target: nobody of south works on videos"):
        Simulation(scenario, seed=1)


def test_newcomers_come_where_nobody_of_the_target_is_at_work() -> None:
    run = Run(type="speeding_bots", target={"project": "images", "labelers": 2}, start="11h40m", end="12h")
    theirs = [e for e in run.annotations if e.labeler_id in run.incident.labelers]
    assert len(theirs) > 100
    assert all(run.incident.start <= e.started_at for e in theirs)


def _problems(incident: dict[str, Any]) -> Iterable[str]:
    with pytest.raises(ScenarioError) as caught:
        scenario_with(**incident)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("incident", "says"),
    [
        ({"type": "earthquake"}, "incidents[0].type: Input should be 'spammer_wave'"),
        ({"type": "spammer_wave", "target": {"project": "images"}}, "incidents[0]: target.labelers is missing"),
        (
            {"type": "vendor_degradation", "target": {"vendor": "north", "labelers": 2}},
            "target.labelers means nothing for vendor_degradation",
        ),
        (
            {"type": "vendor_degradation", "target": {"vendor": "east"}},
            "incidents[0] (trouble).target.vendor: no vendor 'east'; known: north, south",
        ),
        (
            {"type": "handling_time_drift", "target": {"project": "audio"}},
            "incidents[0] (trouble).target.project: no project 'audio'; known: images, videos",
        ),
        (
            {"type": "vendor_degradation", "target": {"vendor": "north"}, "strength": 18},
            "strength 18 is outside 0.01 to 0.5",
        ),
        ({"type": "missing_class", "target": {"project": "images"}, "classes": ["emu"]}, "no class 'emu' in images"),
        ({"type": "missing_class", "target": {"project": "videos"}, "classes": ["1"]}, "needs kind class, not rating"),
        ({"type": "guideline_change", "target": {"project": "images"}, "classes": ["cat"]}, "takes 2 different ones"),
        ({"type": "ingestion_stall"}, "target.project or target.vendor is missing"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "start": "20h"}, "is outside the scenario"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "end": "4h"}, "is not after its start"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "duration": "1h"}, "give end or duration"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "start": "noon"}, "incidents[0].start: not a dur"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "answers": "random"}, "answers means nothing"),
        ({"type": "ingestion_stall", "target": {"vendor": "north"}, "color": 1}, "incidents[0].color: Extra inputs"),
    ],
)
def test_wrong_incidents_are_refused_by_key(incident: dict[str, Any], says: str) -> None:
    assert any(says in line for line in _problems(incident)), list(_problems(incident))


def _without_classes(data: dict[str, Any]) -> None:
    del data["projects"][0]["classes"]


def _bad_zone(data: dict[str, Any]) -> None:
    data["vendors"][1]["time_zone"] = "Mars/Olympus"


def _lost_project(data: dict[str, Any]) -> None:
    data["vendors"][0]["projects"] = ["audio"]


def _twice(data: dict[str, Any]) -> None:
    data["projects"][1]["id"] = "images"


def _subjective_gold(data: dict[str, Any]) -> None:
    data["projects"][0]["subjective"] = True


def _naive(data: dict[str, Any]) -> None:
    data["start"] = "2026-01-05T00:00:00"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_classes, "test: projects[0]: classes: kind class needs at least two"),
        (_bad_zone, "test: vendors[1]: time_zone: 'Mars/Olympus' is not an IANA zone"),
        (_lost_project, "test: vendors[0].projects: no project 'audio'; known: images, videos"),
        (_twice, "test: projects: id 'images' is used twice"),
        (_subjective_gold, "test: projects[0]: gold_share must be 0"),
        (_naive, "test: start: time has no zone"),
    ],
)
def test_wrong_scenarios_are_refused_by_key(change: Callable[[dict[str, Any]], None], says: str) -> None:
    data = copy.deepcopy(BASE)
    change(data)
    with pytest.raises(ScenarioError) as caught:
        parse_scenario(yaml.safe_dump(data), "test")
    assert says in str(caught.value)


def test_unknown_names_and_unreadable_files_are_told_apart(tmp_path: Any) -> None:
    with pytest.raises(ScenarioError, match="no scenario 'storm': give one of calm, incidents"):
        Scenario.load("storm")
    for text, says in (
        ("a: [", "not YAML"),
        ("- a\n", "a scenario is a mapping"),
        ("!!python/object:a.b {}", "not YAML"),
    ):
        path = tmp_path / "s.yaml"
        path.write_text(text)
        with pytest.raises(ScenarioError, match=says):
            Scenario.load(path)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), 1e9])
def test_unusable_scales_are_refused(factor: float) -> None:
    with pytest.raises(ScenarioError, match="is not usable"):
        Scenario.load("calm").scaled(factor)
