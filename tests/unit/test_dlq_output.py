"""How dead letters are shown, and the options of ``labelwatch dlq``."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from schemas.rows import DeadLetterRow
from schemas.times import to_ms
from streams.cli import cli
from streams.cli.dlq_output import age, print_letters, print_replay, printable
from streams.cli.since import since_ms
from streams.dead_letters import Action, ReplayReport

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
LETTER = DeadLetterRow(
    "annotations", 2, 41_207, "task-1", "not_json", "detail [red]x[/red]", "\x1b]0;owned\x07[bold]é\n" + "y" * 100,
    900_000, to_ms(datetime(2026, 3, 2, 9, tzinfo=UTC)), "open", 0,
)  # fmt: skip


def test_table_shows_all_and_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    print_letters([LETTER], "table", NOW)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    for shown in ("3h", "not_json", "[red]x[/red]", "annotations/2 at 41207", "[bold]é", "900,000 bytes", "open"):
        assert shown in out


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_letters([LETTER, LETTER], "json", NOW)
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == json.loads(second)
    assert json.loads(first)["failed_at"] == "2026-03-02T09:00:00.000Z"
    assert json.loads(first)["origin_offset"] == 41_207


@pytest.mark.parametrize("count", [0, 2])
def test_csv_has_a_header(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_letters([LETTER] * count, "csv", NOW)
    rows = list(csv.DictReader(io.StringIO(text := capsys.readouterr().out)))
    assert text.splitlines()[0] == ",".join(DeadLetterRow._fields)
    assert len(rows) == count
    assert all(row["reason"] == "not_json" and "\x1b" not in row["first_bytes"] for row in rows)


def test_printable_and_age() -> None:
    assert printable("a\x00\x1b\u202eé\n") == "a\\x00\\x1b\\u202eé\\n"
    assert age(datetime(2026, 3, 2, 11, 58, 30, tzinfo=UTC), NOW) == "1m"
    assert age(datetime(2026, 3, 2, 13, tzinfo=UTC), NOW) == "0s"
    assert age(datetime(2026, 2, 20, 12, tzinfo=UTC), NOW) == "10d"


def test_since() -> None:
    now = 100_000_000
    assert since_ms("30s", now) == 99_970_000
    assert since_ms(" 1H ", now) == 96_400_000
    assert since_ms("9d", now) == 0
    for wrong in ("yesterday", "1 fortnight", "-1h", "2026-01-05T09:00:00", "12"):
        with pytest.raises(ValueError, match=r"ISO 8601|zone|year"):
            since_ms(wrong, now)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "--since", "yesterday"],
        ["list", "--reason", "rude"],
        ["list", "--limit", "0"],
        ["list", "--format", "xml"],
        ["replay", "--on-error", "ignore"],
        ["replay", "--limit", "-1"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, ["dlq", *arguments])
    assert result.exit_code == 2
    assert arguments[2 if len(arguments) == 3 else 1].lstrip("-") in result.output or "Invalid value" in result.output


def test_away_names_the_address_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELWATCH_CLICKHOUSE__URL", "http://127.0.0.1:9")
    for arguments in (["list"], ["replay"]):
        result = CliRunner().invoke(cli, ["dlq", *arguments])
        assert result.exit_code == 1
        assert "http://127.0.0.1:9" in result.output
        assert "labelwatch up" in result.output
        assert "Traceback" not in result.output


def test_replay_summary(capsys: pytest.CaptureFixture[str]) -> None:
    report = ReplayReport()
    print_replay(report, dry_run=False)
    assert capsys.readouterr().out == "No dead letters to replay.\n"
    for reason, action, times in (("empty", Action.DROP, 2), ("not_json", Action.REPLAY, 1_500)):
        for _ in range(times):
            report.add(reason, action)
    print_replay(report, dry_run=True)
    out = capsys.readouterr().out
    assert "Dry run: nothing was changed" in out
    assert "1,500" in out
    assert "requeued" not in out, "columns without a count are not shown"


def test_commands_import_no_client_until_they_run() -> None:
    """`labelwatch --help` and its completion must stay quick."""
    code = (
        "import sys, streams.cli, streams.cli.dlq, streams.cli.topics, streams.cli.dlq_output\n"
        "heavy = {'kafka', 'clickhouse_connect', 'faust', 'rich', 'numpy', 'pandas', 'river'} & sys.modules.keys()\n"
        "sys.exit(', '.join(sorted(heavy)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
