"""What is known about a running stack: `stack.json` in its data folder.

A process is named by its id *and* its start time, so that an id which the system gave to another program
is never taken for ours, and never killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

FILE_NAME = "stack.json"


@dataclass(frozen=True)
class ProcessId:
    """A process that cannot be mistaken for a later one of the same number."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The running process `pid`; None when there is none (a zombie counts as none)."""
        started = _start_time(pid)
        return cls(pid, started) if started else None

    def alive(self) -> bool:
        return _start_time(self.pid) == self.started

    def kill(self, number: signal.Signals) -> None:
        """Send a signal if the process is still the one that was recorded."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(frozen=True)
class StackState:
    """The processes and ports of one started stack. `owner` is the process that called start()."""

    owner: ProcessId
    broker: ProcessId
    clickhouse: ProcessId
    kafka_port: int
    clickhouse_port: int
    started_at: str

    @property
    def kafka_bootstrap(self) -> str:
        return f"127.0.0.1:{self.kafka_port}"

    @property
    def clickhouse_url(self) -> str:
        return f"http://127.0.0.1:{self.clickhouse_port}"

    @property
    def services(self) -> dict[str, ProcessId]:
        return {"broker": self.broker, "clickhouse": self.clickhouse}

    def running(self) -> bool:
        """True when every service is alive."""
        return all(process.alive() for process in self.services.values())

    def write(self, data_dir: Path) -> None:
        """Store in `data_dir`, atomically."""
        temporary = data_dir / f"{FILE_NAME}.new"
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        temporary.replace(data_dir / FILE_NAME)


class StackError(RuntimeError):
    """The stack cannot start, or its folder cannot be used; the message says what to do."""


class StackRunningError(StackError):
    """A stack has this folder; `state` says where it answers (None when it is still starting)."""

    def __init__(self, message: str, state: StackState | None) -> None:
        super().__init__(message)
        self.state = state


def read_state(data_dir: Path) -> StackState | None:
    """What the last start in `data_dir` recorded; None when there is none or it is unreadable."""
    try:
        fields = json.loads((data_dir / FILE_NAME).read_text(encoding="utf-8"))
        for name in ("owner", "broker", "clickhouse"):
            fields[name] = ProcessId(**fields[name])
        return StackState(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def stop_processes(processes: list[ProcessId], grace_seconds: float = 10.0) -> None:
    """SIGTERM, wait, SIGKILL what is left, and return when none is alive."""
    for process in processes:
        process.kill(signal.SIGTERM)
    if not wait_gone(processes, grace_seconds):
        for process in processes:
            process.kill(signal.SIGKILL)
        wait_gone(processes, grace_seconds)


def wait_gone(processes: list[ProcessId], timeout_seconds: float) -> bool:
    """Poll until none of `processes` is alive; False when the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while any(process.alive() for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _start_time(pid: int) -> str:
    """A text that differs between two processes of one id; "" when there is no such live process."""
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""
        fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and brackets
        return "" if fields[0] in "ZX" else fields[19]
    listing = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    status, _, started = listing.stdout.strip().partition(" ")
    return "" if not status or status.startswith("Z") else started.strip()
