"""Labels: what a labeler may answer, as a union told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_CLASS_CHARS = 256
MAX_TEXT_CHARS = 20_000
MAX_VALUES = 64
MAX_SPANS = 1_000

ClassName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_CLASS_CHARS)]


class _Label(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClassLabel(_Label):
    """One class out of a closed set."""

    kind: Literal["class"] = "class"
    value: ClassName


class MulticlassLabel(_Label):
    """Any number of classes out of a closed set; order does not matter."""

    kind: Literal["multiclass"] = "multiclass"
    values: Annotated[list[ClassName], Field(max_length=MAX_VALUES)]


class RatingLabel(_Label):
    """A number on an ordinal or continuous scale."""

    kind: Literal["rating"] = "rating"
    value: Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9, strict=True)]


class TextLabel(_Label):
    """Free text: a caption, keywords, a transcription."""

    kind: Literal["text"] = "text"
    value: Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARS)]


class Span(_Label):
    """A stretch of the task's input: characters, or seconds of audio and video. ``start <= end``."""

    start: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e9)]
    end: Annotated[float, Field(allow_inf_nan=False, ge=0, le=1e9)]
    value: ClassName

    @model_validator(mode="after")
    def _ordered(self) -> Span:
        if self.end < self.start:
            raise ValueError("span ends before it starts")
        return self


class SpanLabel(_Label):
    """Stretches of the input, each with a class."""

    kind: Literal["span"] = "span"
    spans: Annotated[list[Span], Field(max_length=MAX_SPANS)]


Label = Annotated[ClassLabel | MulticlassLabel | RatingLabel | TextLabel | SpanLabel, Field(discriminator="kind")]


def canonical(label: Label) -> str:
    """One string per answer: equal answers give equal strings. This is what is stored and compared.

    >>> canonical(MulticlassLabel(values=["dog", "cat", "dog"]))
    'cat|dog'
    >>> canonical(RatingLabel(value=4))
    '4'
    """
    match label:
        case MulticlassLabel():
            return "|".join(sorted({_escaped(value) for value in label.values}))
        case RatingLabel():
            return _number(label.value)
        case SpanLabel():
            return "|".join(sorted(f"{_number(s.start)}-{_number(s.end)}:{_escaped(s.value)}" for s in label.spans))
        case _:
            return label.value


def _escaped(name: str) -> str:
    """A class name inside a joined form: ``["a|b"]`` and ``["a", "b"]`` are different answers."""
    return name.replace("\\", "\\\\").replace("|", "\\|")


def classes_of(label: Label) -> tuple[str, ...]:
    """The classes that an answer names: once each, or once a span; empty for free text and ratings (open sets)."""
    match label:
        case ClassLabel():
            return (label.value,)
        case MulticlassLabel():
            return tuple(dict.fromkeys(label.values))
        case SpanLabel():
            return tuple(span.value for span in label.spans)
        case _:
            return ()


def _number(value: float) -> str:
    return f"{value + 0.0:.12g}"  # adding zero makes -0 the 0 that it equals


def is_closed(label: Label) -> bool:
    """Whether two labelers can be expected to give the very same answer, so that a majority means something.

    >>> is_closed(TextLabel(value="a dog on a beach"))
    False
    """
    return not isinstance(label, TextLabel | SpanLabel)
