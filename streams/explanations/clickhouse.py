"""Sums of answers from ClickHouse, through the views that show every answer once."""

from __future__ import annotations

import asyncio
from string import Template
from typing import TYPE_CHECKING, Any, Final

from detectors.explain import Row
from streams.explanations.affected import Affected, Suspects, list_query, list_sql
from streams.explanations.cells import TOO_MANY, CellsError
from streams.explanations.grouping import DETAILS, MAX_GROUPS, Detail, Group, rows_of
from streams.explanations.measures import measure_of
from streams.explanations.question import REVIEWED_WITHIN_MS, Judged, Period, Question, enough_before, is_mean
from streams.explanations.sql_text import Parameters, among_sql, expression_sql
from streams.settings import ClickHouseSettings
from streams.sinks.connection import connect_async
from streams.sinks.retry import Kind, classify
from streams.sinks.session import explain

if TYPE_CHECKING:
    from clickhouse_connect.driver.asyncclient import AsyncClient

QUERY_SECONDS: Final = 30
"""A message without an explanation is better than one that is late."""
_SETTINGS: Final = {"max_execution_time": QUERY_SECONDS}


class ClickHouseCells:
    """See `Cells`. It connects when first asked, and belongs to the event loop that does so."""

    def __init__(self, settings: ClickHouseSettings) -> None:
        self._settings = settings
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        """As `Cells.rows`."""
        values, parameters = values_sql(question, judged)
        times = _times(question, question.before)
        counted = await self._fetch(_HOURS.substitute(values=values), {**parameters, **times})
        hours = {int(hour): int(answers) for hour, answers in counted}
        times = _times(question, enough_before(question.since_ms, lambda hour: hours.get(hour, 0)))
        found: list[tuple[Any, ...]] = []
        for detail in DETAILS:
            found = await self._fetch(_groups_sql(values, detail), {**parameters, **times, "most": MAX_GROUPS + 1})
            if len(found) <= MAX_GROUPS:
                break
        else:
            raise CellsError(TOO_MANY)
        return rows_of(map(Group._make, found), mean=is_mean(question.metric) and judged == "as asked")

    async def affected(self, question: Question, suspects: Suspects) -> Affected:
        """As `Cells.affected`."""
        sql, parameters = list_sql(question, suspects)
        ((tasks,),) = await self._fetch(f"SELECT count() FROM (\n{sql}\n)", parameters)  # noqa: S608  (values are bound)
        return Affected(int(tasks), list_query(question, suspects))

    async def close(self) -> None:
        """As `Cells.close`."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _fetch(self, sql: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        try:
            async with self._connecting:
                if self._client is None:
                    self._client = await connect_async(self._settings)
            result = await self._client.query(sql, parameters=parameters, settings=_SETTINGS)
        except Exception as error:
            if classify(error) is Kind.UNKNOWN:
                raise
            raise CellsError(explain(error, self._settings)) from error
        return [tuple(row) for row in result.result_rows]


def values_sql(question: Question, judged: Judged) -> tuple[str, Parameters]:
    """SQL for single values: who, when (``at``), value, class and answer; with parameters less the times."""
    parameters: Parameters = {}
    scope = among_sql(
        parameters,
        project_id=question.project_id,
        task_type=question.task_type,
        vendor_id=question.vendor_id,
        labeler_id=question.labeler_id,
    )
    if question.where is not None:
        scope.append(f"({expression_sql(question.where, parameters)})")
    asked = "".join(f"\n    AND {condition}" for condition in scope)
    if question.metric == "reviewer_reject_rate" and judged == "as asked":
        parameters["answered_ms"] = max(question.before.from_ms - REVIEWED_WITHIN_MS, 0)
        return _REVIEWS.substitute(asked=asked), parameters
    measure = measure_of(question.metric, judged)
    sql = _ANSWERS.substitute(
        value=measure.value,
        true_class=measure.true_class,
        task=_TASK.substitute(within=_WITHIN, asked=asked) if measure.needs_task else "",
        within=_WITHIN,
        asked=asked,
        counts=measure.counts,
    )
    return sql, parameters


def _times(question: Question, before: Period) -> Parameters:
    after = question.after
    return {
        "since_ms": question.since_ms,
        "before_ms": before.from_ms,
        "after_ms": after.from_ms,
        "last_ms": after.to_ms - 1,
    }


def _groups_sql(values: str, detail: Detail) -> str:
    return _GROUPS.substitute(
        values=values,
        true_class="true_class" if detail.classes else "''",
        answer="if(true_class = '', '', answer)" if detail.classes else "''",
        hour="if(is_after, formatDateTime(at, '%Y-%m-%d %H:00', 'UTC'), '')" if detail.hours else "''",
    )


#: Filled in here with SQL of ours alone; ClickHouse binds what is in braces.
_WITHIN: Final = (
    "a.submitted_at BETWEEN fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')"
    " AND fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')"
)
_ANSWERS: Final = Template("""
SELECT
    a.labeler_id AS labeler_id, a.vendor_id AS vendor_id, a.task_type AS task_type, a.submitted_at AS at,
    toFloat64($value) AS value, $true_class AS true_class, a.label AS answer
FROM annotation_scores_current AS a$task
WHERE $within$asked
    AND $counts""")
_TASK: Final = Template("""
LEFT JOIN
(
    SELECT project_id, task_id, is_subjective, truth, labels, consensus_label FROM task_confidence_current
    WHERE (project_id, task_id) IN
    (
        SELECT a.project_id, a.task_id FROM annotation_scores_current AS a
        WHERE $within$asked
    )
) AS t ON t.project_id = a.project_id AND t.task_id = a.task_id""")
#: Reviews name a task and a labeler; vendor and task type are those of the latest answer, given in the week before.
_REVIEWS: Final = Template("""
SELECT
    g.labeler_id AS labeler_id, g.vendor_id AS vendor_id, g.task_type AS task_type, r.reviewed_at AS at,
    toFloat64(NOT assumeNotNull(r.accepted)) AS value, '' AS true_class, '' AS answer
FROM reviews_current AS r
INNER JOIN
(
    SELECT
        a.project_id AS project_id, a.task_id AS task_id, a.labeler_id AS labeler_id,
        argMax(a.vendor_id, (a.submitted_at, a.event_id)) AS vendor_id,
        argMax(a.task_type, (a.submitted_at, a.event_id)) AS task_type
    FROM annotation_scores_current AS a
    WHERE a.submitted_at BETWEEN fromUnixTimestamp64Milli({answered_ms:Int64}, 'UTC')
        AND fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')$asked
    GROUP BY project_id, task_id, labeler_id
) AS g ON g.project_id = r.project_id AND g.task_id = r.task_id AND g.labeler_id = r.labeler_id
WHERE isNotNull(r.accepted)
    AND r.reviewed_at BETWEEN fromUnixTimestamp64Milli({before_ms:Int64}, 'UTC')
        AND fromUnixTimestamp64Milli({last_ms:Int64}, 'UTC')""")
_HOURS: Final = Template("""
SELECT intDiv({since_ms:Int64} - toUnixTimestamp64Milli(at) - 1, 3600000) AS hour, count() AS answers
FROM ($values)
WHERE fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') > at
GROUP BY hour""")
_GROUPS: Final = Template("""
WITH
    at >= fromUnixTimestamp64Milli({after_ms:Int64}, 'UTC') AS is_after,
    fromUnixTimestamp64Milli({since_ms:Int64}, 'UTC') > at AS is_before
SELECT
    labeler_id, vendor_id, task_type, $true_class AS told_class, $answer AS told_answer, $hour AS told_hour, is_after,
    count() AS answers, sum(value) AS total, sum(value * value) AS squares
FROM ($values)
WHERE is_after OR is_before
GROUP BY labeler_id, vendor_id, task_type, told_class, told_answer, told_hour, is_after
LIMIT {most:Int64}""")
