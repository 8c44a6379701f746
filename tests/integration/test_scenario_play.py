"""Scenarios through rules, alerts and explanations, and the command that shows it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result

from detectors.alerts.alert import Alert, AlertKey
from detectors.alerts.book import AlertBook
from detectors.explain import Named
from detectors.incident_match import Fired
from schemas.incident import Incident, read_incidents
from schemas.thresholds import Rule
from schemas.verdicts import VerdictScope
from streams.cli import cli
from streams.evaluate.scenario import play as played_module
from streams.evaluate.scenario.file import parse_scenario
from streams.evaluate.scenario.play import Found, Played, Says, Told, as_rows, names_right, play
from streams.evaluate.scenario.stream import TrueIncident
from tests.alerts import HOUR, T0, batch, figures, verdict
from tests.scenarios import SMALL

pytestmark = pytest.mark.integration

VENDOR = "incidents: [{kind: vendor, vendor: acme, points: 40, start: 7h, lasts: 8h}]\n"
#: Without threshold to simulate: blocks of fifty under .7.
RULES = """\
version: 1
rules:
  - {name: gold, metric: gold_accuracy, scope: vendor, method: fixed, limit: 0.7, min_count: 50}
  - {name: jumpy, metric: gold_accuracy, scope: vendor, method: fixed, limit: 0.99, min_count: 50}
"""


def rule(limit: float, name: str = "gold") -> Rule:
    return Rule.model_validate(
        {"name": name, "metric": "gold_accuracy", "scope": "vendor", "method": "fixed", "limit": limit, "min_count": 50}
    )


@pytest.fixture(scope="module")
def played() -> Played:
    shares: list[float] = []
    scenario = parse_scenario(SMALL + VENDOR, "small")
    found = play(scenario, 1, [rule(0.7), rule(0.99, "jumpy")], shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    return found


def test_an_incident_is_found_in_time_and_named(played: Played) -> None:
    (found,) = played.found
    assert found.is_due
    by_rule = {told.fired.rule: told for told in found.told}
    assert by_rule["gold"].fired.scope.vendor_id == "acme"
    assert by_rule["gold"].says in ("vendor", "everyone", "task_type")
    assert names_right(by_rule["gold"], found.true)
    assert found.delay_minutes is not None
    assert 0 < found.delay_minutes < 120


def test_what_fires_for_nothing_is_false(played: Played) -> None:
    assert {told.fired.rule for told in played.false} == {"jumpy"}
    rows = as_rows(played)
    assert [row["row"] for row in rows].count("incident") == 1
    assert [row["row"] for row in rows].count("false_alert") == len(played.false) > 0
    json.dumps(rows)


def told(says: Says, *named: tuple[str, str], **fields: str) -> Told:
    kind = "labeler" if "labeler_id" in fields else "segment" if fields else "all"
    scope = VerdictScope.model_validate({"kind": kind, "text": kind, **fields})
    alert = Alert("id", AlertKey("gold", "change", (kind,)), rule(0.7), scope, "firing", 0, None)
    return Told(Fired("gold", "gold_accuracy", scope, 0), alert, says, tuple(Named(*one) for one in named))


def true(kind: str, **fields: object) -> TrueIncident:
    classes = fields.pop("classes", None)
    times = {"start": "2026-01-09T06:00:00Z", "end": "2026-01-09T10:00:00Z"}
    return TrueIncident(Incident.model_validate({**times, "kind": kind, **fields}), classes, 0, 0, 1.0, 0.5, {})  # type: ignore[arg-type]  # a pair or None


PEOPLE = true("labelers", labeler_ids=("ann", "bob"))
SWAP = true("guideline", classes=("cat", "dog"))
ACME = true("vendor", vendor_id="acme")
ZOO = true("project", project_id="zoo", task_type="animals")


@pytest.mark.parametrize(
    ("message", "incident", "is_right"),
    [
        (told("labelers", ("labeler", "ann")), PEOPLE, True),
        (told("labelers", ("labeler", "ann"), ("labeler", "bob"), ("labeler", "eve")), PEOPLE, True),
        (told("labelers", ("labeler", "ann"), ("labeler", "eve")), PEOPLE, False),
        (told("labelers", ("labeler", "eve"), ("labeler", "ann"), ("labeler", "bob")), PEOPLE, False),
        (told("vendor", ("vendor", "acme")), PEOPLE, False),
        (told("class_pair", ("task_type", "animals"), ("true_class", "dog"), ("answer", "cat")), SWAP, True),
        (told("class_pair", ("true_class", "cat")), SWAP, True),
        (told("class_pair", ("true_class", "cat"), ("answer", "owl")), SWAP, False),
        (told("everyone"), SWAP, False),
        (told("vendor", ("vendor", "acme"), ("task_type", "animals")), ACME, True),
        (told("vendor", ("vendor", "busy")), ACME, False),
        (told("everyone", vendor_id="acme"), ACME, True),
        (told("everyone"), ACME, False),
        (told("labelers", ("labeler", "ann"), labeler_id="ann"), ACME, False),
        (told("task_type", ("task_type", "animals")), ZOO, True),
        (told("vendor", ("vendor", "acme"), vendor_id="acme"), ZOO, True),
        (told("vendor", ("vendor", "acme")), ZOO, False),
        (told("task_type", ("task_type", "captions")), ZOO, False),
        (told("mix"), ZOO, False),
        (told("nothing"), ZOO, False),
    ],
)
def test_what_counts_as_named_right(message: Told, incident: TrueIncident, is_right: bool) -> None:
    assert names_right(message, incident) is is_right


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "detectors", *arguments], terminal_width=200)


def test_the_command_shows_tables_and_writes_the_truth(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SMALL + VENDOR)
    (tmp_path / "rules.yaml").write_text(RULES)
    given = ("--scenario", str(tmp_path / "small.yaml"), "--thresholds", str(tmp_path / "rules.yaml"), "--seed", "1")
    result = run(*given, "--truth", str(tmp_path / "truth.csv"))
    assert result.exit_code == 0, result.output
    assert "Incidents" in result.stdout
    assert "jumpy" in result.stdout
    (incident,) = read_incidents((tmp_path / "truth.csv").read_text().splitlines(), "truth.csv")
    assert (incident.kind, incident.vendor_id) == ("vendor", "acme")
    result = run(*given, "--json")
    assert result.stderr == ""
    rows = json.loads(result.stdout)
    assert {"seed", "kind", "points", "found", "delay_minutes", "named_right", "rule"} <= rows[0].keys()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--scenario", "calm", "--null"), "exclude each other"),
        (("--scenario", "calm", "--drop", ".9:.8"), "exclude each other"),
        (("--truth", "t.csv"), "need --scenario"),
        (("--scenario", "cal"), "cal: does not exist; give a file, or a shipped scenario: calm, incidents"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: tuple[str, ...], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code != 0
    assert says in result.output


def test_labelers_of_another_incident_are_not_named_wrongly() -> None:
    message = told("labelers", ("labeler", "ann"), ("labeler", "eve"))
    assert names_right(message, PEOPLE, frozenset({"eve"}))
    assert not names_right(told("labelers", ("labeler", "eve"), ("labeler", "ann")), PEOPLE, frozenset({"eve"}))


def test_who_was_too_early_to_say_is_told_when_it_can_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    book, messages = AlertBook("app"), list[Told]()
    says = iter([told("unclear"), told("unclear"), told("everyone"), told("vendor")])
    monkeypatch.setattr(played_module, "_told", lambda alert, at_ms, cells: next(says))
    for hour in range(6):
        for transition in book.take(batch(*([verdict(1)] if not hour else []), clock=T0 + hour * HOUR)):
            played_module._tell(messages, transition, cast(Any, None))
    assert [one.says for one in messages] == ["unclear", "everyone"]


@pytest.mark.parametrize(("end", "says"), [("recovered", ["unclear", "everyone"]), ("withdrawn", ["unclear"])])
def test_what_is_over_says_who_it_was(monkeypatch: pytest.MonkeyPatch, end: Any, says: list[str]) -> None:
    book, messages = AlertBook("app"), list[Told]()
    said = iter([told("unclear"), told("everyone")])
    monkeypatch.setattr(played_module, "_told", lambda alert, at_ms, cells: next(said))
    for transition in book.take(batch(verdict(1), verdict(2, end, T0 + HOUR // 2))):
        played_module._tell(messages, transition, cast(Any, None))
    assert [one.says for one in messages] == says


def test_the_first_message_that_names_a_cause_is_judged() -> None:
    early, wrong, right = told("unclear"), told("everyone"), told("labelers", ("labeler", "ann"))
    late = Found(PEOPLE, (early,), (early, right, wrong))
    assert (late.is_named, late.is_named_at_once, late.naming) == (True, False, right)
    assert Found(PEOPLE, (wrong,), (early, wrong, right)).is_named is False
    assert Found(PEOPLE, (early,), (early,)).is_named is False
    assert Found(PEOPLE, (wrong,), ()).is_named is False, "found by an alert that is about another one"
    assert Found(PEOPLE, (), ()).is_named is None


def test_an_alert_that_tells_of_an_incident_long_over_is_not_about_the_next_one() -> None:
    """Ten wrong answers were of the one at six o'clock, which is over by fourteen, and two of the one at noon."""
    start = T0 - T0 % (24 * HOUR)
    day = datetime.fromtimestamp(start / 1_000, UTC)
    incidents = [
        true("vendor", vendor_id="acme", start=day + timedelta(hours=begins), end=day + timedelta(hours=ends))
        for begins, ends in [(6, 7), (12, 18)]
    ]
    columns = {
        "answer_ms": np.array([start + 6 * HOUR] * 10 + [start + 12 * HOUR] * 2),
        "lost_to": np.array([0] * 10 + [1] * 2),
        "segment": np.zeros(12, dtype=int),
    }
    run = cast(Any, SimpleNamespace(incidents=incidents, columns=columns, segments=[("zoo", "animals", "acme")]))

    def main_of(since: int) -> int | None:
        message = told("everyone", vendor_id="acme")
        alert = replace(message.alert, figures=figures(since_ms=start + since * HOUR))
        message = message._replace(fired=message.fired._replace(at_ms=start + 14 * HOUR), alert=alert)
        return played_module._main_of(message, [1], run, set(run.segments))

    assert (main_of(5), main_of(11)) == (0, 1)
