"""Ctrl-C is remembered where Python forgets it."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable

import click
import pytest

from streams.cli.interrupt import interruptible


def _pressed_and_forgotten() -> None:
    with contextlib.suppress(KeyboardInterrupt):  # as a finaliser does
        signal.raise_signal(signal.SIGINT)


def test_a_swallowed_interrupt_is_raised_at_the_next_step() -> None:
    with interruptible() as check:
        check()
        _pressed_and_forgotten()
        with pytest.raises(KeyboardInterrupt):
            check()


def _failing(*, pressed: bool) -> None:
    with interruptible():
        if pressed:
            _pressed_and_forgotten()
        raise ValueError("mine")


def test_an_error_after_it_is_an_abort_and_before_it_itself() -> None:
    with pytest.raises(ValueError, match="mine"):
        _failing(pressed=False)
    with pytest.raises(click.Abort):
        _failing(pressed=True)


class _Finalised:
    """Where Python prints an error and goes on."""

    def __init__(self, error: Callable[[], None]) -> None:
        self._error = error

    def __del__(self) -> None:
        self._error()


def _fail() -> None:
    raise ValueError("mine")


def test_a_forgotten_interrupt_is_not_printed_and_other_errors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: printed.append(unraisable.exc_type))
    with interruptible() as check:
        _Finalised(lambda: signal.raise_signal(signal.SIGINT))
        _Finalised(_fail)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert printed == [ValueError]


def test_handler_and_hook_before_it_are_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before[0]
        assert sys.unraisablehook is not before[1]
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before
