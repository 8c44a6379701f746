"""What every stateful detector keeps to: one suite over all of them.

State round-trip, no aliasing, score before learn, bounded memory, determinism, replay changes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from detectors import consensus, evidence, labeler_speed, windows
from detectors.beliefs import Beliefs, Guideline
from detectors.consensus import Answer, Task, Truth
from detectors.expected_time import ExpectedTimes
from detectors.forgetting import HalfLives
from detectors.sketches import KEPT_HASHES, DistinctSketch, hash64
from detectors.timing import Work
from detectors.windows import MAX_HISTOGRAM_LABELS, IntervalOutcome, Observation, Partial, WindowKey, Windows
from streams.state import codecs
from tests.expected_times import dumped, restored

Step = tuple[int, str, str, float]
"""Offset, an id, a label and a number: every detector takes from it what it needs."""


def steps(seed: int, count: int, *, first_offset: int = 0, ids: int = 12) -> list[Step]:
    """The same steps for the same seed, with every id again and again."""
    rng = random.Random(seed)
    return [
        (first_offset + i, f"id-{rng.randrange(ids)}", rng.choice("abc"), rng.lognormvariate(3, 1))
        for i in range(count)
    ]


@dataclass(frozen=True)
class Contract:
    """How to make, feed, store and restore one kind of state."""

    make: Callable[[], Any]
    feed: Callable[[Any, Step], Any]
    """Apply one step; what it says before it learns."""
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]
    replay_safe: bool = True
    """Whether a step at an offset that is included already changes nothing, without help from the pipeline."""


def feed_expected_times(model: ExpectedTimes, step: Step) -> Any:
    offset, name, label, seconds = step
    at_ms = offset * 60_000
    work = Work(name, "p", "image_class", label, f"task {offset % 7}", at_ms, at_ms + 1_000, seconds)
    return model.observe(work).expected


def feed_task(task: Task, step: Step) -> Any:
    offset, name, label, number = step
    if task.is_duplicate(hash64(f"event-{offset}"), offset):
        return "duplicate"
    task.applied = max(task.applied, offset)
    before = task.stand(name, Answer(label, int(number * 1_000)))
    return before, task.votes()


class Believer:
    """Beliefs with the tasks they are about; what is stored of both."""

    def __init__(self, max_classes: int = 20) -> None:
        self.beliefs = Beliefs(HalfLives(50, 30), max_classes, {"p": Guideline(("a", "b", "c"))})
        self.tasks: dict[str, Task] = {}


def feed_believer(one: Believer, step: Step) -> Any:
    """Every labeler answers many tasks; every seventh step tells a truth."""
    offset, name, label, number = step
    task = one.tasks.setdefault(f"t-{offset // 3}", Task("p", f"t-{offset // 3}", "c"))
    said = [one.beliefs.forecast(task, name), one.beliefs.belief(task), one.beliefs.accuracy(task.space, name)]
    if task.is_duplicate(hash64(f"event-{offset}"), offset):
        return "duplicate"
    one.beliefs.answer(task, name, Answer(label, offset * 1_000, pace=number / 100), "class")
    if offset % 7 == 0:
        one.beliefs.know(task, Truth("a", "gold", offset))
    return said


def dump_believer(one: Believer) -> Any:
    models = [
        (space, model.form, codecs.encode_plain([model.dump(), [[n, model.dump_labeler(n)] for n in model.labelers]]))
        for space, model in one.beliefs.models.items()
    ]
    tasks = [codecs.encode_task(task) for task in one.tasks.values()]
    return models, tasks, codecs.encode_plain(one.beliefs.confidence_model.dump())


def load_believer(stored: Any, max_classes: int = 20) -> Believer:
    one, (models, tasks, confidence) = Believer(max_classes), stored
    for space, form, payload in models:
        plain, labelers = codecs.decode_plain(payload)
        one.beliefs.load(space, form, plain)
        for name, state in labelers:
            one.beliefs.models[space].load_labeler(name, state)
    one.tasks = {task.task_id: task for task in map(codecs.decode_task, tasks)}
    one.beliefs.confidence_model.load(codecs.decode_plain(confidence))
    return one


SEGMENT = ("p", "t", "v")


def feed_windows(made: Windows, step: Step) -> Any:
    offset, name, label, seconds = step
    event_ms = offset * 7_000 - int(seconds * 1_000)
    key = made.key(SEGMENT, event_ms)
    late = made.is_late(key)
    made.advance(event_ms)
    micros = int(seconds * 1e6)
    made.touch(key, offset=offset).add(
        Observation(name, name, (label,), micros, micros // 2, label == "a", label == "b", False),
        offset=offset,
        late=late,
    )
    return late, [(k.start_ms, p.first_offset) for k, p in made.close()]


def make_windows() -> Windows:
    return Windows(width_ms=60_000, out_of_order_ms=5_000, lateness_ms=120_000)


def dump_windows(made: Windows) -> Any:
    rows = [(key, made.get(key)) for key in made.open_keys()]
    return made.watermark_ms, [(codecs.window_key(k, p.first_offset), codecs.encode_window(p)) for k, p in rows]


def load_windows(stored: Any) -> Windows:
    watermark_ms, rows = stored
    made = make_windows()
    made.restore(watermark_ms, dict(codecs.decode_window(key, payload) for key, payload in rows))
    return made


def feed_partial(partial: Partial, step: Step) -> Any:
    offset, name, label, seconds = step
    before = partial.annotations
    interval = IntervalOutcome(label == "a", label != "b", int(seconds * 1e5), label == "a", label == "b")
    seen = Observation(name, name, (label,), int(seconds * 1e6), None, None, None, False, interval, label == "c")
    partial.add(seen, offset=offset, late=False)
    return before


def feed_sketch(sketch: DistinctSketch, step: Step) -> Any:
    before = sketch.estimate()
    sketch.add(hash64(f"{step[1]}-{step[2]}-{int(step[3])}"))
    return before


KEY = codecs.window_key(WindowKey(0, *SEGMENT), 0)
CONTRACTS = {
    "handling time": Contract(
        ExpectedTimes,
        feed_expected_times,
        dumped,
        restored,
        replay_safe=False,  # guarded by the position: tests/property/test_exactly_once.py takes that guard out
    ),
    "task": Contract(lambda: Task("p", "t", "c"), feed_task, codecs.encode_task, codecs.decode_task),
    # Like handling time, what is believed is guarded by the position.
    "confusion": Contract(Believer, feed_believer, dump_believer, load_believer, replay_safe=False),
    "one coin": Contract(
        lambda: Believer(2),
        feed_believer,
        dump_believer,
        lambda stored: load_believer(stored, max_classes=2),
        replay_safe=False,
    ),
    "windows": Contract(make_windows, feed_windows, dump_windows, load_windows, replay_safe=False),
    "partial": Contract(
        lambda: Partial(0, -1, 0),
        feed_partial,
        codecs.encode_window,
        lambda payload: codecs.decode_window(KEY, payload)[1],
    ),
    "distinct": Contract(DistinctSketch, feed_sketch, lambda s: s.hashes(), DistinctSketch),
}
every_detector = pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)


@every_detector
@pytest.mark.parametrize("seed", range(4))
def test_what_was_restored_goes_on_the_same(contract: Contract, seed: int) -> None:
    live = contract.make()
    for step in steps(seed, 150):
        contract.feed(live, step)
    again = contract.load(contract.dump(live))
    assert contract.dump(again) == contract.dump(live)
    for step in steps(seed + 100, 150, first_offset=150):
        assert contract.feed(again, step) == contract.feed(live, step)
    assert contract.dump(again) == contract.dump(live)


@every_detector
def test_an_empty_one_round_trips(contract: Contract) -> None:
    fresh = contract.make()
    assert contract.dump(contract.load(contract.dump(fresh))) == contract.dump(fresh)


@every_detector
def test_dumped_state_is_a_copy(contract: Contract) -> None:
    live = contract.make()
    for step in steps(1, 40):
        contract.feed(live, step)
    dumped = contract.dump(live)
    shown = repr(dumped)
    restored = contract.load(dumped)
    for step in steps(2, 40, first_offset=40):
        contract.feed(live, step)
    assert repr(dumped) == shown
    untouched = contract.dump(live)
    for step in steps(3, 40, first_offset=80):
        contract.feed(restored, step)
    assert contract.dump(live) == untouched, "the restored one shares nothing with the live one"


@every_detector
def test_the_same_steps_say_and_leave_the_same(contract: Contract) -> None:
    first, second = contract.make(), contract.make()
    said = [[contract.feed(one, step) for step in steps(5, 200)] for one in (first, second)]
    assert said[0] == said[1]
    assert contract.dump(first) == contract.dump(second)


@every_detector
def test_replay_changes_nothing(contract: Contract) -> None:
    live = contract.make()
    for step in steps(6, 60):
        contract.feed(live, step)
    before = contract.dump(live)
    for step in steps(6, 60):
        contract.feed(live, step)
    assert (contract.dump(live) == before) is contract.replay_safe


@pytest.mark.parametrize("name", ["handling time", "confusion", "one coin", "windows", "partial", "distinct"])
def test_it_says_what_it_knew_before(name: str) -> None:
    """Score before learn: what is said about a step does not depend on the step's own outcome. A task says how the
    step agrees with what it knew: see tests/unit/test_consensus.py."""
    contract = CONTRACTS[name]
    one, other = contract.make(), contract.make()
    for step in steps(8, 30):
        contract.feed(one, step)
        contract.feed(other, step)
    seconds = 20.0 if name == "windows" else 9_999.0  # the time of a window's step is no outcome
    label = "a" if name == "handling time" else "c"  # the vendor, which is known before
    assert contract.feed(one, (30, "id-1", "a", 20.0)) == contract.feed(other, (30, "id-1", label, seconds))
    assert contract.dump(one) != contract.dump(other)


class TestBounded:
    def test_handling_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(labeler_speed, "MAX_SPEEDS", 20)
        model = ExpectedTimes()
        for step in steps(1, 1_000, ids=500):
            feed_expected_times(model, step)
        assert len(model.memories["speed"]) == 20

    def test_task(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(consensus, "MAX_ANSWERS", 20)
        task = Task("p", "t", "c")
        for step in steps(1, 1_000, ids=500):
            feed_task(task, step)
        assert (len(task.answers), len(task.event_offsets)) == (20, 20)
        assert len(task.votes()) <= 20

    @pytest.mark.parametrize("name", ["confusion", "one coin"])
    def test_beliefs(self, name: str) -> None:
        """A labeler costs a fixed number of counts, however much was answered."""
        one = CONTRACTS[name].make()
        for step in steps(1, 1_500):
            feed_believer(one, step)
        (model,) = one.beliefs.models.values()
        assert len(model.labelers) == 12
        assert all(len(codecs.encode_plain(model.dump_labeler(labeler))) < 2_000 for labeler in model.labelers)
        assert len(codecs.encode_plain(model.dump())) < 8_000
        assert max(len(model.evidence(labeler).counts) for labeler in model.labelers) <= 18

    def test_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(windows, "MAX_OPEN_PARTIALS", 20)
        made = Windows(width_ms=60_000, out_of_order_ms=0, lateness_ms=10**12)
        for offset in range(1_000):
            made.touch(made.key(SEGMENT, offset * 60_000), offset=offset)
            list(made.close())
        assert len(made) == 20

    def test_partial_and_sketch(self) -> None:
        partial = Partial(0, -1, 0)
        for offset in range(3_000):
            name = f"id-{offset}"
            seen = Observation(name, name, (name,), offset * 1_000_003, None, None, None, False)
            partial.add(seen, offset=offset, late=False)
        assert len(partial.tasks.hashes()) == len(partial.labelers.hashes()) == KEPT_HASHES
        assert len(partial.label_histogram) == MAX_HISTOGRAM_LABELS + 1
        assert len(partial.handling_sketch) < 1_500
        assert len(codecs.encode_window(partial)) < 40_000

    def test_the_caps_themselves(self) -> None:
        """What the state table's row sizes and the worker's memory were reckoned with."""
        assert (labeler_speed.MAX_SPEEDS, consensus.MAX_ANSWERS, windows.MAX_OPEN_PARTIALS) == (2_000, 1_000, 50_000)
        assert (consensus.MAX_VOTES, evidence.MAX_COUNTS) == (32, 5_000)
