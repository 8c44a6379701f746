"""Incidents that are known to have happened, as a CSV file: what detectors are judged by.

    start,end,kind,project_id,task_type,vendor_id,labeler_ids,points
    2026-01-09T06:00:00Z,2026-01-10T02:00:00Z,labelers,p-07,image_safety,manila,l-0017 l-0412,22.5
    2026-01-11T00:00:00Z,2026-01-11T08:00:00Z,vendor,,,andes,,

Times are ISO 8601 with a zone. A field left empty is not told apart: no vendor means whichever. Several labelers are
parted by spaces. ``points`` is by how much the share of right answers fell, of a hundred; empty where that is not known
or not what happened. Columns may come in any order; start, end and kind must be there, the others may be left out.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self, TextIO

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from schemas.events import MAX_ID_CHARS, Id
from schemas.times import UtcTime

Kind = Literal["labelers", "vendor", "project", "task_type", "guideline", "speed", "constant", "stall", "other"]
"""As in scenarios (`schemas.scenario.IncidentKind`); other: anything else."""
COLUMNS: Final = ("start", "end", "kind", "project_id", "task_type", "vendor_id", "labeler_ids", "points")
_NEEDED: Final = ("start", "end", "kind")
#: More than a team remembers is a mistake: probably a file of answers.
MAX_INCIDENTS: Final = 10_000
_MaybeId = Annotated[str, Field(max_length=MAX_ID_CHARS)]


class IncidentsError(ValueError):
    """A file of incidents cannot be used; the text names the file, the line and the column."""


class Incident(BaseModel):
    """What happened, when, and to whom."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: UtcTime
    end: UtcTime
    kind: Kind
    project_id: _MaybeId = ""
    task_type: _MaybeId = ""
    vendor_id: _MaybeId = ""
    labeler_ids: Annotated[
        tuple[Id, ...], BeforeValidator(lambda ids: ids.split() if isinstance(ids, str) else ids)
    ] = ()
    points: Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end: {self.end.isoformat()} is not after the start, {self.start.isoformat()}")
        return self


def read_incidents(lines: Iterable[str], source: str) -> list[Incident]:
    """The incidents of a CSV file, in the file's order.

    Raises:
        IncidentsError: the first thing that is wrong with it.

    >>> read_incidents(["start,end,kind,points", "2026-01-09T06:00:00Z,2026-01-09T05:00:00Z,vendor,"], "truth.csv")
    Traceback (most recent call last):
    ...
    schemas.incident.IncidentsError: truth.csv:2: end: 2026-01-09T05:00:00+00:00 is not after the start, 2026-...
    """
    rows = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if header:
            header[0] = header[0].removeprefix("\ufeff")
        _check_header(header, source)
        found: list[Incident] = []
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(found) == MAX_INCIDENTS:
                raise IncidentsError(f"{source}:{rows.line_num}: more than {MAX_INCIDENTS:,} incidents")
            found.append(_incident(header, row, f"{source}:{rows.line_num}"))
    except csv.Error as error:
        raise IncidentsError(f"{source}:{rows.line_num}: not CSV: {error}") from None
    return found


def _check_header(header: list[str], source: str) -> None:
    if not header:
        raise IncidentsError(f"{source}: is empty; its first line names the columns: {','.join(COLUMNS)}")
    for name in header:
        if name not in COLUMNS:
            raise IncidentsError(f"{source}:1: there is no column {name[:40]!r}; known: {', '.join(COLUMNS)}")
        if header.count(name) > 1:
            raise IncidentsError(f"{source}:1: column {name} is here twice")
    for name in _NEEDED:
        if name not in header:
            raise IncidentsError(f"{source}:1: column {name} is missing")


def _incident(header: list[str], row: list[str], where: str) -> Incident:
    if len(row) != len(header):
        raise IncidentsError(f"{where}: {len(row)} fields, and the first line names {len(header)}")
    given = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    needed = {name: cell for name, cell in given.items() if cell or name in _NEEDED}
    try:
        return Incident.model_validate(needed)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        reason = first["msg"].removeprefix("Value error, ")
        shown = f", not {given[name][:40]!r}" if name and first["type"] != "value_error" else ""
        raise IncidentsError(f"{where}: {f'{name}: ' if name else ''}{reason}{shown}") from None


def write_incidents(incidents: Iterable[Incident], file: TextIO) -> None:
    """The inverse of `read_incidents`; open the file with ``newline=""``."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in incidents:
        points = "" if one.points is None else f"{one.points:g}"
        times = (_text(one.start), _text(one.end))
        names = (one.kind, one.project_id, one.task_type, one.vendor_id, " ".join(one.labeler_ids))
        writer.writerow((*times, *names, points))


def _text(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
