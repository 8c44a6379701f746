"""`labelwatch up` and `status` say how the other commands find what runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.local import data_folder
from deploy.local.stack_state import ProcessId, StackState
from streams.cli import cli

LINES = (
    "  export LABELWATCH_KAFKA__BOOTSTRAP=127.0.0.1:19092",
    "  export LABELWATCH_CLICKHOUSE__URL=http://127.0.0.1:18123",
)


def pretend(folder: Path, kafka_port: int, clickhouse_port: int) -> None:
    """A stack whose services are this very process."""
    data_folder.claim(folder)
    me = ProcessId.of(os.getpid())
    assert me is not None
    StackState(me, me, me, kafka_port, clickhouse_port, "2026-11-21T00:00:00+00:00").write(folder)


@pytest.mark.parametrize("command", ["up", "status"])
def test_ports_that_the_settings_do_not_name_come_with_what_to_set(
    no_settings: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    def output() -> list[str]:
        result = CliRunner().invoke(cli, [command, "--data-dir", str(tmp_path)])
        assert result.exit_code == 0, result.output
        return [line for line in result.output.splitlines() if "export " in line]

    pretend(tmp_path, 19_092, 18_123)
    assert output() == list(LINES)
    for line in LINES:
        name, _, value = line.removeprefix("  export ").partition("=")
        no_settings.setenv(name, value)
    assert output() == [], "they are set"
    pretend(tmp_path, 9_092, 8_123)
    assert len(output()) == 2, "they are set to something else"


@pytest.mark.parametrize("command", ["up", "status"])
def test_default_ports_need_nothing(no_settings: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    pretend(tmp_path, 9_092, 8_123)
    result = CliRunner().invoke(cli, [command, "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "127.0.0.1:9092" in result.output
    assert "export" not in result.output


def test_refused_settings_do_not_keep_status_from_answering(no_settings: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_settings.setenv("LABELWATCH_WEB__PORT", "x")
    pretend(tmp_path, 9_092, 8_123)
    result = CliRunner().invoke(cli, ["status", "--data-dir", str(tmp_path)])
    assert result.exit_code == 0
    assert "export" in result.output
