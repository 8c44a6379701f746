"""Scenarios: what a simulated operation looks like, read from YAML and checked before anything runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

import yaml
from pydantic import Field, ValidationError, model_validator

from schemas.events import Id
from schemas.times import UtcTime
from streams.sources.simulation.incident import Duration, Incident, Name, Spec
from streams.sources.source import SourceError

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ScenarioError(SourceError):
    """A scenario cannot be used; the message names the file and the key, and says what to do."""


class Feature(Spec):
    """One feature of a project's tasks: a log-normal number (``median``), or one of ``choices`` with weights."""

    median: Positive | None = None
    sigma: Annotated[float, Field(ge=0, le=3)] = 0.4
    decimals: Annotated[int, Field(ge=0, le=6)] = 0
    slows: Annotated[float, Field(ge=-2, le=2)] = 0.0
    """How handling time grows with it: time is multiplied by ``(value / median) ** slows``."""
    choices: dict[str | int, Positive] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.median is None) == (not self.choices):
            raise ValueError("give median (a number) or choices (value: weight), and not both")
        return self


class Project(Spec):
    """A queue of tasks of one type under one guideline."""

    id: Name
    task_type: Id
    kind: Literal["class", "rating", "multiclass", "text"]
    classes: dict[str, Positive] = Field(default_factory=dict)
    """class and rating: class to prior (normalised). multiclass: class to how often it is present."""
    handling_seconds: Positive
    """Median of an experienced labeler of average speed."""
    overlap: Annotated[int, Field(ge=1, le=50)] = 3
    gold_share: Share = 0.0
    review_share: Share = 0.0
    review_delay: Duration = timedelta(hours=2)
    """Median from an answer to its review."""
    subjective: bool = False
    """No answer is right beyond doubt: the truth is what most would say; there are no gold tasks."""
    error_factor: Positive = 1.0
    """How error-prone the project is: every labeler's error rate is multiplied by it."""
    reports_active_seconds: bool = False
    """The tool tells active time from idle time."""
    open_tasks: Annotated[int, Field(ge=1)] = 40
    """How many tasks collect labels at the same time: more spreads a task's labels further in time."""
    features: dict[str, Feature] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "text" and self.classes:
            raise ValueError("classes mean nothing for kind text")
        if self.kind != "text" and len(self.classes) < 2:
            raise ValueError(f"classes: kind {self.kind} needs at least two")
        if self.kind == "rating":
            for name in self.classes:
                try:
                    float(name)
                except ValueError:
                    raise ValueError(f"classes: {name!r} is not a number, and kind is rating") from None
        if self.kind == "multiclass" and (high := [name for name, share in self.classes.items() if share >= 1]):
            raise ValueError(f"classes.{high[0]} must be below 1: how often the class is present")
        if self.gold_share and (self.subjective or self.kind == "text"):
            raise ValueError("gold_share must be 0: a subjective or text project has no known answers")
        return self


class Vendor(Spec):
    """Who supplies labelers, where they live and how well they work."""

    id: Name
    time_zone: str
    labelers: Annotated[int, Field(ge=0)]
    models: Annotated[int, Field(ge=0)] = 0
    """Labelers of kind model: around the clock, fast, paced."""
    model_gap_seconds: Positive = 60.0
    """How a model is paced: mean seconds from one answer to the next task."""
    projects: Annotated[list[Name], Field(min_length=1)]
    accuracy: Annotated[float, Field(ge=0.5, le=0.99)] = 0.92
    accuracy_spread: Annotated[float, Field(ge=0, le=0.2)] = 0.03
    model_accuracy: Annotated[float, Field(ge=0.5, le=0.99)] = 0.88
    poor_share: Share = 0.0
    """Share of labelers who are poor from the start (accuracy .50 to .65)."""
    pace: Positive = 1.0
    """Handling time relative to the project's median."""
    shift_starts: Annotated[tuple[Annotated[float, Field(ge=0, lt=24)], ...], Field(min_length=1)] = (9.0,)
    """Local hours; each labeler has one."""
    shift_hours: Annotated[float, Field(gt=0, le=14)] = 6.0
    weekend_share: Share = 0.25

    @model_validator(mode="after")
    def _zone_exists(self) -> Self:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"time_zone: {self.time_zone!r} is not an IANA zone such as Asia/Manila") from None
        if self.labelers + self.models == 0:
            raise ValueError("labelers and models are both 0")
        return self


class Scenario(Spec):
    """A simulated operation: who works on what for how long, and what goes wrong when."""

    name: Name
    description: str = ""
    start: UtcTime = datetime(2026, 1, 5, tzinfo=UTC)
    duration: Duration
    projects: Annotated[list[Project], Field(min_length=1)]
    vendors: Annotated[list[Vendor], Field(min_length=1)]
    incidents: list[Incident] = Field(default_factory=list)
    revision_share: Share = 0.01
    idle_share: Share = 0.02
    """Share of annotations with an idle stretch inside."""
    unfinished_share: Share = 0.25
    """Share of breaks during which a task stays open."""
    reviewer_accuracy: Annotated[float, Field(gt=0.5, le=1)] = 0.98

    @property
    def end(self) -> datetime:
        """When the last work starts."""
        return self.start + self.duration

    @model_validator(mode="after")
    def _references(self) -> Self:
        if not timedelta(0) < self.duration <= timedelta(days=366):
            raise ValueError("duration must be longer than nothing and at most 366d")
        for key, names in (
            ("projects", [p.id for p in self.projects]),
            ("vendors", [v.id for v in self.vendors]),
            ("incidents", [i.id for i in self.incidents]),
        ):
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{key}: id {min(twice)!r} is used twice")
        known = {p.id: p for p in self.projects}
        for row, vendor in enumerate(self.vendors):
            if lost := [name for name in vendor.projects if name not in known]:
                raise ValueError(f"vendors[{row}].projects: no project {lost[0]!r}; known: {', '.join(known)}")
        for row, incident in enumerate(self.incidents):
            self._check_incident(f"incidents[{row}] ({incident.id})", incident, known)
        return self

    def _check_incident(self, where: str, incident: Incident, known: dict[str, Project]) -> None:
        target = incident.target
        if target.project is not None and target.project not in known:
            raise ValueError(f"{where}.target.project: no project {target.project!r}; known: {', '.join(known)}")
        vendors = {v.id: v for v in self.vendors}
        if target.vendor is not None and target.vendor not in vendors:
            raise ValueError(f"{where}.target.vendor: no vendor {target.vendor!r}; known: {', '.join(vendors)}")
        if target.vendor and target.project and target.project not in vendors[target.vendor].projects:
            raise ValueError(f"{where}.target: vendor {target.vendor} does not work on project {target.project}")
        begins, ends = incident.times(self.start, self.end)
        if not self.start <= begins < self.end:
            raise ValueError(f"{where}.start: {begins.isoformat()} is outside the scenario, which ends {self.end}")
        if ends <= begins:
            raise ValueError(f"{where}.end: {ends.isoformat()} is not after its start {begins.isoformat()}")
        if incident.classes:
            assert target.project is not None
            project = known[target.project]
            if project.kind != "class":
                raise ValueError(f"{where}.target.project: {incident.type} needs kind class, not {project.kind}")
            named = [*incident.classes, *([incident.instead] if incident.instead else [])]
            if lost := [name for name in named if name not in project.classes]:
                raise ValueError(f"{where}.classes: no class {lost[0]!r} in {project.id}: {', '.join(project.classes)}")
            if incident.instead in incident.classes:
                raise ValueError(f"{where}.instead: {incident.instead!r} is the class that goes missing")

    def scaled(self, factor: float) -> Scenario:
        """The same time and incidents with ``factor`` times the labelers (two for each of a vendor's projects, or all).

        Raises:
            ScenarioError: the factor is not a positive number.
        """
        if not 0 < factor <= 1_000:
            raise ScenarioError(f"scale {factor:g} is not usable: give a number above 0 and up to 1000")

        def scale(count: int, least: int) -> int:
            return max(least, round(count * factor)) if count else 0

        def scale_vendor(vendor: Vendor) -> Vendor:
            models = scale(vendor.models, 1)
            # At least one model stays; it is slowed down so that models keep their share of the answers.
            slower = models / (vendor.models * factor) if vendor.models else 1.0
            return vendor.model_copy(
                update={
                    "labelers": scale(vendor.labelers, min(vendor.labelers, 2 * len(vendor.projects))),
                    "models": models,
                    "model_gap_seconds": vendor.model_gap_seconds * slower,
                }
            )

        vendors = [scale_vendor(vendor) for vendor in self.vendors]
        projects = [p.model_copy(update={"open_tasks": scale(p.open_tasks, p.overlap + 2)}) for p in self.projects]
        incidents = [
            i.model_copy(update={"target": i.target.model_copy(update={"labelers": scale(i.target.labelers, 1)})})
            if i.target.labelers
            else i
            for i in self.incidents
        ]
        return self.model_copy(update={"vendors": vendors, "projects": projects, "incidents": incidents})

    @classmethod
    def load(cls, name_or_path: str | Path) -> Scenario:
        """A scenario that ships (``calm``, ``incidents``) or a YAML file.

        Raises:
            ScenarioError: no such scenario, not YAML, or a key that is wrong; the message names it.
        """
        name = str(name_or_path)
        shipped = resources.files("streams.sources") / "scenarios"
        if (resource := shipped / f"{name}.yaml").is_file() and "/" not in name:
            return parse_scenario(resource.read_text(encoding="utf-8"), f"scenario {name}")
        path = Path(name)
        if not path.is_file():
            names = ", ".join(sorted(f.name.removesuffix(".yaml") for f in shipped.iterdir() if f.name[-5:] == ".yaml"))
            raise ScenarioError(f"no scenario {name!r}: give one of {names}, or the path of a YAML file")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError(f"{path}: cannot be read: {error}") from error
        return parse_scenario(text, str(path))


def parse_scenario(text: str, where: str) -> Scenario:
    """YAML text as a scenario; ``where`` names it in errors.

    Raises:
        ScenarioError: not YAML, or wrong keys (all of them are listed).
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{where}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise ScenarioError(f"{where}: a scenario is a mapping with name, duration, projects and vendors")
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        problems = [f"{_key(e['loc'])}{e['msg'].removeprefix('Value error, ')}" for e in error.errors()]
        raise ScenarioError("\n".join(f"{where}: {problem}" for problem in problems)) from error


def _key(loc: tuple[int | str, ...]) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    return f"{key}: " if key else ""
