"""The command line as a person meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from streams import cli, settings
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
    assert "kafka.bootstarp is not a setting" in str(result.exception)
    assert os.environ[CONFIG_VARIABLE] == str(path)


def test_importing_the_command_line_is_cheap() -> None:
    """Help must not wait for Faust, ClickHouse or pandas."""
    heavy = "{'faust', 'aiokafka', 'clickhouse_connect', 'pandas', 'chdb', 'river', 'pydantic'}"
    code = f"import sys, streams.cli; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_loads_nothing_for_rules_that_it_does_not_run() -> None:
    """They would take as long to load as all the rest."""
    heavy = "{'pandas', 'sklearn', 'sqlalchemy', 'matplotlib', 'apprise', 'chdb'}"
    code = f"import sys, streams.app; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_config_variable_is_the_settings_one() -> None:
    assert cli.CONFIG_VARIABLE == settings.CONFIG_VARIABLE


@pytest.mark.parametrize("command", [["worker"], ["topics", "list"], ["replay", "simulate"]])
def test_config_behind_the_command_is_told_its_place(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert call_main(no_settings, *command, "--config", "labelwatch.yaml") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "No such option: --config" in error
    assert "--config comes before the command: labelwatch --config FILE COMMAND" in error


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_ctrl_c_exits_with_130_and_no_traceback(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interruption: type[BaseException]
) -> None:
    def interrupted(name: str) -> None:
        raise interruption

    no_settings.setattr("importlib.import_module", interrupted)  # as when the imports of a command are interrupted
    no_settings.setitem(sys.modules, "streams.settings", None)  # None: cannot be imported
    assert call_main(no_settings, "worker") == 130
    assert capsys.readouterr().err.strip() == "Aborted!"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--version"], 0, ""),
        (["worker", "--help"], 0, ""),
        (["wrker"], 2, "No such command 'wrker'"),
        (["replay", "csv"], 2, "Missing"),
        (["query", "SELECT 1"], 1, "Error: "),
    ],
)
def test_exit_codes(
    no_settings: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    no_settings.setenv("LABELWATCH_CLICKHOUSE__URL", "http://127.0.0.1:9")
    assert call_main(no_settings, *arguments) == code
    assert said in capsys.readouterr().err


def test_an_unknown_error_is_a_crash(no_settings: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError

    no_settings.setattr("importlib.import_module", broken)
    no_settings.setattr(sys, "argv", ["labelwatch", "worker"])
    with pytest.raises(ZeroDivisionError):
        cli.main()
