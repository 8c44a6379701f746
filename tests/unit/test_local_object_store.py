"""The bucket: conditions, order, pages, and mending after a crash."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker_files import end_offset, mend
from deploy.local.object_store import ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    made = ObjectStore(tmp_path / "store.sqlite")
    yield made
    made.close()


def test_conditional_puts_let_one_writer_win(store: ObjectStore) -> None:
    first = store.put("k", b"1", if_absent=True)
    assert first is not None
    assert store.put("k", b"2", if_absent=True) is None
    second = store.put("k", b"2", if_match=first)
    assert second not in (None, first)
    assert store.put("k", b"3", if_match=first) is None
    assert store.put("missing", b"3", if_match=first) is None
    found = store.get("k")
    assert found is not None
    assert found[:2] == (b"2", second)


def test_a_deleted_objects_etag_is_never_given_again(store: ObjectStore) -> None:
    first = store.put("k", b"1")
    store.delete("k")
    assert store.get("k") is None
    assert store.put("k", b"1") != first


def test_what_was_put_survives_and_times_keep_growing(tmp_path: Path) -> None:
    times = []
    for number in range(4):
        store = ObjectStore(tmp_path / "s.sqlite")
        store.put(f"k{number}", b"x")
        store.put(f"l{number}", b"x")
        times += [found[2] for key in (f"k{number}", f"l{number}") if (found := store.get(key))]
        store.close()
    assert len(times) == 8
    assert times == sorted(set(times))


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_join_to_the_whole_listing(store: ObjectStore, limit: int) -> None:
    for key in ("a/1", "a/2", "a/b/3", "a/b/4", "a/c/5", "a/d", "b/1", "a", "a0"):
        store.put(key, key.encode())
    objects, prefixes, position = [], [], ""
    while True:
        some, common, after = store.page("a/", position, "/", limit)
        objects += [key for key, *_ in some]
        prefixes += common
        if after is None:
            break
        position = after
    assert (objects, prefixes) == (["a/1", "a/2", "a/d"], ["a/b/", "a/c/"])
    assert [key for key, *_ in store.page("a/", "a/2", "", 100)[0]] == ["a/b/3", "a/b/4", "a/c/5", "a/d"]


FOLDER = "clusters/labelwatch/topics/t/partitions/0000000000"


def batch(last_offset_delta: int) -> bytes:
    return struct.pack(">qiibIhi", 0, 0, 0, 2, 0, 0, last_offset_delta) + b"rest"


@pytest.mark.parametrize(
    ("high", "batches", "expected"), [(10, {0: 3, 4: 2}, 7), (7, {0: 3, 4: 2}, 7), (3, {}, 0), (None, {}, 0)]
)
def test_offsets_of_unwritten_batches_are_taken_back(
    store: ObjectStore, high: int | None, batches: dict[int, int], expected: int
) -> None:
    store.put(f"{FOLDER}/watermark.json", json.dumps({"low": None, "high": high, "timestamps": None}).encode())
    for base, delta in batches.items():
        store.put(f"{FOLDER}/records/{base:020}.batch", batch(delta))
    assert len(mend(store)) == int((high or 0) > expected)
    assert end_offset(store, "t", 0) == expected
    assert mend(store) == []
    assert end_offset(store, "t", 1) is None
