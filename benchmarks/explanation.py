"""Is the right cause named: every incident of the simulator explained, over seeds, and quiet hours beside them.

    python -m benchmarks.explanation [--seeds 3] [--scale 1.0] [--gold] [--json]

Each incident is explained as an alert on each of its projects would be: the day
before without other incidents against what was answered while it lasted, six hours at most. Answers are judged by the
truth, or with ``--gold`` by what operations know. Quiet: the clean hours of each project in halves; there nothing
should be named but newcomers who are poor.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from detectors.explain import Explanation, Row, Totals, Verdict, explain
from schemas.events import AnnotationEvent
from schemas.labels import MulticlassLabel, canonical
from schemas.times import to_ms
from streams.sources.simulate import Simulation
from streams.sources.simulation.scenario import Scenario
from streams.sources.simulation.truth import IncidentTruth, Truth

CAPTIONS = "video-captions"
CAP_SECONDS = 600.0  # breaks and lunches with a task open are not work
HOUR_MS = 3_600_000
BEFORE_MS, AFTER_MS = 24 * HOUR_MS, 6 * HOUR_MS
LABELERS = ("spammer_wave", "speeding_bots")
CLASSES = ("guideline_change", "missing_class")


class Answered(NamedTuple):
    """One answer beside the truth."""

    at_ms: int
    project_id: str
    labeler_id: str
    vendor_id: str
    task_type: str
    true: str
    """Empty, as the answer, for sets of attributes: there are too many for a labeler to meet any twice."""
    answer: str
    right: bool
    seconds: float
    is_gold: bool


class Outcome(NamedTuple):
    """How one change was explained."""

    what: str
    change: float
    answers: float
    verdict: str
    right_first: bool
    """The verdict is right, and who or what is named first is part of the incident."""
    named: int
    false_named: int
    """Labelers named that were not bad then, by this or by anything else."""
    share: float
    nats: float
    margin: float


def answered(simulation: Simulation, truth: Truth) -> list[Answered]:
    """All class answers of a simulation; of text and preferences there is no truth to judge by but time."""
    true = {(task.project_id, task.task_id): canonical(task.label) for task in truth.tasks}
    found = []
    for event in simulation:
        if isinstance(event, AnnotationEvent):
            expected, answer = true[event.project_id, event.task_id], canonical(event.label)
            seconds = (to_ms(event.submitted_at) - to_ms(event.started_at)) / 1000
            known = ("", "") if isinstance(event.label, MulticlassLabel) else (expected, answer)
            found.append(
                Answered(
                    to_ms(event.submitted_at),
                    event.project_id,
                    event.labeler_id,
                    event.vendor_id,
                    event.task_type,
                    *known,
                    answer == expected,
                    min(seconds, CAP_SECONDS),
                    event.gold_label is not None,
                )
            )
    return found


def rows_of(before: Iterable[Answered], after: Iterable[Answered], *, times: bool = False) -> list[Row]:
    """Sums for the explanation: of right answers, or of seconds."""
    sums: dict[tuple[str, ...], list[list[float]]] = defaultdict(lambda: [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    for side, given in enumerate((before, after)):
        for one in given:
            value = one.seconds if times else float(one.right)
            classes = ("", "") if times else (one.true, one.answer)
            cell = sums[one.labeler_id, one.vendor_id, one.task_type, *classes][side]
            cell[0] += 1
            cell[1] += value
            cell[2] += value * value

    def totals(cell: list[float]) -> Totals:
        return Totals(cell[0], cell[1], cell[2] if times else None)

    return [
        Row(labeler, vendor, totals(cells[0]), totals(cells[1]), task_type, true, answer)
        for (labeler, vendor, task_type, true, answer), cells in sums.items()
    ]


def explained(given: list[Answered], truth: Truth, incident: IncidentTruth, gold: bool) -> Iterator[Explanation]:
    """The explanations of an incident where there is something to measure."""
    start, end = to_ms(incident.start), to_ms(incident.end)
    times = incident.type == "handling_time_drift"
    others = [
        (set(other.projects), to_ms(other.start), to_ms(other.end)) for other in truth.incidents if other != incident
    ]

    def clean(one: Answered) -> bool:
        return not any(one.project_id in where and since <= one.at_ms < until for where, since, until in others)

    unknown = set() if times else {*truth.subjective_projects, CAPTIONS}
    for project in sorted({*incident.projects} - unknown):
        heard = [one for one in given if one.project_id == project and (one.is_gold or times or not gold)]
        before = [one for one in heard if start - BEFORE_MS <= one.at_ms < start and clean(one)]
        after = [one for one in heard if start <= one.at_ms < min(end, start + AFTER_MS)]
        if before and after:
            yield explain(rows_of(before, after, times=times))


def judge(truth: Truth, incident: IncidentTruth, why: Explanation) -> Outcome:
    """Whether the explanation names what the incident did."""
    cause = why.cause
    labelers = [named.value for named in cause.named if named.dimension == "labeler"]
    names = {named.dimension: named.value for named in reversed(cause.named)}
    if incident.type in LABELERS:
        right = cause.verdict is Verdict.LABELERS and labelers[0] in incident.labelers
    elif incident.type in CLASSES:
        right = cause.verdict is Verdict.CLASS_PAIR and names["true_class"] in incident.classes
        right = right and (incident.type == "missing_class" or names.get("answer") in incident.classes)
    elif incident.type == "vendor_degradation":
        right = cause.verdict is Verdict.VENDOR and names["vendor"] in incident.vendors
    else:
        right = cause.verdict is Verdict.EVERYONE
    until = min(incident.end, incident.start + timedelta(milliseconds=AFTER_MS))
    return _outcome(incident.id, why, right, len(labelers), len({*labelers} - bad(truth, incident.start, until)))


def bad(truth: Truth, since: datetime, until: datetime) -> set[str]:
    """Labelers who were bad at any time in between, or poor from the start."""
    return {
        labeler.labeler_id
        for labeler in truth.labelers
        if any(period.start < until and (period.end is None or period.end > since) for period in labeler.bad)
    }


def _outcome(what: str, why: Explanation, right: bool, named: int, false: int) -> Outcome:
    cause = why.cause
    return Outcome(
        what,
        why.change,
        why.answers_after,
        cause.verdict.value,
        right,
        named,
        false,
        cause.share,
        cause.nats,
        cause.margin,
    )


def run(scenario: Scenario, seed: int, *, gold: bool) -> list[Outcome]:
    """Every incident of one simulation, and the quiet hours of each project."""
    simulation = Simulation(scenario, seed)
    truth = simulation.truth()
    given = answered(simulation, truth)
    projects = {one.project_id for one in given}
    outcomes = []
    for incident in truth.incidents:
        if incident.type != "ingestion_stall":
            outcomes += [judge(truth, incident, why) for why in explained(given, truth, incident, gold)]
    first = min((to_ms(incident.start) for incident in truth.incidents), default=to_ms(truth.end))
    begin = to_ms(truth.start)
    for project in sorted(projects - {*truth.subjective_projects, CAPTIONS}):
        quiet = [one for one in given if one.project_id == project and one.at_ms < first and (one.is_gold or not gold)]
        middle = (begin + first) // 2
        before = [one for one in quiet if one.at_ms < middle]
        after = [one for one in quiet if one.at_ms >= middle]
        if before and after:
            why = explain(rows_of(before, after))
            labelers = {named.value for named in why.cause.named if named.dimension == "labeler"}
            false = len(labelers - bad(truth, truth.start, truth.start + timedelta(seconds=1)))
            silent = why.cause.verdict in (Verdict.UNCLEAR, Verdict.MIX) or (labelers and not false)
            outcomes.append(_outcome("(quiet)", why, bool(silent), len(labelers), false))
    return outcomes


@click.command()
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, metavar="N")
@click.option("--scale", type=click.FloatRange(min=0.05), default=1.0, show_default=True, metavar="X")
@click.option("--gold", is_flag=True, help="Judge by gold answers only, as operations do.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list of outcomes and nothing else.")
def main(seeds: int, scale: float, gold: bool, as_json: bool) -> None:
    """Explain every incident of the scenario ``incidents``, and print how often the right cause was named first."""
    scenario = Scenario.load("incidents").scaled(scale)
    outcomes: list[Outcome] = []
    with Progress(console=Console(stderr=True), disable=as_json, transient=True) as progress:
        for seed in progress.track(range(seeds), description="simulating"):
            outcomes += run(scenario, seed, gold=gold)
    if as_json:
        click.echo(json.dumps([outcome._asdict() for outcome in outcomes]))
        return
    table = Table(title=f"cause named first, {seeds} seeds, {'gold' if gold else 'all'} answers", title_justify="left")
    table.add_column("incident")
    for name in ("right first", "verdicts", "change", "answers", "named", "false", "share", "least margin"):
        table.add_column(name, justify="right")
    for what in dict.fromkeys(outcome.what for outcome in outcomes):
        found = [outcome for outcome in outcomes if outcome.what == what]
        verdicts = " ".join(sorted({outcome.verdict for outcome in found}))
        n = len(found)
        table.add_row(
            what,
            f"{sum(o.right_first for o in found)}/{n}",
            verdicts,
            f"{sum(o.change for o in found) / n:+.3f}",
            f"{sum(o.answers for o in found) / n:,.0f}",
            f"{sum(o.named for o in found) / n:.1f}",
            f"{sum(o.false_named for o in found) / n:.1f}",
            f"{sum(o.share for o in found) / n:.2f}",
            f"{min(o.margin for o in found):.1f}",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
