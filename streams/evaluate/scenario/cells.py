"""Sums for explanations, from the columns of a run: what ClickHouse would have said, without storing a row."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors.explain import Row
from schemas.thresholds import MetricName
from streams.evaluate.scenario.answers import UNKNOWN
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

#: What an empty name is in `_Names`.
NOT_KNOWN: Final = 0

Column = npt.NDArray[Any]
Table = dict[str, Column]


class RunCells:
    """See `streams.explanations.Cells`.

    One thing is simpler than live: a task without truth is believed in only once it has all of its answers, where live
    two are enough. Tasks affected are not counted.
    """

    def __init__(self, run: Run) -> None:
        self._segments = run.segments
        columns = run.columns
        self._labelers = _Names(columns["labeler"])
        self._classes = _Names(columns["true_class"], columns["believed"])
        order = np.argsort(columns["answer_ms"], kind="stable")
        self._answers = {
            "at": columns["answer_ms"][order],
            "segment": columns["segment"][order],
            "labeler": self._labelers.numbers(columns["labeler"])[order],
            "label": self._classes.numbers(columns["label"])[order],
            "true_class": self._classes.numbers(columns["true_class"])[order],
            "believed": self._classes.numbers(columns["believed"])[order],
            "believed_ms": columns["believed_ms"][order],
            "seconds": columns["seconds"][order],
            **{flag: columns[flag][order] for flag in _FLAGS.values()},
        }
        self._reviews = {
            "at": columns["review_ms"],
            "segment": columns["review_segment"],
            "labeler": self._labelers.numbers(columns["review_labeler"]),
            "is_rejected": columns["is_rejected"],
        }

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        """As `Cells.rows`."""
        until_ms = question.after.to_ms
        if question.metric == "reviewer_reject_rate" and judged == "as asked":
            of = self._asked(question, self._reviews)
            of = _picked(of, of["at"] < until_ms)
            return self._rows(question, of, of["is_rejected"].astype(float), None)
        first, last = np.searchsorted(self._answers["at"], (question.before.from_ms, until_ms))
        of = self._asked(question, {name: column[first:last] for name, column in self._answers.items()})
        of["class"] = np.where(of["believed_ms"] < until_ms, of["believed"], NOT_KNOWN)
        if judged == "by consensus":
            of = _picked(of, of["class"] != NOT_KNOWN)
            value = (of["label"] == of["class"]).astype(float)
        elif question.metric in _FLAGS:
            flag = _FLAGS[question.metric]
            of = _picked(of, of[flag] < UNKNOWN)
            value = of[flag].astype(float)
            if question.metric == "gold_accuracy":
                of["class"] = of["true_class"]
        else:
            of = _picked(of, ~np.isnan(of["seconds"]))
            value = of["seconds"]
        told = judged == "by consensus" or question.metric in ("gold_accuracy", "consensus_agreement")
        mean = is_mean(question.metric) and judged == "as asked"
        return self._rows(question, of, value, of["class"] if told else None, mean=mean)

    async def affected(self, question: Question, suspects: Suspects) -> Affected:
        """Not counted here."""
        return Affected(0, "")

    async def close(self) -> None:
        """Nothing to give up."""

    def _asked(self, question: Question, of: Table) -> Table:
        names = ("project_id", "task_type", "vendor_id")
        wanted = np.array(
            [question.asks_for(dict(zip(names, one, strict=True)), question.labeler_id) for one in self._segments]
        )
        found = wanted[of["segment"]]
        if question.labeler_id:
            found &= of["labeler"] == self._labelers.number(question.labeler_id)
        return _picked(of, found)

    def _rows(
        self, question: Question, of: Table, value: Column, true: Column | None, *, mean: bool = False
    ) -> list[Row]:
        at = of["at"]
        hours = (question.since_ms - at - 1) // HOUR_MS
        counts = np.bincount(hours[hours >= 0], minlength=1)
        before = enough_before(question.since_ms, lambda hour: int(counts[hour]) if hour < len(counts) else 0)
        kept = ((before.from_ms <= at) & (at < before.to_ms)) | (question.after.from_ms <= at)
        of = _picked({**of, "value": value, **({} if true is None else {"true": true})}, kept)
        for detail in DETAILS:
            groups = self._groups(question, of, detail)
            if len(groups) <= MAX_GROUPS:
                return rows_of(groups, mean=mean)
        raise CellsError(TOO_MANY)

    def _groups(self, question: Question, of: Table, detail: Detail) -> list[Group]:
        """Every combination that is there, with its sums."""
        at = of["at"]
        true = answer = np.full(len(at), NOT_KNOWN)
        if detail.classes and "true" in of:
            true = of["true"]
            answer = np.where(true == NOT_KNOWN, NOT_KNOWN, of["label"])
        is_after = at >= question.after.from_ms
        first_hour = question.after.from_ms // HOUR_MS
        hour = np.where(is_after, at // HOUR_MS - first_hour + 1, 0) if detail.hours else np.zeros(len(at), np.int64)
        most = len(self._labelers), len(self._segments), len(self._classes), len(self._classes)
        sizes = (*most, int(hour.max(initial=0)) + 1, 2)
        keys = np.ravel_multi_index((of["labeler"], of["segment"], true, answer, hour, is_after), sizes)
        groups, group = np.unique(keys, return_inverse=True)
        sums = (np.bincount(group, weights) for weights in (None, of["value"], of["value"] ** 2))
        found = []
        for who, place, right, given, hour_number, after, answers, total, squares in zip(
            *(one.tolist() for one in (*np.unravel_index(groups, sizes), *sums)), strict=True
        ):
            _, task_type, vendor = self._segments[place]
            text = hour_text((first_hour + hour_number - 1) * HOUR_MS) if hour_number else ""
            classes = self._classes[right], self._classes[given]
            found.append(
                Group(self._labelers[who], vendor, task_type, *classes, text, bool(after), answers, total, squares)
            )
        return found


class _Names:
    """Numbers for the names of some columns, which are many times faster to compare; what is not known is 0."""

    def __init__(self, *columns: npt.NDArray[Any]) -> None:
        self._names: list[str] = ["", *sorted({name for column in columns for name in column.tolist()} - {""})]
        self._numbers = {name: number for number, name in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, number: int) -> str:
        return self._names[number]

    def number(self, name: str) -> int:
        return self._numbers.get(name, NOT_KNOWN)

    def numbers(self, column: npt.NDArray[Any]) -> Column:
        return np.fromiter(map(self.number, column.tolist()), np.int64, len(column))


def _picked(of: Table, kept: Flags) -> Table:
    places = np.flatnonzero(kept)
    return {name: column[places] for name, column in of.items()}
