"""LABELERS without its framework: evidence of all source partitions comes together, and reliability comes of it.

Pure: batches of `labeler-evidence` in, an outcome out. The same evidence in any order, or twice, leads to the same
state, since each source partition sends all that it knows of a labeler, with a version, and the latest counts.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson
from pydantic import ValidationError

from detectors.evidence import Evidence
from schemas.dead_letter import Reason
from schemas.evidence import EvidenceBatch
from schemas.times import EARLIEST_YEAR, LATEST_YEAR, to_ms
from streams.decode import Record, Refusal
from streams.outcome import Outcome
from streams.owner import Owned, Owner, OwnerContext
from streams.settings import LABELERS_SUFFIX, Settings
from streams.state.labelers import LabelerKey, LabelersState
from streams.topic_pipeline import TopicPipeline

#: No labeler has answered so often; sums of what is larger would leave the range of a float.
MAX_WEIGHT: Final = 1e15
_MESSAGE_CHARS: Final = 300
_EARLIEST_MS: Final = to_ms(datetime(EARLIEST_YEAR, 1, 1, tzinfo=UTC))
_LATEST_MS: Final = to_ms(datetime(LATEST_YEAR, 1, 1, tzinfo=UTC))


class DecodedEvidence(NamedTuple):
    """A message of `labeler-evidence`, and the evidence of each of its entries."""

    batch: EvidenceBatch
    evidence: list[Evidence]

    @property
    def app_id(self) -> str:
        return self.batch.app_id


class LabelersPipeline(TopicPipeline[LabelersState, DecodedEvidence]):
    """Folds evidence of one partition."""

    def decode(self, value: bytes | None) -> DecodedEvidence | Refusal:
        return decode_evidence(value)

    def apply(self, message: DecodedEvidence, record: Record, outcome: Outcome) -> bool:
        """Take every entry; the message is a duplicate if all of them are."""
        batch, evidence = message
        taken = [
            self.state.take(
                LabelerKey(entry.project_id, entry.task_type, entry.labeler_id),
                batch.source_partition,
                entry.version,
                one,
            )
            for entry, one in zip(batch.entries, evidence, strict=True)
        ]
        return any(taken)


class Labelers(Owner[LabelersPipeline]):
    """Owner of some partitions of `labeler-evidence`."""

    def __init__(self, context: OwnerContext) -> None:
        super().__init__(context, labelers_name(context.settings), self._make_pipeline)

    def is_due(self, owned: Owned[LabelersPipeline]) -> bool:
        """Also when small changes have waited long enough to be published."""
        return super().is_due(owned) or owned.pipeline.state.is_due(self._now_ms())

    def _make_pipeline(self, partition: int) -> LabelersPipeline:
        worker = self._settings.worker
        state = LabelersState(
            worker.app_id, self._name, partition, self._settings.reliability, worker.checkpoint_seconds
        )
        return LabelersPipeline(state)


def labelers_name(settings: Settings) -> str:
    """The name under which LABELERS claims partitions and keeps its state."""
    return settings.worker.app_id + LABELERS_SUFFIX


def decode_evidence(value: bytes | None) -> DecodedEvidence | Refusal:
    """One message of `labeler-evidence`; or why it is a dead letter."""
    if not value:
        return Refusal(Reason.EMPTY, "message has no value")
    try:
        document = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        return Refusal(Reason.NOT_JSON, f"not JSON: {error}")
    if isinstance(document, dict) and document.get("schema_version", 1) != 1:
        return Refusal(Reason.UNKNOWN_SCHEMA_VERSION, "schema_version is not known here; known: 1")
    try:
        batch = EvidenceBatch.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part)[:64] for part in problem["loc"]) or "message"
        return Refusal(Reason.INVALID_FIELD, f"{where}: {problem['msg']}"[:_MESSAGE_CHARS])
    evidence: list[Evidence] = []
    for number, entry in enumerate(batch.entries):
        try:
            evidence.append(_checked(Evidence.from_plain(entry.evidence)))
        except ValueError as error:
            return Refusal(Reason.INVALID_FIELD, f"entries.{number}.evidence: {error}"[:_MESSAGE_CHARS])
        except RecursionError:  # JSON may nest deeper than Python recurses when it is to be shown
            return Refusal(Reason.INVALID_FIELD, f"entries.{number}.evidence: nested too deeply")
    return DecodedEvidence(batch, evidence)


def _checked(evidence: Evidence) -> Evidence:
    numbers = [evidence.labels, *evidence.counts.values(), *evidence.moments.values(), *evidence.population]
    if any(abs(number) > MAX_WEIGHT for number in numbers):
        raise ValueError(f"evidence has a number beyond {MAX_WEIGHT:g}")
    if not _EARLIEST_MS <= evidence.seen_ms < _LATEST_MS:
        raise ValueError(f"evidence has an impossible time: seen_ms {evidence.seen_ms}")
    return evidence
