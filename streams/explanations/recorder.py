"""Answers in memory, asked as ClickHouse is: for evaluations and tests."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from detectors.explain import Row
from schemas.rows import AnnotationScoreRow, ReviewRow, TaskConfidenceRow
from streams.explanations.affected import Affected, Suspects, list_query, rests_on_suspects
from streams.explanations.cells import TOO_MANY, CellsError
from streams.explanations.grouping import DETAILS, MAX_GROUPS, Detail, Group, hour_text, rows_of
from streams.explanations.measures import Seen, measure_of
from streams.explanations.question import (
    BEFORE_HOURS,
    HOUR_MS,
    REVIEWED_WITHIN_MS,
    Judged,
    Period,
    Question,
    enough_before,
    is_mean,
)
from streams.sinks.tables import identity_of

MAX_ANSWERS: Final = 1_000_000
"""About 1 GB."""
_score_id, _review_id = identity_of("annotation_scores"), identity_of("reviews")


class _Value(NamedTuple):
    labeler: str
    vendor: str
    task_type: str
    at_ms: int
    seen: Seen


class Recorder:
    """Remembers the latest answers, and all reviews and tasks that belong to them. See `Cells`.

    Args:
        max_answers: older ones are forgotten, in the order in which they were recorded; of reviews as many are kept.
    """

    def __init__(self, max_answers: int = MAX_ANSWERS) -> None:
        self._max = max_answers
        self._scores: dict[tuple[Any, ...], AnnotationScoreRow] = {}
        self._reviews: dict[tuple[Any, ...], ReviewRow] = {}
        self._tasks: dict[tuple[str, str], TaskConfidenceRow] = {}

    def record(self, row: AnnotationScoreRow | ReviewRow | TaskConfidenceRow) -> None:
        """Take a row as it is written to ClickHouse; the same again changes nothing, a later version replaces it."""
        match row:
            case AnnotationScoreRow():
                key = _score_id(row)
                if key not in self._scores or row.source_offset >= self._scores[key].source_offset:
                    self._scores[key] = row
                _forget_first(self._scores, self._max)
            case ReviewRow():
                key = _review_id(row)
                if key not in self._reviews or row.source_offset >= self._reviews[key].source_offset:
                    self._reviews[key] = row
                _forget_first(self._reviews, self._max)
            case TaskConfidenceRow():
                task = (row.project_id, row.task_id)
                if task not in self._tasks or row.version >= self._tasks[task].version:
                    self._tasks[task] = row
                _forget_first(self._tasks, self._max)

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        """As `Cells.rows`."""
        values = [value for value in self._values(question, judged) if value.at_ms < question.after.to_ms]
        hours = Counter((question.since_ms - value.at_ms - 1) // HOUR_MS for value in values)
        before = enough_before(question.since_ms, lambda hour: hours[hour])
        groups: list[Group] = []
        for detail in DETAILS:
            groups = list(_grouped(values, before, question.after, detail))
            if len(groups) <= MAX_GROUPS:
                break
        else:
            raise CellsError(TOO_MANY)
        return rows_of(groups, mean=is_mean(question.metric) and judged == "as asked")

    async def affected(self, question: Question, suspects: Suspects) -> Affected:
        """As `Cells.affected`."""
        first = question.since_ms - BEFORE_HOURS * HOUR_MS
        latest: dict[tuple[str, str, str], AnnotationScoreRow] = {}
        for score in self._scores.values():
            key = (score.project_id, score.task_id, score.labeler_id)
            known = latest.get(key)
            if score.submitted_at >= first and (known is None or _order(score) > _order(known)):
                latest[key] = score
        tasks: defaultdict[tuple[str, str], list[tuple[str, bool]]] = defaultdict(list)
        for (project_id, task_id, _), score in latest.items():
            tasks[project_id, task_id].append((score.label, suspects.suspect(question, score)))
        found = sum(rests_on_suspects(answers, self._tasks.get(task)) for task, answers in tasks.items())
        return Affected(found, list_query(question, suspects))

    async def close(self) -> None:
        """Nothing to give up."""

    def _values(self, question: Question, judged: Judged) -> Iterator[_Value]:
        if question.metric == "reviewer_reject_rate" and judged == "as asked":
            yield from self._verdicts(question)
            return
        measure = measure_of(question.metric, judged)
        for score in self._asked(question):
            if score.submitted_at >= question.before.from_ms:
                seen = measure.of(score, self._tasks.get((score.project_id, score.task_id)))
                if seen is not None:
                    yield _Value(score.labeler_id, score.vendor_id, score.task_type, score.submitted_at, seen)

    def _verdicts(self, question: Question) -> Iterator[_Value]:
        given: dict[tuple[str, str, str], AnnotationScoreRow] = {}
        first = question.before.from_ms - REVIEWED_WITHIN_MS
        for score in self._asked(question):
            if first <= score.submitted_at < question.after.to_ms:
                key = (score.project_id, score.task_id, score.labeler_id)
                known = given.get(key)
                if known is None or _order(score) > _order(known):
                    given[key] = score
        for review in self._reviews.values():
            answer = given.get((review.project_id, review.task_id, review.labeler_id))
            if review.accepted is not None and answer is not None and review.reviewed_at >= question.before.from_ms:
                seen = Seen(float(not review.accepted))
                yield _Value(answer.labeler_id, answer.vendor_id, answer.task_type, review.reviewed_at, seen)

    def _asked(self, question: Question) -> Iterator[AnnotationScoreRow]:
        for score in self._scores.values():
            segment = {"project_id": score.project_id, "task_type": score.task_type, "vendor_id": score.vendor_id}
            if question.asks_for(segment, score.labeler_id):
                yield score


def _order(score: AnnotationScoreRow) -> tuple[int, str]:
    return score.submitted_at, score.event_id


def _forget_first(rows: dict[Any, Any], most: int) -> None:
    while len(rows) > most:
        del rows[next(iter(rows))]


def _grouped(values: Iterable[_Value], before: Period, after: Period, detail: Detail) -> Iterator[Group]:
    sums: dict[tuple[Any, ...], list[float]] = {}
    for value in values:
        is_after = after.from_ms <= value.at_ms
        if not is_after and not before.from_ms <= value.at_ms < before.to_ms:
            continue
        classes = value.seen[1:] if detail.classes else ("", "")
        hour = hour_text(value.at_ms) if detail.hours and is_after else ""
        key = (value.labeler, value.vendor, value.task_type, *classes, hour, is_after)
        side = sums.setdefault(key, [0, 0.0, 0.0])
        side[0] += 1
        side[1] += value.seen.value
        side[2] += value.seen.value**2
    for key, (answers, total, squares) in sums.items():
        yield Group(*key, int(answers), total, squares)
