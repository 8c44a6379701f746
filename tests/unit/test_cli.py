"""The command line as a person meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streams import cli
from streams.settings import CONFIG_VARIABLE


@pytest.fixture
def run(no_settings: pytest.MonkeyPatch) -> CliRunner:
    # --config sets the variable for the process: monkeypatch takes it away again.
    no_settings.setenv(CONFIG_VARIABLE, "")
    return CliRunner()


def call_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["labelwatch", *arguments])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return left.value.code if isinstance(left.value.code, int) else int(left.value.code is not None)


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_shows_every_command_with_its_purpose(run: CliRunner, flag: str) -> None:
    result = run.invoke(cli.cli, [flag])
    assert result.exit_code == 0
    listed = {
        line.split()[0]: line.split()[1:]
        for line in result.output.splitlines()
        if line.startswith("  ") and line.split()
    }
    for command in cli.COMMANDS:
        assert listed[command], command
    assert "Examples:" in result.output


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(run: CliRunner, command: str) -> None:
    result = run.invoke(cli.cli, [command, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
    loaded = cli.cli.get_command(click.Context(cli.cli), command)
    assert loaded is not None
    assert loaded.help


def test_an_unknown_command_is_wrong_usage(run: CliRunner) -> None:
    result = run.invoke(cli.cli, ["wrker"])
    assert result.exit_code == 2
    assert "No such command 'wrker'" in result.output


def test_a_missing_config_file_is_wrong_usage(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(cli.cli, ["--config", str(tmp_path / "gone.yaml"), "worker"])
    assert result.exit_code == 2
    assert "gone.yaml' does not exist" in result.output.replace("\n", " ")


def test_version(run: CliRunner) -> None:
    result = run.invoke(cli.cli, ["--version"])
    assert result.exit_code == 0
    assert "labelwatch" in result.output or "version" in result.output


@pytest.mark.parametrize(
    "command", [["worker"], ["topics", "list"], ["migrate"], ["dlq", "list"], ["query", "SELECT 1"]]
)
def test_refused_settings_exit_with_2_and_a_sentence(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    no_settings.setenv("LABELWATCH_WORKER__CHECKPOINT_SECONDS", "soon")
    assert call_main(no_settings, *command) == 2
    error = capsys.readouterr().err
    assert error.startswith("labelwatch: settings refused: worker.checkpoint_seconds: Input should be a valid number")
    assert "Traceback" not in error


def test_an_unreadable_secret_exits_with_2(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__PASSWORD_FILE", str(tmp_path / "gone"))
    assert call_main(no_settings, "migrate") == 2
    assert "cannot read the secret file" in capsys.readouterr().err


def test_the_config_option_is_the_config_variable(run: CliRunner, tmp_path: Path) -> None:
    import os

    path = tmp_path / "labelwatch.yaml"
    path.write_text("kafka: {bootstarp: x}")
    result = run.invoke(cli.cli, ["--config", str(path), "topics", "list"])
    assert "kafka.bootstarp: Extra inputs are not permitted" in str(result.exception)
    assert os.environ[CONFIG_VARIABLE] == str(path)


def test_importing_the_command_line_is_cheap() -> None:
    """Help must not wait for Faust, ClickHouse or pandas."""
    heavy = "{'faust', 'aiokafka', 'clickhouse_connect', 'pandas', 'chdb', 'river'}"
    code = f"import sys, streams.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
