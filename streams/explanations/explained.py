"""The whole answer to why a metric changed: the explanation, what it rests on, and which tasks are affected."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from detectors.explain import (
    DIMENSIONS,
    TOO_EARLY,
    Dimension,
    Explanation,
    Meanwhile,
    Place,
    Row,
    Totals,
    Verdict,
    by_place,
    explain,
    is_shared,
    onset,
    since,
)
from detectors.explain.chance import Tally
from detectors.explain.others import WELL
from schemas.thresholds import MetricName
from streams.explanations.affected import Affected, suspects_of
from streams.explanations.cells import Cells, CellsError
from streams.explanations.elsewhere import place_of
from streams.explanations.question import Judged, Question, can_explain

FEW_GOLDS: Final = 100
"""Golds since the change, of the labeler in the middle, below which gold cannot tell a labeler from a vendor."""
SEEN_SHARE: Final = 0.4
"""Of the change in gold accuracy, that consensus must show to be believed: where all err alike, the consensus errs with
them and hardly falls (measured: a third at most where a guideline changed, half and more where labelers got worse)."""
PLACE_SECONDS: Final = 4.0
"""How long finding out about others may take; then what happened here must do."""
_WITH_CLASSES: Final = ("gold_accuracy", "consensus_agreement")
LEADING_SHARE: Final = 0.25
"""Of the change, that is worth a word in a message."""


class Leading(NamedTuple):
    """The value of a dimension that contributes most to the change."""

    dimension: Dimension
    value: str
    share: float
    """Of the change."""


@dataclass(frozen=True, slots=True)
class Why:
    """Why a metric changed."""

    asked: Explanation | None
    """Of the metric itself: contributions add up to its change. None where it has no values before or since."""
    judged: Explanation | None
    """Of the share of answers that are what is now believed of their tasks, of agreement and where golds are few."""
    based_on: Judged
    """Which of the two names the cause."""
    affected: Affected | None
    """None where the cause makes no labels suspect."""
    shared: Explanation | None = None
    """Of an alert on one labeler: why its whole project changed, where classes are confused by all and most of the
    labeler's change is that. It is the guideline then, and not the labeler."""
    is_alone: bool | None = None
    """Of an alert on one labeler: whether the others on its project are well, as far as anybody knows."""
    meanwhile: Meanwhile | None = None
    """Of an alert on a vendor's work on a project: how others answered since."""

    def leading(self) -> tuple[Leading, ...]:
        """Of each dimension that tells answers apart, the value that contributes most, if it is beyond chance."""
        found = []
        for dimension in DIMENSIONS:
            known = [one for one in self.explanation.contributions[dimension] if one.value and one.after.weight]
            if len(known) > 1:
                most = max(known, key=lambda one: (one.share, one.value))
                if most.beyond_chance and most.share >= LEADING_SHARE:
                    found.append(Leading(dimension, most.value, most.share))
        return tuple(found)

    @property
    def explanation(self) -> Explanation:
        """The one that names the cause."""
        if self.shared is not None:
            return self.shared
        found = self.judged if self.based_on == "by consensus" else self.asked
        assert found is not None
        return found


@dataclass(frozen=True, slots=True)
class Unexplained:
    """No explanation, and why there is none."""

    reason: str


def not_explained(metric: MetricName) -> Unexplained:
    """Of metrics that nobody's share in is worked out."""
    return Unexplained(f"who contributes what is not worked out for {metric}")


async def why(question: Question, cells: Cells) -> Why | Unexplained:
    """Explain a change, with whatever answers tell most about it."""
    if not can_explain(question.metric):
        return not_explained(question.metric)
    try:
        found = await _looked(question, cells)
        if found is None:
            return Unexplained("there are no answers before the change, or none since, to compare")
        if question.labeler_id and question.metric in _WITH_CLASSES:
            whole = replace(question, labeler_id="", vendor_id="")
            everybody = await _looked(whole, cells, is_dated=False)
            if everybody is not None and is_shared(found.explanation, everybody.explanation):
                question = whole
                found = replace(everybody, asked=found.asked, judged=found.judged, shared=everybody.explanation)
            else:
                is_well = everybody is not None and stands_alone(question.labeler_id, everybody.explanation)
                found = replace(found, is_alone=is_well)
        suspects = suspects_of(question, found.explanation)
        return found if suspects is None else replace(found, affected=await cells.affected(question, suspects))
    except CellsError as error:
        return Unexplained(str(error))


async def _looked(question: Question, cells: Cells, *, is_dated: bool = True) -> Why | None:
    """Less which tasks are affected; None without answers before, or since. If not dated, since when the question says;
    a labeler's answers are too few to say it better."""
    is_agreement, is_gold = question.metric == "consensus_agreement", question.metric == "gold_accuracy"
    rows, judged_rows = await cells.rows(question), None
    if is_agreement:
        judged_rows = await cells.rows(question, "by consensus")
    hour = ""
    if is_dated and not question.labeler_id and question.metric in _WITH_CLASSES:
        hour = _onset(rows if judged_rows is None else judged_rows, question)
    rows = since(rows, hour)
    if is_gold and golds_are_few(rows):
        judged_rows = await cells.rows(question, "by consensus")
    judged_rows = None if judged_rows is None else since(judged_rows, hour)
    asked = _explained(rows, question.baseline)
    judged = None if judged_rows is None else _explained(judged_rows, None)
    based_on = which(asked, judged, question.metric)
    found, answers = (asked, rows) if based_on == "as asked" or judged_rows is None else (judged, judged_rows)
    if found is None:
        return None
    meanwhile = None
    if not question.labeler_id and question.metric in _WITH_CLASSES and found.cause.verdict is not Verdict.CLASS_PAIR:
        place = await _place(question, cells, based_on, answers, hour)
        if place is not None and place.is_heard:
            found, meanwhile = by_place(place, found)
    if _may_be_the_work(question, found):
        found = found.by(TOO_EARLY)
    asked, judged = (found, judged) if based_on == "as asked" else (asked, found)
    return Why(asked, judged, based_on, None, meanwhile=meanwhile)


def _may_be_the_work(question: Question, found: Explanation) -> bool:
    """Whether labelers stand out from others on other projects: of a scope that does not tell projects apart, who works
    on a project that changed looks worst. An alert on that project, or on a few of its labelers, says who it is."""
    is_wide = not question.project_id and not question.labeler_id
    return is_wide and found.cause.verdict is Verdict.LABELERS


async def _place(question: Question, cells: Cells, judged: Judged, rows: Sequence[Row], hour: str) -> Place | None:
    """None, too, if it cannot be found out, or not in time: what happened here must do then."""
    try:
        async with asyncio.timeout(PLACE_SECONDS) as limit:
            return await place_of(question, cells, judged, rows, hour)
    except CellsError:
        return None
    except TimeoutError:
        if not limit.expired():
            raise
        return None


def _onset(rows: Sequence[Row], question: Question) -> str:
    if _mean([row.before for row in rows]) is None or _mean([row.after for row in rows]) is None:
        return ""
    return onset(rows, falls=question.direction == "down")


def stands_alone(labeler: str, everybody: Explanation) -> bool:
    """Whether the others on a labeler's project were heard since, and are well: else it may be all of them."""
    theirs, others = Tally(), Tally()
    for one in everybody.contributions["labeler"]:
        tally, before, after = theirs if one.value == labeler else others, one.before, one.after
        tally.add_events(before.weight - before.value, before.weight, after.weight - after.value, after.weight)
    return others.against(theirs) >= WELL


def golds_are_few(rows: Sequence[Row]) -> bool:
    """Whether the labeler in the middle, of those who gave any since the change, gave few golds since then."""
    golds: defaultdict[str, float] = defaultdict(float)
    for row in rows:
        golds[row.labeler] += row.after.weight
    given = [answers for answers in golds.values() if answers]
    return not given or statistics.median(given) < FEW_GOLDS


def which(asked: Explanation | None, judged: Explanation | None, metric: MetricName = "gold_accuracy") -> Judged:
    """Which explanation to believe: by consensus, if it shows the change that gold shows.

    Of agreement it is always the one by what is believed of tasks now, with all their answers and the known truths:
    whoever answered after a bad labeler did not agree, either, and the metric itself blames both of them.
    """
    if judged is None:
        return "as asked"
    if asked is None or metric == "consensus_agreement":
        return "by consensus"
    seen = _change_by_consensus(asked, judged)
    shows = seen / asked.change >= SEEN_SHARE if asked.change else False
    # Where many read a guideline in a new way the consensus hardly falls; where all are careless it falls as gold does.
    is_any = asked.cause.verdict in (Verdict.UNCLEAR, Verdict.EVERYONE, Verdict.VENDOR, Verdict.TASK_TYPE)
    if is_any and not shows and judged.cause.verdict is Verdict.CLASS_PAIR:
        return "by consensus"
    # What more answers leave open, fewer cannot decide.
    decides = judged.cause.verdict is not Verdict.UNCLEAR or judged.answers_after > asked.answers_after
    return "by consensus" if shows and decides else "as asked"


def _change_by_consensus(asked: Explanation, judged: Explanation) -> float:
    """The change that consensus shows of those who had golds, each counted by how many: some are tested more often."""
    of = {one.value: one for one in judged.contributions["labeler"]}
    golds = [(one, of[one.value]) for one in asked.contributions["labeler"] if one.value in of]
    before = _weighted([(gold.before.weight, judged.before.mean) for gold, judged in golds])
    after = _weighted([(gold.after.weight, judged.after.mean) for gold, judged in golds])
    return 0.0 if before is None or after is None else after - before


def _weighted(levels: Sequence[tuple[float, float | None]]) -> float | None:
    known = [(weight, level) for weight, level in levels if level is not None and weight]
    return _mean([Totals(weight, weight * level) for weight, level in known])


def _explained(rows: Sequence[Row], baseline: float | None) -> Explanation | None:
    """The band of the counterfactual begins half-way back to the baseline, or to the level before, where alerts end."""
    before, after = _mean([row.before for row in rows]), _mean([row.after for row in rows])
    if before is None or after is None:
        return None
    good = before if baseline is None else baseline
    middle = (good + after) / 2
    return explain(rows, (middle, math.inf) if good > after else (-math.inf, middle))


def _mean(totals: Sequence[Totals]) -> float | None:
    return Totals(math.fsum(one.weight for one in totals), math.fsum(one.value for one in totals)).mean
