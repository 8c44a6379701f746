"""`labelwatch demo` as a newcomer runs it: it shows something, it can be run again, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

REPO = Path(__file__).parents[2]
#: In the environment of the demo and, inherited, of everything that it starts.
MARKER = "DEMO_TEST_MARKER"
DEADLINE_SECONDS = 120.0
GONE_SECONDS = 30.0


class Demo:
    """One folder, and the demos run in it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.marker = uuid.uuid4().hex

    def start(self, scale: float = 0.05) -> subprocess.Popen[str]:
        """Run it as a command with its output in pipes; nothing of the tests' own settings reaches it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LABELWATCH_")}
        return subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "demo", "--scale", str(scale), "--data-dir", str(self.data_dir)],
            env={**environment, MARKER: self.marker},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPO,
            start_new_session=True,
        )

    def processes(self) -> dict[int, str]:
        """Command lines of what runs on this folder's account, by process id. Linux only, as the embedded stack is."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARKER}={self.marker}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:  # ended meanwhile, or somebody else's
                continue
        return found

    def until_simulating(self, process: subprocess.Popen[str]) -> None:
        """Wait until messages have reached the broker."""

        def stored_bytes() -> int:
            return sum(file.stat().st_size for file in (self.data_dir / "kafka").rglob("*") if file.is_file())

        until(lambda: process.poll() is not None or "streams.cli worker" in str(self.processes()), "a worker")
        before = stored_bytes()
        until(lambda: process.poll() is not None or stored_bytes() > before + 100_000, "messages on the broker")
        assert process.poll() is None, process.communicate()

    def until_scoring(self, process: subprocess.Popen[str]) -> None:
        """Wait until it is in the middle of its work: all parts run, and the worker scores."""
        log = self.data_dir / "logs" / "worker.log"
        until(lambda: process.poll() is not None or (log.exists() and '"score.batch"' in log.read_text()), "scoring")
        assert process.poll() is None, process.communicate()
        commands = " ".join(self.processes().values())
        for part in ("deploy.local.broker", "deploy.local.clickhouse_server", "streams.cli worker"):
            assert part in commands

    def assert_gone(self) -> None:
        until(lambda: not self.processes(), f"no process left: {self.processes()}", GONE_SECONDS)


def until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "demo")
    yield demo
    for pid in demo.processes():  # a failed test's; each carries the marker of this one
        os.kill(pid, signal.SIGKILL)


def shown(output: str) -> tuple[int, int, int, int]:
    """The counts that the last line of the report names: messages, accepted, duplicates, dead letters."""
    found = re.search(r"([\d,]+) messages: ([\d,]+) accepted, ([\d,]+) duplicates dropped, ([\d,]+) dead", output)
    assert found, output
    messages, accepted, duplicates, dead = (int(number.replace(",", "")) for number in found.groups())
    return messages, accepted, duplicates, dead


def test_it_shows_segments_and_where_to_look_next_and_can_be_run_again(demo: Demo) -> None:
    reports = []
    for _ in range(2):
        process = demo.start()
        out, err = process.communicate(timeout=DEADLINE_SECONDS)
        assert process.returncode == 0, err
        assert "Traceback" not in out + err
        assert demo.processes() == {}, "nothing is left behind"
        reports.append(out)
    for out in reports:
        assert "Quality by segment" in out
        for cell in ("image-safety", "andes-data", "manila-works", "video-captions", "AHT s"):
            assert cell in out
        assert "What was hidden in it" in out
        hidden, _, judged = out.partition("Least reliable labelers")
        assert "spam-newcomers" in hidden
        assert "spam-newcomers" in judged, "who answers at random is found"
        _, _, next_steps = out.partition("Where to look next")
        for step in ("labelwatch up --detach --data-dir", "labelwatch query", "labelwatch dlq list", "truth.json"):
            assert step in next_steps
        messages, accepted, duplicates, dead = shown(out)
        assert messages == accepted + duplicates + dead
        assert min(accepted, duplicates, dead) > 0
    assert shown(reports[0]) == shown(reports[1]), "the same seed, on a folder that was emptied"
    assert (demo.data_dir / "truth.json").exists()


def test_killed_half_way_it_takes_its_processes_along(demo: Demo) -> None:
    process = demo.start(scale=0.1)
    demo.until_scoring(process)
    process.kill()
    process.communicate()
    demo.assert_gone()


@pytest.mark.parametrize("at", ["simulating", "scoring"])
def test_ctrl_c_ends_it_without_a_traceback(demo: Demo, at: str) -> None:
    process = demo.start(scale=0.1)
    demo.until_simulating(process) if at == "simulating" else demo.until_scoring(process)
    process.send_signal(signal.SIGINT)  # to it alone: ending its children is its own business
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert "Aborted" in err
    assert "Quality by segment" not in out
    demo.assert_gone()


def test_a_folder_that_is_not_a_demos_is_left_alone(demo: Demo) -> None:
    demo.data_dir.mkdir()
    mine = demo.data_dir / "thesis.txt"
    mine.write_text("years of work")
    process = demo.start()
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 1, out
    assert f"{demo.data_dir} holds something else than a demo's data" in err.replace("\n", " ")
    assert "--data-dir" in err
    assert mine.read_text() == "years of work"
    assert demo.processes() == {}
