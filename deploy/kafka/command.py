"""`python -m deploy.kafka.server up | down | status`: an Apache Kafka in the background."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.kafka.classpath import KafkaServerError
from deploy.kafka.server import ApacheKafka, available, read_state, stop_recorded

DEFAULT_DATA_DIR = Path(".labelwatch/apache-kafka")

_data_dir = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Folder for data, settings and log.",
)


@click.group(help="One Apache Kafka node on loopback, without Docker (Java 17; Maven the first time).")
def main() -> None:
    pass


@main.command(help="Start in the background and return when it answers. Data is kept between runs.")
@click.option("--port", type=click.IntRange(0, 65_535), default=9092, show_default=True, help="0: any free port.")
@_data_dir
def up(port: int, data_dir: Path) -> None:
    reason = available()
    if reason is not None:
        raise click.ClickException(reason)
    broker = ApacheKafka(data_dir, port, detached=True)
    try:
        broker.start()
    except KafkaServerError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Apache Kafka answers at {broker.bootstrap} (log: {broker.log_path})")


@main.command(help="Stop; the data stays. Nothing to stop is not an error.")
@_data_dir
def down(data_dir: Path) -> None:
    click.echo("stopped" if stop_recorded(data_dir) else f"no broker runs on {data_dir}")


@main.command(help="Say whether it runs and where; exit code 1 when it does not.")
@_data_dir
@click.pass_context
def status(context: click.Context, data_dir: Path) -> None:
    state = read_state(data_dir)
    if state is None:
        click.echo(f"no broker runs on {data_dir}")
        context.exit(1)
    click.echo(f"Apache Kafka {state.version} at {state.bootstrap}, process {state.process.pid}")


if __name__ == "__main__":
    main(prog_name="python -m deploy.kafka.server")
