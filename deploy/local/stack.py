"""Start and stop the embedded stack: broker and ClickHouse engine, on loopback, in one data folder."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import structlog

from deploy.local import data_folder
from deploy.local.process_guard import GUARD_VARIABLE, child_environment
from deploy.local.stack_state import FILE_NAME, ProcessId, StackState
from deploy.local.stack_state import StackError as StackError
from deploy.local.stack_state import StackRunningError as StackRunningError

log = structlog.get_logger()

KAFKA_PORT = 9092
CLICKHOUSE_PORT = 8123
_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_LOG_TAIL_LINES = 15
# ApiVersions v0, correlation id 1, no client id: the smallest question every Kafka broker answers.
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)


class PortTakenError(StackError):
    """Another program listens on a port that was asked for."""


class EmbeddedStack:
    """A broker and a ClickHouse server that live as long as this object's process.

    `kafka_port` and `clickhouse_port` of 0 mean any free port. Data stays in `data_dir` between starts.
    However this process ends, the servers end with it.

        with EmbeddedStack(data_dir=tmp_path, kafka_port=0, clickhouse_port=0) as stack:
            clickhouse_connect.get_client(dsn=stack.clickhouse_url)

    start() raises PortTakenError, StackRunningError, or StackError with the failing service's log.
    """

    def __init__(self, data_dir: Path, kafka_port: int = KAFKA_PORT, clickhouse_port: int = CLICKHOUSE_PORT) -> None:
        self.data_dir = Path(data_dir).resolve()
        self._wanted = (kafka_port, clickhouse_port)
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock: IO[str] | None = None
        self.state: StackState | None = None

    @property
    def kafka_bootstrap(self) -> str:
        """host:port for Kafka clients."""
        return self._started().kafka_bootstrap

    @property
    def clickhouse_url(self) -> str:
        """http://host:port for ClickHouse clients."""
        return self._started().clickhouse_url

    @property
    def pids(self) -> dict[str, int]:
        """Process id by service."""
        return {name: process.pid for name, process in self._started().services.items()}

    def start(self) -> Self:
        """Start both services and return when both answer."""
        if self.state is not None:
            return self
        data_folder.claim(self.data_dir)
        self._lock = data_folder.lock(self.data_dir)
        try:
            data_folder.end_leftovers(self.data_dir)
            (self.data_dir / "logs").mkdir(exist_ok=True)
            kafka_port, clickhouse_port = choose_ports(*self._wanted)
            self._spawn("broker", ["--port", str(kafka_port), "--data", str(self.data_dir / "kafka")])
            self._spawn(
                "clickhouse_server",
                ["--port", str(clickhouse_port), "--data", str(self.data_dir / "clickhouse")],
            )
            deadline = time.monotonic() + _START_SECONDS
            self._await_healthy("broker", kafka_port, deadline)
            self._await_healthy("clickhouse_server", clickhouse_port, deadline)
            self.state = self._record(kafka_port, clickhouse_port)
        except BaseException:
            self.stop()
            raise
        log.info("stack.started", kafka=self.kafka_bootstrap, clickhouse=self.clickhouse_url)
        return self

    def stop(self) -> None:
        """Stop both services and wait for them. Idempotent."""
        for child in self._children.values():
            assert child.stdin is not None  # every child is started with a pipe
            child.stdin.close()
        deadline = time.monotonic() + _STOP_SECONDS
        for name, child in self._children.items():
            try:
                child.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                log.warning("stack.service.killed", service=name, pid=child.pid)
                child.kill()
                child.wait()
        if self._children:
            (self.data_dir / FILE_NAME).unlink(missing_ok=True)
        self._children.clear()
        self.state = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def ended(self) -> dict[str, int]:
        """Exit code of every service that is no longer running; empty while all is well."""
        codes = {name: child.poll() for name, child in self._children.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def log_tail(self, service: str, lines: int = _LOG_TAIL_LINES) -> str:
        """The last lines of a service's log."""
        with contextlib.suppress(OSError):
            text = self._log_path(service).read_text(encoding="utf-8", errors="replace")
            return "\n".join(text.splitlines()[-lines:])
        return ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _started(self) -> StackState:
        if self.state is None:
            raise StackError("the stack is not running; call start() first")
        return self.state

    def _log_path(self, service: str) -> Path:
        return self.data_dir / "logs" / f"{service}.log"

    def _spawn(self, module: str, arguments: list[str]) -> None:
        with self._log_path(module).open("ab") as output:
            self._children[module] = subprocess.Popen(
                [sys.executable, "-m", f"deploy.local.{module}", *arguments],
                stdin=subprocess.PIPE,  # the children watch it: see process_guard
                stdout=output,
                stderr=subprocess.STDOUT,
                env=child_environment(**{GUARD_VARIABLE: str(os.getpid())}),
                start_new_session=True,  # the terminal's Ctrl-C reaches the owner only, which then stops us
            )

    def _await_healthy(self, module: str, port: int, deadline: float) -> None:
        answers = _kafka_answers if module == "broker" else _clickhouse_answers
        while not answers(port):
            failed = self.ended()
            if failed or time.monotonic() > deadline:
                name, code = next(iter(failed.items()), (module, None))
                reason = f"ended with exit code {code}" if failed else f"gave no answer on port {port}"
                raise StackError(
                    f"{name} {reason}; the end of {self._log_path(name)}:\n{self.log_tail(name) or '(empty)'}"
                )
            time.sleep(0.03)

    def _record(self, kafka_port: int, clickhouse_port: int) -> StackState:
        found = [ProcessId.of(pid) for pid in (os.getpid(), *(child.pid for child in self._children.values()))]
        owner, broker, clickhouse = found
        if owner is None or broker is None or clickhouse is None:
            raise StackError(f"a service ended right after its start; see {self.data_dir / 'logs'}")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        state = StackState(owner, broker, clickhouse, kafka_port, clickhouse_port, now)
        state.write(self.data_dir)
        return state


def choose_ports(kafka_port: int, clickhouse_port: int) -> tuple[int, int]:
    """The ports to use; 0 becomes a free one.

    Raises PortTakenError naming the port and the option that changes it.
    """
    chosen = []
    with contextlib.ExitStack() as held:  # both stay bound until both are known, so that they differ
        for option, port in (("--kafka-port", kafka_port), ("--clickhouse-port", clickhouse_port)):
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise PortTakenError(
                    f"port {port} on 127.0.0.1 cannot be used ({error.strerror}); stop the program that holds "
                    f"it, or choose another port with {option} (0 takes a free one)"
                ) from error
            chosen.append(probe.getsockname()[1])
    return chosen[0], chosen[1]


def _kafka_answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(_API_VERSIONS)
            return len(connection.recv(8)) > 0
    except OSError:
        return False


def _clickhouse_answers(port: int) -> bool:
    opener = build_opener(ProxyHandler({}))  # a proxy set for the machine must not see loopback requests
    try:
        with opener.open(f"http://127.0.0.1:{port}/ping", timeout=1) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
