"""Scenarios as configuration: a simulated operation, what changes in it harmlessly, and what goes wrong, version 1.

Shapes only: files are read by `streams.scenario_file`, and played by `streams.evaluate.scenario`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from schemas.duration import Duration
from schemas.events import Id
from schemas.times import UtcTime

IncidentKind = Literal["labelers", "vendor", "project", "task_type", "guideline", "speed", "constant", "stall"]
"""labelers: some get worse. vendor, project, task_type: all of its people do. guideline: two classes are swapped.
speed: some rush, and get worse. constant: some always answer the same. stall: no answers come."""
ChangeKind = Literal["holiday", "newcomers", "classes", "staffing", "harder"]
"""holiday: a vendor's people stay at home. newcomers: people begin who have yet to learn. classes: other tasks, with
other classes more frequent. staffing: a project's work moves to one of its vendors. harder: so are tasks, a little."""
#: Kinds that hit a number of people in one project.
OF_LABELERS = ("labelers", "speed", "constant")
#: Kinds whose size in points is said; of the others it follows from what they do.
OF_POINTS = ("labelers", "vendor", "project", "task_type", "speed")
#: What a change must say.
NEEDED: dict[ChangeKind, tuple[str, ...]] = {
    "holiday": ("vendor",),
    "newcomers": ("vendor", "labelers"),
    "classes": ("project", "classes"),
    "staffing": ("project", "vendor", "factor"),
    "harder": ("factor",),
}

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Points = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]


def _pair(value: object) -> object:
    """One value stands for a range of it alone."""
    return tuple(value) if isinstance(value, list) else (value, value)


def _ordered(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [lowest, highest], not [{pair[0]:g}, {pair[1]:g}]")
    return pair


#: ``[lowest, highest]``, or one value; each run draws from it evenly.
CountRange = Annotated[tuple[Count, Count], BeforeValidator(_pair), AfterValidator(_ordered)]
PointsRange = Annotated[tuple[Points, Points], BeforeValidator(_pair), AfterValidator(_ordered)]
ShareRange = Annotated[tuple[Share, Share], BeforeValidator(_pair), AfterValidator(_ordered)]
DurationRange = Annotated[tuple[Duration, Duration], BeforeValidator(_pair), AfterValidator(_ordered)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TaskType(_Spec):
    """What is asked, and of which classes the answer is."""

    id: Id
    classes: Annotated[dict[Id, Positive], Field(max_length=50)] = {}
    """Class to how frequent it is. None: free text, which has no gold and cannot be compared, only reviewed."""
    hard: dict[Id, Positive] = {}
    """Class to how many times as many errors there are on it."""
    confused: tuple[tuple[Id, Id], ...] = ()
    """Pairs that are taken for each other four times as often as others."""
    handling_seconds: Positive
    """Median."""

    @model_validator(mode="after")
    def _classes_exist(self) -> Self:
        if len(self.classes) == 1:
            raise ValueError("classes: one class alone is no question; give two, or none for free text")
        named = {*self.hard, *(name for pair in self.confused for name in pair)}
        if lost := sorted(named - self.classes.keys()):
            raise ValueError(f"no class {lost[0]!r}; known: {', '.join(self.classes) or 'none'}")
        return self


class Vendor(_Spec):
    """Who supplies labelers, where, and how good they are."""

    id: Id
    time_zone: str
    labelers: Count
    accuracy: Annotated[float, Field(ge=0.5, lt=1)] = 0.92
    spread: Annotated[float, Field(gt=0, le=0.2)] = 0.03
    """Standard deviation of labelers' accuracy, which is beta."""
    shift_starts: Annotated[tuple[Annotated[float, Field(ge=0, lt=24)], ...], Field(min_length=1)] = (9.0,)
    """Local hours; every labeler has one."""
    shift_hours: Annotated[float, Field(gt=0, le=12)] = 7.0
    """Breaks of a seventh of it included."""
    weekend_share: Share = 0.25
    pace: Positive = 1.0
    """Handling time relative to others'."""

    @model_validator(mode="after")
    def _zone_exists(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"time_zone: {self.time_zone!r} is not an IANA zone such as Asia/Manila") from None
        return self


class Project(_Spec):
    """A queue of tasks of one type, and who works on it."""

    id: Id
    task_type: Id
    vendors: Annotated[tuple[Id, ...], Field(min_length=1)]
    size: Positive = 1.0
    """Its vendors' labelers are dealt to their projects by it."""
    overlap: Annotated[int, Field(ge=1, le=20)] = 3
    """Answers a task."""
    gold_share: Annotated[float, Field(ge=0, le=0.5)] = 0.12
    review_share: Share = 0.02
    error_factor: Positive = 1.0
    """How many times as many errors everyone makes."""


class Change(_Spec):
    """Something that is no incident, and nobody must be blamed for."""

    kind: ChangeKind
    start: DurationRange
    """After the warm-up began."""
    lasts: DurationRange = (28 * 86_400, 28 * 86_400)
    vendor: Id | None = None
    project: Id | None = None
    labelers: CountRange = (1, 1)
    classes: dict[Id, Positive] = {}
    """Kind classes: class to how many times as frequent it becomes."""
    factor: Positive = 1.0
    """Kind harder: how many times as many errors. Kind staffing: share of the people who are moved."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        for name in NEEDED[self.kind]:
            if not getattr(self, name):
                raise ValueError(f"{name}: is missing, and kind {self.kind} needs it")
        if self.kind == "staffing" and self.factor > 1:
            raise ValueError("factor: of kind staffing it is a share, at most 1")
        return self


class IncidentSpec(_Spec):
    """Something that goes wrong. What is left out is drawn by each run."""

    kind: IncidentKind
    start: DurationRange
    """After the warm-up's end."""
    lasts: DurationRange
    points: PointsRange | None = None
    """By how much the share of right answers falls, in points of a hundred, on average of those affected."""
    labelers: CountRange | None = None
    followers: ShareRange = (1.0, 1.0)
    """Kind guideline: share of the project's labelers who swap."""
    vendor: Id | None = None
    project: Id | None = None
    task_type: Id | None = None

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if (self.points is not None) != (self.kind in OF_POINTS):
            needed = "is missing" if self.points is None else "follows from what happens, and cannot be said"
            raise ValueError(f"points: of kind {self.kind} it {needed}")
        if (self.labelers is not None) != (self.kind in OF_LABELERS):
            needed = "is missing: how many?" if self.labelers is None else "means nothing"
            raise ValueError(f"labelers: of kind {self.kind} it {needed}")
        if self.task_type is not None and self.kind != "task_type":
            raise ValueError(f"task_type: means nothing for kind {self.kind}; name a project")
        return self


class Scenario(_Spec):
    """A whole operation, some days of it."""

    version: Literal[1]
    name: Id
    description: str = ""
    start: UtcTime = datetime(2026, 1, 5, tzinfo=UTC)
    warm_up: Duration
    """Days before the time that incidents may come in: levels are learned. False alerts count."""
    duration: Duration
    """Of the time after the warm-up."""
    partitions: Annotated[int, Field(ge=1, le=64)] = 4
    late_share: Share = 0.003
    refused_share: Share = 0.001
    tasks: Annotated[tuple[TaskType, ...], Field(alias="task_types", min_length=1)]
    vendors: Annotated[tuple[Vendor, ...], Field(min_length=1)]
    projects: Annotated[tuple[Project, ...], Field(min_length=1)]
    changes: tuple[Change, ...] = ()
    incidents: tuple[IncidentSpec, ...] = ()

    @model_validator(mode="after")
    def _references(self) -> Self:
        ids = {
            "task_types": [one.id for one in self.tasks],
            "vendors": [one.id for one in self.vendors],
            "projects": [one.id for one in self.projects],
        }
        for key, names in ids.items():
            if twice := [name for name in names if names.count(name) > 1]:
                raise ValueError(f"{key}: {twice[0]!r} is here twice")
        wanted: list[tuple[str, str, str | None]] = []
        for number, project in enumerate(self.projects):
            where = f"projects[{number}]"
            wanted.append((f"{where}.task_type", "task_types", project.task_type))
            wanted += [(f"{where}.vendors", "vendors", name) for name in project.vendors]
        placed: list[tuple[str, Change | IncidentSpec]] = [
            *((f"changes[{number}]", change) for number, change in enumerate(self.changes)),
            *((f"incidents[{number}]", incident) for number, incident in enumerate(self.incidents)),
        ]
        for where, one in placed:
            wanted += [(f"{where}.vendor", "vendors", one.vendor), (f"{where}.project", "projects", one.project)]
        types = {one.id: one for one in self.tasks}
        for number, change in enumerate(self.changes):
            for project in self.projects:
                known = types[project.task_type].classes if project.task_type in types else {}
                if project.id == change.project and (lost := sorted(change.classes.keys() - known.keys())):
                    raise ValueError(f"changes[{number}].classes: {project.id} has no class {lost[0]!r}")
        for number, incident in enumerate(self.incidents):
            wanted.append((f"incidents[{number}].task_type", "task_types", incident.task_type))
            if incident.start[1] >= self.duration:
                raise ValueError(f"incidents[{number}].start: may be after the scenario's end")
        for where, key, name in wanted:
            if name is not None and name not in ids[key]:
                raise ValueError(f"{where}: there is no {name!r} among the {key}: {', '.join(ids[key])}")
        return self
