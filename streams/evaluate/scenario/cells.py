"""Sums for explanations, from the columns of a run: what ClickHouse would have said, without storing a row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.explain import Row
from schemas.thresholds import MetricName
from streams.evaluate.scenario.incidents import Flags
from streams.evaluate.scenario.stream import Run
from streams.explanations import Affected, CellsError, Judged, Question, Suspects
from streams.explanations.cells import TOO_MANY
from streams.explanations.grouping import DETAILS, MAX_GROUPS, Detail, Group, hour_text, rows_of
from streams.explanations.question import HOUR_MS, enough_before, is_mean

#: Metrics whose values are a column of truth values.
_FLAGS: Final[dict[MetricName, str]] = {
    "gold_accuracy": "gold_correct",
    "consensus_agreement": "agrees",
    "too_fast_share": "is_too_fast",
    "too_slow_share": "is_too_slow",
    "interval_coverage_90": "is_covered",
}


class RunCells:
    """See `streams.explanations.Cells`.

    One thing is simpler than live: a task without truth is believed in only once it has all of its answers, where live
    two are enough. Tasks affected are not counted.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        columns = run.columns
        self._segments = np.array(run.segments, dtype=object).reshape(-1, 3)
        self._order = np.argsort(columns["answer_ms"], kind="stable")
        self._ms = columns["answer_ms"][self._order]

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        """As `Cells.rows`."""
        if question.metric == "reviewer_reject_rate" and judged == "as asked":
            columns = self._run.columns
            picked = (columns["review_ms"] < question.after.to_ms) & self._asked(
                question, columns["review_segment"], columns["review_labeler"]
            )
            return self._rows(
                question, columns["review_ms"][picked], columns["review_segment"][picked],
                columns["review_labeler"][picked], columns["is_rejected"][picked].astype(float), None,
            )  # fmt: skip
        first, last = np.searchsorted(self._ms, (question.before.from_ms, question.after.to_ms))
        inside = self._order[first:last]
        columns = {
            name: self._run.columns[name][inside]
            for name in ("answer_ms", "segment", "labeler", "label", "believed", "believed_ms", "true_class")
        }
        picked = self._asked(question, columns["segment"], columns["labeler"])
        classes = np.where(columns["believed_ms"] < question.after.to_ms, columns["believed"], "")
        if judged == "by consensus":
            picked &= classes != ""
            value = (columns["label"] == classes).astype(float)
        elif question.metric in _FLAGS:
            flags = self._run.columns[_FLAGS[question.metric]][inside]
            picked &= flags < 2
            value = flags.astype(float)
            if question.metric == "gold_accuracy":
                classes = columns["true_class"]
        else:
            value = self._run.columns["seconds"][inside]
            picked &= ~np.isnan(value)
        told = judged == "by consensus" or question.metric in ("gold_accuracy", "consensus_agreement")
        return self._rows(
            question, columns["answer_ms"][picked], columns["segment"][picked], columns["labeler"][picked],
            value[picked], (classes[picked], columns["label"][picked]) if told else None,
            mean=is_mean(question.metric) and judged == "as asked",
        )  # fmt: skip

    async def affected(self, question: Question, suspects: Suspects) -> Affected:
        """Not counted here."""
        return Affected(0, "")

    async def close(self) -> None:
        """Nothing to give up."""

    def _asked(self, question: Question, segment: npt.NDArray[Any], labeler: npt.NDArray[Any]) -> Flags:
        wanted = np.array(
            [
                question.asks_for(
                    dict(zip(("project_id", "task_type", "vendor_id"), one, strict=True)), question.labeler_id
                )
                for one in self._segments
            ]
        )
        found: Flags = wanted[segment]
        return found & (labeler == question.labeler_id) if question.labeler_id else found

    def _rows(
        self,
        question: Question,
        at: npt.NDArray[Any],
        segment: npt.NDArray[Any],
        labeler: npt.NDArray[Any],
        value: npt.NDArray[Any],
        classes: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None,
        *,
        mean: bool = False,
    ) -> list[Row]:
        hours = (question.since_ms - at - 1) // HOUR_MS
        counts = np.bincount(hours[hours >= 0], minlength=1)
        before = enough_before(question.since_ms, lambda hour: int(counts[hour]) if hour < len(counts) else 0)
        kept = ((before.from_ms <= at) & (at < before.to_ms)) | (question.after.from_ms <= at)
        table = (at[kept], segment[kept], labeler[kept], value[kept])
        of_class = None if classes is None else (classes[0][kept], classes[1][kept])
        for detail in DETAILS:
            groups = self._groups(question, table, of_class, detail)
            if len(groups) <= MAX_GROUPS:
                return rows_of(groups, mean=mean)
        raise CellsError(TOO_MANY)

    def _groups(
        self,
        question: Question,
        table: tuple[npt.NDArray[Any], ...],
        classes: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None,
        detail: Detail,
    ) -> list[Group]:
        at, segment, labeler, value = table
        sums: dict[tuple[Any, ...], list[float]] = {}
        from_ms = question.after.from_ms
        given = (classes[0].tolist(), classes[1].tolist()) if classes and detail.classes else ([""] * len(at),) * 2
        for ms, place, who, number, true, answer in zip(
            at.tolist(), segment.tolist(), labeler.tolist(), value.tolist(), *given, strict=True
        ):
            is_after = ms >= from_ms
            hour = ms // HOUR_MS if detail.hours and is_after else -1
            key = (who, place, true, answer if true else "", hour, is_after)
            side = sums.get(key)
            if side is None:
                sums[key] = [1, number, number * number]
            else:
                side[0] += 1
                side[1] += number
                side[2] += number * number
        found = []
        for (who, place, true, answer, hour, is_after), (answers, total, squares) in sums.items():
            _, task_type, vendor = self._segments[place]
            text = hour_text(hour * HOUR_MS) if hour >= 0 else ""
            found.append(Group(who, vendor, task_type, true, answer, text, is_after, int(answers), total, squares))
        return found
