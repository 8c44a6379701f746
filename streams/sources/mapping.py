"""Mapping files: a page of YAML that says how the columns of somebody's file become events."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from schemas.events import MAX_FEATURES, FeatureName
from schemas.times import UtcTime
from streams.sources.answers import LabelKind
from streams.sources.source import SourceError
from streams.sources.text_files import read_text

FIELDS: Final = {
    "annotation": (
        "event_id", "task_id", "labeler_id", "labeler_kind", "project_id", "vendor_id", "task_type",
        "label", "gold_label", "started_at", "submitted_at", "seconds",
    ),
    "review": ("project_id", "task_id", "labeler_id", "true_label", "accepted", "reviewer_id", "reviewed_at"),
}  # fmt: skip
#: Fields without which no event can be made; a clock stands in for the last.
_NEEDED: Final = {
    "annotation": ("task_id", "labeler_id", "label", "submitted_at"),
    "review": ("task_id", "reviewer_id", "reviewed_at"),
}
#: Fields that may be the same for a whole file.
CONSTANTS: Final = (
    "project_id", "vendor_id", "task_type", "labeler_id", "labeler_kind", "seconds", "reviewer_id",
)  # fmt: skip
#: What the command line may give instead.
FROM_COMMAND_LINE: Final = ("project_id", "task_type", "vendor_id")
#: Names that an event_id template knows besides the columns.
FILE, ROW = "file", "row"

Column = Annotated[str, Field(min_length=1)]
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeFormat(_Section):
    """How times are written, and the zone of those that name none."""

    format: str = "iso"
    """``iso``, ``epoch_seconds``, ``epoch_ms``, or a strptime pattern such as ``%d.%m.%Y %H:%M``."""
    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError(f"{zone!r} is not a time zone such as UTC or Europe/Amsterdam") from None
        return zone

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.format in ("iso", "epoch_seconds", "epoch_ms"):
            return self
        if "%" not in self.format:
            raise ValueError(
                f"format {self.format!r} is none of iso, epoch_seconds, epoch_ms, a pattern such as %Y-%m-%d"
            )
        try:
            datetime.strptime(datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC).strftime(self.format), self.format)  # noqa: DTZ007
        except (ValueError, re.error) as error:
            raise ValueError(f"format {self.format!r} cannot be read back: {error}") from None
        if "%z" not in self.format and self.zone is None:
            raise ValueError(f"format {self.format!r} has no zone: add zone, such as zone: UTC")
        return self


class Clock(_Section):
    """Invented submit times, for files that have none: the n-th row comes at ``start + n * step_seconds``."""

    start: UtcTime
    step_seconds: Annotated[float, Field(gt=0, le=86_400)]


class LabelFormat(_Section):
    """The kind of the answers; told from the answers themselves where it is not said."""

    kind: LabelKind | None = None


class Mapping(_Section):
    """Columns of a file to fields of an event. In JSON, a column is a key, or a path such as ``meta.user.id``."""

    event: Literal["annotation", "review"] = "annotation"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    columns: Annotated[list[Column], Field(min_length=1)] | None = None
    """Names for the columns of a file without a header."""
    fields: dict[str, Column]
    constants: dict[str, str | int | float] = {}
    label: LabelFormat = LabelFormat()
    features: dict[FeatureName, Column] | list[FeatureName] = {}
    time: TimeFormat = TimeFormat()
    clock: Clock | None = None
    page: Annotated[list[Column], Field(min_length=1)] | None = None
    """Columns that rows submitted together share: each gets an equal part of the page's time."""
    event_id: str | None = None
    """Template of columns, ``{file}`` and ``{row}``; without it and an event_id column, a hash of the row."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        known = FIELDS[self.event]
        for section, names, allowed in (
            ("fields", self.fields, known),
            ("constants", self.constants, [name for name in CONSTANTS if name in known]),
        ):
            for name in names:
                if name not in allowed:
                    event = "an annotation" if self.event == "annotation" else "a review"
                    raise ValueError(f"{section}.{name} is not one of {event}'s: {', '.join(allowed)}")
        both = sorted(set(self.fields) & set(self.constants))
        if both:
            raise ValueError(f"{both[0]} is given twice, in fields and in constants")
        *needed, time_field = _NEEDED[self.event]
        missing = [name for name in needed if name not in self.fields and name not in self.constants]
        if missing:
            raise ValueError(f"fields.{missing[0]} is missing")
        if (time_field in self.fields) == (self.clock is not None):
            raise ValueError(f"either fields.{time_field} or clock must be given, and not both")
        if self.event == "annotation":
            self._check_annotation()
        elif "true_label" not in self.fields and "accepted" not in self.fields:
            raise ValueError("a review needs fields.true_label, fields.accepted, or both")
        if len(self.feature_columns()) > MAX_FEATURES:
            raise ValueError(f"features: {MAX_FEATURES} at most")
        return self

    def _check_annotation(self) -> None:
        if not {"started_at", "seconds"} & (set(self.fields) | set(self.constants)):
            raise ValueError("fields.started_at or fields.seconds is missing: how long did the answer take?")
        if self.clock is not None and "started_at" in self.fields:
            raise ValueError("clock invents submit times, so fields.started_at cannot be kept: map seconds instead")
        if self.event_id is not None and "event_id" in self.fields:
            raise ValueError("event_id is given twice, as a template and in fields")

    def feature_columns(self) -> dict[str, str]:
        """Feature name to column."""
        return self.features if isinstance(self.features, dict) else {name: name for name in self.features}

    def used_columns(self) -> list[tuple[str, str]]:
        """Each key of this mapping that names a column, and the column: for a check against a file's header."""
        return [
            *((f"fields.{name}", column) for name, column in self.fields.items()),
            *((f"features.{name}", column) for name, column in self.feature_columns().items()),
            *(("page", column) for column in self.page or ()),
            *(("event_id", column) for column in self.template_columns()),
        ]

    def template_columns(self) -> list[str]:
        """Columns that the event_id template names."""
        return [name for name in _PLACEHOLDER.findall(self.event_id or "") if name not in (FILE, ROW)]


def fill_template(template: str, values: dict[str, str]) -> str:
    """The template with its ``{names}`` replaced. Nothing in a value is a template again.

    >>> fill_template("{worker}:{row}", {"worker": "{row}", "row": "7"})
    '{row}:7'
    """
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def load_mapping(path: Path) -> Mapping:
    """The mapping in a YAML file.

    Raises:
        SourceError: missing, not YAML, or refused; names the key and says why.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise SourceError(f"mapping {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise SourceError(f"mapping {path}: must hold keys such as fields and constants, see docs/sources.md")
    try:
        return Mapping.model_validate(content)
    except ValidationError as error:
        problems = []
        for one in error.errors(include_url=False):
            key = ".".join(str(part) for part in one["loc"])
            problems.append(f"{key + ': ' if key else ''}{one['msg'].removeprefix('Value error, ')}")
        raise SourceError(f"mapping {path}: " + "; ".join(problems)) from None
