"""CSV exports of CrowdFlower / Figure Eight / Appen jobs ("full report"), one or several, plain or gzip."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from schemas.events import AnnotationEvent
from streams.sources.answers import LabelKind
from streams.sources.figure_eight_columns import assign_roles
from streams.sources.figure_eight_rows import RowReader
from streams.sources.figure_eight_times import IdOrder, proves_day_first, read_time
from streams.sources.source import Item, Rejected, SourceError
from streams.sources.text_files import Table, read_table

_REQUIRED = ("_unit_id", "_created_at", "_id", "_started_at", "_worker_id")


class FigureEight:
    """Judgements as annotations, in submit order.

    A page of judgements is submitted at once, so its rows share labeler, start and submit time: the handling time of
    each is the page's time divided by its rows. The vendor is the ``_channel``; ``_tainted``, ``_trust`` and whatever
    researchers wrote beside the answers stay out of the events.

    Args:
        paths: files of one project; rows keep the number they have in their file.
        project_id, task_type: given to every annotation; the project is part of the event's id too.
        vendor_id: where a row has no ``_channel``.
        label_column: the answer; found if it is None (see ``docs/sources.md`` for the rule).
        label_kind: found per file if it is None.
        features: columns of the task to send along; the numeric ones if empty.
        exclude: columns that are neither answer nor feature.
    """

    def __init__(
        self,
        paths: Sequence[Path | str],
        project_id: str,
        task_type: str,
        *,
        vendor_id: str | None = None,
        label_column: str | None = None,
        label_kind: LabelKind | None = None,
        features: Sequence[str] = (),
        exclude: Collection[str] = (),
    ) -> None:
        self._paths = tuple(Path(path) for path in paths)
        self._project_id = project_id
        self._task_type = task_type
        self._vendor_id = vendor_id
        self._label_column = label_column
        self._label_kind = label_kind
        self._features = tuple(features)
        self._exclude = frozenset(exclude)
        self._cached: list[Table] | None = None

    def estimate(self) -> int:
        """How many items there are, exactly.

        Raises:
            SourceError: a file cannot be read.
        """
        return sum(len(table.rows) + len(table.rejected) for table in self._tables())

    def __iter__(self) -> Iterator[Item]:
        """Rejected rows, then annotations by submit time.

        Raises:
            SourceError: a file cannot be read or lacks a column, or its answer column is not plain to see.
        """
        tables = self._tables()
        order = IdOrder(known for table in tables for known in _certain_times(table))
        seen: dict[str, str] = {}
        events: list[AnnotationEvent] = []
        for table in tables:
            yield from table.rejected
            if not table.rows:
                continue
            roles = assign_roles(
                table,
                label_column=self._label_column,
                label_kind=self._label_kind,
                features=self._features,
                exclude=self._exclude,
            )
            rows = RowReader(table, roles, order, self._project_id, self._task_type, self._vendor_id)
            for row in table.rows:
                event = rows.read(row, seen)
                if isinstance(event, Rejected):
                    yield event
                else:
                    events.append(event)
        events.sort(key=lambda event: event.submitted_at)
        yield from events

    def _tables(self) -> list[Table]:
        if self._cached is None:
            self._cached = [self._open(path) for path in self._paths]
        return self._cached

    def _open(self, path: Path) -> Table:
        table = read_table(path)
        for column in _REQUIRED:
            if column not in table.header:
                known = ", ".join(table.header[:12])
                raise SourceError(
                    f"{path}, header: no column {column!r}; is it a Figure Eight full report? It has: {known}"
                )
        if "_channel" not in table.header and self._vendor_id is None:
            raise SourceError(f"{path}, header: no column '_channel'; name the vendor with --vendor")
        _refuse_day_first(table)
        return table


def _certain_times(table: Table) -> Iterator[tuple[int, datetime]]:
    id_at, created_at = table.index("_id"), table.index("_created_at")
    for row in table.rows:
        judgement = row.cells[id_at].strip()
        if not (judgement.isascii() and judgement.isdigit()):
            continue
        try:
            time = read_time(row.cells[created_at])
        except ValueError:
            continue
        if time.usual:
            yield int(judgement), time.readings()[0]


def _refuse_day_first(table: Table) -> None:
    """A file whose dates put the day first would be misread in silence on the first twelve days of each month.

    Raises:
        SourceError: some dates can only be day first, and none can only be month first.
    """
    witness: tuple[int, str, str] | None = None
    for column in ("_created_at", "_started_at"):
        at = table.index(column)
        for row in table.rows:
            proof = proves_day_first(row.cells[at])
            if proof is False:
                return
            if proof and witness is None:
                witness = (row.number, column, row.cells[at])
    if witness is not None:
        number, column, cell = witness
        raise SourceError(
            f"{table.file}, row {number}, column {column}: {cell!r} has the day first, exports have the month first; "
            "the file was rewritten, export it again"
        )
