"""Why an alert fired: who contributed what, and which tasks are affected. See docs/explain.md."""

from streams.explanations.affected import Affected, Suspects
from streams.explanations.cells import Cells, CellsError
from streams.explanations.clickhouse import ClickHouseCells
from streams.explanations.explained import Leading, Unexplained, Why, not_explained, why
from streams.explanations.question import EXPLAINED, Judged, Question
from streams.explanations.recorder import Recorder

__all__ = [
    "EXPLAINED",
    "Affected",
    "Cells",
    "CellsError",
    "ClickHouseCells",
    "Judged",
    "Leading",
    "Question",
    "Recorder",
    "Suspects",
    "Unexplained",
    "Why",
    "not_explained",
    "why",
]
