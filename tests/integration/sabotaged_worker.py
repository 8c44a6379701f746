"""A worker with guards taken out, to prove that the tests see it: ``python sabotaged_worker.py GUARD[,GUARD]``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))


def without_stored_position() -> None:
    """Resume where the consumer group last committed, as any consumer does."""
    from streams.score import Score

    Score.next_offset = lambda self, topic, partition: None  # type: ignore[method-assign]


def without_offset_check() -> None:
    """Apply every message that is delivered, whatever the state includes."""
    import detectors.consensus
    import detectors.windows
    import streams.pipeline

    def seen_at_all(task: Any, event_hash: int, offset: int) -> bool:
        before = len(task.event_offsets)
        task.event_offsets.setdefault(event_hash, offset)
        return len(task.event_offsets) == before

    def always(method: Callable[..., None]) -> Callable[..., None]:
        def wrapper(partial: Any, *args: Any, **kwargs: Any) -> None:
            partial.last_offset = -1
            method(partial, *args, **kwargs)

        return wrapper

    partial: Any = detectors.windows.Partial
    streams.pipeline.unread = lambda records, last_offset: records
    detectors.consensus.Task.is_duplicate = seen_at_all  # type: ignore[method-assign]
    partial.add, partial.add_duplicate = always(partial.add), always(partial.add_duplicate)


def main() -> None:
    for guard in sys.argv.pop(1).split(","):
        {"stored_position": without_stored_position, "offset_check": without_offset_check}[guard]()

    from streams.cli import main as labelwatch

    sys.argv = ["labelwatch", "worker"]
    labelwatch()


if __name__ == "__main__":
    main()
