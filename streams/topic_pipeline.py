"""What LABELERS, WATCH and NOTIFY do alike: one topic, message by message, in its order.

Every message that is new is a dead letter, or another application's, or it is applied: accepted, or a duplicate. The
position is behind the last one of the batch, whatever became of it, and counts all but other applications'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from streams.decode import Record, Refusal
from streams.outcome import Outcome, unread
from streams.state.position import Position


class TopicState(Protocol):
    """What the state of one partition says of where it is."""

    app_id: str
    partition: int

    def position(self, topic: str) -> Position: ...
    def moved(self) -> None: ...


class FromApplication(Protocol):
    """A message that says whose it is."""

    @property
    def app_id(self) -> str: ...


S = TypeVar("S", bound=TopicState)
M = TypeVar("M", bound=FromApplication)


class TopicPipeline(ABC, Generic[S, M]):
    """Applies the messages of one partition. Owns its state; nobody else changes it."""

    def __init__(self, state: S) -> None:
        self.state = state

    @abstractmethod
    def decode(self, value: bytes | None) -> M | Refusal:
        """One message; or why it is a dead letter."""

    @abstractmethod
    def apply(self, message: M, record: Record, outcome: Outcome) -> bool:
        """Change the state, and add what comes of it to the outcome; False if the message was a duplicate."""

    def process(self, topic: str, records: Sequence[Record]) -> Outcome:
        """Apply a batch; messages applied before are skipped. Other applications' messages are passed over.

        Raises:
            ValueError: not the topic that is read here.
        """
        outcome = Outcome()
        position = self.state.position(topic)
        fresh = unread(records, position.offset)
        outcome.replayed = len(records) - len(fresh)
        if not fresh:
            return outcome
        for record in fresh:
            message = self.decode(record.value)
            if isinstance(message, Refusal):
                outcome.received += 1
                outcome.refuse(topic, self.state.partition, record, message)
            elif message.app_id == self.state.app_id:
                outcome.received += 1
                if self.apply(message, record, outcome):
                    outcome.accepted += 1
                else:
                    outcome.duplicates += 1
        position.offset = fresh[-1].offset
        position.received += outcome.received
        position.accepted += outcome.accepted
        position.duplicates += outcome.duplicates
        position.dead_letters += len(outcome.dead_letters)
        self.state.moved()
        return outcome
