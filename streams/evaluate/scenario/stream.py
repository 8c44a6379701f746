"""A run of a scenario: the measurements that SCORE would have sent, in order of event time, and what was true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.incident import Incident
from schemas.measurements import Answer, Measurements, Refused, ReviewMeasured, Segment, Settled
from schemas.scenario import OF_LABELERS, Scenario
from streams.evaluate.scenario.answers import Columns, draw_answers
from streams.evaluate.scenario.incidents import Planned, draw_incidents
from streams.evaluate.scenario.workforce import (
    HOUR_MS,
    Ints,
    Workforce,
    draw_changes,
    draw_sessions,
    draw_workforce,
    span,
    split,
)

APP_ID: Final = "simulated"
#: One message a source partition in two minutes: many answers a message, as a checkpoint has of a busier stream.
STEP_MS: Final = 120_000
#: From an answer to its arrival.
TRANSIT_MS: Final = 800
#: A partition with nothing for so long holds nobody back.
IDLE_MS: Final = 300_000
_TRUTH_VALUES: Final = np.array([False, True, None], dtype=object)


class TrueIncident(NamedTuple):
    """What happened, and what it did."""

    incident: Incident
    classes: tuple[str, str] | None
    """The pair that was swapped."""
    answers: int
    """Hit by it; of a stall, those that did not come."""
    golds: int
    right_before: float
    """Share of its answers that would have been right, and that were."""
    right: float
    lost: dict[Segment, float]
    """By segment, right answers that it cost; of a stall, answers."""

    @property
    def segments(self) -> frozenset[Segment]:
        """Where it was."""
        return frozenset(self.lost)


@dataclass(frozen=True)
class Run:
    """Everything of one seed. Iterate as often as needed."""

    scenario: Scenario
    seed: int
    start_ms: int
    end_ms: int
    incidents: list[TrueIncident]
    """In the scenario's order."""
    answers: int
    labelers: int
    segments: tuple[Segment, ...]
    columns: dict[str, npt.NDArray[Any]]
    """Items of each kind by source partition and time, one a position."""
    bounds: dict[str, Ints]
    """Of each kind, where every partition's steps begin."""

    def __iter__(self) -> Iterator[Measurements]:
        return _steps(self)

    @property
    def weeks(self) -> float:
        """How long it is, the warm-up included."""
        return (self.end_ms - self.start_ms) / (7 * 24 * HOUR_MS)


def simulate(scenario: Scenario, seed: int) -> Run:
    """One run. The same scenario and seed give the same run.

    Raises:
        ValueError: its incidents find no place.
    """
    start_ms, _, end_ms = span(scenario)
    changes = draw_changes(scenario, np.random.default_rng([seed, 1]))
    people = draw_workforce(scenario, changes, np.random.default_rng([seed, 2]))
    sessions = draw_sessions(scenario, people, changes, np.random.default_rng([seed, 3]))
    planned = draw_incidents(scenario, people, sessions, np.random.default_rng([seed, 4]))
    for one in planned:
        if one.kind == "speed":
            for at_ms in (one.start_ms, one.end_ms):
                sessions = split(sessions, one.labelers, at_ms)
    parts = [
        draw_answers(scenario, number, people, sessions, changes, planned, np.random.default_rng([seed, 5, number]))
        for number in range(len(scenario.projects))
    ]
    segments = tuple(
        (project.id, project.task_type, vendor.id) for project in scenario.projects for vendor in scenario.vendors
    )
    columns = _joined(scenario, people, parts, np.random.default_rng([seed, 6]))
    steps = np.arange(start_ms, end_ms + STEP_MS + 1, STEP_MS)
    bounds = {}
    for name in ("answer", "review", "settled", "refused"):
        keys = columns[f"{name}_partition"] * (end_ms * 4) + columns[f"{name}_ms"]
        wanted = np.arange(scenario.partitions)[:, None] * (end_ms * 4) + steps[None, :]
        bounds[name] = np.searchsorted(keys, wanted)
    return Run(
        scenario, seed, start_ms, end_ms, [_true(one, scenario, people) for one in planned],
        len(columns["answer_ms"]), len(people.names), segments, columns, bounds,
    )  # fmt: skip


def _true(one: Planned, scenario: Scenario, people: Workforce) -> TrueIncident:
    named = one.kind in OF_LABELERS
    incident = Incident.model_validate(
        {
            "start": _time(one.start_ms),
            "end": _time(one.end_ms),
            "kind": one.kind,
            "project_id": "" if one.project is None else scenario.projects[one.project].id,
            "task_type": one.task_type or ("" if one.project is None else scenario.projects[one.project].task_type),
            "vendor_id": "" if one.vendor is None else scenario.vendors[one.vendor].id,
            "labeler_ids": tuple(people.names[n] for n in sorted(one.hit)) if named else (),
            "points": None if one.kind == "stall" else round(one.fall, 1),
        }
    )
    count = max(one.answers, 1)
    lost = {
        (scenario.projects[project].id, scenario.projects[project].task_type, scenario.vendors[vendor].id): points
        for (project, vendor), points in sorted(one.lost.items())
    }
    shares = one.right_before / count, one.right / count
    return TrueIncident(incident, one.classes, one.answers, one.golds, *shares, lost)


def _joined(
    scenario: Scenario, people: Workforce, parts: list[Columns], generator: np.random.Generator
) -> dict[str, npt.NDArray[Any]]:
    """All projects' items by source partition and time, with their sequences."""
    of_type = {one.id: [*one.classes] for one in scenario.tasks}
    found: dict[str, list[npt.NDArray[Any]]] = {}

    def add(name: str, column: npt.NDArray[Any]) -> None:
        found.setdefault(name, []).append(column)

    for number, part in enumerate(parts):
        classes = of_type[scenario.projects[number].task_type]
        names = np.array([*classes, ""], dtype=object)
        partition = generator.integers(0, scenario.partitions, int(part.task.max(initial=0)) + 1)[part.task]
        segment = number * len(scenario.vendors) + people.vendor[part.labeler]
        add("answer_ms", part.submitted_ms)
        add("answer_partition", partition)
        add("segment", segment)
        add(
            "label",
            names[part.label] if classes else np.array([f"{number:02d}-{n:x}" for n in part.label], dtype=object),
        )
        add("true_class", names[part.truth])
        add("believed", names[part.believed])
        add("is_free", np.full(len(partition), not classes))
        for name in (
            "believed_ms",
            "labeler",
            "seconds",
            "forecast",
            "confidence",
            "peers",
            "peers_agreeing",
            "lost_to",
        ):
            add(name, getattr(part, name))
        for name in ("gold_correct", "agrees", "is_covered", "is_too_fast", "is_too_slow"):
            add(name, getattr(part, name))
        add("review_ms", part.reviewed_ms)
        add("review_partition", partition[part.reviewed])
        add("review_segment", segment[part.reviewed])
        add("review_labeler", part.labeler[part.reviewed])
        add("is_rejected", part.is_rejected)
        add("settled_ms", part.submitted_ms[part.settled])
        add("settled_partition", partition[part.settled])
        add("settled_segment", segment[part.settled])
        add("settled_confidence", part.confidence[part.settled])
        add("settled_right", part.is_right)
    columns = {name: np.concatenate(column) for name, column in found.items()}
    columns["is_late"] = generator.random(len(columns["answer_ms"])) < scenario.late_share
    refused = generator.random(len(columns["answer_ms"])) < scenario.refused_share
    columns["refused_ms"] = columns["answer_ms"][refused]
    columns["refused_partition"] = columns["answer_partition"][refused]
    groups = {
        "answer": ("segment", "label", "true_class", "believed", "believed_ms", "is_free", "labeler", "seconds",
                   "forecast", "confidence", "peers", "peers_agreeing", "gold_correct", "agrees", "is_covered",
                   "is_too_fast", "is_too_slow", "is_late", "lost_to"),
        "review": ("review_segment", "review_labeler", "is_rejected"),
        "settled": ("settled_segment", "settled_confidence", "settled_right"),
        "refused": (),
    }  # fmt: skip
    for group, names_of_group in groups.items():
        order = np.lexsort((columns[f"{group}_ms"], columns[f"{group}_partition"]))
        for name in (*names_of_group, f"{group}_ms", f"{group}_partition"):
            columns[name] = columns[name][order]
    _number(columns, tuple(groups), scenario.partitions)
    columns["labeler"] = np.array(people.names, dtype=object)[columns["labeler"]]
    columns["review_labeler"] = np.array(people.names, dtype=object)[columns["review_labeler"]]
    return columns


def _number(columns: dict[str, npt.NDArray[Any]], groups: tuple[str, ...], partitions: int) -> None:
    """Sequences from 0 in each source partition, over items of all kinds in order of time."""
    partition = np.concatenate([columns[f"{group}_partition"] for group in groups])
    at = np.concatenate([columns[f"{group}_ms"] for group in groups])
    order = np.lexsort((at, partition))
    starts = np.searchsorted(partition[order], np.arange(partitions))
    sequences = np.empty(len(order), dtype=np.int64)
    sequences[order] = np.arange(len(order)) - starts[partition[order]]
    first = 0
    for group in groups:
        count = len(columns[f"{group}_ms"])
        columns[f"{group}_sequence"] = sequences[first : first + count]
        first += count


def _steps(run: Run) -> Iterator[Measurements]:
    """Messages, minute by minute, one of each source partition; empty ones are heartbeats."""
    partitions = run.scenario.partitions
    watermarks = [run.start_ms] * partitions
    last_ms = [0] * partitions
    for step in range(len(run.bounds["answer"][0]) - 1):
        now_ms = run.start_ms + (step + 1) * STEP_MS
        for partition in range(partitions):
            ranges = {name: slice(*of[partition, step : step + 2].tolist()) for name, of in run.bounds.items()}
            answers, used = _answers(run, ranges["answer"])
            for name in ("answer", "review"):
                items = run.columns[f"{name}_ms"][ranges[name]]
                if len(items):
                    watermarks[partition] = max(watermarks[partition], int(items[-1]))
                    last_ms[partition] = max(last_ms[partition], int(items[-1]) + TRANSIT_MS)
            yield Measurements.model_construct(
                app_id=APP_ID,
                source_partition=partition,
                sent_ms=now_ms + TRANSIT_MS,
                arrived_ms=last_ms[partition],
                is_at_end=True,
                is_idle=now_ms - watermarks[partition] > IDLE_MS,
                watermark_ms=watermarks[partition],
                answers=answers,
                **_others(run, ranges, used),
            )


def _answers(run: Run, place: slice) -> tuple[tuple[Answer, ...], tuple[Segment, ...]]:
    columns = run.columns
    used, local = np.unique(columns["segment"][place], return_inverse=True)
    flags = [_TRUTH_VALUES[columns[name][place]].tolist() for name in ("gold_correct", "agrees", "is_covered")]
    odd = [_TRUTH_VALUES[columns[name][place]].tolist() for name in ("is_too_fast", "is_too_slow")]
    numbers = [_known(columns[name][place]) for name in ("seconds", "forecast", "confidence")]
    rows = zip(
        columns["answer_sequence"][place].tolist(),
        local.tolist(),
        columns["labeler"][place].tolist(),
        columns["answer_ms"][place].tolist(),
        columns["label"][place].tolist(),
        columns["is_free"][place].tolist(),
        columns["is_late"][place].tolist(),
        [False] * len(local),
        *flags,
        *odd,
        *numbers,
        columns["peers"][place].tolist(),
        columns["peers_agreeing"][place].tolist(),
        strict=True,
    )
    segments = tuple(run.segments[n] for n in used.tolist())
    return tuple(map(Answer._make, rows)), segments


def _others(run: Run, ranges: dict[str, slice], used: tuple[Segment, ...]) -> dict[str, Any]:
    """Reviews, settled tasks and refused messages; segments they alone are in are added to the batch's."""
    columns = run.columns
    segments = list(used)

    def local(name: str, place: slice) -> list[int]:
        found = []
        for number in columns[name][place].tolist():
            if run.segments[number] not in segments:
                segments.append(run.segments[number])
            found.append(segments.index(run.segments[number]))
        return found

    review, settled, refused = ranges["review"], ranges["settled"], ranges["refused"]
    reviews = zip(
        columns["review_sequence"][review].tolist(),
        local("review_segment", review),
        columns["review_labeler"][review].tolist(),
        columns["review_ms"][review].tolist(),
        [bool(one) for one in columns["is_rejected"][review]],
        strict=True,
    )
    confidences = zip(
        columns["settled_sequence"][settled].tolist(),
        local("settled_segment", settled),
        columns["settled_ms"][settled].tolist(),
        columns["settled_confidence"][settled].tolist(),
        [bool(one) for one in columns["settled_right"][settled]],
        strict=True,
    )
    bad = zip(columns["refused_sequence"][refused].tolist(), columns["refused_ms"][refused].tolist(), strict=True)
    return {
        "reviews": tuple(map(ReviewMeasured._make, reviews)),
        "settled": tuple(map(Settled._make, confidences)),
        "refused": tuple(map(Refused._make, bad)),
        "segments": tuple(segments),
    }


def _known(column: npt.NDArray[Any]) -> list[float | None]:
    """Rounded as they are sent; None for NaN."""
    return [None if value != value else value for value in np.round(column, 3).tolist()]


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1_000, UTC)
