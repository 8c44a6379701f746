"""Ctrl-C is remembered where Python forgets it."""

from __future__ import annotations

import contextlib
import signal

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


def test_the_handler_before_it_is_back_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
