"""Several runs of a scenario, a process each: what is found does not depend on how many at once."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from ctypes import c_bool
from multiprocessing.sharedctypes import Synchronized, SynchronizedArray
from typing import Final, NamedTuple

from schemas.scenario import Scenario
from schemas.thresholds import Rule
from streams.evaluate.scenario.play import Played, play

_LOOK_SECONDS: Final = 0.2


class _Board(NamedTuple):
    """What processes tell each other."""

    shares: SynchronizedArray[float]
    """How much is done of each run."""
    is_over: Synchronized[bool]
    """Nobody waits for them any more."""


class _Over(Exception):
    """Ends a run that nobody waits for."""


_board: _Board | None = None


def play_runs(
    scenario: Scenario,
    seeds: Sequence[int],
    rules: Sequence[Rule],
    *,
    at_once: int = 1,
    done: Callable[[float], None] = lambda runs: None,
) -> list[Played]:
    """Play runs of a scenario.

    Args:
        scenario: what happens.
        seeds: which runs of it.
        rules: as `play`.
        at_once: how many; each takes a core, and some 0.7 GB for a week of a thousand labelers.
        done: is told how many runs are done, parts of them counted, now and then. If it raises, all end.

    Returns:
        Of each seed, in their order.

    Raises:
        ValueError: as `play`.
        BrokenProcessPool: a process was killed, perhaps for want of memory.
    """
    at_once = min(at_once, len(seeds))
    if at_once <= 1:
        return [play(scenario, seed, rules, lambda share, n=n: done(n + share)) for n, seed in enumerate(seeds)]  # type: ignore[misc]  # mypy takes no defaults
    context = multiprocessing.get_context("spawn")  # forks of a process with threads may hang
    board = _Board(context.Array("d", len(seeds)), context.Value(c_bool, False))
    with ProcessPoolExecutor(at_once, context, _join, (board,)) as pool:
        runs = [pool.submit(_play, scenario, number, seed, rules) for number, seed in enumerate(seeds)]
        try:
            waiting = set(runs)
            while waiting:
                ended, waiting = wait(waiting, _LOOK_SECONDS)
                for run in ended:
                    run.result()
                done(sum(board.shares[:]))
        except BaseException:
            board.is_over.value = True
            pool.shutdown(cancel_futures=True)
            raise
        return [run.result() for run in runs]


def _join(board: _Board) -> None:
    """In each process, before its first run. Ctrl-C in a terminal reaches all of them: the one that waits decides."""
    global _board
    _board = board
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _play(scenario: Scenario, number: int, seed: int, rules: Sequence[Rule]) -> Played:
    board = _board
    assert board is not None

    def note(share: float) -> None:
        if board.is_over.value:
            raise _Over
        board.shares[number] = share

    return play(scenario, seed, rules, note)
