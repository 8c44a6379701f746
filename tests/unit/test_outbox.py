"""Packing evidence: everything about a labeler to one partition, and no message larger than Kafka takes."""

from __future__ import annotations

from schemas.evidence import EvidenceBatch
from schemas.topics import LABELER_EVIDENCE
from streams.labelers import decode_evidence
from streams.outbox import MAX_MESSAGE_BYTES, ChangedEvidence, evidence_messages, labeler_partition
from tests.evidence import evidence

LIMIT = int(LABELER_EVIDENCE.config["max.message.bytes"])


def changed(number: int, **fields: object) -> ChangedEvidence:
    return ChangedEvidence("animals", "image_class", f"l-{number}", number, evidence(**fields))  # type: ignore[arg-type]


def unpacked(value: bytes | None) -> EvidenceBatch:
    decoded = decode_evidence(value)
    assert isinstance(decoded, tuple), decoded
    return decoded[0]


def test_one_message_a_partition_with_every_labeler_once() -> None:
    messages = evidence_messages("app", 2, [changed(n) for n in range(50)], 4)
    assert [message.partition for message in messages] == [0, 1, 2, 3]
    found = {}
    for message in messages:
        batch = unpacked(message.value)
        assert (message.topic, message.key, batch.app_id, batch.source_partition) == (
            "labeler-evidence",
            None,
            "app",
            2,
        )
        for entry in batch.entries:
            assert labeler_partition(entry.labeler_id, 4) == message.partition
            found[entry.labeler_id] = entry.version
    assert found == {f"l-{n}": n for n in range(50)}


def test_nothing_changed_is_no_message() -> None:
    assert evidence_messages("app", 0, [], 4) == []


def test_many_labelers_are_cut_into_messages() -> None:
    many = evidence_messages("app", 0, [changed(n) for n in range(2_500)], 1)
    assert [len(unpacked(message.value).entries) for message in many] == [1_000, 1_000, 500]


def test_large_evidence_is_cut_into_messages_that_fit() -> None:
    names = [f"{number:02}" + "x" * 100 for number in range(30)]
    counts = {(true, 0, answer): 1.0 for true in names for answer in names}
    messages = evidence_messages("app", 0, [changed(n, form="confusion", counts=counts) for n in range(10)], 1)
    entries = [entry for message in messages for entry in unpacked(message.value).entries]
    assert {entry.evidence["form"] for entry in entries} == {"confusion"}
    assert len(entries) == 10
    assert len(messages) > 1
    assert all(len(message.value or b"") <= MAX_MESSAGE_BYTES < LIMIT for message in messages)


def test_a_matrix_that_is_too_large_is_cut_to_one_coin() -> None:
    names = [f"{number:03}" + "x" * 250 for number in range(70)]
    counts = {(true, 0, answer): 1.0 for true in names for answer in names}
    (message,) = evidence_messages("app", 0, [changed(1, form="confusion", counts=counts, labels=4_900)], 1)
    (entry,) = unpacked(message.value).entries
    assert entry.evidence["form"] == "one_coin"
    assert entry.evidence["counts"] == [["right", 0, "right", 70.0], ["right", 0, "wrong", 4_830.0]]
