"""The answers of one project over the whole time, as columns: work, tasks, labels, what others said, reviews."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from schemas.scenario import Project, Scenario, TaskType
from streams.evaluate.scenario.incidents import Flags, Planned
from streams.evaluate.scenario.workforce import HOUR_MS, Floats, Ints, Sessions, Window, Workforce

#: Spreads of the logarithm of handling times: of answers, of days better and worse, and of what forecasts get wrong.
_NOISE: Final = 0.45
_OF_SESSION: Final = 0.08
_OF_FORECAST: Final = 0.05
_SPREAD: Final = math.sqrt(_NOISE**2 + _OF_SESSION**2 + _OF_FORECAST**2)
_COVERED_90: Final = 1.6449
_UNUSUAL: Final = 1.96
"""Beyond it a time is too fast or too slow: 2.5 % each while all is well."""
_GAP_SECONDS: Final = 3.0
_RUSH: Final = (0.2, 0.4)
"""What speeding leaves of handling times."""
_OPEN_TASKS: Final = 60
"""Tasks that collect answers at the same time."""
_TIRED: Final = 0.12
"""How much the share of errors swings over the local day; most errors are made at four in the morning."""
_TIRED_HOUR: Final = 4.0
_BEGINNER: Final = 0.8
"""A newcomer makes so many more errors at first; the excess shrinks e-fold every 150 answers."""
_BEGINNER_ANSWERS: Final = 150.0
_NO_FORECAST: Final = 0.02
_IDLE: Final = 0.01
"""Times that cannot be work."""
_CONFUSED: Final = 4.0
_REVIEW_HOURS: Final = 2.0
_REVIEWER_ERRS: Final = 0.02
#: Words of yes, no and unknown, as indexes.
NO, YES, UNKNOWN = 0, 1, 2


@dataclass
class Columns:
    """Answers in order of time, one a position; truth values are `NO`, `YES` or `UNKNOWN`."""

    labeler: Ints
    submitted_ms: Ints
    task: Ints
    label: Ints
    """Class, or of free text the number of the text."""
    truth: Ints
    """Class of a gold task; -1 of others."""
    believed: Ints
    """Class that is known or believed of the task once it has all of its answers, two at least; -1 without."""
    believed_ms: Ints
    """From when on that is known: with the first answer of a gold task, of others with the last one."""
    gold_correct: Ints
    agrees: Ints
    is_covered: Ints
    is_too_fast: Ints
    is_too_slow: Ints
    seconds: Floats
    """NaN where it cannot be work."""
    forecast: Floats
    """NaN without one."""
    confidence: Floats
    """NaN of free text."""
    peers: Ints
    peers_agreeing: Ints
    reviewed: Ints
    """Positions of the answers that are reviewed, with times and verdicts."""
    reviewed_ms: Ints
    is_rejected: Ints
    settled: Ints
    """Positions of the last answers of gold tasks."""
    is_right: Ints
    """Whether the consensus of those tasks is right."""
    lost_to: Ints
    """The incident but for which the answer would have been right; -1 without."""


def draw_answers(
    scenario: Scenario,
    number: int,
    people: Workforce,
    sessions: Sessions,
    changes: list[Window],
    incidents: list[Planned],
    generator: np.random.Generator,
) -> Columns:
    """All answers of one project; incidents are told how many they hit, and what became of them."""
    project = scenario.projects[number]
    kind = next(one for one in scenario.tasks if one.id == project.task_type)
    mine = [one for one in incidents if any(where[0] == number for where in one.segments)]
    stalls = [one for one in incidents if one.kind == "stall" and (one in mine or not one.segments)]
    labeler, at, seconds, forecast = _work(kind, number, people, sessions, mine, stalls, generator)
    count = len(labeler)
    tasks = _tasks(count, project.overlap, generator)
    task = np.empty(count, dtype=np.int64)
    rows, columns_of = np.nonzero(tasks >= 0)
    task[tasks[rows, columns_of]] = rows
    windows = [one for one in changes if one.change.project in (None, project.id)]
    truth_of_task = _truths(kind, at[tasks[:, 0]], windows, generator)
    is_gold = (generator.random(len(tasks)) < project.gold_share) & bool(kind.classes)
    gold, truth = is_gold[task], truth_of_task[task]
    difficulty = generator.beta(2, 5, len(tasks))[task]
    wrong = _error_rates(project, kind, people, labeler, at, truth, windows, difficulty)
    label, right, lost_to = _labels(kind, people, labeler, at, truth, wrong, mine, gold, number, generator)
    # places among all incidents; the last -1 is what "none" picks
    places = np.array([*(place for place, one in enumerate(incidents) if any(one is other for other in mine)), -1])
    last_ms = np.zeros(len(tasks), dtype=np.int64)
    np.maximum.at(last_ms, task, at)
    columns = _considered(kind, people, tasks, labeler, label, truth_of_task, is_gold)
    residual = np.log(seconds / forecast) / _SPREAD
    no_forecast = generator.random(count) < _NO_FORECAST
    idle = generator.random(count) < _IDLE
    unknown = no_forecast | idle

    def told(flags: Flags) -> Ints:
        return np.where(unknown, UNKNOWN, flags.astype(np.int64))

    reviewed = np.nonzero((generator.random(count) < project.review_share) & ~gold)[0]
    delay = _REVIEW_HOURS * HOUR_MS * np.exp(generator.normal(0.0, 0.6, len(reviewed)))
    rejected = ~right[reviewed] ^ (generator.random(len(reviewed)) < _REVIEWER_ERRS)
    return Columns(
        labeler=labeler,
        submitted_ms=at,
        task=task,
        label=label,
        truth=np.where(gold, truth, -1),
        believed=np.where(gold, truth, columns[6][task]) if kind.classes else np.full(count, -1),
        believed_ms=np.where(gold, at, last_ms[task]),
        gold_correct=np.where(gold, right.astype(np.int64), UNKNOWN),
        agrees=columns[0],
        is_covered=told(np.abs(residual) < _COVERED_90),
        is_too_fast=told(residual < -_UNUSUAL),
        is_too_slow=told(residual > _UNUSUAL),
        seconds=np.where(idle, np.nan, seconds),
        forecast=np.where(no_forecast, np.nan, forecast * math.exp(_SPREAD**2 / 2)),
        confidence=columns[1],
        peers=columns[2],
        peers_agreeing=columns[3],
        reviewed=reviewed,
        reviewed_ms=at[reviewed] + delay.astype(np.int64),
        is_rejected=rejected.astype(np.int64),
        settled=columns[4],
        is_right=columns[5],
        lost_to=places[lost_to],
    )


def _work(
    kind: TaskType,
    number: int,
    people: Workforce,
    sessions: Sessions,
    mine: list[Planned],
    stalls: list[Planned],
    generator: np.random.Generator,
) -> tuple[Ints, Ints, Floats, Floats]:
    """Labeler, time, seconds and forecast median of each answer, in order of time."""
    own = sessions.of_project(number)
    usual = kind.handling_seconds * people.pace[own.labeler]
    pace = usual * np.exp(generator.normal(0.0, _OF_SESSION, len(usual)))
    for one in mine:
        if one.kind == "speed":  # sessions are cut at its start and end
            fast = one.labelers[own.labeler] & (own.start_ms >= one.start_ms) & (own.start_ms < one.end_ms)
            pace[fast] *= generator.uniform(*_RUSH, int(fast.sum()))
    lasts = (own.end_ms - own.start_ms) / 1_000.0
    found: list[tuple[Ints, Ints, Floats, Floats]] = []
    wanted = np.ceil(1.3 * lasts / pace).astype(np.int64) + 12
    for rows in np.array_split(np.argsort(wanted), max(len(wanted) // 200, 1)):  # of like length, to waste little
        if not len(rows):
            continue
        shape = (len(rows), int(wanted[rows].max()))
        seconds = pace[rows, None] * np.exp(
            _NOISE * people.unsteady[own.labeler[rows], None] * generator.normal(0.0, 1.0, shape)
        )
        ends = np.cumsum(seconds + generator.exponential(_GAP_SECONDS, shape), axis=1)
        row, place = np.nonzero(ends < lasts[rows, None])
        session = rows[row]
        forecast = usual[session] * np.exp(generator.normal(0.0, _OF_FORECAST, len(row)))
        at = own.start_ms[session] + (1_000.0 * ends[row, place]).astype(np.int64)
        found.append((own.labeler[session], at, seconds[row, place], forecast))
    labeler, at, seconds, forecast = (np.concatenate(column) for column in zip(*found, strict=True))
    kept = np.ones(len(at), dtype=np.bool_)
    for one in stalls:
        hit = (at >= one.start_ms) & (at < one.end_ms) & one.labelers[labeler]
        one.answers += int(hit.sum())
        for vendor in np.unique(people.vendor[labeler[hit]]).tolist():
            one.lost[number, vendor] = float((hit & (people.vendor[labeler] == vendor)).sum())
        kept &= ~hit
    order = np.lexsort((labeler, at))
    order = order[kept[order]]
    return labeler[order], at[order], seconds[order], forecast[order]


def _tasks(count: int, overlap: int, generator: np.random.Generator) -> Ints:
    """Positions of each task's answers in order, shape (tasks, overlap); -1 where there is none (yet).

    Answers go round the open tasks, so those of one task are minutes apart, and of different people mostly. Some tasks
    wait for their first answer while others wait for their last.
    """
    rounds = -(-count // _OPEN_TASKS)
    places = generator.permuted(np.arange(rounds * _OPEN_TASKS).reshape(rounds, _OPEN_TASKS), axis=1)
    slots = np.full((_OPEN_TASKS, (rounds // overlap + 2) * overlap), count, dtype=np.int64)
    for slot, phase in enumerate(generator.integers(0, overlap, _OPEN_TASKS).tolist()):
        slots[slot, phase : phase + rounds] = places[:, slot]
    grid = np.sort(slots.reshape(-1, overlap), axis=1)
    found: Ints = np.where(grid < count, grid, -1)
    return found[found[:, 0] >= 0]


def _truths(kind: TaskType, first_ms: Ints, windows: list[Window], generator: np.random.Generator) -> Ints:
    """Class of each task."""
    if not kind.classes:
        return np.zeros(len(first_ms), dtype=np.int64)
    draws = generator.random(len(first_ms))
    found = np.searchsorted(_cumulative(kind, {}), draws)
    for window in windows:
        if window.change.kind == "classes":
            inside = (first_ms >= window.start_ms) & (first_ms < window.end_ms)
            found[inside] = np.searchsorted(_cumulative(kind, window.change.classes), draws[inside])
    return found


def _cumulative(kind: TaskType, times: dict[str, float]) -> Floats:
    weights = np.array([weight * times.get(name, 1.0) for name, weight in kind.classes.items()])
    total: Floats = np.cumsum(weights)[:-1] / weights.sum()
    return total


def _error_rates(
    project: Project,
    kind: TaskType,
    people: Workforce,
    labeler: Ints,
    at: Ints,
    truth: Ints,
    windows: list[Window],
    difficulty: Floats,
) -> Floats:
    """Share of wrong answers of each answer's labeler, task and hour, incidents apart."""
    hour = (at + people.offset_ms[labeler]) / HOUR_MS % 24
    tired = 1.0 + _TIRED * np.cos((hour - _TIRED_HOUR) * math.tau / 24)
    wrong: Floats = people.error[labeler] * project.error_factor * (0.6 + 1.4 * difficulty) * tired
    if kind.classes:
        weights = np.array(list(kind.classes.values()))
        hard = np.array([kind.hard.get(name, 1.0) for name in kind.classes])
        wrong *= (hard / (hard @ weights / weights.sum()))[truth]
    for window in windows:
        if window.change.kind == "harder":
            wrong[(at >= window.start_ms) & (at < window.end_ms)] *= window.change.factor
    for one in np.nonzero(people.is_new)[0]:
        theirs = np.nonzero(labeler == one)[0]
        wrong[theirs] *= 1.0 + _BEGINNER * np.exp(-np.arange(len(theirs)) / _BEGINNER_ANSWERS)
    return wrong.clip(0.001, 0.75)


def _labels(
    kind: TaskType,
    people: Workforce,
    labeler: Ints,
    at: Ints,
    truth: Ints,
    wrong: Floats,
    incidents: list[Planned],
    gold: Flags,
    number: int,
    generator: np.random.Generator,
) -> tuple[Ints, Flags, Ints]:
    """What is answered, whether it is right, and which incident is to blame if not; incidents count what they do."""
    draws = generator.random(len(at))
    would = draws >= wrong
    hits = []
    for one in incidents:
        vendors = np.zeros(int(people.vendor.max()) + 1, dtype=np.bool_)
        vendors[[where[1] for where in one.segments if where[0] == number]] = True
        inside = (at >= one.start_ms) & (at < one.end_ms) & one.labelers[labeler]
        # who was moved here from another vendor's place is hit where the whole project is
        inside &= vendors[people.vendor[labeler]] | (one.vendor is None)
        hits.append(inside)
        wrong = np.where(inside, np.minimum(wrong + one.points[labeler], 0.95), wrong)
    right = draws >= wrong
    names = list(kind.classes)
    if names:
        label = np.where(right, truth, _wrong_classes(kind, truth, generator))
        for one, inside in zip(incidents, hits, strict=True):
            if one.classes is not None:
                first, second = (names.index(name) for name in one.classes)
                swapped = np.where(label == first, second, np.where(label == second, first, label))
                label = np.where(inside, swapped, label)
            if one.kind == "constant":
                always = generator.integers(0, len(names), len(people.names))
                label = np.where(inside, always[labeler], label)
        right = label == truth
    else:
        label = np.arange(len(at))
    lost_to = np.full(len(at), -1)
    for place, (one, inside) in enumerate(zip(incidents, hits, strict=True)):
        lost_to[inside & would & ~right] = place
        if one.kind != "stall":
            one.answers += int(inside.sum())
            one.golds += int((inside & gold).sum())
            one.right_before += float(would[inside].sum())
            one.right += float(right[inside].sum())
            one.hit.update(np.unique(labeler[inside]).tolist())
            fallen = would.astype(float) - right
            for vendor in np.unique(people.vendor[labeler[inside]]).tolist():
                of_vendor = inside & (people.vendor[labeler] == vendor)
                one.lost[number, vendor] = float(fallen[of_vendor].sum())
    return label, right, lost_to


def _wrong_classes(kind: TaskType, truth: Ints, generator: np.random.Generator) -> Ints:
    """What is answered instead of each truth."""
    names, weights = list(kind.classes), np.sqrt(np.array(list(kind.classes.values())))
    table = np.tile(weights, (len(names), 1))
    for first, second in kind.confused:
        one, other = names.index(first), names.index(second)
        table[one, other] *= _CONFUSED
        table[other, one] *= _CONFUSED
    np.fill_diagonal(table, 0.0)
    cumulative = np.cumsum(table, axis=1) / table.sum(axis=1, keepdims=True)
    chosen: Ints = (cumulative[truth, :-1] <= generator.random(len(truth))[:, None]).sum(axis=1)
    return chosen


def _considered(
    kind: TaskType,
    people: Workforce,
    tasks: Ints,
    labeler: Ints,
    label: Ints,
    truths: Ints,
    is_gold: Flags,
) -> tuple[Ints, Floats, Ints, Ints, Ints, Ints, Ints]:
    """Agreement, confidence, peers, peers that agree; of gold tasks the last answer, and whether consensus is right.

    And of every task what is believed in the end.

    Beliefs weigh labelers by their usual accuracy, as a one-coin model that has learned it does.
    """
    count, classes = len(labeler), len(kind.classes)
    agrees = np.full(count, UNKNOWN, dtype=np.int64)
    confidence = np.full(count, np.nan)
    peers, agreeing = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    empty = np.empty(0, dtype=np.int64)
    if not classes or not count:
        return agrees, confidence, peers, agreeing, empty, empty, empty
    prior = np.log(np.array(list(kind.classes.values())) / sum(kind.classes.values()))
    weight = np.log((1.0 - people.error) / people.error * (classes - 1))
    belief = np.tile(prior, (len(tasks), 1))
    belief_of_others = np.empty_like(belief)
    for place in range(tasks.shape[1]):
        rows = np.nonzero(tasks[:, place] >= 0)[0]
        now = tasks[rows, place]
        who, what = labeler[now], label[now]
        belief_of_others[rows] = belief[rows]
        seen, same = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
        stood = np.zeros(len(rows), dtype=np.bool_)
        for earlier in reversed(range(place)):
            before = tasks[rows, earlier]
            is_self = labeler[before] == who
            seen += ~is_self
            same += ~is_self & (label[before] == what)
            standing = is_self & ~stood
            belief_of_others[rows[standing], label[before[standing]]] -= weight[who[standing]]
            stood |= is_self
        peers[now], agreeing[now] = seen, same
        believed = belief_of_others[rows].argmax(axis=1)
        agrees[now] = np.where(seen > 0, (believed == what).astype(np.int64), UNKNOWN)
        belief[rows] = belief_of_others[rows]  # somebody's second answer replaces the first
        belief[rows, what] += weight[who]
        shifted = np.exp(belief[rows] - belief[rows].max(axis=1, keepdims=True))
        confidence[now] = 1.0 / shifted.sum(axis=1)
    golds = np.nonzero(is_gold)[0]
    last = tasks[golds].max(axis=1)
    is_right = (belief[golds].argmax(axis=1) == truths[golds]).astype(np.int64)
    has_peers = np.zeros(len(tasks), dtype=np.bool_)
    for place in range(tasks.shape[1]):
        has_peers |= (tasks[:, place] >= 0) & (peers[tasks[:, place]] > 0)
    believed = np.where(has_peers, belief.argmax(axis=1), -1)
    return agrees, confidence, peers, agreeing, last, is_right, believed
