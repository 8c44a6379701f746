"""What a bounded memory says has changed is enough to make it again, at any point and in any order."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from detectors.recent_memory import RecentMemory

STEPS = st.lists(st.one_of(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), st.none()), max_size=60)


def memory() -> RecentMemory[str, int]:
    return RecentMemory(3, to_plain=int, from_plain=int)


@given(STEPS, st.integers(0, 9))
def test_what_is_stored_as_it_changes_is_what_is_remembered(steps: list[tuple[str, int] | None], seed: int) -> None:
    """None is a checkpoint, and a restart after it."""
    live, restarted = memory(), memory()
    stored: dict[str, list[Any]] = {}
    for step in [*steps, None]:
        if step is not None:
            live.use(*step)
            restarted.use(*step)
            continue
        changed = list(restarted.take_changed())
        assert list(live.take_changed()) == changed
        for key, plain in changed:
            if plain is None:
                del stored[key]  # nothing is told to be forgotten that was not stored
            else:
                stored[key] = plain
        entries = list(stored.items())
        random.Random(seed).shuffle(entries)
        restarted = memory()
        restarted.load(entries)
        assert restarted.dump() == live.dump()
        assert len(live) <= 3


def test_nothing_is_told_twice() -> None:
    one = memory()
    one.use("a", 1)
    assert list(one.take_changed()) == [("a", [0, 1])]
    assert list(one.take_changed()) == []
    assert one.changed() == []


def test_who_is_forgotten_and_comes_back_is_a_change_only() -> None:
    one = memory()
    one.use("a", 1)
    list(one.take_changed())
    for key in "bcd":
        one.use(key, 2)
    one.use("a", 3)
    assert dict(one.take_changed()) == {"c": [2, 2], "d": [3, 2], "a": [4, 3]}
