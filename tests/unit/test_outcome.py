"""Dead letters and outcomes: complete, bounded, and the same on every replay."""

from __future__ import annotations

import pytest

from schemas.dead_letter import FIRST_BYTES, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, DeadLetter, Reason
from schemas.rows import DeadLetterRow
from schemas.times import to_ms
from streams.decode import Refusal
from streams.outcome import Outcome, arrival_ms, unread
from tests.builders import NOW_MS, Message, records

BAD = Refusal(Reason.NOT_JSON, "it is not")
#: aiokafka refuses to send more (Faust's producer_max_request_size).
MAX_REQUEST_BYTES = 1_000_000


def refuse(
    value: bytes | None, *, key: bytes | None = b"t-1", timestamp: int = NOW_MS
) -> tuple[DeadLetter, DeadLetterRow]:
    outcome = Outcome()
    outcome.refuse("annotations", 3, Message(17, timestamp, key, value), BAD)
    (letter,), (row,) = outcome.dead_letters, outcome.rows["dead_letters"]
    assert isinstance(row, DeadLetterRow)
    return letter, row


def test_a_dead_letter_says_where_why_and_what() -> None:
    letter, row = refuse(b"{oops")
    assert letter.origin.model_dump() == {"topic": "annotations", "partition": 3, "offset": 17}
    assert (letter.reason, letter.detail, letter.key, letter.payload) == (
        Reason.NOT_JSON,
        "it is not",
        b"t-1",
        b"{oops",
    )
    assert (letter.truncated, to_ms(letter.failed_at)) == (False, NOW_MS)
    assert row == DeadLetterRow(
        "annotations", 3, 17, "t-1", "not_json", "it is not", "{oops", 5, NOW_MS, "open", 0
    )  # fmt: skip


def test_no_value_and_no_key() -> None:
    letter, row = refuse(None, key=None)
    assert (letter.key, letter.payload, row.origin_key, row.first_bytes, row.payload_bytes) == (None, b"", "", "", 0)


def test_bytes_that_are_not_text_are_shown_as_escapes() -> None:
    letter, row = refuse(b"\xff\xfe{", key=b"\xff")
    assert (row.first_bytes, row.origin_key) == ("\\xff\\xfe{", "\\xff")
    assert letter.payload == b"\xff\xfe{"
    assert refuse("é".encode() * FIRST_BYTES)[1].first_bytes == "é" * (FIRST_BYTES // 2)


@pytest.mark.parametrize(("size", "truncated"), [(MAX_PAYLOAD_BYTES, False), (MAX_PAYLOAD_BYTES + 1, True)])
def test_a_large_payload_is_cut_and_says_so(size: int, truncated: bool) -> None:
    letter, row = refuse(b"x" * size)
    assert (len(letter.payload), letter.truncated, row.payload_bytes) == (MAX_PAYLOAD_BYTES, truncated, size)


def test_a_key_that_can_never_be_right_is_cut() -> None:
    letter, row = refuse(b"{}", key=b"k" * 900_000)
    assert letter.key == b"k" * MAX_KEY_BYTES
    assert letter.truncated
    assert len(row.origin_key) == FIRST_BYTES
    assert not refuse(b"{}", key=b"k" * MAX_KEY_BYTES)[0].truncated


def test_the_largest_dead_letter_can_be_sent() -> None:
    letter, _ = refuse(b"\xff" * 1_000_000, key=b"\xff" * 1_000_000)
    longest = letter.model_copy(update={"detail": "\x01" * 800})
    assert len(longest.model_dump_json()) + len(longest.key or b"") < MAX_REQUEST_BYTES


@pytest.mark.parametrize(
    ("timestamp", "shown"),
    [
        (-1, "2000-01-01T00:00:00+00:00"),
        (0, "2000-01-01T00:00:00+00:00"),
        (-(2**63), "2000-01-01T00:00:00+00:00"),
        (95_617_584_000_000, "2099-12-31T23:59:59.999000+00:00"),  # the year 5000
        (2**63 - 1, "2099-12-31T23:59:59.999000+00:00"),
        (1_767_596_400_123, "2026-01-05T07:00:00.123000+00:00"),
    ],
)
def test_insane_record_timestamps_are_held_to_sane_years(timestamp: int, shown: str) -> None:
    letter, row = refuse(b"", timestamp=timestamp)
    assert letter.failed_at.isoformat() == shown
    assert row.failed_at == arrival_ms(Message(0, timestamp, None, None)) == to_ms(letter.failed_at)
    assert DeadLetter.model_validate_json(letter.model_dump_json()) == letter


def test_outcomes_add_up() -> None:
    first, second = Outcome(received=3, accepted=2, late=1), Outcome(received=4, replayed=5, accepted=1, duplicates=2)
    first.refuse("annotations", 0, Message(1, NOW_MS, None, b"x"), BAD)
    second.refuse("annotations", 0, Message(2, NOW_MS, None, b"y"), BAD)
    first.take(second)
    assert (first.received, first.replayed, first.accepted, first.duplicates, first.late) == (7, 5, 3, 2, 1)
    assert [letter.origin.offset for letter in first.dead_letters] == [1, 2]
    assert len(first.rows["dead_letters"]) == 2


@pytest.mark.parametrize(
    ("last_offset", "expected"), [(-1, [5, 6, 7]), (4, [5, 6, 7]), (5, [6, 7]), (6, [7]), (7, []), (99, [])]
)
def test_what_was_applied_is_not_read_again(last_offset: int, expected: list[int]) -> None:
    assert [r.offset for r in unread(records([b"", b"", b""], first_offset=5), last_offset)] == expected
    assert unread([], last_offset) == []
