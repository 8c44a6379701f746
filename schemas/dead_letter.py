"""Dead letters: input that can never be used, with the reason and the place it came from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.times import UtcTime

#: How much of a bad message ClickHouse keeps for people to look at.
FIRST_BYTES = 256
#: How much of it the dead-letter topic keeps, so that a replay is possible. Larger ones are cut and say so.
MAX_PAYLOAD_BYTES = 524_288
#: How much of its key. A task id has at most 800 bytes; a longer key is never right, and must not make the dead
#: letter larger than a Kafka message may be.
MAX_KEY_BYTES = 1_024


class Reason(StrEnum):
    """Why a message is a dead letter."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"
    INVALID_FIELD = "invalid_field"
    SUBMITTED_BEFORE_STARTED = "submitted_before_started"
    TIME_IN_FUTURE = "time_in_future"
    UNKNOWN_LABEL = "unknown_label"
    KEY_MISMATCH = "key_mismatch"


class Origin(BaseModel):
    """Where a message was read. Unique: it is the dead letter's identity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    topic: str
    partition: Annotated[int, Field(ge=0)]
    offset: Annotated[int, Field(ge=0)]


class DeadLetter(BaseModel):
    """One message on ``annotations-dlq``. Kafka key: the origin's key."""

    model_config = ConfigDict(extra="forbid", frozen=True, val_json_bytes="base64", ser_json_bytes="base64")

    schema_version: int = 1
    reason: Reason
    detail: str
    """One sentence for a person: what was wrong, with the field and the value."""
    origin: Origin
    key: bytes | None
    payload: bytes
    truncated: bool = False
    failed_at: UtcTime
    """When the message was appended to its topic: the same on every replay."""
    attempts: Annotated[int, Field(ge=1)] = 1
