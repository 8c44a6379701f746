"""LABELERS: evidence of all source partitions comes together, in any order and any number of times."""

from __future__ import annotations

import itertools
from typing import Any, cast

import orjson
import pytest

from detectors.reliability import summarise
from schemas.dead_letter import Reason
from schemas.rows import LabelerReliabilityRow, StateRow
from streams.decode import Refusal
from streams.labelers import LabelersPipeline, decode_evidence
from streams.outbox import ChangedEvidence, evidence_messages
from streams.outcome import Outcome
from streams.state.codecs import UnknownCodecError
from streams.state.partition_state import Changes
from tests import builders
from tests.builders import NOW_MS, START_MS
from tests.evidence import evidence, evidence_record, make_labelers

TOPIC = "labeler-evidence"
MINUTE_MS = 60_000


def feed(pipeline: LabelersPipeline, *records: Any) -> Outcome:
    return pipeline.process(TOPIC, records)


def rows(changes: Changes) -> list[LabelerReliabilityRow]:
    return cast(list[LabelerReliabilityRow], changes.results["labeler_reliability"])


def latest(changes: Changes) -> LabelerReliabilityRow:
    return rows(changes)[-1]


def restored(*stored: Changes) -> LabelersPipeline:
    """Another pipeline that goes on from what was stored: of each value the latest."""
    state = {(row[2], row[3]): cast(StateRow, row) for changes in stored for row in changes.state}
    pipeline = make_labelers()
    pipeline.state.restore(row for row in state.values() if not row.is_deleted)
    return pipeline


class TestEvidence:
    def test_of_all_source_partitions_adds_up(self) -> None:
        pipeline = make_labelers()
        one, other = evidence(8, 2, at=30), evidence(1, 4, at=70)
        outcome = feed(
            pipeline,
            evidence_record(one, offset=0, source=0, version=10),
            evidence_record(other, offset=1, source=3, version=5),
        )
        assert (outcome.received, outcome.accepted, outcome.duplicates) == (2, 2, 0)
        row = latest(pipeline.state.changes(NOW_MS))
        expected = summarise([one, other])
        assert row[:3] == ("animals", "image_class", "ana")
        assert (row.as_of, row.version, row.labels, row.form) == (START_MS + MINUTE_MS, 15, 15, "one_coin")
        assert (row.accuracy, row.accuracy_low, row.accuracy_high) == expected[3:6]
        assert row.effective_labels == 15

    def test_of_one_source_partition_the_latest_counts(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(8, 2), version=10))
        feed(pipeline, evidence_record(evidence(9, 2), offset=1, version=11))
        outcome = feed(pipeline, evidence_record(evidence(1, 1), offset=2, version=9))
        assert (outcome.accepted, outcome.duplicates) == (0, 1)
        position = pipeline.state.position("labeler-evidence")
        assert (position.received, position.accepted, position.duplicates) == (3, 2, 1)
        assert latest(pipeline.state.changes(NOW_MS)).labels == 11

    def test_of_an_equal_version_the_last_counts(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(8, 2), version=10))
        again = feed(pipeline, evidence_record(evidence(8, 2), offset=1, version=10))
        assert again.duplicates == 1
        other = feed(pipeline, evidence_record(evidence(7, 2), offset=2, version=10))
        assert other.accepted == 1
        assert latest(pipeline.state.changes(NOW_MS)).labels == 9

    def test_a_message_that_holds_anything_new_is_accepted(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(labeler="ana"))
        changed = [ChangedEvidence("animals", "image_class", labeler, 1, evidence()) for labeler in ("ana", "ben")]
        (message,) = evidence_messages("labelwatch", 0, changed, 1)
        outcome = feed(pipeline, builders.Message(1, NOW_MS, None, message.value))
        assert (outcome.received, outcome.accepted, outcome.duplicates) == (1, 1, 0)

    def test_of_other_applications_is_passed_over(self) -> None:
        pipeline = make_labelers()
        outcome = feed(pipeline, evidence_record(app_id="another"), evidence_record(offset=1, labeler="ben"))
        assert (outcome.received, outcome.accepted) == (1, 1)
        assert [key.labeler_id for key in pipeline.state.labelers] == ["ben"]
        assert pipeline.state.position(TOPIC).offset == 1

    def test_applied_before_is_not_applied_again(self) -> None:
        pipeline = make_labelers()
        records = [evidence_record(evidence(n + 1, 1), offset=n, version=n) for n in range(3)]
        feed(pipeline, *records)
        outcome = feed(pipeline, *records)
        assert (outcome.replayed, outcome.received) == (3, 0)

    def test_another_topic_is_a_bug(self) -> None:
        with pytest.raises(ValueError, match="LABELERS does not read 'reviews'"):
            make_labelers().process("reviews", [evidence_record()])


class TestOrder:
    def test_of_batches_and_repetition_does_not_matter(self) -> None:
        sent = [
            (source, version, evidence(4 + version, version, at=60 * version), labeler)
            for source in (0, 1)
            for version in (1, 2)
            for labeler in ("ana", "ben")
        ]
        found = set()
        for order in itertools.islice(itertools.permutations(sent), 0, None, 997):
            pipeline = make_labelers()
            for offset, (source, version, known, labeler) in enumerate([*order, *order[:3]]):
                feed(pipeline, evidence_record(known, offset=offset, source=source, version=version, labeler=labeler))
            changes = pipeline.state.changes(NOW_MS)
            found.add(str(sorted(row for row in rows(changes) if row.as_of == START_MS + 2 * MINUTE_MS)[-2:]))
        assert len(found) == 1
        assert "'ana'" in found.pop()

    def test_of_source_partitions_does_not_matter_to_the_last_digit(self) -> None:
        found = set()
        for order in itertools.permutations(range(3)):
            pipeline = make_labelers()
            for offset, source in enumerate(order):
                known = evidence((0.1, 0.2, 0.3)[source], 0.0, labels=1)
                feed(pipeline, evidence_record(known, offset=offset, source=source))
            found.add(str(latest(pipeline.state.changes(NOW_MS))))
        assert len(found) == 1

    def test_a_row_that_was_written_is_not_written_again(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(at=10)))
        pipeline.state.changes(NOW_MS)
        feed(pipeline, evidence_record(evidence(at=70), offset=1, version=2))
        assert [row.as_of for row in rows(pipeline.state.changes(NOW_MS))] == [START_MS + MINUTE_MS]

    @pytest.mark.parametrize("cuts", [(), (1,), (2, 5), (1, 2, 3, 4, 5, 6)])
    def test_rows_do_not_depend_on_where_checkpoints_fall(self, cuts: tuple[int, ...]) -> None:
        """One a minute: as of the last evidence of that minute, though the next minute's came in the same batch."""
        records = [
            evidence_record(evidence(5 + n, 1, at=25 * n), offset=n, source=n % 2, version=n + 1) for n in range(7)
        ]
        pipeline, written = make_labelers(), dict[int, LabelerReliabilityRow]()
        for start, end in itertools.pairwise((0, *cuts, len(records))):
            feed(pipeline, *records[start:end])
            for row in rows(pipeline.state.changes(NOW_MS)):
                if row.as_of not in written or row.version >= written[row.as_of].version:
                    written[row.as_of] = row
        found = [(row.as_of - START_MS, row.version, row.labels) for _, row in sorted(written.items())]
        assert found == [(0, 5, 15), (MINUTE_MS, 9, 19), (2 * MINUTE_MS, 13, 23)]


class TestRestore:
    def test_goes_on_as_if_nothing_had_happened(self) -> None:
        records = [
            evidence_record(evidence(5 + n, 1, at=25 * n), offset=n, source=n % 2, version=n + 1) for n in range(8)
        ]
        steady, first = make_labelers(), make_labelers()
        feed(steady, *records)
        feed(first, *records[:5])
        second = restored(first.state.changes(NOW_MS))
        feed(second, *records[3:])
        assert second.state.labelers.keys() == steady.state.labelers.keys()
        assert latest(second.state.changes(NOW_MS)) == latest(steady.state.changes(NOW_MS))
        assert second.state.position(TOPIC) == steady.state.position(TOPIC)

    def test_what_was_not_told_is_due_at_once(self) -> None:
        pipeline = make_labelers()
        feed(pipeline, evidence_record(evidence(80, 20), version=1))
        told = pipeline.state.changes(NOW_MS)
        assert not restored(told).state.is_due(NOW_MS)
        feed(pipeline, evidence_record(evidence(80.1, 20), offset=1, version=2))
        untold = pipeline.state.changes(NOW_MS + 1)
        assert untold.messages == []
        heir = restored(told, untold)
        assert heir.state.is_due(NOW_MS + 2)
        changes = heir.state.changes(NOW_MS + 2)
        assert len(changes.messages) == 1
        assert rows(changes) == [], "the row was written before"
        assert not restored(told, untold, changes).state.is_due(NOW_MS + 3)

    def test_another_codec_is_refused(self) -> None:
        row = StateRow("labelwatch.labelers", 0, "reliability", '["a","b","c"]', 1, 99, "{}", False)
        with pytest.raises(
            UnknownCodecError, match="'reliability' of LABELERS has codec version 99, this worker reads 1"
        ):
            make_labelers().state.restore([row])


class TestForgetting:
    day = 86_400

    def test_who_is_idle_for_long_is_dropped_and_the_others_are_told(self) -> None:
        pipeline = make_labelers(forget_days=400)
        feed(pipeline, evidence_record(labeler="ana"), evidence_record(evidence(at=self.day), offset=1, labeler="ben"))
        pipeline.state.changes(NOW_MS)
        feed(pipeline, evidence_record(evidence(at=400 * self.day), offset=2, labeler="cem"))
        changes = pipeline.state.changes(NOW_MS)
        deleted = [row for row in cast(list[StateRow], changes.state) if row.is_deleted]
        assert [orjson.loads(row.key)[2] for row in deleted] == ["ana"]
        assert [message.key for message in changes.messages if message.value is None] == [
            b'["labelwatch","animals","image_class","ana"]'
        ]
        assert [key.labeler_id for key in pipeline.state.labelers] == ["ben", "cem"]

    def test_it_is_looked_for_at_the_start_and_once_a_day(self) -> None:
        pipeline = make_labelers(forget_days=400)
        stored = []
        for offset, (labeler, at) in enumerate(
            [("ana", 0), ("ben", 3_600), ("cem", 400 * self.day), ("dora", 400 * self.day + 7_200)]
        ):
            feed(pipeline, evidence_record(evidence(at=at), offset=offset, labeler=labeler))
            stored.append(pipeline.state.changes(NOW_MS))
        assert [key.labeler_id for key in pipeline.state.labelers] == ["ben", "cem", "dora"], "ben is idle since"
        heir = restored(*stored)
        heir.state.changes(NOW_MS)
        assert sorted(key.labeler_id for key in heir.state.labelers) == ["cem", "dora"]
        feed(pipeline, evidence_record(evidence(at=401 * self.day), offset=4, labeler="dora", version=2))
        pipeline.state.changes(NOW_MS)
        assert [key.labeler_id for key in pipeline.state.labelers] == ["cem", "dora"]

    def test_nothing_is_left_of_who_is_forgotten(self) -> None:
        """Though something of them was still to be stored, or to be told."""
        pipeline = make_labelers(forget_days=400)
        feed(pipeline, evidence_record(evidence(80, 20), labeler="ana"))
        pipeline.state.changes(NOW_MS)
        feed(
            pipeline,
            evidence_record(evidence(80.1, 20), offset=1, labeler="ana", version=2),
            evidence_record(evidence(at=400 * self.day), offset=2, labeler="cem"),
        )
        changes = pipeline.state.changes(NOW_MS + 1)
        assert [row.labeler_id for row in rows(changes)] == ["ana", "cem"]
        kept = [row for row in cast(list[StateRow], changes.state) if row.kind == "reliability" and not row.is_deleted]
        assert [orjson.loads(row.key)[2] for row in kept] == ["cem"]
        assert not pipeline.state.is_due(NOW_MS + 5_000)

    def test_who_comes_back_starts_anew_even_if_not_dropped_yet(self) -> None:
        pipeline = make_labelers(forget_days=400)
        feed(pipeline, evidence_record(evidence(50, 50), source=0, version=9))
        feed(pipeline, evidence_record(evidence(1, 0, at=400 * self.day), offset=1, source=1, version=1))
        assert latest(pipeline.state.changes(NOW_MS)).labels == 1


class TestRefusals:
    def plain(self, **changed: Any) -> bytes:
        entry = orjson.loads(evidence_record().value or b"")["entries"][0]
        entry["evidence"] |= changed
        batch = {"app_id": "labelwatch", "source_partition": 0, "entries": [entry]}
        return orjson.dumps(batch)

    @pytest.mark.parametrize(
        ("value", "reason", "detail"),
        [
            (b"", Reason.EMPTY, "no value"),
            (None, Reason.EMPTY, "no value"),
            (b"{", Reason.NOT_JSON, "not JSON"),
            (b"[]", Reason.INVALID_FIELD, "message: Input should be a valid dictionary"),
            (b'{"schema_version": 2}', Reason.UNKNOWN_SCHEMA_VERSION, "known: 1"),
            (b'{"app_id": "a", "source_partition": 0, "entries": []}', Reason.INVALID_FIELD, "entries: List should"),
            (b'{"app_id": "a", "source_partition": true, "entries": []}', Reason.INVALID_FIELD, "source_partition"),
        ],
    )
    def test_of_messages(self, value: bytes | None, reason: Reason, detail: str) -> None:
        refusal = decode_evidence(value)
        assert isinstance(refusal, Refusal)
        assert refusal.reason is reason
        assert detail in refusal.detail

    @pytest.mark.parametrize(
        ("changed", "detail"),
        [
            ({"form": "magic"}, "entries.0.evidence: evidence has form 'magic'"),
            ({"labels": -1}, "-1 is not a count"),
            ({"labels": 2**60}, "beyond 1e+15"),
            ({"seen_ms": 0}, "impossible time: seen_ms 0"),
            ({"seen_ms": 10**17}, "impossible time"),
            ({"counts": [["a", 0, "b", -1.0]]}, "negative count"),
            ({"counts": [["a", 0, "b", 1e300]]}, "beyond 1e+15"),
            ({"counts": [["a", 0, "b"]]}, "expected 4, got 3"),
            ({"counts": 1}, "not evidence on a labeler"),
            ({"population": [2.0, 1.0]}, "impossible population"),
            ({"moments": {"sum": "nan"}}, "'nan' is not a finite number"),
        ],
    )
    def test_of_evidence(self, changed: Any, detail: str) -> None:
        refusal = decode_evidence(self.plain(**changed))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.INVALID_FIELD
        assert detail in refusal.detail
        assert len(refusal.detail) <= 300

    def test_of_evidence_too_deeply_nested_to_be_shown(self) -> None:
        nested = b"[" * 1_010 + b"]" * 1_010
        refusal = decode_evidence(self.plain(labels="nested").replace(b'"nested"', nested))
        assert refusal == Refusal(Reason.INVALID_FIELD, "entries.0.evidence: nested too deeply")

    def test_a_bad_message_is_a_dead_letter_and_the_others_count(self) -> None:
        pipeline = make_labelers()
        bad = evidence_record(offset=1)
        outcome = feed(pipeline, evidence_record(), type(bad)(1, NOW_MS, None, b"bad"), evidence_record(offset=2))
        assert (outcome.received, outcome.accepted, outcome.duplicates) == (3, 1, 1)
        (letter,) = outcome.dead_letters
        assert (letter.origin.topic, letter.origin.offset, letter.reason) == (TOPIC, 1, Reason.NOT_JSON)
        position = pipeline.state.position(TOPIC)
        assert (position.received, position.dead_letters) == (3, 1)
