"""Who else is concerned, and since when: people, project and vendor are told apart by what others answered."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from detectors.explain import Meanwhile, Others, Row, Verdict
from schemas.scope import Among, Expression, Not
from streams.explanations import CellsError, Judged, Question, Recorder, Why, why
from streams.explanations.question import HOUR_MS
from tests.unit.test_explanations import SINCE, question, score

SEGMENTS = (("p", "v"), ("p", "other"), ("q", "v"))
CLASSES = ("cat", "cow", "dog", "pig")


def answered(*bad: tuple[str, str], bad_from_ms: int = SINCE) -> Recorder:
    """Three hours before the change and three since, eight labelers in every segment; golds all of them."""
    store = Recorder()
    for number in range(7_200):
        project, vendor = SEGMENTS[number % 3]
        labeler, at = f"{project}-{vendor}-{number // 3 % 8}", SINCE + (number - 3_600) * 3_000
        right = number % 47 > (14 if (project, vendor) in bad and at >= bad_from_ms else 3)
        true, other = CLASSES[number // 24 % 4], CLASSES[(number // 24 + 1 + number % 47 % 3) % 4]
        gold: dict[str, Any] = {"gold_label": true, "gold_correct": right, "label": true if right else other}
        of = {"project_id": project, "vendor_id": vendor, "task_type": f"{project}-box"}
        store.record(score(number, at, labeler, right, **gold, **of))
    return store


@pytest.mark.parametrize(
    ("bad", "verdict", "of_project", "of_vendor"),
    [
        ([("p", "v")], Verdict.LABELERS, Others.WELL, Others.WELL),
        ([("p", "v"), ("p", "other")], Verdict.EVERYONE, Others.CHANGED, Others.WELL),
        ([("p", "v"), ("q", "v")], Verdict.VENDOR, Others.WELL, Others.CHANGED),
        (SEGMENTS, Verdict.EVERYONE, Others.CHANGED, Others.CHANGED),
    ],
)
@pytest.mark.parametrize("where", [None, Not(Among("task_type", ("pen",)))])
async def test_others_tell_people_project_and_vendor_apart(
    bad: Sequence[tuple[str, str]], verdict: Verdict, of_project: Others, of_vendor: Others, where: Expression | None
) -> None:
    asked = question(project_id="p", vendor_id="v", at_ms=SINCE + 3 * HOUR_MS, where=where)
    found = await why(asked, answered(*bad))
    assert isinstance(found, Why)
    assert found.meanwhile == Meanwhile("v", of_project, of_vendor)
    assert found.explanation.cause.verdict is verdict
    assert found.asked is not None
    labelers = math.fsum(one.total for one in found.asked.contributions["labeler"])
    assert labelers == pytest.approx(found.asked.change, abs=1e-9)


async def test_wider_scopes_have_no_elsewhere() -> None:
    for asked in (question(), question(vendor_id="v"), question(project_id="p")):
        found = await why(replace(asked, at_ms=SINCE + 3 * HOUR_MS), answered(("p", "v")))
        assert isinstance(found, Why)
        assert found.meanwhile is None


async def test_labelers_are_named_only_beside_others_on_their_project() -> None:
    """Where projects are not told apart, who works on a project that changed looks worst of the vendor."""
    store = Recorder()
    for number in range(2_000):
        at = SINCE + (number - 1_000) * 10_000
        right = number % 20 != 7 and not (number % 4 == 3 and number % 8 == 7 and at >= SINCE)
        store.record(score(number, at, f"w{number % 4}", right, gold_label="cat", gold_correct=right))
    for project, verdict in (("p", Verdict.LABELERS), ("", Verdict.UNCLEAR)):
        found = await why(question(project_id=project, at_ms=SINCE + 3 * HOUR_MS), store)
        assert isinstance(found, Why)
        assert found.explanation.cause.verdict is verdict


class OnlyHere(Recorder):
    """Cannot say what others did."""

    def __init__(self, store: Recorder, error: Exception) -> None:
        super().__init__()
        self._store, self._error = store, error

    async def rows(self, question: Question, judged: Judged = "as asked") -> list[Row]:
        if question.where is not None:
            if isinstance(self._error, TimeoutError):
                await asyncio.Event().wait()
            raise self._error
        return await self._store.rows(question, judged)


@pytest.mark.parametrize("error", [CellsError("too many"), TimeoutError()])
async def test_what_happened_here_must_do_if_others_cannot_be_asked(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.explanations.explained.PLACE_SECONDS", 0.0)
    asked = question(project_id="p", vendor_id="v", at_ms=SINCE + 3 * HOUR_MS)
    found = await why(asked, OnlyHere(answered(("p", "v")), error))
    assert isinstance(found, Why)
    assert (found.explanation.cause.verdict, found.meanwhile) == (Verdict.EVERYONE, None)


async def test_it_is_explained_since_the_hour_in_which_it_began() -> None:
    """What a detector took for its beginning was two hours early."""
    asked = question(project_id="p", vendor_id="v", at_ms=SINCE + 3 * HOUR_MS)
    late = await why(asked, answered(("p", "v"), bad_from_ms=SINCE + 2 * HOUR_MS))
    at_once = await why(asked, answered(("p", "v")))
    assert isinstance(late, Why)
    assert isinstance(at_once, Why)
    assert (late.explanation.answers_after, at_once.explanation.answers_after) == (400, 1_200)
    assert late.explanation.change == pytest.approx(at_once.explanation.change, abs=0.02)
