"""What the broker keeps in its bucket: where a partition ends, and how to mend it after a crash."""

from __future__ import annotations

import json
import struct

from deploy.local.object_store import ObjectStore

CLUSTER = "labelwatch"
_BATCH_HEADER = struct.Struct(">qiibIhi")  # a Kafka record batch, up to its last offset delta
_WATERMARK = "watermark.json"


def end_offset(store: ObjectStore, topic: str, partition: int) -> int | None:
    """The offset the next message of a partition gets; None for a partition that does not exist."""
    found = store.get(f"{_folder(topic, partition)}/{_WATERMARK}")
    if found is None:
        return None
    high = json.loads(found[0])["high"]
    return int(high or 0)


def mend(store: ObjectStore) -> list[str]:
    """Take back the offsets of batches that were never stored; returns the partitions' keys.

    The broker moves a partition's end before it stores the batch. Killed in between, it leaves an end that
    no reader can ever reach. Nobody was told of such a batch, so its offsets can be given again.
    """
    mended = []
    for key in store.keys(f"clusters/{CLUSTER}/topics/", f"/{_WATERMARK}"):
        found = store.get(key)
        assert found is not None  # listed a moment ago, and nobody else has the store
        watermark = json.loads(found[0])
        records = key.removesuffix(_WATERMARK) + "records/"
        last = store.last(records)
        high = 0
        if last is not None:
            base = int(last[0].removeprefix(records)[:20])
            high = base + int(_BATCH_HEADER.unpack_from(last[1])[-1]) + 1
        if (watermark["high"] or 0) > high:
            store.put(key, json.dumps({**watermark, "high": high}).encode())
            mended.append(key)
    return mended


def _folder(topic: str, partition: int) -> str:
    return f"clusters/{CLUSTER}/topics/{topic}/partitions/{partition:010}"
