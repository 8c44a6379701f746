"""Who works, how well and how fast; and when, on what: sessions of one to two hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.scenario import Change, Scenario
from schemas.times import to_ms

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
#: A shift's parts with work, as shares of it; between them are breaks and lunch.
_BLOCKS: Final = ((0.0, 0.24), (0.27, 0.48), (0.57, 0.77), (0.80, 1.0))
_SICK: Final = 0.05
_AT_HOME: Final = 0.9
"""Share of people who take a holiday."""
_SECOND_PROJECT: Final = 0.3
"""Share of people who have one, and the share of their sessions that it gets."""
_SECOND_SHARE: Final = 0.25
_LATE_HOURS: Final = 0.25
_BREAKS_MOVE: Final = 0.08
"""Breaks are so much of a shift sooner or later: not everybody has lunch at once."""
_PACE_SPREAD: Final = 0.2
_UNSTEADY: Final = 0.05


class Window(NamedTuple):
    """A change with its times drawn."""

    change: Change
    start_ms: int
    end_ms: int

    def holds(self, ms: int) -> bool:
        return self.start_ms <= ms < self.end_ms


@dataclass(frozen=True)
class Workforce:
    """Labelers, one a position in every array."""

    names: list[str]
    vendor: Ints
    error: Floats
    """Share of wrong answers, once they know the work, to tasks of mean difficulty."""
    pace: Floats
    """Handling time relative to others', the vendor's included."""
    unsteady: Floats
    """How much more their handling times vary than forecasts think, as a factor."""
    offset_ms: Ints
    """Of local time from UTC."""
    home: Ints
    second: Ints
    """Another project, or -1."""
    begins_ms: Ints
    shift_start: Floats
    on_weekends: npt.NDArray[np.bool_]

    @property
    def is_new(self) -> npt.NDArray[np.bool_]:
        """Who begins after the scenario does."""
        fresh: npt.NDArray[np.bool_] = self.begins_ms > self.begins_ms.min()
        return fresh


@dataclass(frozen=True)
class Sessions:
    """Stretches of work, one a position in every array; in order of labelers, then of time."""

    labeler: Ints
    project: Ints
    start_ms: Ints
    end_ms: Ints

    def of_project(self, project: int) -> Sessions:
        mask = self.project == project
        return Sessions(self.labeler[mask], self.project[mask], self.start_ms[mask], self.end_ms[mask])


def span(scenario: Scenario) -> tuple[int, int, int]:
    """Start, end of the warm-up, and end, in ms."""
    start = to_ms(scenario.start)
    return start, start + 1_000 * scenario.warm_up, start + 1_000 * (scenario.warm_up + scenario.duration)


def draw_changes(scenario: Scenario, generator: np.random.Generator) -> list[Window]:
    """When each change of the scenario is."""
    start, _, end = span(scenario)
    found = []
    for change in scenario.changes:
        begins = start + 1_000 * int(generator.uniform(*change.start))
        lasts = 1_000 * int(generator.uniform(*change.lasts))
        if change.kind == "holiday":  # by the vendor's calendar, not by UTC
            zone = next(vendor.time_zone for vendor in scenario.vendors if vendor.id == change.vendor)
            begins -= (begins + _offset_ms(zone, scenario.start)) % DAY_MS
        found.append(Window(change, begins, min(begins + lasts, end)))
    return found


def draw_workforce(scenario: Scenario, changes: list[Window], generator: np.random.Generator) -> Workforce:
    """The scenario's people and the newcomers of its changes."""
    start, _, _ = span(scenario)
    columns: dict[str, list[Any]] = {name: [] for name in Workforce.__dataclass_fields__}
    for number, vendor in enumerate(scenario.vendors):
        mine = [position for position, one in enumerate(scenario.projects) if vendor.id in one.vendors]
        if not mine:
            continue
        begins = [start] * vendor.labelers
        for window in changes:
            if window.change.kind == "newcomers" and window.change.vendor == vendor.id:
                low, high = window.change.labelers
                begins += [window.start_ms] * int(generator.integers(low, high + 1))
        count = len(begins)
        sizes = np.array([scenario.projects[position].size for position in mine])
        dealt = np.searchsorted(np.cumsum(sizes) / sizes.sum(), (np.arange(count) + 0.5) / count)
        home = np.array(mine)[generator.permutation(dealt)]
        second = np.array(mine)[generator.integers(0, len(mine), count)]
        has_second = (generator.random(count) < _SECOND_PROJECT) & (second != home)
        mean = 1.0 - vendor.accuracy
        worth = max(mean * (1.0 - mean) / vendor.spread**2 - 1.0, 2.0)
        columns["names"] += [f"{vendor.id}-{one:04d}" for one in range(1, count + 1)]
        columns["vendor"] += [number] * count
        columns["error"] += generator.beta(mean * worth, (1.0 - mean) * worth, count).clip(0.005, 0.5).tolist()
        columns["pace"] += (vendor.pace * np.exp(generator.normal(0.0, _PACE_SPREAD, count))).tolist()
        columns["unsteady"] += np.exp(generator.normal(0.0, _UNSTEADY, count)).tolist()
        columns["offset_ms"] += [_offset_ms(vendor.time_zone, scenario.start)] * count
        columns["home"] += home.tolist()
        columns["second"] += np.where(has_second, second, -1).tolist()
        columns["begins_ms"] += begins
        columns["shift_start"] += generator.choice(vendor.shift_starts, count).tolist()
        columns["on_weekends"] += (generator.random(count) < vendor.weekend_share).tolist()
    return Workforce(columns.pop("names"), **{name: np.array(column) for name, column in columns.items()})


def draw_sessions(
    scenario: Scenario, people: Workforce, changes: list[Window], generator: np.random.Generator
) -> Sessions:
    """Everybody's work over the whole time: shifts by local time, days off, breaks, and changes of staff."""
    start, _, end = span(scenario)
    rows: list[tuple[int, int, int, int]] = []
    hours = [vendor.shift_hours for vendor in scenario.vendors]
    holidays = [window for window in changes if window.change.kind == "holiday"]
    moves = [window for window in changes if window.change.kind == "staffing"]
    for labeler in range(len(people.names)):
        offset, vendor = int(people.offset_ms[labeler]), int(people.vendor[labeler])
        shift_ms = hours[vendor] * HOUR_MS
        day = (start + offset) // DAY_MS * DAY_MS - offset - DAY_MS
        while day < end:
            is_weekend = (day + offset) // DAY_MS % 7 in (2, 3)  # 1970 began on a Thursday
            absent = generator.random(2)
            late = generator.normal(0.0, _LATE_HOURS)
            begins = day + int((people.shift_start[labeler] + late) * HOUR_MS)
            day += DAY_MS
            if absent[0] < _SICK or (is_weekend and not people.on_weekends[labeler]):
                continue
            if absent[1] < _AT_HOME and any(
                window.holds(begins) and window.change.vendor == scenario.vendors[vendor].id for window in holidays
            ):
                continue
            draws = generator.random(2 * len(_BLOCKS))
            moved_ms = int(generator.uniform(-_BREAKS_MOVE, _BREAKS_MOVE) * shift_ms)
            for block, (first, last) in enumerate(_BLOCKS):
                at = begins + int(first * shift_ms) + (moved_ms if block else 0)
                till = min(begins + int(last * shift_ms) + (moved_ms if last < 1.0 else 0), end)
                at = max(at, start, int(people.begins_ms[labeler]))
                if till - at < 60_000:
                    continue
                project = int(people.home[labeler])
                if people.second[labeler] >= 0 and draws[block] < _SECOND_SHARE:
                    project = int(people.second[labeler])
                moved = _moved(scenario, moves, project, vendor, at, draws[len(_BLOCKS) + block])
                rows.append((labeler, project if moved is None else moved, at, till))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return Sessions(table[:, 0], table[:, 1], table[:, 2], table[:, 3])


def _moved(scenario: Scenario, moves: list[Window], project: int, vendor: int, at: int, draw: float) -> int | None:
    """Where a change of staff sends somebody: to the project, or, of another vendor, away from it."""
    name = scenario.vendors[vendor].id
    for window in moves:
        change = window.change
        if not window.holds(at) or draw >= change.factor:
            continue
        is_there = scenario.projects[project].id == change.project
        if name == change.vendor and not is_there:
            return next(number for number, one in enumerate(scenario.projects) if one.id == change.project)
        if name != change.vendor and is_there:
            others = [n for n, one in enumerate(scenario.projects) if name in one.vendors and n != project]
            return others[0] if others else None
    return None


def split(sessions: Sessions, labelers: npt.NDArray[np.bool_], at_ms: int) -> Sessions:
    """Sessions of these labelers, cut at a time."""
    cut = labelers[sessions.labeler] & (sessions.start_ms < at_ms) & (at_ms < sessions.end_ms)
    if not cut.any():
        return sessions
    ends = sessions.end_ms.copy()
    ends[cut] = at_ms
    labeler = np.concatenate((sessions.labeler, sessions.labeler[cut]))
    starts = np.concatenate((sessions.start_ms, np.full(int(cut.sum()), at_ms, dtype=np.int64)))
    order = np.lexsort((starts, labeler))
    return Sessions(
        labeler[order],
        np.concatenate((sessions.project, sessions.project[cut]))[order],
        starts[order],
        np.concatenate((ends, sessions.end_ms[cut]))[order],
    )


def _offset_ms(zone: str, at: datetime) -> int:
    offset = at.astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    return int(offset.total_seconds() * 1_000)
