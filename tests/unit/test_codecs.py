"""State codecs: exact, versioned, indifferent to what ids hold."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from detectors.agreement import Coincidences, unit_contribution
from detectors.consensus import Answer, LabelSpace, Task, Truth
from detectors.expected_time import ExpectedTimes
from detectors.labeler_speed import SpeedKey
from detectors.sketches import DistinctSketch
from detectors.windows import Partial, WindowKey
from streams.state import codecs
from streams.state.codecs import UnknownCodecError
from streams.state.position import Position
from tests.builders import HOSTILE_IDS


def full_task(name: str) -> Task:
    """A task with something in every field that is stored."""
    task = Task(
        name,
        name,
        name,
        truth=Truth(name, "review", 6),
        refuted=("", name),
        posterior=[1 / 3, 1e-300, 0.0, 2 / 3],
        share=[0.25, 0.75],
        labels=[name, ""],
        confidence=1 / 7,
        last_submitted_ms=7,
        touched_ms=8,
        touched=4,
        is_reopened=True,
        applied=9,
    )
    task.gold = Truth(name, "gold", 5)
    task.stand(name, Answer(name, 3, name, -0.3, 1 / 3, 17, True, True, True, False))
    task.stand("other", Answer(None, 4))
    task.is_duplicate(2**64 - 1, offset=2**62)
    task.is_duplicate(0, offset=0)
    return task


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_task(name: str) -> None:
    task = full_task(name)
    again = codecs.decode_task(codecs.encode_task(task))
    assert again == task
    assert list(again.answers) == list(task.answers), "the order decides who is forgotten first"
    assert list(again.event_offsets) == list(task.event_offsets)
    assert again.space == task.space
    assert codecs.read_key(codecs.task_key(name, "t")) == [name, "t"]
    assert codecs.read_key(codecs.labeler_key(LabelSpace(name, "t"), name)) == [name, "t", name]


def test_every_field_of_a_task_and_of_an_answer_is_stored() -> None:
    """One added and forgotten here would be lost at every restart."""
    task, fresh = full_task("a"), Task("", "", "")
    unset = [f.name for f in fields(Task) if f.compare and getattr(task, f.name) == getattr(fresh, f.name)]
    assert unset == [], "full_task() does not fill these: the round trip above says nothing of them"
    unset = {f for f in Answer.__dataclass_fields__ if getattr(task.answers["a"], f) == getattr(Answer("x", 0), f)}
    assert unset == set()


def test_a_share_that_is_the_posterior_is_the_posterior_again() -> None:
    task = full_task("a")
    task.share = task.posterior
    again = codecs.decode_task(codecs.encode_task(task))
    assert again == task
    assert again.share is again.posterior


def test_a_task_of_before_labelers_were_known_is_still_read() -> None:
    """Version 1: ids, [labeler, label, ms], [hash, offset], gold [label, ms], last submitted, touched, applied."""
    stored = '["p","t","c",[["ana","cat",3],["bob",null,4]],[[7,11]],["dog",5],6,7,12]'
    task = codecs.decode_task(stored, 1)
    assert (task.project_id, task.task_id, task.task_type, task.space) == ("p", "t", "c", LabelSpace("p", "c"))
    assert task.answers == {"ana": Answer(None, 3), "bob": Answer(None, 4)}
    assert task.votes() == [], "of their labelers nothing is known"
    assert task.event_offsets == {7: 11}
    assert task.truth == task.gold == Truth("dog", "gold", 5)
    assert (task.last_submitted_ms, task.touched_ms, task.applied) == (6, 7, 12)
    assert (task.posterior, task.share, task.labels) == (None, None, [])
    again = codecs.decode_task(codecs.encode_task(task))
    assert again == task, "and written in the new version"
    assert codecs.decode_task(stored.replace('["dog",5]', "null"), 1).truth is None


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_window(name: str) -> None:
    partial = Partial(
        3,
        9,
        1_000,
        annotations=1,
        handling_microseconds=2**53 + 1,
        handling_sketch={-348: 1, 1_105: 2},
        tasks=DistinctSketch([0, 2**64 - 1]),
        labelers=DistinctSketch([5]),
        label_histogram={name: 3, "": 1},
        gold_seen=-2,
        width_90_log_micro=2**53 + 1,
    )
    partial.agree(9, unit_contribution({name: 2, "other": 1}), 1)
    partial.agree(9, unit_contribution({name: 1, "third": 1}), -1)
    key = WindowKey(-60_000, name, name, name)
    stored = codecs.window_key(key, 3), codecs.encode_window(partial)
    found_key, again = codecs.decode_window(*stored)
    assert found_key == key
    assert (codecs.window_key(found_key, again.first_offset), codecs.encode_window(again)) == stored
    assert again.handling_microseconds == 2**53 + 1
    assert again.tasks.hashes() == [0, 2**64 - 1]
    assert again.label_histogram == {name: 3, "": 1}
    assert again.agreement == partial.agreement
    assert again.gold_seen == -2
    assert again.width_90_log_micro == 2**53 + 1


#: What version 1 stored; version 2 stored agreement, too.
FIRST_WINDOW = (
    '{"last_offset":5,"touched_ms":6,"sums":{"annotations":3,"revisions":1,"duplicates":2,"late":1,"gold_seen":2,'
    '"gold_right":1,"consensus_seen":2,"consensus_agreed":1,"handling_microseconds":60000001,"forecast_seen":2,'
    '"forecast_microseconds":40000000,"forecast_error_microseconds":7},"sketch":[[152,3]],"tasks":[5],"labelers":[7],'
    '"labels":{"cat":3}'
)


@pytest.mark.parametrize(
    ("stored", "agreement"),
    [
        (FIRST_WINDOW + "}", Coincidences()),
        (
            FIRST_WINDOW + ',"agreement":[1,2,["cat"],["cat"],[2000000000],0.0,0.0,0.0]}',
            Coincidences(1, 2, {("cat", "cat"): 2_000_000_000}),
        ),
    ],
    ids=["version 1", "version 2"],
)
def test_a_window_of_before_intervals_is_still_read(stored: str, agreement: Coincidences) -> None:
    _, again = codecs.decode_window("[0,1,2,3,4]", stored)
    assert again == Partial(
        4, 5, 6,
        annotations=3, revisions=1, duplicates=2, late=1, gold_seen=2, gold_right=1, consensus_seen=2,
        consensus_agreed=1, handling_microseconds=60_000_001, forecast_seen=2, forecast_microseconds=40_000_000,
        forecast_error_microseconds=7, handling_sketch={152: 3}, tasks=again.tasks, labelers=again.labelers,
        label_histogram={"cat": 3}, agreement=agreement,
    )  # fmt: skip
    assert (again.tasks.hashes(), again.labelers.hashes()) == ([5], [7])
    assert (again.interval_seen, again.width_90_log_micro, again.n_time_flagged) == (0, 0, 0)
    _, rewritten = codecs.decode_window("[0,1,2,3,4]", codecs.encode_window(again))
    assert codecs.encode_window(rewritten) == codecs.encode_window(again), "and written in the new version"


def test_every_sum_of_a_partial_is_stored() -> None:
    """A measure added to Partial and forgotten here would be lost at every restart."""
    names = [f for f in Partial.__dataclass_fields__ if f not in ("first_offset", "last_offset", "touched_ms")]
    sums = {name: number for number, name in enumerate(names, 1) if Partial.__dataclass_fields__[name].type == "int"}
    assert len(sums) == 19
    _, again = codecs.decode_window("[0,1,2,3,4]", codecs.encode_window(Partial(4, 5, 6, **sums)))  # type: ignore[arg-type]
    assert {name: getattr(again, name) for name in sums} == sums
    assert (again.first_offset, again.last_offset, again.touched_ms) == (4, 5, 6)


def test_a_distinct_sketch_goes_on_the_same_after_storage() -> None:
    partial = Partial(0, 0, 0, tasks=DistinctSketch(range(0, 4_096, 4)))
    _, again = codecs.decode_window("[0,1,2,3,4]", codecs.encode_window(partial))
    for value in range(0, 2_000, 3):
        partial.tasks.add(value)
        again.tasks.add(value)
    assert again.tasks.hashes() == partial.tasks.hashes()


@pytest.mark.parametrize("name", HOSTILE_IDS)
def test_memory_keys(name: str) -> None:
    keys = [SpeedKey(name, "a", "b"), SpeedKey("a", name, "b"), SpeedKey("a", "b", name)]
    assert [SpeedKey(*codecs.read_key(codecs.memory_key(key))) for key in keys] == keys
    assert int(codecs.memory_key(2**63)) == 2**63


def test_position() -> None:
    position = Position(1, 2, 3, 4, 5, 6)
    assert codecs.decode_position(codecs.encode_position(position)) == position
    assert codecs.decode_position(codecs.encode_position(Position())) == Position()


def test_keys_of_different_things_differ() -> None:
    """Ids that contain separators must not meet."""
    pairs = [("a", "b,c"), ("a,b", "c"), ('a","b', "c"), ("a", 'b","c'), ("", "a"), ("a", "")]
    assert len({codecs.task_key(*pair) for pair in pairs}) == len(pairs)
    keys = [codecs.window_key(WindowKey(0, *pair, "v"), 1) for pair in pairs]
    assert len(set(keys)) == len(pairs)
    assert codecs.window_key(WindowKey(0, "a", "b", "c"), 1) != codecs.window_key(WindowKey(0, "a", "b", "c"), 2)


def test_what_is_stored_is_json() -> None:
    for payload in (
        codecs.encode_position(Position()),
        codecs.encode_task(Task("p", "t", "c")),
        codecs.encode_window(Partial(0, 0, 0)),
        codecs.encode_plain(ExpectedTimes().dump()),
    ):
        json.loads(payload)


class TestVersions:
    @pytest.mark.parametrize("kind", codecs.CODEC_VERSIONS)
    def test_what_can_be_read_is_read_and_others_are_refused(self, kind: str) -> None:
        current = codecs.CODEC_VERSIONS[kind]
        readable = {current} | codecs.READ_AS_WELL.get(kind, set())
        for version in readable:
            codecs.check_version(kind, version)
        for version in {current + 1, current - 1, 0, -1} - readable:
            with pytest.raises(UnknownCodecError) as refused:
                codecs.check_version(kind, version)
            assert str(refused.value) == (
                f"state of kind '{kind}' has codec version {version}, this worker reads {current}: run the version of "
                "labelwatch that wrote it, or delete the state and read the topic again"
            )

    def test_what_was_written_by_earlier_releases_can_be_read(self) -> None:
        assert {"task": {1}, "window": {1, 2}}.items() <= codecs.READ_AS_WELL.items()

    def test_an_unknown_kind_is_refused(self) -> None:
        with pytest.raises(UnknownCodecError, match="kind 'mood' has codec version 1, this worker reads no such kind"):
            codecs.check_version("mood", 1)

    def test_only_score_reads_over_what_it_kept_before(self) -> None:
        codecs.check_version("coverage", 1)
        with pytest.raises(UnknownCodecError) as refused:
            codecs.check_version("coverage", 1, {"position": 1}, "WATCH")
        assert str(refused.value) == (
            "state of kind 'coverage' of WATCH has codec version 1, this worker reads no such kind: run the version of "
            "labelwatch that wrote it"
        )
