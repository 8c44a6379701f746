"""Ctrl-C that is not lost.

Python raises KeyboardInterrupt wherever it happens to be; inside a callback of C code or a finaliser it is printed and
forgotten. Long work therefore also asks, between its steps, whether Ctrl-C was pressed, and nothing is printed.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import click


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """A block whose Ctrl-C is remembered; gives a function that raises KeyboardInterrupt if it was pressed.

    Raises:
        click.Abort: an error that came after Ctrl-C was pressed, and probably of it.
    """
    pressed = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        if not (pressed and issubclass(unraisable.exc_type, KeyboardInterrupt)):
            hook(unraisable)

    before, hook = signal.signal(signal.SIGINT, note), sys.unraisablehook
    sys.unraisablehook = report
    try:
        yield check
    except Exception as error:
        if pressed:
            raise click.Abort from error
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
