"""The words for alerts, with an explanation and without."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from detectors.alerts.book import AlertBook
from detectors.explain import Row, Totals
from schemas.verdicts import Verdict
from streams.delivery.desk import DESCRIBE_SECONDS
from streams.delivery.explained_text import WHY_SECONDS, ExplainedText
from streams.delivery.text import Text
from streams.explanations import Affected, CellsError, Question
from tests.alerts import HOUR, T0, batch, rule, scope, verdict

ROWS = [
    Row("ana", "acme", Totals(1_000, 920), Totals(60, 20.0), "image"),
    Row("ben", "acme", Totals(1_000, 920), Totals(200, 184.0), "image"),
    Row("cem", "acme", Totals(1_000, 920), Totals(200, 184.0), "image"),
]
LABELER, SEGMENT = scope("labeler"), scope("segment")


class Counted:
    """Cells that answer the same, or not at all."""

    def __init__(self, rows: list[Row] | None) -> None:
        self._rows = rows
        self.asked: list[Question] = []
        self.is_closed = False

    async def rows(self, question: Question, judged: Any = "as asked") -> list[Row]:
        self.asked.append(question)
        if self._rows is None:
            raise CellsError("ClickHouse is away")
        return self._rows

    async def affected(self, question: Question, suspects: Any) -> Affected:
        return Affected(7, "SELECT task_id")

    async def close(self) -> None:
        self.is_closed = True


async def words(*verdicts: Verdict, cells: Counted | None = None) -> Text:
    last = AlertBook("labelwatch").take(batch(*verdicts))[-1]
    assert last.notice is not None
    return await ExplainedText(cells or Counted(ROWS), "https://page/$alert_id")(last.alert, last.notice)


async def test_say_who_and_how_many_tasks() -> None:
    cells = Counted(ROWS)
    text = await words(verdict(1, of=rule(severity="critical"), on=SEGMENT), cells=cells)
    assert text.title == "CRITICAL gold accuracy of acme / captions / image fell from 92 % to 80 %"
    assert "ana" in text.body
    assert "Alert: " in text.body
    why = json.loads(text.explanation)
    assert why["why"]["named"] == [{"dimension": "labeler", "value": "ana"}]
    assert (why["affected_tasks"], why["affected_query"]) == (7, "SELECT task_id")
    assert (cells.asked[0].vendor_id, cells.asked[0].at_ms) == ("acme", T0)
    await ExplainedText(cells).close()
    assert cells.is_closed


async def test_a_labelers_answers_count_whatever_the_vendor() -> None:
    cells = Counted(ROWS)
    await words(verdict(1, on=scope("labeler")), cells=cells)
    assert (cells.asked[0].labeler_id, cells.asked[0].vendor_id) == ("ana", "")


async def test_without_answers_the_alert_speaks_for_itself() -> None:
    text = await words(verdict(1), cells=Counted(None))
    assert "fell from 92 % to 80 %" in text.title
    assert "ClickHouse is away" in text.body
    assert text.explanation == ""


async def test_what_is_never_explained_says_so() -> None:
    text = await words(verdict(1, of=rule(metric="krippendorff_alpha"), on=SEGMENT), cells=Counted(None))
    assert "\nWho: no explanation: who contributes what is not worked out for krippendorff_alpha.\n" in text.body


@pytest.mark.parametrize(
    ("verdicts", "title"),
    [
        ([verdict(1, on=LABELER), verdict(2, "recovered", T0 + HOUR, on=LABELER, level=0.93)], "RESOLVED"),
        ([verdict(1), verdict(2, "withdrawn", T0 + HOUR)], "WITHDRAWN"),
        ([verdict(1), verdict(2, "new_level", T0 + HOUR)], "RESOLVED"),
        ([verdict(1, "silent", of=rule(no_data="alert"))], "[WARNING] gold: vendor acme"),
    ],
)
async def test_ends_and_silence_ask_nobody(verdicts: list[Verdict], title: str) -> None:
    cells = Counted(None)
    text = await words(*verdicts, cells=cells)
    assert text.title.upper().startswith(title.upper())
    assert cells.asked == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (ROWS, "\nWho it was: labeler ana, "),
        ([row._replace(after=Totals(2, 1.0)) for row in ROWS], None),
        (None, None),
    ],
)
async def test_what_is_over_says_who_it_was_if_that_can_be_told(rows: list[Row] | None, says: str | None) -> None:
    cells = Counted(rows)
    over = verdict(2, "recovered", T0 + HOUR, on=SEGMENT, level=0.93)
    text = await words(verdict(1, on=SEGMENT), over, cells=cells)
    assert text.title.startswith("RESOLVED")
    assert (says or "Gold accuracy of acme / captions / image is at 93 % again") in text.body
    assert ("Who" in text.body) is (says is not None)
    assert cells.asked[0].at_ms == T0 + HOUR


async def test_told_again_it_is_explained_by_all_answers_until_then() -> None:
    book, cells = AlertBook("labelwatch"), Counted(ROWS)
    book.take(batch(verdict(1, of=rule(severity="critical"))))
    again = book.take(batch(clock=T0 + 4 * HOUR))[-1]
    assert again.notice == "repeat"
    text = await ExplainedText(cells)(again.alert, again.notice)
    assert cells.asked[0].at_ms == T0 + 4 * HOUR
    assert " UTC (4 h" in text.body, "so long it lasts by now"


class Slow(Counted):
    """Cells that do not answer."""

    async def rows(self, question: Question, judged: Any = "as asked") -> list[Row]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_what_takes_too_long_leaves_the_rest_of_the_message() -> None:
    (fired,) = AlertBook("labelwatch").take(batch(verdict(1, of=rule(runbook="https://runbook/gold"))))
    text = await ExplainedText(Slow(None), why_seconds=0.01)(fired.alert, "firing")
    assert "fell from 92 % to 80 %" in text.title
    assert "Who: no explanation: finding out took over 0.01 s." in text.body
    assert "How sure: evidence of 4,300" in text.body
    assert "https://runbook/gold" in text.body


async def test_there_is_time_left_to_say_that_it_took_too_long() -> None:
    assert WHY_SECONDS < DESCRIBE_SECONDS


async def test_a_timeout_of_somebody_elses_is_no_explanation_that_took_long() -> None:
    class Broken(Counted):
        async def rows(self, question: Question, judged: Any = "as asked") -> list[Row]:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        await words(verdict(1), cells=Broken(None))


@pytest.mark.parametrize(
    ("cells", "metric", "is_open"),
    [
        (Counted(ROWS), "gold_accuracy", False),
        (Counted([row._replace(after=Totals(2, 1.0 + (row.labeler != "ana"))) for row in ROWS]), "gold_accuracy", True),
        (Counted(None), "gold_accuracy", True),
        (Counted(None), "krippendorff_alpha", False),
    ],
    ids=["named", "too early", "ClickHouse away", "never explained"],
)
async def test_what_may_be_known_later_is_open(cells: Counted, metric: str, is_open: bool) -> None:
    of = rule(metric=metric)
    assert (await words(verdict(1, of=of, on=SEGMENT), cells=cells)).is_open is is_open
    over = await words(verdict(1, of=of), verdict(2, "recovered", T0 + HOUR, of), cells=cells)
    assert not over.is_open


@pytest.mark.parametrize(
    ("rows", "is_open"),
    [(ROWS, False), ([row._replace(after=Totals(200, 160.0)) for row in ROWS], True), (None, True)],
    ids=["ana alone", "everybody", "ClickHouse away"],
)
async def test_besides_a_broader_alert_only_labelers_are_news(rows: list[Row] | None, is_open: bool) -> None:
    book = AlertBook("labelwatch")
    broad = book.take(batch(verdict(1, of=rule("broad"))))[-1].alert
    look = book.take(batch(verdict(2, on=scope("segment"), labelers=1)))[-1]
    assert look.notice == "apart"
    text = await ExplainedText(Counted(rows))(look.alert, look.notice)
    assert text.is_open is is_open
    assert text.title == "WARNING gold accuracy of 1 labeler of acme / captions / image fell from 92 % to 80 %"
    said = f"Besides: alert {broad.alert_id} fires, and does not speak of these labelers."
    assert (said in text.body) is (rows is not None)


async def test_an_update_says_so_and_asks_for_all_answers_until_then() -> None:
    book, cells = AlertBook("labelwatch"), Counted(ROWS)
    book.take(batch(verdict(1)))
    look = book.take(batch(clock=T0 + HOUR))[-1]
    assert look.notice == "update"
    text = await ExplainedText(cells)(look.alert, look.notice)
    assert text.title == "UPDATE WARNING gold accuracy of acme fell from 92 % to 80 %"
    assert "ana" in text.body
    assert cells.asked[0].at_ms == T0 + HOUR
