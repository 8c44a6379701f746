"""Where an explanation's sums come from: ClickHouse, or memory with the same answers."""

from __future__ import annotations

from typing import Final, Protocol

from detectors.explain import Row
from streams.explanations.affected import Affected, Suspects
from streams.explanations.grouping import MAX_GROUPS
from streams.explanations.question import Judged, Question

TOO_MANY: Final = f"more than {MAX_GROUPS:,} labelers, by vendor and task type; a smaller scope can be explained"


class CellsError(Exception):
    """The sums cannot be had now; the message says why. An alert goes out without an explanation then."""


class Cells(Protocol):
    """Sums of answers before and after a change. Of each answer the latest version counts, once."""

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        """Sums by labeler, vendor, task type, class and answer, and after the change by hour.

        Where there would be more than `grouping.MAX_GROUPS`, hours are not told apart, then classes neither; sums are
        always whole.

        Args:
            judged: ``by consensus`` counts, whatever the metric, if answers are what is now believed of their tasks.

        Raises:
            CellsError: see there.
            KeyError: the metric is none of `question.EXPLAINED`.
        """
        ...

    async def affected(self, question: Question, suspects: Suspects) -> Affected:
        """How many tasks rest on suspect labels (`affected.rests_on_suspects`), and the query that lists them.

        Raises:
            CellsError: see there.
        """
        ...

    async def close(self) -> None:
        """Give up connections."""
        ...
