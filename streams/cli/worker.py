"""``labelwatch worker``: score what arrives, until told to stop."""

from __future__ import annotations

import sys

import click


@click.command(
    epilog="""\b
Examples:
  labelwatch worker
  LABELWATCH_KAFKA__BOOTSTRAP=kafka:9092 LABELWATCH_CLICKHOUSE__URL=http://clickhouse:8123 labelwatch worker
  labelwatch --config labelwatch.yaml worker --web-port 0
  curl -s http://127.0.0.1:6066/healthz

\b
Run several for more throughput: partitions are shared out among all workers of one worker.app_id.
SIGTERM or Ctrl-C makes durable what was applied, and stops. Exit code 1: it failed, and may be started again.
"""
)
@click.option("--web-port", type=click.IntRange(0, 65_535), help="Port of /metrics and /healthz; 0 takes a free one.")
@click.option("--log-format", type=click.Choice(["auto", "json", "console"]), help="Default: auto.")
def worker(web_port: int | None, log_format: str | None) -> None:
    """Consume annotations and reviews, score them, and write to ClickHouse."""
    import os

    import uvloop  # before Faust is imported: mode installs its loop factory at import

    from deploy.local.process_guard import watch_parent
    from streams.settings import load_settings

    # A worker that `labelwatch demo` started ends with it, however that ends; leaving at once loses nothing.
    watch_parent(lambda: os._exit(1))
    settings = load_settings()
    if web_port is not None:
        settings = settings.model_copy(update={"web": settings.web.model_copy(update={"port": web_port})})
    if log_format is not None:
        settings = settings.model_copy(update={"log": settings.log.model_copy(update={"format": log_format})})

    from streams.app import new_worker_id, run_worker
    from streams.kafka_admin import BrokerError
    from streams.logs import configure_logging
    from streams.web import WebServerError

    worker_id = new_worker_id()
    configure_logging(settings.log, worker_id=worker_id)
    try:
        sys.exit(uvloop.run(run_worker(settings, worker_id=worker_id)))
    except (BrokerError, WebServerError) as error:
        click.echo(f"labelwatch worker: {error}", err=True)
        sys.exit(1)
