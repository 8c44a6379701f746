"""Rules on stored measurements: what would have fired, and that it is what a worker's rules would have said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from detectors.alerts.alert import Transition
from detectors.alerts.book import AlertBook
from detectors.rule_method import CannotPlanError, Detecting
from detectors.watch.watch import Watch
from schemas.incident import Incident
from schemas.measurements import RulesChange
from schemas.rows import StateRow
from schemas.thresholds import Rule
from schemas.verdicts import Verdicts
from streams.backtest.backtest import WEEK_MS, Backtest, Side, Span, backtest
from streams.backtest.log_line import log_line
from streams.backtest.rules_run import RulesRun, Stored, shared_planner
from streams.backtest.scores import score
from streams.state.watch import WatchState
from streams.thresholds import LoadedThresholds, parse_thresholds
from streams.watch import WatchPipeline
from tests.builders import Message
from tests.histories import BAD, DAY, HOUR, MINUTES, at, change, measured, moment, rules_text, with_changes
from tests.measured import START_MS, batch, quick_plan

ALL = Span(0)
CHANGES = with_changes(
    measured(),
    (0, change(rules_text(), 0)),
    (60, change(rules_text(0.3), 600)),
    (80, change(rules_text(name="other"), 800)),  # while the alert of the first bad hours is open
    (100, change("version: 1\nrules: nonsense\n", 1_000)),
    (105, change(rules_text(0.1), 750)),  # an older file, of a worker that lags
    (125, change(rules_text(), 1_250)),
)


def rules(text: str = "", **more: Any) -> LoadedThresholds:
    return parse_thresholds(
        (text or rules_text(**more)).encode(), "t.yaml", changed_at=datetime(2026, 1, 5, tzinfo=UTC)
    )


def tried_on(
    messages: Sequence[Stored], tried: LoadedThresholds | None, span: Span = ALL, other: Side | None = None
) -> tuple[Backtest, list[bytes]]:
    lines: list[bytes] = []
    result = backtest(
        messages,
        "app",
        span,
        Side("t.yaml", tried),
        other,
        planner=quick_plan,
        log=lambda one: lines.append(log_line(one)),
    )
    return result, lines


class Live:
    """WATCH and NOTIFY as workers run them: over their topics, with state that is stored and restored."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._state: dict[tuple[str, str], StateRow] = {}
        self._alerts: dict[tuple[str, str], str] = {}
        self._restart()

    def _restart(self) -> None:
        self.pipeline = WatchPipeline(WatchState("app", "app.watch", 0, lambda: Watch(quick_plan)))
        self.pipeline.state.restore(row for row in self._state.values() if not row.is_deleted)
        self.book = AlertBook("app")
        self.book.load((kind, key, payload) for (kind, key), payload in self._alerts.items())

    def take(self, offset: int, message: Stored, *, restart: bool) -> None:
        record = Message(offset, message_ms(message), None, message.model_dump_json().encode())
        self.pipeline.process("measurements", [record])
        changes = self.pipeline.state.changes(0)
        for sent in changes.messages:
            self.lines += map(log_line, self.book.take(Verdicts.model_validate_json(sent.value or b"")))
        self._state.update(((row.kind, row.key), cast(StateRow, row)) for row in changes.state)
        for kind, key, payload in self.book.take_changed():
            if payload is None:
                self._alerts.pop((kind, key), None)
            else:
                self._alerts[kind, key] = payload
        if restart:
            self._restart()


def message_ms(message: Stored) -> int:
    return message.accepted_at_ms if isinstance(message, RulesChange) else message.arrived_ms


class TestEqualsLive:
    def test_the_log_is_that_of_workers_also_where_rules_changed(self) -> None:
        live = Live()
        for offset, message in enumerate(CHANGES):
            live.take(offset, message, restart=offset % 50 == 7)
        result, lines = tried_on(CHANGES, None)
        assert lines == live.lines
        kinds = [orjson.loads(line)["alert"]["ended"] for line in lines if orjson.loads(line)["change"] == "resolved"]
        assert "dropped" in kinds  # the rule went while its alert was open
        assert "recovered" in kinds
        assert result.tried.changes == 4
        assert {rule.name for rule in result.tried.rules} == {"gold", "other"}

    def test_that_of_a_file_is_as_if_it_had_been_in_force_from_the_start(self) -> None:
        live = Live()
        only = with_changes(measured(), (0, change(rules_text(), 0)))
        for offset, message in enumerate(only):
            live.take(offset, message, restart=False)
        _, lines = tried_on(CHANGES, rules())
        assert lines == live.lines
        assert tried_on(CHANGES, rules())[1] == lines

    def test_what_is_forgotten_on_the_way_does_not_matter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _, lines = tried_on(CHANGES, None)
        monkeypatch.setattr("streams.backtest.rules_run._FORGET_EVERY", 3)
        assert tried_on(CHANGES, None)[1] == lines


class TestAlerts:
    def test_fire_when_it_got_worse_and_end_when_it_is_well(self) -> None:
        result, _ = tried_on(measured(), rules())
        assert len(result.tried.fired) == 2
        for fired, (begin, end) in zip(result.tried.fired, BAD, strict=True):
            assert fired.alert.scope.labeler_id == "ann"
            assert at(begin) < fired.fired_ms < at(end)
            assert fired.told_ms == fired.fired_ms
            assert fired.resolved_ms is not None
            assert fired.resolved_ms > at(end)
            assert fired.ended == "recovered"
        assert (result.first_ms, result.end_ms) == (START_MS, at(MINUTES - 1))
        assert (result.answers, result.messages) == (MINUTES, MINUTES // 10)

    def test_before_since_only_teach(self) -> None:
        result, lines = tried_on(measured(), rules(), Span(at(DAY)))
        assert [one.fired_ms > at(36 * HOUR) for one in result.tried.fired] == [True]
        assert all(orjson.loads(line)["at_ms"] >= at(DAY) for line in lines)
        whole, _ = tried_on(measured(), rules())
        assert result.tried.fired == whole.tried.fired[1:]
        assert result.tried.open_before == 0

    def test_that_were_open_before_are_counted_and_not_listed(self) -> None:
        whole, _ = tried_on(measured(), rules())
        result, lines = tried_on(measured(), rules(), Span(whole.tried.fired[0].fired_ms + 1))
        assert result.tried.open_before == 1
        assert len(result.tried.fired) == 1
        changes = [change for line in lines if (change := orjson.loads(line)["change"]) != "updated"]
        assert changes[0] == "resolved"

    def test_from_until_on_nothing_is_read(self) -> None:
        messages = iter(measured())
        lines: list[bytes] = []
        result = backtest(
            messages, "app", Span(0, at(DAY)), Side("t", rules()), planner=quick_plan,
            log=lambda one: lines.append(log_line(one)),
        )  # fmt: skip
        assert len(result.tried.fired) == 1
        assert result.end_ms == at(DAY)
        assert len(list(messages)) == (MINUTES - DAY) // 10 - 1
        assert lines

    def test_that_are_open_at_the_end_have_none(self) -> None:
        whole, _ = tried_on(measured(), rules())
        until_ms = (whole.tried.fired[0].resolved_ms or 0) - 1
        result, _ = tried_on(measured(), rules(), Span(0, until_ms))
        (fired,) = result.tried.fired
        assert (fired.resolved_ms, fired.lasted_ms(result.end_ms)) == (None, until_ms - fired.fired_ms)

    def test_that_do_not_last_are_counted(self) -> None:
        result, _ = tried_on(measured(), rules(more=", for: 12h"))
        assert (result.tried.fired, result.tried.calmed) == ([], 2)

    def test_that_must_last_fire_though_nothing_more_is_said(self) -> None:
        result, _ = tried_on(measured(), rules(more=", for: 30m"), Span(0, at(BAD[0][1])))
        (fired,) = result.tried.fired
        assert fired.fired_ms == fired.alert.began_ms + 30 * 60_000

    def test_in_quiet_hours_fire_and_are_told_later(self) -> None:
        result, _ = tried_on(measured(), rules(more=', schedule: {quiet_hours: [{from: "00:00", to: "23:59"}]}'))
        assert len(result.tried.fired) == 2
        assert all(one.told_ms is None or one.told_ms > one.fired_ms for one in result.tried.fired)

    def test_by_week_beside_all_rules(self) -> None:
        result, _ = tried_on(measured(), rules(), Span(START_MS))
        assert result.by_week(result.tried) == {"gold": [2]}
        assert result.weeks == pytest.approx(2 / 7, abs=1e-3)
        calm, _ = tried_on(measured(), rules(), Span(START_MS - 2 * WEEK_MS))
        assert calm.by_week(calm.tried) == {"gold": [0, 0, 2]}

    def test_of_nothing(self) -> None:
        result, _ = tried_on([], rules())
        assert (result.end_ms, result.first_ms, result.tried.fired, result.weeks) == (0, 0, [], 0)
        assert result.by_week(result.tried) == {"gold": [0]}
        heartbeats, _ = tried_on([batch(app_id="app", sent_ms=at(1))], rules())
        assert (heartbeats.end_ms, heartbeats.answers) == (0, 0)


class TestAgainst:
    def kinds(self, tried: LoadedThresholds | None, other: LoadedThresholds | None) -> list[str]:
        result, _ = tried_on(CHANGES, tried, other=Side("old", other))
        return [one.kind for one in result.differences]

    def test_the_same(self) -> None:
        assert self.kinds(rules(), rules()) == ["same", "same"]

    def test_another_name_is_another_rule(self) -> None:
        assert sorted(self.kinds(rules(), rules(name="old"))) == ["gone", "gone", "new", "new"]

    def test_later_and_earlier_are_each_others_inverse(self) -> None:
        late = rules(more=", for: 30m")
        result, _ = tried_on(CHANGES, late, other=Side("old", rules()))
        assert [(one.kind, one.later_ms) for one in result.differences] == [("later", 30 * 60_000)] * 2
        assert self.kinds(rules(), late) == ["earlier", "earlier"]

    def test_those_in_force_at_the_time(self) -> None:
        result, _ = tried_on(CHANGES, rules(), other=Side("current", None))
        assert result.other is not None
        live, _ = tried_on(CHANGES, None)
        assert result.other.fired == live.tried.fired
        assert [one.ended for one in live.tried.fired][:1] == ["dropped"]
        assert [one.kind for one in result.differences][-1] == "same"


class TestIncidents:
    TRUTH = (
        {"kind": "labelers", "labeler_ids": "ann", "start": BAD[0][0], "end": BAD[0][1]},
        {"kind": "labelers", "labeler_ids": "bob", "start": DAY, "end": DAY + HOUR},
        {"kind": "vendor", "vendor_id": "v", "start": -2 * DAY, "end": -DAY},
    )

    def test_are_found_missed_or_not_judged(self) -> None:
        incidents = [
            Incident.model_validate({**one, **{side: moment(cast(int, one[side])) for side in ("start", "end")}})
            for one in self.TRUTH
        ]
        result, _ = tried_on(measured(), rules(), Span(START_MS))
        scores = score(result, result.tried, incidents)
        first, second = result.tried.fired
        assert [(one.delay_ms, one.alerts) for one in scores.found] == [
            (first.fired_ms - at(BAD[0][0]), (first,)),
            (None, ()),
        ]
        assert (scores.recall, scores.precision, scores.false, scores.outside) == (0.5, 0.5, (second,), 1)
        assert scores.delay_ms == first.fired_ms - at(BAD[0][0])
        nothing = score(result, result.tried, [])
        assert (nothing.recall, nothing.precision, nothing.delay_ms) == (None, 0.0, None)

    def test_are_of_work_that_there_was(self) -> None:
        text = rules_text(0.1).replace("scope: labeler", "scope: vendor")
        result, _ = tried_on(measured(), rules(text), Span(START_MS))
        assert result.segments == {("p", "t", "v")}
        for project, recall in (("p", 1.0), ("q", 0.0)):  # the vendor does not work on q
            one = {"kind": "project", "project_id": project, "start": moment(BAD[0][0]), "end": moment(BAD[0][1])}
            assert score(result, result.tried, [Incident.model_validate(one)]).recall == recall

    def test_those_that_nobody_is_told_of_do_not_count(self) -> None:
        result, _ = tried_on(measured(), rules(), Span(START_MS))
        for fired in result.tried.fired:
            fired.told_ms = None
        scores = score(result, result.tried, [])
        assert (scores.told, scores.false, scores.precision) == (0, (), None)


class TestPlanning:
    def test_the_same_question_is_worked_out_once(self) -> None:
        asked: list[float] = []

        def plan(rule: Rule, volume: float, level: float | None) -> tuple[Detecting, ...]:
            asked.append(volume)
            if volume > 100:
                raise CannotPlanError("too many")
            return quick_plan(rule, volume, level)

        planner, (one,) = shared_planner(plan), rules().rules
        assert planner(one, 64.0, None) is planner(one, 64.0, None)
        for _ in range(2):
            with pytest.raises(CannotPlanError, match="too many"):
                planner(one, 128.0, None)
        assert planner(one, 64.0, 0.9) is not planner(one, 64.0, None)
        assert asked == [64.0, 128.0, 64.0]

    def test_rules_that_do_not_run_are_said(self) -> None:
        def plan(rule: Rule, volume: float, level: float | None) -> tuple[Detecting, ...]:
            raise CannotPlanError("not at this volume")

        result = backtest(measured()[:5], "app", ALL, Side("t", rules()), planner=plan)
        assert result.tried.problems == {"gold": "not at this volume"}


def test_a_run_without_rules_says_nothing() -> None:
    run = RulesRun("app", None, quick_plan)
    told: list[Transition] = [one for message in measured()[:200] for one in run.take(message)]
    assert (told, run.rules, run.changes) == ([], (), 0)
    assert run.clock_ms > START_MS


def test_log_lines_are_plain_json(tmp_path: Path) -> None:
    _, lines = tried_on(measured(), rules())
    first = orjson.loads(lines[0])
    assert list(first) == ["at_ms", "change", "notice", "alert"]
    assert first["alert"]["scope"]["labeler_id"] == "ann"
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)
