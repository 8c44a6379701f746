"""Labelers: who they are, how good and how fast they are, and when they sit at their desks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from schemas.events import LabelerKind
from schemas.times import to_ms
from streams.sources.simulation.answers import Answers, Skill
from streams.sources.simulation.scenario import Project, Scenario, Vendor

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
MODEL_HANDLING_SECONDS = 1.4
#: A second project is worked on by this share of labelers, for this share of their sessions.
_SECOND_PROJECT_SHARE = 0.35
_SECOND_PROJECT_SESSIONS = 0.25
_ATTENDANCE = 0.9


@dataclass(frozen=True, slots=True)
class Session:
    """An unbroken stretch of work on one project, in milliseconds since the epoch."""

    start_ms: int
    end_ms: int
    project: int


@dataclass(slots=True)
class Labeler:
    """One labeler as drawn for a scenario. Never changed after that."""

    index: int
    labeler_id: str
    kind: LabelerKind
    vendor: Vendor
    log_pace: float
    """Log of handling time relative to the project's median."""
    utc_offset_hours: float
    experience: int
    """Annotations done before the scenario starts: practice has made its owner faster."""
    skills: dict[int, Skill] = field(default_factory=dict)
    log_project_pace: dict[int, float] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    is_poor: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is a model."""
        return self.kind is LabelerKind.MODEL

    def work_ms(self, start_ms: int, end_ms: int, project: int | None) -> int:
        """Working time in that interval (on that project)."""
        return sum(
            max(0, min(s.end_ms, end_ms) - max(s.start_ms, start_ms))
            for s in self.sessions
            if project is None or s.project == project
        )


class Workforce:
    """Draws the labelers of a scenario."""

    def __init__(self, scenario: Scenario, answers: Sequence[Answers], rng: Random) -> None:
        self._scenario = scenario
        self._answers = answers
        self._rng = rng
        self._project_index = {p.id: i for i, p in enumerate(scenario.projects)}
        self._start_ms, self._end_ms = to_ms(scenario.start), to_ms(scenario.end)
        self.labelers: list[Labeler] = []
        self._ids: set[str] = set()
        for vendor in scenario.vendors:
            for number in range(vendor.labelers):
                self._hire(vendor, number)
            for number in range(vendor.models):
                self._deploy(vendor, number)

    def newcomer(self, vendor: Vendor, project: int | None, start_ms: int, end_ms: int) -> Labeler:
        """A labeler who appears at ``start_ms``, works with short breaks and is gone at ``end_ms``."""
        labeler = self._person(vendor)
        if project is None:
            project = self._project_index[self._rng.choice(vendor.projects)]
        self._learn(labeler, [project], vendor.accuracy)
        at = start_ms + int(self._rng.random() * 5 * MINUTE_MS)
        while at < end_ms:
            until = min(end_ms, at + int(self._rng.uniform(60, 120) * MINUTE_MS))
            labeler.sessions.append(Session(at, until, project))
            at = until + int(self._rng.uniform(5, 15) * MINUTE_MS)
        return labeler

    def _hire(self, vendor: Vendor, number: int) -> None:
        rng = self._rng
        labeler = self._person(vendor)
        accuracy = min(max(rng.gauss(vendor.accuracy, vendor.accuracy_spread), 0.6), 0.985)
        if rng.random() < vendor.poor_share:
            labeler.is_poor = True
            accuracy = rng.uniform(0.5, 0.65)
        indices = [self._project_index[name] for name in vendor.projects]
        # Turn by turn rather than by chance, so that a small scenario staffs every project.
        main = indices[number % len(indices)]
        others = [index for index in indices if index != main]
        projects = [main]
        if others and rng.random() < _SECOND_PROJECT_SHARE:
            projects.append(rng.choice(others))
        self._learn(labeler, projects, accuracy)
        self._roster(labeler, projects)

    def _deploy(self, vendor: Vendor, number: int) -> None:
        indices = [i for i in (self._project_index[n] for n in vendor.projects) if self._kind(i) in ("class", "rating")]
        indices = indices or [self._project_index[vendor.projects[0]]]
        project = indices[number % len(indices)]
        labeler = Labeler(len(self.labelers), f"model-{vendor.id}-{number + 1}", LabelerKind.MODEL, vendor, 0.0, 0.0, 0)
        self.labelers.append(labeler)
        self._learn(labeler, [project], vendor.model_accuracy)
        labeler.sessions.append(Session(self._start_ms, self._end_ms, project))

    def _kind(self, project: int) -> str:
        return self._scenario.projects[project].kind

    def _person(self, vendor: Vendor) -> Labeler:
        rng = self._rng
        while (labeler_id := f"w-{rng.getrandbits(40):010x}") in self._ids:
            pass
        self._ids.add(labeler_id)
        offset = datetime.combine(self._scenario.start.date(), time(12), ZoneInfo(vendor.time_zone)).utcoffset()
        assert offset is not None
        labeler = Labeler(
            index=len(self.labelers),
            labeler_id=labeler_id,
            kind=LabelerKind.HUMAN,
            vendor=vendor,
            log_pace=rng.gauss(0.0, 0.25),
            utc_offset_hours=offset.total_seconds() / 3600,
            experience=int(rng.expovariate(1 / 400)),
        )
        self.labelers.append(labeler)
        return labeler

    def _learn(self, labeler: Labeler, projects: list[int], accuracy: float) -> None:
        for index in projects:
            project: Project = self._scenario.projects[index]
            reached = max(1.0 - (1.0 - accuracy) * project.error_factor, 0.5)
            labeler.skills[index] = self._answers[index].draw_skill(self._rng, reached)
            labeler.log_project_pace[index] = self._rng.gauss(0.0, 0.12)

    def _roster(self, labeler: Labeler, projects: list[int]) -> None:
        """Shifts by the vendor's local clock; sessions of one to two hours, breaks, and lunch after half the shift."""
        rng, vendor = self._rng, labeler.vendor
        zone = ZoneInfo(vendor.time_zone)
        usual_start = rng.choice(vendor.shift_starts) + rng.gauss(0.0, 0.5)
        day = self._scenario.start.date() - timedelta(days=1)
        while day <= self._scenario.end.date() + timedelta(days=1):
            attends = rng.random() < (_ATTENDANCE if day.weekday() < 5 else vendor.weekend_share)
            begins = usual_start + rng.gauss(0.0, 0.2)
            hours = max(1.0, rng.gauss(vendor.shift_hours, 0.8))
            if attends:
                self._shift(labeler, projects, _local_ms(day, zone) + int(begins * HOUR_MS), int(hours * HOUR_MS))
            day += timedelta(days=1)

    def _shift(self, labeler: Labeler, projects: list[int], at: int, length_ms: int) -> None:
        rng = self._rng
        end, lunch_at, had_lunch = at + length_ms, at + length_ms // 2, length_ms < 4 * HOUR_MS
        if labeler.sessions:
            at = max(at, labeler.sessions[-1].end_ms)
        while at < end:
            until = min(end, at + int(rng.uniform(60, 120) * MINUTE_MS))
            project = projects[-1] if rng.random() < _SECOND_PROJECT_SESSIONS else projects[0]
            start_ms, end_ms = max(at, self._start_ms), min(until, self._end_ms)
            if end_ms - start_ms > MINUTE_MS:
                labeler.sessions.append(Session(start_ms, end_ms, project))
            pause = rng.uniform(8, 20)
            if not had_lunch and until > lunch_at:
                pause, had_lunch = rng.uniform(30, 60), True
            at = until + int(pause * MINUTE_MS)


def _local_ms(day: date, zone: ZoneInfo) -> int:
    return to_ms(datetime.combine(day, time(0), zone))
