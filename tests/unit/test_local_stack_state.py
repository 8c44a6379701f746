"""A recorded process is never mistaken for another one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local.stack_state import ProcessId, StackState, read_state, stop_processes


def test_a_recycled_id_is_not_ours_and_is_not_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        mine = ProcessId.of(child.pid)
        assert mine is not None
        recycled = replace(mine, started="another time")
        assert mine.alive()
        assert not recycled.alive()
        stop_processes([recycled])
        assert child.poll() is None
        mine.kill(signal.SIGKILL)
        child.wait(10)
        assert not mine.alive()
    finally:
        child.kill()
        child.communicate()


def test_state_survives_the_file_and_damage_reads_as_none(tmp_path: Path) -> None:
    me = ProcessId.of(os.getpid())
    assert me is not None
    state = StackState(me, me, me, 1, 2, "2026-11-21T00:00:00+00:00")
    state.write(tmp_path)
    assert read_state(tmp_path) == state
    assert state.running()
    assert (state.kafka_bootstrap, state.clickhouse_url) == ("127.0.0.1:1", "http://127.0.0.1:2")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"owner": 1}', '{"owner": {}, "broker": {}, "clickhouse": {}}']
)
def test_a_damaged_file_reads_as_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "stack.json").write_text(text, encoding="utf-8")
    assert read_state(tmp_path) is None
