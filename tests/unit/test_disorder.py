"""Fault injection does exactly what it counts, and nothing it counts is accepted by the schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from schemas.topics import ANNOTATIONS
from streams.decode import check_payload
from streams.sources.disorder import REASONS, Disorder, Malformation, disorder, malform
from streams.sources.simulate import Scenario, Simulation
from streams.sources.source import Message, to_message


@pytest.fixture(scope="module")
def messages() -> list[Message]:
    return [to_message(event) for event in Simulation(Scenario.load("calm").scaled(0.1), seed=1)]


def run(
    messages: list[Message], *, duplicates: float = 0, malformed: float = 0, shuffle_seconds: float = 0, seed: int = 1
) -> tuple[list[Message], Disorder]:
    messy = disorder(messages, seed=seed, duplicates=duplicates, malformed=malformed, shuffle_seconds=shuffle_seconds)
    return list(messy), messy


def test_zero_rates_change_nothing(messages: list[Message]) -> None:
    out, messy = run(messages)
    assert out == messages
    assert (messy.counts.produced, messy.counts.duplicates, messy.counts.malformed) == (len(messages), 0, 0)


def test_counts_are_exact(messages: list[Message]) -> None:
    out, messy = run(messages, duplicates=0.05, malformed=0.03, shuffle_seconds=30)
    counts = messy.counts
    surplus = Counter(out) - Counter(messages)
    good = set(messages)
    duplicates = {message: n for message, n in surplus.items() if message in good}
    assert sum(duplicates.values()) == counts.duplicates
    assert sum(counts.duplicates_by_topic.values()) == counts.duplicates
    assert sum(surplus.values()) - sum(duplicates.values()) == counts.malformed == counts.malformed_by_kind.total()
    assert counts.produced == len(out)
    assert counts.originals == len(messages)
    assert Counter(messages) - Counter(out) == Counter()
    assert counts.duplicates / len(messages) == pytest.approx(0.05, abs=0.02)
    assert counts.malformed / len(messages) == pytest.approx(0.03, abs=0.015)
    assert set(counts.malformed_by_kind) == set(Malformation)


def test_nothing_leaves_its_span_and_order_does_change(messages: list[Message]) -> None:
    out, _ = run(messages, duplicates=0.1, malformed=0.1, shuffle_seconds=60)
    latest = 0
    for message in out:
        latest = max(latest, message.event_ms)
        assert latest - message.event_ms <= 60_000
    good = set(messages)
    assert [m for m in dict.fromkeys(out) if m in good] != messages


def test_duplicates_follow_their_original(messages: list[Message]) -> None:
    out, _ = run(messages, duplicates=1.0, shuffle_seconds=10)
    assert len(out) == 2 * len(messages)
    assert Counter(out) == Counter(dict.fromkeys(messages, 2))


def test_held_back_messages_keep_their_place_among_arrivals() -> None:
    stalled = [Message("annotations", b"t", str(n).encode(), ms) for n, ms in enumerate((1_000, 90_000, 2_000, 91_000))]
    assert run(stalled)[0] == stalled
    for seed in range(20):
        out, _ = run(stalled, shuffle_seconds=5, seed=seed)
        assert out[0] == stalled[0]


def test_seed_decides(messages: list[Message]) -> None:
    first, again, other = (
        run(messages, duplicates=0.1, malformed=0.1, shuffle_seconds=5, seed=seed)[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_it_streams() -> None:
    taken = 0

    def endless() -> Iterator[Message]:
        nonlocal taken
        while True:
            taken += 1
            yield Message("annotations", b"t", b"{}", taken * 1_000)

    messy = disorder(endless(), seed=1, duplicates=0, malformed=0, shuffle_seconds=10)
    for _ in range(100):
        next(messy)
    assert taken <= 112


def test_malformed_lines_are_refused_for_the_reason_stated(messages: list[Message]) -> None:
    rng = Random(1)
    seen: set[tuple[str, Malformation]] = set()
    originals = {message.topic: message for message in messages}
    assert len(originals) == 2
    for _ in range(300):
        for topic, original in originals.items():
            assert check_payload(topic, original.key, original.value) is None
            bad, kind = malform(original, rng)
            seen.add((topic, kind))
            refusal = check_payload(bad.topic, bad.key, bad.value)
            assert refusal is not None
            assert refusal.reason is REASONS[kind]
            assert (bad.topic, bad.event_ms) == (topic, original.event_ms)
    assert {kind for topic, kind in seen if topic == ANNOTATIONS.name} == set(Malformation) == set(REASONS)
    assert len({kind for topic, kind in seen if topic != ANNOTATIONS.name}) == len(Malformation) - 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"duplicates": 1.5}, "duplicates is a share"), ({"malformed": -0.1}, "malformed is a share"),
     ({"shuffle_seconds": -1}, "shuffle_seconds must be 0 or more")],
)  # fmt: skip
def test_senseless_rates_are_refused(wrong: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        run([], **wrong)  # type: ignore[arg-type]  # the keywords are floats
