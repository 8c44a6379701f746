"""Scenario files: the shipped ones hold, and what cannot be is refused by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.evaluate.scenario.file import ScenarioFileError, load, parse_scenario
from tests.scenarios import SMALL


def refusal(text: str) -> str:
    with pytest.raises(ScenarioFileError) as caught:
        parse_scenario(text, "s.yaml")
    return str(caught.value)


def test_what_is_shipped_is_of_the_size_that_is_promised() -> None:
    calm, incidents = load("calm"), load("incidents")
    for one in (calm, incidents):
        assert sum(vendor.labelers for vendor in one.vendors) == 1_000
        assert len(one.projects) == 20
    assert calm.incidents == ()
    due = [one for one in incidents.incidents if one.points is None or one.points[0] >= 10]
    assert len(due) >= 12
    assert {one.kind for one in incidents.incidents} >= {
        "labelers",
        "vendor",
        "guideline",
        "speed",
        "constant",
        "stall",
    }
    # calm is the very same week, so that whatever differs is the incidents
    same = {"projects", "vendors", "tasks", "changes", "warm_up", "duration"}
    assert calm.model_dump(include=same) == incidents.model_dump(include=same)


@pytest.mark.parametrize(
    ("added", "says"),
    [
        ("incidents: [{kind: vendor, start: 1h, lasts: 2h}]", "points: of kind vendor it is missing"),
        ("incidents: [{kind: stall, start: 1h, lasts: 2h, points: 10}]", "points: of kind stall it follows"),
        ("incidents: [{kind: speed, start: 1h, lasts: 2h, points: 10}]", "labelers: of kind speed it is missing"),
        ("incidents: [{kind: project, start: 1h, lasts: 2h, points: [20, 10]}]", "a range is [lowest, highest]"),
        ("incidents: [{kind: project, start: 1d, lasts: 2h, points: 10}]", "may be after the scenario's end"),
        ("incidents: [{kind: project, start: 1h, lasts: 2h, points: 10, project: zo}]", "there is no 'zo'"),
        ("changes: [{kind: holiday, start: 1h}]", "vendor: is missing, and kind holiday needs it"),
        ("changes: [{kind: classes, project: zoo, classes: {cow: 2}, start: 1h}]", "zoo has no class 'cow'"),
        ("incident: []", "incident: Extra inputs"),
    ],
)
def test_what_cannot_be_is_refused(added: str, says: str) -> None:
    assert says in refusal(SMALL + added + "\n")


def test_a_refusal_says_where() -> None:
    lines = SMALL.replace("Europe/Riga", "Europe/Rga").splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "Rga" in text)
    assert refusal("\n".join(lines)).startswith(f"s.yaml:{line}:5: vendors.0: time_zone: 'Europe/Rga' is not")
    assert refusal("version: [1\n").startswith("s.yaml:2:1: not YAML")
    assert "there is no 'nobody' among the vendors" in refusal(SMALL.replace("[acme]", "[nobody]"))


def test_a_missing_file_says_which_are_shipped(tmp_path: Path) -> None:
    with pytest.raises(ScenarioFileError, match="shipped scenario: calm, incidents"):
        load("cal")
    with pytest.raises(ScenarioFileError, match="cannot be read: Is a directory"):
        load(str(tmp_path))
