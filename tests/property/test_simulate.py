"""Properties of the simulator and of disorder that must hold for every seed and every message."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import AnnotationEvent
from schemas.times import to_ms
from streams.sources.disorder import disorder
from streams.sources.simulate import Scenario, Simulation
from streams.sources.source import Message

TINY = Scenario.load("calm").scaled(0.03)

EVENT = b'{"schema_version":1,"event_id":"e","labeler_id":"w","submitted_at":"2026-01-05T00:00:00Z"}'
MESSAGES = st.lists(
    st.builds(
        Message,
        st.just("annotations"),
        st.sampled_from([b"a", b"b"]),
        st.just(EVENT),
        st.integers(min_value=0, max_value=10**6),
    ),
    max_size=60,
)
SHARES = st.floats(min_value=0, max_value=1)
SPANS = st.floats(min_value=0, max_value=1_000)


@given(MESSAGES, st.integers())
def test_disorder_with_zero_rates_is_the_identity(messages: list[Message], seed: int) -> None:
    assert list(disorder(messages, seed=seed, duplicates=0, malformed=0, shuffle_seconds=0)) == messages


@given(MESSAGES, st.integers(), SHARES, SHARES, SPANS)
def test_disorder_loses_nothing_and_counts_everything(
    messages: list[Message], seed: int, duplicates: float, malformed: float, span: float
) -> None:
    messy = disorder(messages, seed=seed, duplicates=duplicates, malformed=malformed, shuffle_seconds=span)
    out = list(messy)
    assert messy.counts.produced == len(out)
    assert messy.counts.originals == len(messages)
    assert Counter(messages) - Counter(out) == Counter()


@given(MESSAGES, st.integers(), SPANS)
def test_disorder_moves_no_message_beyond_its_span(messages: list[Message], seed: int, span: float) -> None:
    ordered = sorted(messages, key=lambda message: message.event_ms)
    latest = 0
    for message in disorder(ordered, seed=seed, duplicates=0, malformed=0, shuffle_seconds=span):
        latest = max(latest, message.event_ms)
        assert latest - message.event_ms <= span * 1_000 + 1e-6


@settings(max_examples=5, deadline=None)
@given(st.integers())
def test_any_seed_gives_an_ordered_stream_of_unique_events(seed: int) -> None:
    events = list(Simulation(TINY, seed))
    times = [to_ms(e.submitted_at if isinstance(e, AnnotationEvent) else e.reviewed_at) for e in events]
    assert times == sorted(times)
    ids = [e.event_id for e in events if isinstance(e, AnnotationEvent)]
    assert len(ids) == len(set(ids)) > 0
