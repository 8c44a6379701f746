"""Replay: counting, pacing, limits, interruption, and what the command says and returns. No broker."""

from __future__ import annotations

import csv
import gc
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from schemas.events import AnnotationEvent
from schemas.labels import ClassLabel
from streams.cli import cli
from streams.cli.replay_report import progress_display
from streams.sources.producer import DrySender
from streams.sources.replay import MAX_NAP_SECONDS, ReplayReport, pump
from streams.sources.source import Item, Message, Rejected

START = datetime(2026, 1, 1, tzinfo=UTC)


def annotation(number: int, second: float) -> AnnotationEvent:
    return AnnotationEvent(
        event_id=f"e{number}",
        task_id=f"t{number}",
        labeler_id="l",
        project_id="p",
        vendor_id="v",
        task_type="t",
        label=ClassLabel(value="yes"),
        started_at=START,
        submitted_at=START + timedelta(seconds=second),
    )


class Items:
    def __init__(self, *items: Item) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def estimate(self) -> int:
        return len(self.items)


class Hand:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.naps: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


REFUSED = Rejected("f.csv", 3, "when", "'soon' is not a time")


def test_counts_of_what_was_sent_and_refused() -> None:
    told: list[Rejected] = []
    sender = DrySender(show=1)
    source = Items(REFUSED, Rejected("f.csv", 9, "when", "'later' is not a time"), annotation(1, 5), annotation(2, 9))
    report = pump(source, sender, on_rejected=told.append)
    assert (report.sent, report.rejected, report.interrupted) == (2, 2, False)
    assert report.by_topic == {"annotations": 2}
    assert report.last_event_ms is not None
    assert report.first_event_ms is not None
    assert report.last_event_ms - report.first_event_ms == 4_000
    assert [one.row for one in told] == [3, 9]
    ((key, group),) = report.groups.items()
    assert key == ("when", "… is not a time")
    assert (group.count, [one.row for one in group.examples]) == (2, [3, 9])
    assert [message.key for message in sender.first] == [b"t1"]


def test_pacing_follows_event_time() -> None:
    hand = Hand()
    sent_at: list[float] = []

    class Noting(DrySender):
        def send(self, message: Message) -> None:
            sent_at.append(hand.now - 100.0)
            super().send(message)

    source = Items(annotation(1, 0), annotation(2, 10), annotation(3, 70), annotation(4, 40))
    pump(source, Noting(), speed=10.0, clock=hand.clock, sleep=hand.sleep)
    assert sent_at == pytest.approx([0.0, 1.0, 7.0, 7.0])
    assert max(hand.naps) <= MAX_NAP_SECONDS


def test_without_a_speed_nothing_waits() -> None:
    hand = Hand()
    pump(Items(annotation(1, 0), annotation(2, 1_000)), DrySender(), clock=hand.clock, sleep=hand.sleep)
    assert hand.naps == []


@pytest.mark.parametrize(("limit", "sent"), [(0, 0), (2, 2), (9, 3), (None, 3)])
def test_limit(limit: int | None, sent: int) -> None:
    source = Items(REFUSED, annotation(1, 0), annotation(2, 1), annotation(3, 2))
    assert pump(source, DrySender(), limit=limit).sent == sent


def test_disturbed_messages_are_what_is_sent() -> None:
    def twice(messages: Iterable[Message]) -> Iterator[Message]:
        for message in messages:
            yield message
            yield message

    assert pump(Items(annotation(1, 0)), DrySender(), disturb=twice).sent == 2


def test_interruption_flushes_and_reports() -> None:
    class Interrupted(DrySender):
        flushed = False

        def send(self, message: Message) -> None:
            if self.delivered == 2:
                raise KeyboardInterrupt
            super().send(message)

        def flush(self) -> None:
            self.flushed = True

    sender = Interrupted()
    report = pump(Items(*(annotation(n, n) for n in range(5))), sender)
    assert report.interrupted
    assert report.sent == 2
    assert sender.flushed


def test_plain_progress_speaks_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    hand = Hand()
    with progress_display(10, clock=hand.clock) as progress:
        report = ReplayReport(sent=4, rejected=1, seconds=5.0, by_topic={"annotations": 4})
        progress(report)
        assert capsys.readouterr().err == ""
        hand.now += 5
        progress(report)
        progress(report)
    assert capsys.readouterr().err == "replaying: 5 of about 10, 1/s, 1 rejected, 5 s left\n"


HEADER = "_unit_id,_created_at,_id,_started_at,_channel,_worker_id,answer\n"
GOOD = "u1,9/7/2016 10:01:00,1,9/7/2016 10:00:00,c,w1,yes\nu1,9/7/2016 10:02:00,2,9/7/2016 10:00:00,c,w2,no\n"
BAD = "u1,soon,3,9/7/2016 10:00:00,c,w3,no\n"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text(HEADER + GOOD + BAD, encoding="utf-8")
    return path


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["replay", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


FIGURE_EIGHT = ("--project", "p", "--task-type", "t", "--label-kind", "class", "--dry-run")


def test_dry_run_shows_what_would_be_sent_and_why_not(export: Path, tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    code, out, _ = run("figure-eight", export, *FIGURE_EIGHT, "--rejects", rejects)
    assert code == 0
    assert "would send 2 messages" in out
    assert "rejected 1 row\n" in out
    assert f"{export}, row 3, column _created_at: 'soon' is not a time" in out
    with rejects.open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == [
            {
                "file": str(export),
                "row": "3",
                "column": "_created_at",
                "reason": "'soon' is not a time of the form 9/7/2016 23:50:20",
            }
        ]
    first = next(line for line in out.splitlines() if line.startswith("  {"))
    assert AnnotationEvent.model_validate(json.loads(first)).event_id == "p:1"


def test_strict_fails_on_a_rejected_row_only(export: Path) -> None:
    assert run("figure-eight", export, *FIGURE_EIGHT, "--strict")[0] == 1
    export.write_text(HEADER + GOOD, encoding="utf-8")
    assert run("figure-eight", export, *FIGURE_EIGHT, "--strict")[0] == 0


def test_a_replay_of_which_every_row_was_rejected_failed(export: Path) -> None:
    export.write_text(HEADER + BAD, encoding="utf-8")
    code, out, _ = run("figure-eight", export, *FIGURE_EIGHT, "--label", "answer")
    assert code == 1
    assert "would send 0 messages" in out
    assert "rejected 1 row\n" in out
    assert run("figure-eight", export, *FIGURE_EIGHT, "--label", "answer", "--limit", "0")[0] == 0


@pytest.mark.parametrize("command", ["csv", "jsonl"])
def test_options_that_the_mapping_contradicts_are_wrong_usage(tmp_path: Path, command: str) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "fields: {labeler_id: who, task_id: item, label: verdict, seconds: took, vendor_id: firm}\n"
        "constants: {project_id: relevance, task_type: t}\n"
        "clock: {start: 2026-01-01T00:00:00Z, step_seconds: 10}\n",
        encoding="utf-8",
    )
    data = tmp_path / "data"
    row = {"who": "anna", "item": "1", "verdict": "yes", "took": "5", "firm": "v"}
    lines = {"csv": f"{','.join(row)}\n{','.join(row.values())}\n", "jsonl": json.dumps(row)}
    data.write_text(lines[command], encoding="utf-8")
    for option, given, problem in (
        ("--project", "other", "already says project_id: relevance"),
        ("--task-type", "other", "already says task_type: t"),
        ("--vendor", "other", "already takes vendor_id from column firm"),
    ):
        code, _, err = run(command, data, "--mapping", mapping, option, given, "--dry-run")
        assert code == 2
        assert problem in " ".join(err.split())
    assert run(command, data, "--mapping", mapping, "--project", "relevance", "--dry-run")[0] == 0


def test_own_events_name_their_project(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(annotation(1, 5).model_dump_json() + "\n", encoding="utf-8")
    code, _, err = run("jsonl", path, "--project", "p", "--dry-run")
    assert code == 2
    assert "--project needs --mapping" in " ".join(err.split())


def test_a_file_that_cannot_be_read_is_an_error(export: Path) -> None:
    export.write_text("a,b\n1,2\n", encoding="utf-8")
    code, _, err = run("figure-eight", export, *FIGURE_EIGHT)
    assert code == 1
    assert f"{export}, header: no column '_unit_id'" in err


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_broker_that_is_away_is_named_with_what_to_do(export: Path) -> None:
    arguments = [argument for argument in FIGURE_EIGHT if argument != "--dry-run"]
    code, _, err = run("figure-eight", export, *arguments, "--bootstrap", "127.0.0.1:1")
    assert code == 1
    assert "127.0.0.1:1" in err
    assert "labelwatch up" in err
    gc.collect()  # kafka-python leaves the sockets of refused connections to it


def test_rejects_to_a_place_that_cannot_be_written(export: Path, tmp_path: Path) -> None:
    code, _, err = run("figure-eight", export, *FIGURE_EIGHT, "--rejects", tmp_path / "no" / "such" / "folder.csv")
    assert code == 1
    assert "folder.csv: No such file or directory" in err


@pytest.mark.parametrize("speed", ["0", "-1", "fast", "nan", "inf"])
def test_speeds_that_make_no_sense(export: Path, speed: str) -> None:
    code, _, err = run("figure-eight", export, *FIGURE_EIGHT, "--speed", speed)
    assert code == 2
    assert "is neither max nor a number above 0" in err


def test_csv_by_mapping(tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "columns: [who, item, verdict, took]\n"
        "fields: {labeler_id: who, task_id: item, label: verdict, seconds: took}\n"
        "label: {kind: class}\n"
        "clock: {start: 2026-01-01T00:00:00Z, step_seconds: 10}\n",
        encoding="utf-8",
    )
    data = tmp_path / "data.csv"
    data.write_text("anna,1,yes,5\nbo,1,no,x\n", encoding="utf-8")
    code, out, _ = run(
        "csv", data, "--mapping", mapping, "--project", "p", "--task-type", "t", "--vendor", "v", "--dry-run"
    )
    assert code == 0
    assert "would send 1 message in" in out
    assert f"{data}, row 2, column took: 'x' is not a number of seconds" in out
    code, _, err = run("csv", data, "--mapping", tmp_path / "none.yaml", "--dry-run")
    assert code == 1
    assert "none.yaml: no such file" in err


def test_jsonl_of_our_own_events(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(annotation(1, 5).model_dump_json() + "\n{}\n", encoding="utf-8")
    code, out, _ = run("jsonl", path, "--dry-run")
    assert code == 0
    assert "would send 1 message in" in out
    assert "rejected 1 row\n" in out


def test_simulation_with_faults(tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    options = ("--scale", "0.05", "--duplicates", "0.5", "--malformed", "0.5", "--truth", truth)
    code, out, _ = run("simulate", *options, "--limit", "200", "--dry-run")
    assert code == 0
    assert "would send 200 messages" in out
    assert "duplicates and" in out
    assert json.loads(truth.read_text(encoding="utf-8"))["scenario"]
    code, _, err = run("simulate", "--scenario", "no_such", "--dry-run")
    assert code == 1
    assert "no_such" in err


def test_help_has_examples() -> None:
    for command in ((), ("figure-eight",), ("csv",), ("jsonl",), ("simulate",)):
        code, out, _ = run(*command, "--help")
        assert code == 0
        assert "Examples:" in out
