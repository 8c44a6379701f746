"""What others answered meanwhile: of the same project for other vendors, and of the same vendor on other projects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from detectors.explain import Place, Row, since
from schemas.scope import Among, Every, Expression, Not
from streams.explanations.cells import Cells
from streams.explanations.question import Judged, Question

ONE_VENDOR: Final = 0.9
"""Share of a project's answers since, from which on hardly anybody but a vendor is at work on it."""


async def place_of(question: Question, cells: Cells, judged: Judged, rows: Sequence[Row], hour: str) -> Place | None:
    """Answers of a vendor on a project, and elsewhere; None of a wider scope, or if several vendors are at work.

    Args:
        question: what is explained.
        cells: where answers are counted.
        judged: how they are.
        rows: of the question, by when it began.
        hour: when that was, empty if it was when the question says.

    Raises:
        CellsError: as of `Cells.rows`.
    """
    vendor_id = question.vendor_id or _vendor_at_work(rows)
    if not question.project_id or not vendor_id:
        return None
    here = [row for row in rows if row.vendor == vendor_id]
    others = [row for row in rows if row.vendor != vendor_id]
    if question.vendor_id:
        of_all = replace(question, vendor_id="", where=_but(question.where, "vendor_id", vendor_id))
        others = since(await cells.rows(of_all, judged), hour)
    where = _but(question.where, "project_id", question.project_id)
    of_vendor = replace(question, project_id="", task_type="", vendor_id=vendor_id, where=where)
    return Place(vendor_id, here, others, since(await cells.rows(of_vendor, judged), hour))


def _vendor_at_work(rows: Sequence[Row]) -> str:
    answers: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        answers[row.vendor] += row.after.weight
    most = max(answers, key=lambda vendor: (answers[vendor], vendor), default="")
    return most if most and answers[most] >= ONE_VENDOR * sum(answers.values()) else ""


def _but(where: Expression | None, field: str, value: str) -> Expression:
    but = Not(Among(field, (value,)))
    return but if where is None else Every((where, but))
