"""Incidents fixed in time and to labelers, and what they make of each labeler's behaviour, period by period."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Final

from schemas.times import to_ms
from streams.sources.simulation.answers import Answers, Behaviour, ChoiceAnswers, Remap
from streams.sources.simulation.incident import Incident, IncidentType
from streams.sources.simulation.scenario import Scenario, ScenarioError
from streams.sources.simulation.workforce import MINUTE_MS, Labeler, Workforce

#: Incidents that make labelers bad, as opposed to those that change a project or delay its events.
BAD_LABELERS: Final = frozenset(
    {IncidentType.SPAMMER_WAVE, IncidentType.SPEEDING_BOTS, IncidentType.VENDOR_DEGRADATION}
)
#: Incidents that change answers.
_ANSWERS: Final = BAD_LABELERS | {IncidentType.GUIDELINE_CHANGE, IncidentType.MISSING_CLASS}
#: Existing labelers who go bad have at least this much work ahead in the incident, where anybody has.
_LEAST_WORK_MS: Final = 30 * MINUTE_MS
FOREVER: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class ScheduledIncident:
    """An incident with its exact times and the labelers it hits."""

    spec: Incident
    start_ms: int
    end_ms: int
    project: int | None
    labelers: frozenset[int]
    """Indices of the labelers affected."""
    are_newcomers: bool = False
    """They came for the incident and leave when it ends."""
    is_open: bool = False
    """It lasts to the scenario's end, and for answers handed in after that too."""
    constants: dict[int, int] = field(default_factory=dict)
    """Constant spam: labeler to the index of the class that it always gives."""

    def hits(self, labeler: Labeler, project: int) -> bool:
        """Whether that labeler's work on that project is affected while the incident lasts."""
        return self.project in (None, project) and labeler.index in self.labelers

    def lasts_for(self, labeler: Labeler) -> int:
        """When it ends for a labeler: newcomers have no other way to work, however late their last answer is."""
        return FOREVER if self.is_open or self.are_newcomers else self.end_ms


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of one labeler's work on one project during which its behaviour is the same."""

    start_ms: int
    end_ms: int
    behaviour: Behaviour
    accuracy: float
    incidents: tuple[str, ...]


def schedule(scenario: Scenario, workforce: Workforce, rng: Random) -> list[ScheduledIncident]:
    """Fix each incident's times and labelers; newcomers are added to the workforce.

    Raises:
        ScenarioError: an incident that would hit nobody.
    """
    index_of = {p.id: i for i, p in enumerate(scenario.projects)}
    scheduled: list[ScheduledIncident] = []
    for row, spec in enumerate(scenario.incidents):
        begins, ends = spec.times(scenario.start, scenario.end)
        start_ms, end_ms = to_ms(begins), min(to_ms(ends), to_ms(scenario.end))
        is_open = ends >= scenario.end
        project = index_of[spec.target.project] if spec.target.project else None
        hit = [] if spec.target.new else _choose(workforce, rng, spec, (start_ms, end_ms), project)
        are_newcomers = spec.target.labelers is not None and not hit
        if are_newcomers:
            # Asked for; or a small scenario, in which nobody of the target happens to be at work then.
            hit = _newcomers(scenario, workforce, spec, (start_ms, end_ms), project)
        if not hit:
            raise ScenarioError(
                f"scenario {scenario.name}: incidents[{row}] ({spec.id}).target: nobody of "
                f"{spec.target.vendor or 'any vendor'} works on {spec.target.project or 'any project'}; "
                "change the target or give the vendor more labelers"
            )
        is_constant = spec.answers == "constant"
        constants = {labeler.index: rng.randrange(1_000) for labeler in hit} if is_constant else {}
        indices = frozenset(labeler.index for labeler in hit)
        scheduled.append(ScheduledIncident(spec, start_ms, end_ms, project, indices, are_newcomers, is_open, constants))
    return scheduled


def _newcomers(
    scenario: Scenario, workforce: Workforce, spec: Incident, times: tuple[int, int], project: int | None
) -> list[Labeler]:
    target = spec.target
    vendors = [v for v in scenario.vendors if target.vendor in (None, v.id) and target.project in (None, *v.projects)]
    return [workforce.newcomer(vendor, project, *times) for vendor in vendors[:1] for _ in range(target.labelers or 1)]


def _choose(
    workforce: Workforce,
    rng: Random,
    spec: Incident,
    times: tuple[int, int],
    project: int | None,
) -> list[Labeler]:
    target = spec.target
    members = [
        labeler
        for labeler in workforce.labelers
        if target.vendor in (None, labeler.vendor.id) and (project is None or project in labeler.skills)
    ]
    if target.labelers is None:
        if spec.type is IncidentType.HANDLING_TIME_DRIFT:
            return [labeler for labeler in members if not labeler.is_model]
        if spec.type is IncidentType.GUIDELINE_CHANGE and spec.effective_strength < 1 and members:
            count = max(1, round(len(members) * spec.effective_strength))
            return sorted(rng.sample(members, count), key=lambda labeler: labeler.index)
        return members
    work = {labeler.index: labeler.work_ms(*times, project) for labeler in members if not labeler.is_model}
    members = [labeler for labeler in members if work.get(labeler.index)]
    busy = [labeler for labeler in members if work[labeler.index] >= _LEAST_WORK_MS]
    idle = sorted((m for m in members if m not in busy), key=lambda m: -work[m.index])
    if len(busy) >= target.labelers:
        return sorted(rng.sample(busy, target.labelers), key=lambda labeler: labeler.index)
    return [*busy, *idle[: target.labelers - len(busy)]]


def periods_of(
    labeler: Labeler, project: int, incidents: Iterable[ScheduledIncident], answers: Answers
) -> list[Period]:
    """The labeler's work on the project, cut wherever an incident starts or ends. The last one has no end."""
    mine = [i for i in incidents if i.spec.type in _ANSWERS and i.hits(labeler, project)]
    cuts = sorted({0, FOREVER, *(i.start_ms for i in mine), *(i.lasts_for(labeler) for i in mine)})
    periods = []
    for start_ms, end_ms in pairwise(cuts):
        active = [i for i in mine if i.start_ms <= start_ms < i.lasts_for(labeler)]
        behaviour = _behaviour(labeler, project, active, answers)
        names = tuple(i.spec.id for i in active)
        periods.append(Period(start_ms, end_ms, behaviour, answers.accuracy(behaviour), names))
    return periods


def _behaviour(labeler: Labeler, project: int, active: Sequence[ScheduledIncident], answers: Answers) -> Behaviour:
    points, spam, constant = 0.0, 0.0, None
    bot: float | None = None
    remaps: list[Remap] = []
    for incident in active:
        spec = incident.spec
        match spec.type:
            case IncidentType.VENDOR_DEGRADATION:
                points += spec.effective_strength
            case IncidentType.SPAMMER_WAVE:
                spam, constant = spec.effective_strength, incident.constants.get(labeler.index)
            case IncidentType.SPEEDING_BOTS:
                bot = spec.effective_strength
            case IncidentType.GUIDELINE_CHANGE:
                assert isinstance(answers, ChoiceAnswers)
                one, two = (answers.names.index(name) for name in spec.classes)
                remaps.append(Remap({one: two, two: one}, 1.0, binds_spam=False))
            case IncidentType.MISSING_CLASS:
                assert isinstance(answers, ChoiceAnswers)
                gone = answers.names.index(spec.classes[0])
                others = [c for c in range(len(answers.names)) if c != gone]
                most = max(others, key=answers.priors.__getitem__)
                given = answers.names.index(spec.instead) if spec.instead else most
                remaps.append(Remap({gone: given}, spec.effective_strength, binds_spam=True))
            case _:
                pass
    # A swap is what people believe; a class that is gone from the tool comes after it.
    remaps.sort(key=lambda remap: remap.binds_spam)
    return Behaviour(labeler.skills[project], points, spam, constant, bot, tuple(remaps))
