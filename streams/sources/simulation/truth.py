"""The truth file: what really happened in a simulation. Detection is scored against it. Format: docs/simulator.md."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from schemas.events import LabelerKind
from schemas.labels import Label
from schemas.times import UtcTime
from streams.sources.simulation.answers import Answers
from streams.sources.simulation.incident import IncidentType
from streams.sources.simulation.operation import Operation, Record
from streams.sources.simulation.scenario import Scenario
from streams.sources.simulation.tasks import Task
from streams.sources.simulation.timeline import BAD_LABELERS, FOREVER, ScheduledIncident
from streams.sources.simulation.workforce import Labeler

TRUTH_VERSION = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Truth(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class IncidentTruth(_Truth):
    """One incident: exact times, and everything that it touched."""

    id: str
    type: IncidentType
    start: UtcTime
    end: UtcTime
    """Answers submitted and work started in ``[start, end)`` are affected."""
    strength: float
    projects: list[str]
    vendors: list[str]
    labelers: list[str]
    classes: list[str]


class AccuracyTruth(_Truth):
    """One labeler's accuracy in one project over one period: the probability, and what was drawn from it."""

    project_id: str
    start: UtcTime
    end: UtcTime | None
    """None: to the end."""
    accuracy: float
    answered: int
    right: int
    incidents: list[str]


class BadTruth(_Truth):
    """When a labeler was bad, and by which incident (None: poor from the start)."""

    start: UtcTime
    end: UtcTime | None
    incident: str | None


class LabelerTruth(_Truth):
    """One labeler."""

    labeler_id: str
    labeler_kind: LabelerKind
    vendor_id: str
    accuracy: list[AccuracyTruth]
    bad: list[BadTruth]


class TaskTruth(_Truth):
    """One task. For text the label is one acceptable caption; for subjective projects what most would say."""

    task_id: str
    project_id: str
    label: Label
    difficulty: float
    is_gold: bool


class Truth(_Truth):
    """The whole file."""

    truth_version: int = TRUTH_VERSION
    scenario: str
    seed: int
    start: UtcTime
    end: UtcTime
    subjective_projects: list[str]
    incidents: list[IncidentTruth]
    labelers: list[LabelerTruth]
    tasks: list[TaskTruth]

    @classmethod
    def load(cls, path: str | Path) -> Truth:
        """Read a truth file.

        Raises:
            OSError: cannot be read.
            ValueError: not a truth file.
        """
        return cls.model_validate_json(Path(path).read_bytes())


def truth_of(
    scenario: Scenario,
    seed: int,
    answers: Sequence[Answers],
    labelers: Sequence[Labeler],
    incidents: Sequence[ScheduledIncident],
    operation: Operation,
) -> Truth:
    """The truth about an operation that has run to its end with its tasks kept."""
    records: dict[int, list[Record]] = {}
    for (index, _), record in operation.records.items():
        records.setdefault(index, []).append(record)
    return Truth(
        scenario=scenario.name,
        seed=seed,
        start=scenario.start,
        end=scenario.end,
        subjective_projects=[p.id for p in scenario.projects if p.subjective],
        incidents=[_incident(scenario, labelers, incident) for incident in incidents],
        labelers=[_labeler(scenario, labeler, records[labeler.index], incidents) for labeler in labelers],
        tasks=[_task(scenario, answers, task) for task in operation.tasks or []],
    )


def write(truth: Truth, path: str | Path) -> None:
    """Write the file at once or not at all; one task a line at its end, so that it can be read line by line."""
    path = Path(path)
    head = truth.model_dump_json(exclude={"tasks"})
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(head[:-1] + ',"tasks":[')
        for row, task in enumerate(truth.tasks):
            file.write(("," if row else "") + "\n" + task.model_dump_json())
        file.write("\n]}\n")
    os.replace(unfinished, path)


def _incident(scenario: Scenario, labelers: Sequence[Labeler], incident: ScheduledIncident) -> IncidentTruth:
    spec = incident.spec
    hit = [labeler for labeler in labelers if labeler.index in incident.labelers]
    worked = {project for labeler in hit for project in labeler.skills}
    projects = [incident.project] if incident.project is not None else sorted(worked)
    return IncidentTruth(
        id=spec.id,
        type=spec.type,
        start=_time(incident.start_ms),
        end=_time(incident.end_ms),
        strength=spec.effective_strength,
        projects=[scenario.projects[project].id for project in projects],
        vendors=sorted({labeler.vendor.id for labeler in hit}),
        labelers=[labeler.labeler_id for labeler in hit],
        classes=[*spec.classes],
    )


def _labeler(
    scenario: Scenario, labeler: Labeler, records: Sequence[Record], incidents: Sequence[ScheduledIncident]
) -> LabelerTruth:
    accuracy = [
        AccuracyTruth(
            project_id=scenario.projects[record.project].id,
            start=max(_time(period.start_ms), scenario.start),
            end=None if period.end_ms == FOREVER else _time(period.end_ms),
            accuracy=round(period.accuracy, 6),
            answered=record.answered[position],
            right=record.right[position],
            incidents=list(period.incidents),
        )
        for record in records
        for position, period in enumerate(record.periods)
    ]
    bad = [BadTruth(start=scenario.start, end=None, incident=None)] if labeler.is_poor else []
    bad += [
        BadTruth(start=_time(incident.start_ms), end=_time(incident.end_ms), incident=incident.spec.id)
        for incident in incidents
        if incident.spec.type in BAD_LABELERS and labeler.index in incident.labelers
    ]
    return LabelerTruth(
        labeler_id=labeler.labeler_id,
        labeler_kind=labeler.kind,
        vendor_id=labeler.vendor.id,
        accuracy=accuracy,
        bad=bad,
    )


def _task(scenario: Scenario, answers: Sequence[Answers], task: Task) -> TaskTruth:
    return TaskTruth(
        task_id=task.task_id,
        project_id=scenario.projects[task.project].id,
        label=answers[task.project].label(task.truth),
        difficulty=round(task.difficulty, 4),
        is_gold=task.gold_label is not None,
    )


def _time(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
