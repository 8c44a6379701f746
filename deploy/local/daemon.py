"""Keep a stack running until it is told to stop: what `labelwatch up` does in front or in the background.

python -m deploy.local.daemon --data-dir DIR --kafka-port N --clickhouse-port N
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from deploy.local import data_folder
from deploy.local.process_guard import child_environment
from deploy.local.stack import EmbeddedStack, StackError
from deploy.local.stack_state import FILE_NAME, StackState, read_state, stop_processes, wait_gone

_POLL_SECONDS = 0.3
_DETACH_SECONDS = 75.0


def keep_running(stack: EmbeddedStack, on_started: Callable[[StackState], object]) -> None:
    """Start `stack` and return when SIGINT, SIGTERM or `stop_stack` ended it. Main thread only.

    Raises StackError when it cannot start, or when a service ends by itself (with the end of its log).
    """
    asked = threading.Event()
    with stack:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        assert stack.state is not None  # start() returned
        on_started(stack.state)
        while not asked.wait(_POLL_SECONDS):
            for service, code in stack.ended().items():
                if code == 0:  # services end with 0 only when asked: by stop_stack
                    return
                raise StackError(
                    f"{service} ended with exit code {code}; the end of its log:\n{stack.log_tail(service)}"
                )


def detach(data_dir: Path, kafka_port: int, clickhouse_port: int) -> StackState:
    """Run a stack in a background process and return when it is healthy.

    Raises StackError with that process's own message.
    """
    data_folder.claim(data_dir)
    log_path = data_dir / "logs" / "stack.log"
    log_path.parent.mkdir(exist_ok=True)
    with log_path.open("ab") as output:
        begin = output.tell()
        child = subprocess.Popen(
            [
                sys.executable, "-m", "deploy.local.daemon", "--data-dir", str(data_dir),
                "--kafka-port", str(kafka_port), "--clickhouse-port", str(clickhouse_port),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=child_environment(),
            start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + _DETACH_SECONDS
    while time.monotonic() < deadline:
        state = read_state(data_dir)
        if state and state.owner.pid == child.pid and state.running():
            child.returncode = 0  # it lives on by design: nobody waits for it
            return state
        if child.poll() is not None:
            with log_path.open("rb") as log:
                log.seek(begin)
                raise StackError(log.read().decode("utf-8", errors="replace").strip())
        time.sleep(0.05)
    child.terminate()
    child.wait()
    raise StackError(f"the stack was not healthy after {_DETACH_SECONDS:.0f} s; see {log_path}")


def stop_stack(data_dir: Path) -> bool:
    """Stop the stack of a folder, whoever started it; False when none was running."""
    state = read_state(data_dir)
    if state is None:
        return False
    services = list(state.services.values())
    was_running = any(process.alive() for process in services)
    stop_processes(services)
    # An `up` that owned them notices and removes the file itself; other owners may not.
    if was_running:
        wait_gone([state.owner], 2.0)
    (data_dir / FILE_NAME).unlink(missing_ok=True)
    return was_running


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.daemon", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--kafka-port", type=int, required=True)
    parser.add_argument("--clickhouse-port", type=int, required=True)
    options = parser.parse_args(arguments)
    try:
        keep_running(EmbeddedStack(options.data_dir, options.kafka_port, options.clickhouse_port), lambda _: None)
    except StackError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
