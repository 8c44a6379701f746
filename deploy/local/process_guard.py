"""Children that never outlive their parent, however it ends.

The parent holds the write end of a pipe that is the child's standard input: when the parent dies, even by
SIGKILL, the pipe closes and the child stops. A process forked from the parent could keep that end open, so
the child also notices when it is adopted by another process. Linux's PR_SET_PDEATHSIG is used only where
the parent has one thread, since it fires when the *thread* that started the child ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

GUARD_VARIABLE = "LABELWATCH_PARENT"
"""Names the parent's process id to a child whose standard input is the parent's pipe."""
_ADOPTION_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


def watch_parent(on_end: Callable[[], object]) -> None:
    """Call `on_end` once, from a daemon thread, when the parent that started this process is gone.

    Does nothing in a process that was started by hand (GUARD_VARIABLE is not set).
    """
    parent = os.environ.pop(GUARD_VARIABLE, "")
    if not parent:
        return
    ended = threading.Event()

    def read_pipe() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass
        ended.set()

    def wait() -> None:
        while not ended.wait(_ADOPTION_POLL_SECONDS):
            if os.getppid() != int(parent):
                break
        on_end()

    threading.Thread(target=read_pipe, name="parent-pipe", daemon=True).start()
    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment for a `python -m deploy...` child, which must find this package."""
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **extra}


def die_with_parent() -> None:
    """For `preexec_fn`: ask Linux to kill this process when its parent's thread ends. No-op elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
