"""Each incident does to the stream what the scenario says, when it says so, and to nobody else; truth agrees."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from statistics import fmean, median
from typing import Any

import pytest

from schemas.events import AnnotationEvent
from schemas.labels import canonical, is_closed
from schemas.times import to_ms
from streams.sources.simulate import Scenario, Simulation, Truth
from tests.simulated_operation import scenario_with

pytestmark = pytest.mark.integration  # not for what it starts, but for the whole simulations


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


def test_newcomers_come_where_nobody_of_the_target_is_at_work() -> None:
    run = Run(type="speeding_bots", target={"project": "images", "labelers": 2}, start="11h40m", end="12h")
    theirs = [e for e in run.annotations if e.labeler_id in run.incident.labelers]
    assert len(theirs) > 100
    assert all(run.incident.start <= e.started_at for e in theirs)


@pytest.mark.parametrize(("name", "scale"), [("calm", 0.2), ("incidents", 0.1)])
def test_truth_agrees_with_the_stream(name: str, scale: float) -> None:
    simulation = Simulation(Scenario.load(name).scaled(scale), seed=3)
    truth = simulation.truth()
    label_of = {(task.project_id, task.task_id): task for task in truth.tasks}
    counts: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0])
    periods = {
        (labeler.labeler_id, project): [a for a in labeler.accuracy if a.project_id == project]
        for labeler in truth.labelers
        for project in {a.project_id for a in labeler.accuracy}
    }
    for event in simulation:
        if not isinstance(event, AnnotationEvent):
            continue
        task = label_of[event.project_id, event.task_id]
        assert (event.gold_label is not None) == task.is_gold
        if event.gold_label is not None:
            assert event.gold_label == task.label
        mine = periods[event.labeler_id, event.project_id]
        row = next(i for i, p in enumerate(mine) if p.end is None or event.submitted_at < p.end)
        count = counts[event.labeler_id, event.project_id, row]
        count[0] += 1
        count[1] += canonical(event.label) == canonical(task.label) if is_closed(event.label) else 0
    surprise, drawn = 0.0, 0
    for (labeler_id, project_id), mine in periods.items():
        for row, period in enumerate(mine):
            answered, right = counts[labeler_id, project_id, row]
            assert answered == period.answered
            if project_id == "video-captions" or answered < 30:
                continue
            assert right == period.right
            deviation = math.sqrt(answered * max(period.accuracy * (1 - period.accuracy), 0.01))
            z = (right - answered * period.accuracy) / deviation
            assert abs(z) < 4.5, (labeler_id, project_id, period)
            surprise, drawn = surprise + z * z, drawn + 1
    # A mean square near 1 says that stated accuracies are the real ones, and not merely close to them.
    assert drawn > 10
    assert surprise / drawn < 1 + 4 * math.sqrt(2 / drawn)
