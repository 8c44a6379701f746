"""One Apache Kafka node (KRaft, loopback) as a context manager and as a command.

python -m deploy.kafka.server up | down | status
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from deploy.kafka.classpath import KafkaServerError, cached_classpath, find_java, kafka_version, resolve_classpath
from deploy.local.stack_state import ProcessId, stop_processes

log = structlog.get_logger()

HOST = "127.0.0.1"
STATE_FILE = "broker.json"
_FOLDER = Path(__file__).parent
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_PORT_TRIES = 3
_LOG_LIMIT_BYTES = 10_000_000
_PORT_TAKEN = re.compile(r"failed to bind to \S*:(\d+): Address already in use")


class PortTakenError(KafkaServerError):
    """Another program listens at a port that the broker was to use."""

    def __init__(self, port: int, detail: str) -> None:
        super().__init__(f"another program listens at {HOST}:{port}; stop it or give another port{detail}")
        self.port = port


@dataclass(frozen=True)
class BrokerState:
    """What the last start in a data folder recorded in `broker.json`."""

    process: ProcessId
    port: int
    version: str

    @property
    def bootstrap(self) -> str:
        return f"{HOST}:{self.port}"


def available() -> str | None:
    """Why Apache Kafka cannot run here (no Java 17, no Maven to fetch it with); None when it can."""
    try:
        find_java()
    except KafkaServerError as error:
        return str(error)
    if cached_classpath() is None and shutil.which("mvn") is None:
        return "Kafka's jars are not resolved yet, and no mvn is on PATH; install Maven 3.8 or newer"
    return None


def read_state(data_dir: Path) -> BrokerState | None:
    """The broker that runs on `data_dir`; None when none does."""
    try:
        fields = json.loads((data_dir / STATE_FILE).read_text(encoding="utf-8"))
        state = BrokerState(ProcessId(**fields["process"]), int(fields["port"]), str(fields["version"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return state if state.process.alive() else None


def stop_recorded(data_dir: Path) -> bool:
    """Stop the broker of `data_dir`, whoever started it; False when none runs."""
    state = read_state(data_dir)
    if state is not None:
        stop_processes([state.process], _STOP_SECONDS)
    (data_dir / STATE_FILE).unlink(missing_ok=True)
    return state is not None


class ApacheKafka:
    """A single-node Apache Kafka that keeps its data in `data_dir`.

    Args:
        data_dir: holds `log/` (the data), `kafka.log`, `server.properties` and `broker.json`. Kept by stop().
        port: client port on 127.0.0.1; 0 takes a free one, which then stays the same for this object.
        detached: let the broker live on after this process. Otherwise it is killed when this process ends,
            however it ends (on Linux; elsewhere only by stop()).
        heap_mb: Java heap.
    """

    def __init__(self, data_dir: Path, port: int = 0, *, detached: bool = False, heap_mb: int = 512) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.detached = detached
        self.heap_mb = heap_mb
        self.log_path = self.data_dir / "kafka.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Address for clients; known once it runs."""
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start, and return when it answers clients.

        Raises KafkaServerError, which names the log file.
        """
        running = read_state(self.data_dir)
        if running is not None:
            raise KafkaServerError(
                f"a broker (process {running.process.pid}) already runs on {self.data_dir} at {running.bootstrap}; "
                f"stop it with: python -m deploy.kafka.server down --data-dir {self.data_dir}"
            )
        java = find_java()
        classpath = resolve_classpath(lambda message: print(f"kafka: {message}", file=sys.stderr, flush=True))
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > _LOG_LIMIT_BYTES:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        if self.port:
            _require_free(self.port)  # at once, rather than after the seconds that a broker takes to find out
        fixed, begin = self.port, time.monotonic()
        for attempt in range(_PORT_TRIES):
            client_port, controller = _free_ports()
            self.port = fixed or client_port
            try:
                self._start_once(java, classpath, controller)
                break
            except KafkaServerError as error:
                self.port = fixed
                # A port that was free a moment ago may be gone; a given one is the caller's to clear.
                retry = isinstance(error, PortTakenError) and error.port != fixed
                if not retry or attempt == _PORT_TRIES - 1:
                    raise
        log.info("kafka.started", bootstrap=self.bootstrap, seconds=round(time.monotonic() - begin, 2))

    def stop(self) -> None:
        """Stop and wait for the end; the data stays. Does nothing when it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("kafka.killed", after_seconds=_STOP_SECONDS, log_path=str(self.log_path))
            process.kill()
            process.wait()
        (self.data_dir / STATE_FILE).unlink(missing_ok=True)

    def _start_once(self, java: str, classpath: str, controller_port: int) -> None:
        properties = self._write_properties(controller_port)
        begin = self.log_path.stat().st_size if self.log_path.exists() else 0
        jvm = [java, "-XX:+UseSerialGC", "-Djava.awt.headless=true"]
        if not (self.data_dir / "log" / "meta.properties").exists():
            self._format([*jvm, "-XX:TieredStopAtLevel=1", "-cp", classpath], properties)
        command = [
            *jvm, f"-Xmx{self.heap_mb}m", "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={_FOLDER / 'log4j2.properties'}",
            "-cp", classpath, "kafka.Kafka", str(properties),
        ]  # fmt: skip
        self._process = self._spawn(command)
        try:
            identity = ProcessId.of(self._process.pid)
            if identity is not None:
                _write_state(self.data_dir, BrokerState(identity, self.port, kafka_version()))
            self._wait_until_ready(begin)
        except BaseException:
            self.stop()
            raise

    def _write_properties(self, controller_port: int) -> Path:
        own = {
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            # Static voters are configuration, not data: the controller's port may differ at the next start.
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str(self.data_dir / "log"),
        }
        path = self.data_dir / "server.properties"
        lines = [(_FOLDER / "server.properties").read_text(encoding="utf-8"), *(f"{k}={v}" for k, v in own.items())]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # One word: an id may begin with a dash.
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config", str(properties)]
        with self.log_path.open("ab") as output:
            code = subprocess.run(
                [*java, *tool], stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
            ).returncode
        if code != 0:
            raise KafkaServerError(f"formatting {self.data_dir / 'log'} failed (exit code {code}); {self._log_tail(0)}")

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log_path.open("ab") as output:
            if self.detached:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
                )
            started: list[subprocess.Popen[bytes] | OSError] = []
            done = threading.Event()

            def keep() -> None:
                # Linux kills the child when the *thread* that started it ends, so this one stays until the child is
                # gone: the caller's thread may be a short-lived one of a pool.
                launcher = [sys.executable, "-I", str(_FOLDER / "launch.py"), str(os.getpid()), *command]
                try:
                    process = subprocess.Popen(launcher, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
                except OSError as error:
                    started.append(error)
                    done.set()
                    return
                started.append(process)
                done.set()
                process.wait()

            threading.Thread(target=keep, name="kafka-keeper", daemon=True).start()
            done.wait()
        if isinstance(started[0], OSError):
            raise KafkaServerError(f"cannot start {command[0]}: {started[0]}")
        return started[0]

    def _wait_until_ready(self, log_begin: int) -> None:
        assert self._process is not None  # just started
        deadline = time.monotonic() + _START_SECONDS
        cluster = self._cluster_id()
        # Another broker may hold the port and answer, so the answer must name this folder's cluster.
        while _cluster_at(self.port) != cluster:
            code = self._process.poll()
            if code is not None:
                taken = _PORT_TAKEN.search(self._log_since(log_begin))
                if taken is not None:
                    raise PortTakenError(int(taken[1]), f" (log: {self.log_path})")
                raise KafkaServerError(
                    f"Kafka ended with exit code {code} before it answered at {self.bootstrap}; "
                    + self._log_tail(log_begin)
                )
            if time.monotonic() > deadline:
                raise KafkaServerError(
                    f"Kafka did not answer at {self.bootstrap} within {_START_SECONDS:.0f} s; "
                    + self._log_tail(log_begin)
                )
            time.sleep(_POLL_SECONDS)

    def _cluster_id(self) -> str:
        path = self.data_dir / "log" / "meta.properties"
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("cluster.id="):
                return line.removeprefix("cluster.id=")
        raise KafkaServerError(f"{path} names no cluster.id; it was not written by Kafka. Move the folder away")

    def _log_since(self, begin: int) -> str:
        with self.log_path.open("rb") as file:
            file.seek(begin)
            return file.read().decode("utf-8", errors="replace").strip()

    def _log_tail(self, begin: int, limit: int = 2_000) -> str:
        return f"see {self.log_path}, which ends:\n{self._log_since(begin)[-limit:]}"


def _cluster_at(port: int) -> str | None:
    """Id of the cluster that serves clients at `port`; None while none lists a broker in its metadata."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        from kafka import KafkaAdminClient  # slow to import: only once something listens
        from kafka.errors import KafkaError

        with contextlib.suppress(KafkaError):
            client = KafkaAdminClient(bootstrap_servers=f"{HOST}:{port}", request_timeout_ms=5_000)
            try:
                cluster = client.describe_cluster()
                return str(cluster["cluster_id"]) if cluster["brokers"] else None
            finally:
                client.close()
    return None


def _free_ports() -> tuple[int, int]:
    """Two different ports that were free a moment ago."""
    with socket.socket() as first, socket.socket() as second:
        first.bind((HOST, 0))
        second.bind((HOST, 0))
        return first.getsockname()[1], second.getsockname()[1]


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections do not hold a port
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(port, f" ({error.strerror})") from None


def _write_state(data_dir: Path, state: BrokerState) -> None:
    temporary = data_dir / f"{STATE_FILE}.new"
    temporary.write_text(json.dumps(asdict(state), indent=2) + "\n", encoding="utf-8")
    temporary.replace(data_dir / STATE_FILE)


if __name__ == "__main__":
    # By name, since command.py imports this module.
    runpy.run_module("deploy.kafka.command", run_name="__main__")
