"""What goes wrong in a run: where, when and to whom. Drawn once sessions are known, so that it hits who is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.scenario import OF_LABELERS, IncidentKind, IncidentSpec, Scenario
from streams.evaluate.scenario.workforce import HOUR_MS, Floats, Sessions, Workforce, span

Flags = npt.NDArray[np.bool_]
#: Incidents in the same place are this far apart, or nobody could say which one was found.
APART_MS: Final = 12 * HOUR_MS
_TRIES: Final = 300
LEAST_ANSWERS: Final = 200
"""What hits less work than this, about, is drawn anew: nobody would have written it down."""
_EVENNESS: Final = 0.25
"""How much labelers differ in how hard an incident hits them: their points are times 1 and as much more or less."""


@dataclass
class Planned:
    """An incident with everything drawn, and what it then did."""

    spec: IncidentSpec
    start_ms: int
    end_ms: int
    segments: frozenset[tuple[int, int]]
    """Projects and vendors."""
    labelers: Flags
    """Who is hit."""
    points: Floats
    """By labeler: what is added to the share of wrong answers."""
    classes: tuple[str, str] | None = None
    """The pair that is swapped."""
    project: int | None = None
    vendor: int | None = None
    task_type: str | None = None
    answers: int = 0
    golds: int = 0
    right_before: float = 0.0
    """Sums over the answers: how many would have been right, and how many were."""
    right: float = 0.0
    hit: set[int] = field(default_factory=set)
    """Labelers with answers in it."""
    lost: dict[tuple[int, int], float] = field(default_factory=dict)
    """By project and vendor, right answers that it cost; of a stall, answers."""

    @property
    def kind(self) -> IncidentKind:
        return self.spec.kind

    @property
    def fall(self) -> float:
        """Points of a hundred."""
        return 100.0 * (self.right_before - self.right) / self.answers if self.answers else 0.0

    def touches(self, other: Planned) -> bool:
        """Whether one could be taken for the other."""
        near = self.start_ms < other.end_ms + APART_MS and other.start_ms < self.end_ms + APART_MS
        return near and bool(self.segments & other.segments)


def draw_incidents(
    scenario: Scenario, people: Workforce, sessions: Sessions, generator: np.random.Generator
) -> list[Planned]:
    """Every incident of the scenario. Those with the most segments choose first; the order of the file is kept.

    Raises:
        ValueError: there is no room for all of them; the message says which one.
    """
    found: dict[int, Planned] = {}
    wide = ("vendor", "task_type", "project", "guideline")
    order = sorted(
        range(len(scenario.incidents)),
        key=lambda n: wide.index(scenario.incidents[n].kind) if scenario.incidents[n].kind in wide else len(wide),
    )
    for number in order:
        spec = scenario.incidents[number]
        for _ in range(_TRIES):
            drawn = _draw(spec, scenario, people, sessions, generator)
            if drawn is not None and not any(drawn.touches(other) for other in found.values()):
                found[number] = drawn
                break
        else:
            raise ValueError(f"incidents[{number}] ({spec.kind}): found no place and people that no other incident has")
    return [found[number] for number in range(len(scenario.incidents))]


def _draw(
    spec: IncidentSpec, scenario: Scenario, people: Workforce, sessions: Sessions, generator: np.random.Generator
) -> Planned | None:
    _, warm, end = span(scenario)
    start_ms = warm + 1_000 * int(generator.uniform(*spec.start))
    end_ms = min(start_ms + 1_000 * int(generator.uniform(*spec.lasts)), end)
    vendor_ids, project_ids = [one.id for one in scenario.vendors], [one.id for one in scenario.projects]
    types = {one.id: one for one in scenario.tasks}
    vendor = vendor_ids.index(spec.vendor) if spec.vendor else None
    project = project_ids.index(spec.project) if spec.project else None
    task_type = spec.task_type
    with_gold = [n for n, one in enumerate(scenario.projects) if one.gold_share and types[one.task_type].classes]
    if spec.kind == "vendor" and vendor is None:
        vendor = int(generator.integers(len(vendor_ids)))
    if spec.kind in ("project", "guideline", *OF_LABELERS) and project is None:
        # a guideline changes where classes are near each other
        fit = [n for n in with_gold if spec.kind != "guideline" or types[scenario.projects[n].task_type].confused]
        project = int(generator.choice(fit or with_gold))
    if spec.kind in OF_LABELERS and vendor is None:
        assert project is not None
        vendor = vendor_ids.index(str(generator.choice(scenario.projects[project].vendors)))
    if spec.kind == "task_type" and task_type is None:
        task_type = str(generator.choice(sorted({scenario.projects[n].task_type for n in with_gold})))
    where = frozenset(
        (number, vendor_ids.index(name))
        for number, one in enumerate(scenario.projects)
        for name in one.vendors
        if project in (None, number) and vendor in (None, vendor_ids.index(name)) and task_type in (None, one.task_type)
    )
    who = _who(spec, project, vendor, people, sessions, start_ms, end_ms, generator)
    if who is None or not where:
        return None
    if spec.kind != "stall" and _work(scenario, people, sessions, where, who, start_ms, end_ms) < LEAST_ANSWERS:
        return None
    planned = Planned(spec, start_ms, end_ms, where, who, np.zeros(len(who)), None, project, vendor, task_type)
    if spec.points is not None:
        drawn = generator.uniform(*spec.points) / 100.0
        planned.points = drawn * generator.uniform(1.0 - _EVENNESS, 1.0 + _EVENNESS, len(who))
    if spec.kind == "guideline":
        assert project is not None
        classes = types[scenario.projects[project].task_type]
        pairs = classes.confused or tuple((a, b) for a in classes.classes for b in classes.classes if a < b)
        planned.classes = pairs[int(generator.integers(len(pairs)))]
    if spec.kind == "stall" and project is None and vendor is None:
        planned.segments = frozenset()  # of the whole stream: no quality is mistaken for it
    return planned


def _work(
    scenario: Scenario,
    people: Workforce,
    sessions: Sessions,
    where: frozenset[tuple[int, int]],
    who: Flags,
    start_ms: int,
    end_ms: int,
) -> float:
    """How many answers are to be expected of some people in some segments between two times."""
    inside = np.zeros((len(scenario.projects), len(scenario.vendors)), dtype=np.bool_)
    inside[tuple(zip(*where, strict=True))] = True
    hours = np.minimum(sessions.end_ms, end_ms) - np.maximum(sessions.start_ms, start_ms)
    hit = inside[sessions.project, people.vendor[sessions.labeler]] & who[sessions.labeler] & (hours > 0)
    handling = {one.id: one.handling_seconds for one in scenario.tasks}
    of_project = np.array([handling[one.task_type] for one in scenario.projects])
    return float((hours[hit] / 1_000.0 / of_project[sessions.project[hit]] / people.pace[sessions.labeler[hit]]).sum())


def _who(
    spec: IncidentSpec,
    project: int | None,
    vendor: int | None,
    people: Workforce,
    sessions: Sessions,
    start_ms: int,
    end_ms: int,
    generator: np.random.Generator,
) -> Flags | None:
    """Whom it hits; None where too few are at work for so many."""
    everybody = np.ones(len(people.names), dtype=np.bool_)
    if vendor is not None:
        everybody = people.vendor == vendor
    if spec.kind == "guideline":
        share = generator.uniform(*spec.followers)
        return everybody & (generator.random(len(everybody)) < share)
    if spec.labelers is None:
        return everybody
    assert project is not None
    at_work = sessions.labeler[
        (sessions.project == project) & (sessions.start_ms < end_ms) & (sessions.end_ms > start_ms)
    ]
    regular = [n for n in np.unique(at_work).tolist() if everybody[n] and people.home[n] == project]
    wanted = int(generator.integers(spec.labelers[0], spec.labelers[1] + 1))
    if len(regular) < 2 * wanted:  # of fewer it would be the vendor, not some of its people
        return None
    chosen = np.zeros(len(people.names), dtype=np.bool_)
    chosen[generator.choice(regular, wanted, replace=False)] = True
    return chosen
