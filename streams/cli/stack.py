"""`labelwatch up`, `down` and `status`: the embedded stack from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from deploy.local.stack_state import StackState

NOT_RUNNING_EXIT_CODE = 3  # as `systemctl status` has it

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".labelwatch"),
    envvar="LABELWATCH_DATA_DIR",
    show_default=True,
    show_envvar=True,
    help="Folder that holds the stack's data, logs and state.",
)


def _port_option(name: str, default: int, what: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        type=click.IntRange(0, 65535),
        default=default,
        show_default=True,
        help=f"Port of {what} on 127.0.0.1; 0 takes a free one.",
    )


@click.command(
    epilog="""\b
Examples:
  labelwatch up                                stay in front; Ctrl-C stops everything
  labelwatch up --detach                       return as soon as both services answer
  labelwatch up --kafka-port 0 --clickhouse-port 0 --data-dir other-stack
"""
)
@data_dir_option
@_port_option("--kafka-port", 9092, "the Kafka-compatible broker")
@_port_option("--clickhouse-port", 8123, "ClickHouse's HTTP interface")
@click.option("--detach", "-d", is_flag=True, help="Run in the background.")
def up(data_dir: Path, kafka_port: int, clickhouse_port: int, detach: bool) -> None:
    """Start a local broker and ClickHouse engine: no Docker, no JVM.

    Both listen on 127.0.0.1 only, with no passwords. Data stays in --data-dir between starts.
    """
    from deploy.local import daemon
    from deploy.local.stack import EmbeddedStack, StackError, StackRunningError

    data_dir = data_dir.resolve()
    running = _running(data_dir)
    if running:
        click.echo("Already running.")
        _print_addresses(running, data_dir)
        return
    try:
        if detach:
            _print_addresses(daemon.detach(data_dir, kafka_port, clickhouse_port), data_dir)
            return

        def started(state: StackState) -> None:
            _print_addresses(state, data_dir)
            click.echo("Ctrl-C stops both.")

        daemon.keep_running(EmbeddedStack(data_dir, kafka_port, clickhouse_port), started)
    except StackRunningError as error:
        if error.state is None:
            raise click.ClickException(str(error)) from None
        click.echo("Already running.")
        _print_addresses(error.state, data_dir)
        return
    except StackError as error:
        raise click.ClickException(str(error)) from None
    click.echo("Stopped.")


@click.command(
    epilog="""\b
Examples:
  labelwatch down
  labelwatch down --wipe        start from nothing the next time
"""
)
@data_dir_option
@click.option("--wipe", is_flag=True, help="Also delete the stack's data and logs. Cannot be undone.")
def down(data_dir: Path, wipe: bool) -> None:
    """Stop the stack that runs in --data-dir."""
    from deploy.local import daemon, data_folder
    from deploy.local.stack_state import StackError

    data_dir = data_dir.resolve()
    try:
        if daemon.stop_stack(data_dir):
            click.echo("Stopped.")
        elif data_folder.is_busy(data_dir):
            raise click.ClickException(f"a stack is starting in {data_dir}; try again in a moment")
        else:
            click.echo(f"Nothing was running in {data_dir}.")
        if wipe:
            deleted = data_folder.empty(data_dir, wait_seconds=data_folder.RELEASE_SECONDS)
            click.echo(f"Deleted in {data_dir}: {', '.join(deleted)}." if deleted else "There was nothing to delete.")
    except StackError as error:
        raise click.ClickException(str(error)) from None


@click.command(
    epilog="""\b
Exit code: 0 when both services run, 3 when not.
\b
Examples:
  labelwatch status
  labelwatch status --json | jq -r .kafka_bootstrap
"""
)
@data_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(context: click.Context, data_dir: Path, as_json: bool) -> None:
    """Show what runs in --data-dir, and where."""
    from deploy.local.stack_state import read_state

    data_dir = data_dir.resolve()
    state = read_state(data_dir)
    running = state is not None and state.running()
    if as_json:
        click.echo(json.dumps(_as_json(state, data_dir, running), indent=2))
    elif state is None:
        click.echo(f"Not running in {data_dir}. Start with: labelwatch up --data-dir {data_dir}")
    else:
        _print_table(state, data_dir)
        if running:
            echo_exports(state)
    if not running:
        context.exit(NOT_RUNNING_EXIT_CODE)


commands: list[click.Command] = [up, down, status]


def _running(data_dir: Path) -> StackState | None:
    from deploy.local.stack_state import read_state

    state = read_state(data_dir)
    return state if state and state.running() else None


def _print_addresses(state: StackState, data_dir: Path) -> None:
    click.echo(f"Kafka       {state.kafka_bootstrap}")
    click.echo(f"ClickHouse  {state.clickhouse_url}  (database labelwatch)")
    click.echo(f"Data        {data_dir}")
    echo_exports(state)


def echo_exports(state: StackState) -> None:
    """What to set so that the other commands find this stack; nothing where they find it already."""
    from streams.settings import SettingsError, load_settings

    try:
        settings = load_settings()
        found = (settings.kafka.bootstrap, settings.clickhouse.url)
    except SettingsError:  # reported by the commands that need settings
        found = ("", "")
    if found == (state.kafka_bootstrap, state.clickhouse_url):
        return
    click.echo("For the other commands to find them:")
    click.echo(f"  export LABELWATCH_KAFKA__BOOTSTRAP={state.kafka_bootstrap}")
    click.echo(f"  export LABELWATCH_CLICKHOUSE__URL={state.clickhouse_url}")


def _as_json(state: StackState | None, data_dir: Path, running: bool) -> dict[str, Any]:
    if state is None:
        return {"running": False, "data_dir": str(data_dir)}
    return {
        "running": running,
        "data_dir": str(data_dir),
        "kafka_bootstrap": state.kafka_bootstrap,
        "clickhouse_url": state.clickhouse_url,
        "started_at": state.started_at,
        "services": {name: {"pid": process.pid, "alive": process.alive()} for name, process in state.services.items()},
    }


def _print_table(state: StackState, data_dir: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{data_dir} (started {state.started_at})", title_justify="left")
    for column in ("service", "state", "address", "pid"):
        table.add_column(column)
    addresses = {"broker": state.kafka_bootstrap, "clickhouse": state.clickhouse_url}
    for name, process in state.services.items():
        alive = "[green]running[/green]" if process.alive() else "[red]stopped[/red]"
        table.add_row(name, alive, addresses[name], str(process.pid))
    Console().print(table)
