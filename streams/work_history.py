"""What a project's people have done, read from ClickHouse for a forecast of what they will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from detectors.capacity import Stint

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

#: Projects named to somebody who asked for one that is not there.
PROJECTS_NAMED: Final = 20
_OF_PEOPLE: Final = (
    "project_id = {project:String} AND labeler_kind = 'human'"
    " AND submitted_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')"
)
_SINCE: Final = " AND submitted_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')"
#: Five minutes of a labeler's work are one row: the forecast looks no closer. Where a time is not trusted, such as that
#: of an unfinished lunch, its forecast stands in for it.
_WORK: Final = f"""
SELECT
    labeler_id,
    toUnixTimestamp64Milli(max(s.submitted_at)) AS at_ms,
    countIf(NOT s.is_revision) AS annotations,
    sum(if(s.time_flag = '', s.handling_seconds, ifNull(s.expected_handling_seconds, 0))) AS seconds,
    if(count() = count(s.expected_handling_seconds), sum(s.expected_handling_seconds), NULL) AS expected_seconds
FROM annotation_scores_current AS s
WHERE {_OF_PEOPLE}{_SINCE}
GROUP BY labeler_id, toStartOfFiveMinutes(s.submitted_at)
ORDER BY at_ms, labeler_id
"""  # noqa: S608  # made of constants
_SPAN: Final = f"""
SELECT count(), toUnixTimestamp64Milli(min(submitted_at)), toUnixTimestamp64Milli(max(submitted_at))
FROM annotation_scores_current
WHERE {_OF_PEOPLE}
"""  # noqa: S608
_BEGUN: Final = f"""
SELECT count(), sum(given)
FROM
(
    SELECT uniqExact(labeler_id) AS given
    FROM annotation_scores_current
    WHERE {_OF_PEOPLE}
    GROUP BY task_type, task_id
    HAVING given < {{overlap:UInt32}}
    ORDER BY given DESC
    LIMIT {{tasks:UInt64}}
)
"""  # noqa: S608
_PROJECTS: Final = f"""
SELECT project_id
FROM annotation_scores
GROUP BY project_id
ORDER BY max(submitted_at) DESC, project_id
LIMIT {PROJECTS_NAMED + 1}
"""  # noqa: S608


class Span(NamedTuple):
    """When people worked on a project."""

    first_ms: int
    last_ms: int


class Begun(NamedTuple):
    """Tasks that have some of the answers they need, and how many those are altogether."""

    tasks: int
    answers: int


class WorkHistory:
    """Reads what people, not models, have done on one project until some moment."""

    def __init__(self, client: Client, settings: dict[str, int], project_id: str, until_ms: int) -> None:
        self._client, self._settings = client, settings
        self._of: dict[str, Any] = {"project": project_id, "until": until_ms}

    def span(self) -> Span | None:
        """From the first annotation to the latest; None where there is none."""
        ((count, first, last),) = self._rows(_SPAN)
        return Span(first, last) if count else None

    def work(self, since_ms: int) -> list[Stint]:
        """Annotations submitted since then, those of a labeler within five minutes added up, in order of time.

        The time of a revision counts, the revision does not: it fills no place in the overlap.
        """
        return [Stint(*row) for row in self._rows(_WORK, since=since_ms)]

    def begun(self, overlap: int, tasks: int) -> Begun:
        """Tasks with fewer than ``overlap`` answers of different labelers: the fullest, at most ``tasks``."""
        ((count, answers),) = self._rows(_BEGUN, overlap=overlap, tasks=tasks)
        return Begun(count, answers)

    def projects(self) -> list[str]:
        """Projects that have annotations, the latest first, one more than are to be named."""
        return [name for (name,) in self._rows(_PROJECTS)]

    def _rows(self, sql: str, **parameters: Any) -> list[tuple[Any, ...]]:
        result = self._client.query(sql, parameters=self._of | parameters, settings=self._settings)
        return [tuple(row) for row in result.result_rows]
