"""The ``labelwatch`` command. Commands are imported when they are called, so that --help stays quick."""

from __future__ import annotations

import importlib
import os
import sys

import click

# Before NumPy is imported. Matrices are small here, and BLAS threads that wait for each other take the cores that other
# workers need: where all are busy, one solve takes 75 ms with two threads and 2 ms with one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The settings' own constant: importing them takes longer than help should, and Ctrl-C is met only below, in main().
CONFIG_VARIABLE = "LABELWATCH_CONFIG"
#: As shells have it for a program that Ctrl-C ended: 128 and the number of SIGINT.
INTERRUPTED_EXIT_CODE = 130

#: Command name to ``module:object``, in the order in which help shows them.
COMMANDS = {
    "demo": "streams.cli.demo:demo",
    "up": "streams.cli.stack:up",
    "down": "streams.cli.stack:down",
    "status": "streams.cli.stack:status",
    "migrate": "streams.cli.clickhouse:migrate",
    "topics": "streams.cli.topics:topics",
    "worker": "streams.cli.worker:worker",
    "replay": "streams.cli.replay:replay",
    "query": "streams.cli.clickhouse:query",
    "forecast": "streams.cli.forecast:forecast",
    "dlq": "streams.cli.dlq:dlq",
    "thresholds": "streams.cli.thresholds:thresholds",
    "alerts": "streams.cli.alerts:alerts",
    "evaluate": "streams.cli.evaluate:evaluate",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="""\b
Examples:
  labelwatch demo                          everything at once, on this machine
  labelwatch up --detach                   broker and ClickHouse engine, no Docker
  labelwatch migrate && labelwatch topics create
  labelwatch worker &                      score what arrives
  labelwatch replay figure-eight export.csv.gz --project captions --task-type image_caption
  labelwatch query "SELECT * FROM quality_by_hour ORDER BY hour DESC LIMIT 20"
  labelwatch forecast --project captions --tasks 2000 --overlap 3
  labelwatch dlq list                      what was refused, and why
  labelwatch thresholds check thresholds.yaml
  labelwatch alerts list                   what is wrong now
  labelwatch evaluate truth --labels label.csv --truth truth.csv
""",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    help=f"YAML settings file (also {CONFIG_VARIABLE}). Environment variables win over it.",
)
@click.version_option(package_name="labelwatch")
def cli(config: str | None) -> None:
    """Watch annotation quality live: Kafka in, online models, alerts and ClickHouse out."""
    if config:
        os.environ[CONFIG_VARIABLE] = config


def main() -> None:
    """Console entry point. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 130 ended by Ctrl-C."""
    try:
        sys.exit(_run())
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted!", err=True)
        sys.exit(INTERRUPTED_EXIT_CODE)


def _run() -> int:
    try:
        code = cli(standalone_mode=False)
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption) and error.option_name == "--config":
            error.message += " --config comes before the command: labelwatch --config FILE COMMAND ..."
            error.possibilities = None
        error.show()
        return error.exit_code
    except click.Abort:
        raise  # before anything is imported: where Ctrl-C met an import, modules are half there
    except Exception as error:
        from streams.settings import SettingsError

        if not isinstance(error, SettingsError):
            raise
        click.echo(f"labelwatch: {error}", err=True)
        return 2
    return code if isinstance(code, int) else 0
