"""Whose a data folder is: `stack.lock` marks one that a stack made, and is locked while a stack has it.

Nothing is ever deleted from a folder without that mark, or while somebody holds the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Literal

from deploy.local.stack_state import (
    FILE_NAME,
    StackError,
    StackRunningError,
    read_state,
    stop_processes,
    wait_gone,
)

LOCK_NAME = "stack.lock"
_STORED = ("clickhouse", "kafka", "logs")
_DEMO_ENTRIES = ("truth.json",)
#: An owner that was told to stop lets go of the lock a moment after its services have ended.
RELEASE_SECONDS = 5.0

Purpose = Literal["stack", "demo"]


def claim(data_dir: Path, purpose: Purpose = "stack") -> None:
    """Make the folder, and mark it as ours. A folder that is ours already stays what it was.

    Raises StackError: it cannot be made or written to, or others' data is where ours would be.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if is_ours(data_dir):
            return
        foreign = [name for name in _STORED if (data_dir / name).exists()]
        if foreign:
            raise StackError(
                f"{data_dir} holds {' and '.join(foreign)}, which labelwatch did not make; choose another --data-dir"
            )
        (data_dir / LOCK_NAME).write_text(f"{purpose}\n", encoding="utf-8")
    except OSError as error:
        raise _unusable(data_dir, error) from None


def is_ours(data_dir: Path) -> bool:
    """True for a folder that was claimed."""
    return (data_dir / LOCK_NAME).is_file()


def purpose_of(data_dir: Path) -> str:
    """What a claimed folder was made for; "" for any other."""
    try:
        return (data_dir / LOCK_NAME).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def lock(data_dir: Path) -> IO[str]:
    """Take a claimed folder until the returned file is closed, or this process ends.

    Raises StackRunningError: a stack has it. StackError: it cannot be written to.
    """
    path = data_dir / LOCK_NAME
    while True:
        try:
            held = path.open("a", encoding="utf-8")
        except OSError as error:
            raise _unusable(data_dir, error) from None
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(held.fileno()).st_ino == path.stat().st_ino:
                return held
        except FileNotFoundError:
            pass  # deleted between our two steps: a lock on a file without a name keeps nobody out
        except OSError:
            held.close()
            raise _busy(data_dir) from None
        held.close()


def is_busy(data_dir: Path) -> bool:
    """True while a stack starts, runs or stops in the folder."""
    if not is_ours(data_dir):
        return False
    try:
        lock(data_dir).close()
    except StackRunningError:
        return True
    return False


def end_leftovers(data_dir: Path) -> None:
    """Services of a killed owner end by themselves within a second; help those that do not. Needs the lock."""
    state = read_state(data_dir)
    if state:
        leftovers = list(state.services.values())
        if not wait_gone(leftovers, 5.0):
            stop_processes(leftovers)


def empty(data_dir: Path, *, wait_seconds: float = 0.0) -> list[str]:
    """Delete what a stack stored, and the mark; the folder, too, when nothing else is in it.

    Returns the names of what was deleted, none for a folder that does not exist. Others' files are kept.

    Raises:
        StackRunningError: a stack starts or runs there, and has not let go within `wait_seconds`.
        StackError: the folder is not ours, or something in it cannot be deleted.
    """
    if not data_dir.exists():
        return []
    if not is_ours(data_dir):
        if data_dir.is_dir() and not any(data_dir.iterdir()):
            return []
        raise StackError(f"{data_dir} was not made by labelwatch (no {LOCK_NAME} in it): nothing was deleted")
    deleted = []
    with _lock_within(data_dir, wait_seconds):
        end_leftovers(data_dir)
        extra = _DEMO_ENTRIES if purpose_of(data_dir) == "demo" else ()
        try:
            for name in (*_STORED, *extra, FILE_NAME, LOCK_NAME):  # the mark last: half done can be done again
                if _delete(data_dir / name) and name not in (FILE_NAME, LOCK_NAME):
                    deleted.append(name)
            if not any(data_dir.iterdir()):
                data_dir.rmdir()
        except OSError as error:
            raise StackError(f"cannot delete {error.filename or data_dir}: {error.strerror}") from None
    return deleted


@contextlib.contextmanager
def _lock_within(data_dir: Path, seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while True:
        try:
            held = lock(data_dir)
            break
        except StackRunningError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    with held:
        yield


def _delete(path: Path) -> bool:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return True
    existed = path.exists() or path.is_symlink()
    path.unlink(missing_ok=True)
    return existed


def _busy(data_dir: Path) -> StackRunningError:
    state = read_state(data_dir)
    where = f"Kafka {state.kafka_bootstrap}, ClickHouse {state.clickhouse_url}" if state else "starting or stopping"
    return StackRunningError(
        f"a stack runs in {data_dir} ({where}); stop it with: labelwatch down --data-dir {data_dir}", state
    )


def _unusable(data_dir: Path, error: OSError) -> StackError:
    verb = "write to" if data_dir.is_dir() else "create"
    return StackError(f"cannot {verb} {data_dir}: {error.strerror}; choose another --data-dir")
