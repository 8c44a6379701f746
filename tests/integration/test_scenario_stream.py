"""Simulated weeks: what comes out is what would have been measured, and the truth is true."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from schemas.measurements import Answer, Measurements
from schemas.times import to_ms
from streams.evaluate.scenario.cells import RunCells
from streams.evaluate.scenario.file import parse_scenario
from streams.evaluate.scenario.stream import Run, simulate
from streams.explanations import Question
from tests.scenarios import SMALL

pytestmark = pytest.mark.integration

INCIDENTS = """\
changes:
  - {kind: newcomers, vendor: busy, labelers: 3, start: 1d}
incidents:
  - {kind: labelers, labelers: 4, points: 40, start: 5h, lasts: 10h, project: zoo, vendor: acme}
  - {kind: stall, start: 9h, lasts: 1h}
"""


def run_of(added: str = INCIDENTS, seed: int = 3) -> Run:
    return simulate(parse_scenario(SMALL + added, "small"), seed)


@pytest.fixture(scope="module")
def run() -> Run:
    return run_of()


@pytest.fixture(scope="module")
def answers(run: Run) -> list[tuple[Answer, tuple[str, str, str]]]:
    return [(one, batch.segments[one.segment]) for batch in run for one in batch.answers]


def test_messages_are_what_the_schema_says_and_numbered_without_gaps(run: Run) -> None:
    numbers = defaultdict(list)
    latest: Counter[int] = Counter()
    for batch in run:
        Measurements.model_validate(batch.model_dump())
        for items in (batch.answers, batch.reviews, batch.settled, batch.refused):
            numbers[batch.source_partition] += [one.sequence for one in items]
        assert batch.watermark_ms >= latest[batch.source_partition]
        assert all(latest[batch.source_partition] <= one.submitted_ms <= batch.sent_ms for one in batch.answers)
        latest[batch.source_partition] = batch.watermark_ms
    assert {partition: sorted(of) for partition, of in numbers.items()} == {
        partition: list(range(len(of))) for partition, of in numbers.items()
    }
    assert len(numbers) == 2


def test_the_same_seed_gives_the_same_week(run: Run) -> None:
    again, other = run_of(), run_of(seed=4)
    morning = slice(400, 700)
    assert list(run)[morning] == list(again)[morning] != list(other)[morning]
    assert run.incidents == again.incidents != other.incidents


def test_levels_are_as_the_scenario_says(answers: list[tuple[Answer, tuple[str, str, str]]]) -> None:
    golds = [one.gold_correct for one, _ in answers if one.gold_correct is not None]
    zoo = [one for one, segment in answers if segment[0] == "zoo"]
    assert 0.25 < len(golds) / len(zoo) < 0.35
    fast = [one.is_too_fast for one, _ in answers if one.is_too_fast is not None]
    covered = [one.is_covered for one, _ in answers if one.is_covered is not None]
    assert 0.02 < np.mean(fast) < 0.035
    assert 0.88 < np.mean(covered) < 0.92
    agree = [one.agrees for one in zoo if one.agrees is not None]
    assert 0.78 < np.mean(agree) < 0.93
    sure = [one for one in zoo if one.peers == 2 and one.peers_agreeing == 2]
    unsure = [one for one in zoo if one.peers == 2 and one.peers_agreeing == 0]
    assert np.mean([one.confidence for one in sure]) > 0.97 > 0.9 > np.mean([one.confidence for one in unsure])


def test_free_text_is_neither_gold_nor_compared(answers: list[tuple[Answer, tuple[str, str, str]]]) -> None:
    texts = [one for one, segment in answers if segment[0] == "talk"]
    assert texts
    assert {(one.is_free, one.gold_correct, one.agrees, one.confidence, one.peers) for one in texts} == {
        (True, None, None, None, 0)
    }


def test_people_work_by_day_and_rest_by_night(answers: list[tuple[Answer, tuple[str, str, str]]]) -> None:
    hours = Counter((one.submitted_ms // 3_600_000 + 2) % 24 for one, segment in answers if segment[2] == "acme")
    assert sum(hours[hour] for hour in (20, 21, 22, 23, 0, 1, 2, 3, 4, 5, 6)) == 0
    assert min(hours[hour] for hour in (10, 11, 14)) > 100


def test_an_incident_costs_what_the_truth_says(run: Run, answers: list[tuple[Answer, tuple[str, str, str]]]) -> None:
    true, stall = run.incidents
    start, end = to_ms(true.incident.start), to_ms(true.incident.end)
    hit = [
        one.gold_correct
        for one, segment in answers
        if one.labeler_id in true.incident.labeler_ids and start <= one.submitted_ms < end and segment[0] == "zoo"
    ]
    golds = [one for one in hit if one is not None]
    assert (len(hit), len(golds)) == (true.answers, true.golds)
    assert np.mean(golds) == pytest.approx(true.right, abs=0.1)
    assert true.incident.points == pytest.approx(100 * (true.right_before - true.right), abs=0.06)
    assert true.incident.points == pytest.approx(40, abs=12)
    assert len(true.incident.labeler_ids) == 4
    start, end = to_ms(stall.incident.start), to_ms(stall.incident.end)
    assert stall.answers > 100
    assert not [one for one, _ in answers if start <= one.submitted_ms < end]


def test_everybody_keeps_their_level_where_nothing_happens() -> None:
    calm, hit = run_of(""), run_of("incidents: [{kind: vendor, vendor: busy, points: 30, start: 0h, lasts: 1d}]\n")
    assert calm.answers == hit.answers
    acme = [
        [(one.labeler_id, one.label) for batch in run for one in batch.answers if one.labeler_id.startswith("acme")]
        for run in (calm, hit)
    ]
    assert acme[0] == acme[1]


@pytest.mark.parametrize(
    ("incident", "check"),
    [
        ("{kind: constant, labelers: 4, start: 5h, lasts: 10h, project: zoo, vendor: acme}", "constant"),
        ("{kind: speed, labelers: 4, points: 20, start: 5h, lasts: 10h, project: zoo, vendor: acme}", "fast"),
        ("{kind: guideline, start: 5h, lasts: 10h, project: zoo}", "swap"),
    ],
)
def test_each_kind_does_what_it_is_called(incident: str, check: str) -> None:
    run = run_of(f"incidents: [{incident}]\n")
    (true,) = run.incidents
    start, end = to_ms(true.incident.start), to_ms(true.incident.end)
    columns = run.columns
    inside = (columns["answer_ms"] >= start) & (columns["answer_ms"] < end)
    inside &= np.array([segment[0] == "zoo" for segment in run.segments])[columns["segment"]]
    if check == "swap":
        assert true.classes == ("cat", "dog")
        cats = columns["label"][inside & (columns["true_class"] == "cat")]
        assert np.mean(cats == "dog") > 0.8
        return
    inside &= np.isin(columns["labeler"], true.incident.labeler_ids)
    if check == "fast":
        flags = columns["is_too_fast"][inside]
        assert np.mean(flags[flags < 2]) > 0.4
    else:
        for labeler in true.incident.labeler_ids:
            assert len(set(columns["label"][inside & (columns["labeler"] == labeler)])) == 1


def test_no_room_is_said() -> None:
    with pytest.raises(ValueError, match=r"incidents\[0\] \(constant\): found no place"):
        run_of("incidents: [{kind: constant, labelers: 19, start: 5h, lasts: 9h, project: zoo, vendor: acme}]\n")


async def test_sums_for_explanations_are_those_of_the_answers(
    run: Run, answers: list[tuple[Answer, tuple[str, str, str]]]
) -> None:
    since, at = run.start_ms + 20 * 3_600_000, run.start_ms + 40 * 3_600_000
    question = Question(
        metric="gold_accuracy", project_id="zoo", vendor_id="acme", since_ms=since, at_ms=at, baseline=0.9,
        direction="down",
    )  # fmt: skip
    rows = await RunCells(run).rows(question)
    golds = [one for one, segment in answers if one.gold_correct is not None and segment[2] == "acme"]
    before = [one.gold_correct for one in golds if one.submitted_ms < since]
    after = [one.gold_correct for one in golds if since <= one.submitted_ms <= at]
    assert sum(row.before.weight for row in rows) == len(before) > 0
    assert sum(row.after.weight for row in rows) == len(after) > 0
    assert sum(row.after.value for row in rows) == sum(filter(None, after))
    assert all(
        (row.after.value == row.after.weight) == (row.answer == row.true_class) for row in rows if row.after.weight
    )
    judged = await RunCells(run).rows(question, "by consensus")
    assert sum(row.after.weight for row in judged) > 2 * len(after)
