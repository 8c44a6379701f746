"""What every contender measures itself with: CPU and time between its first and its last message."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import NoReturn

import click


class Stopwatch:
    """Counts messages; at the last one it prints one JSON line and ends the process.

    The first delivery starts the clock and is not counted, so that joining the group costs nothing. CPU is user
    plus system time of the whole process, all threads.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = 0
        self._first = 0
        self._cpu = self._clock = 0.0

    def count(self, messages: int) -> None:
        """Note ``messages`` more."""
        if not self._seen:
            self._first, self._cpu, self._clock = messages, _cpu_seconds(), time.perf_counter()
        self._seen += messages
        if self._seen >= self._total:
            self._finish()

    def _finish(self) -> NoReturn:
        seconds, cpu = time.perf_counter() - self._clock, _cpu_seconds() - self._cpu
        counted = self._seen - self._first
        # The real stdout: Faust turns sys.stdout into a logger. Nothing is left to shut down in order.
        sys.__stdout__.write(  # type: ignore[union-attr]  # a console program has one
            json.dumps({"us": cpu / counted * 1e6, "per_second": counted / seconds, "messages": counted}) + "\n"
        )
        sys.__stdout__.flush()  # type: ignore[union-attr]
        os._exit(0)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peer_options(command: click.decorators.FC) -> click.decorators.FC:
    """The options that every contender takes."""
    command = click.option("--messages", type=click.IntRange(min=2), required=True)(command)
    command = click.option("--topic", required=True)(command)
    command = click.option("--group", required=True)(command)
    return click.option("--broker", required=True, help="host:port")(command)
