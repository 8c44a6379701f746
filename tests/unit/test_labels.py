"""Labels as strings: equal answers are equal strings, and only those."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.labels import (
    ClassLabel,
    Label,
    MulticlassLabel,
    RatingLabel,
    Span,
    SpanLabel,
    TextLabel,
    canonical,
    classes_of,
    is_closed,
)

LABEL: TypeAdapter[Label] = TypeAdapter(Label)


def spans(*parts: tuple[float, float, str]) -> SpanLabel:
    return SpanLabel(spans=[Span(start=start, end=end, value=value) for start, end, value in parts])


@pytest.mark.parametrize(
    ("label", "text", "classes", "closed"),
    [
        (ClassLabel(value="cat"), "cat", ("cat",), True),
        (MulticlassLabel(values=["dog", "cat", "dog"]), "cat|dog", ("dog", "cat"), True),
        (MulticlassLabel(values=[]), "", (), True),
        (RatingLabel(value=4.0), "4", (), True),
        (RatingLabel(value=0.1 + 0.2), "0.3", (), True),
        (RatingLabel(value=-0.0), "0", (), True),
        (TextLabel(value="a dog"), "a dog", (), False),
        (spans((5, 9, "b"), (0, 3.5, "a")), "0-3.5:a|5-9:b", ("b", "a"), False),
        (spans((-0.0, 0, "a")), "0-0:a", ("a",), False),
        (spans((0, 1, "a"), (2, 3, "a")), "0-1:a|2-3:a", ("a", "a"), False),
    ],
)
def test_string_classes_and_closedness(label: Label, text: str, classes: tuple[str, ...], closed: bool) -> None:
    assert canonical(label) == text
    assert classes_of(label) == classes
    assert is_closed(label) is closed


@given(st.lists(st.text(min_size=1, max_size=3), max_size=6), st.randoms())
def test_order_and_repetition_of_classes_do_not_matter(values: list[str], random: Any) -> None:
    mixed = [*values, *values[:2]]
    random.shuffle(mixed)
    assert canonical(MulticlassLabel(values=mixed)) == canonical(MulticlassLabel(values=values))
    assert set(classes_of(MulticlassLabel(values=mixed))) == set(values)


@given(st.floats(min_value=-1e9, max_value=1e9))
def test_equal_ratings_are_equal_strings(value: float) -> None:
    text = canonical(RatingLabel(value=value))
    assert canonical(RatingLabel(value=value + 0.0)) == text
    assert float(text) == pytest.approx(value, rel=1e-11)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"kind": "class", "value": ""}, "at least 1 character"),
        ({"kind": "class", "value": "x" * 257}, "at most 256 characters"),
        ({"kind": "class", "value": "cat", "sure": True}, "Extra inputs"),
        ({"kind": "multiclass", "values": ["a"] * 65}, "at most 64 items"),
        ({"kind": "rating", "value": "nan"}, "valid number"),
        ({"kind": "rating", "value": "4"}, "valid number"),
        ({"kind": "rating", "value": 1e10}, "less than or equal"),
        ({"kind": "text", "value": "x" * 20_001}, "at most 20000 characters"),
        ({"kind": "span", "spans": [{"start": 5, "end": 4, "value": "a"}]}, "span ends before it starts"),
        ({"kind": "span", "spans": [{"start": -1, "end": 4, "value": "a"}]}, "greater than or equal to 0"),
        ({"kind": "span", "spans": [{"start": 0, "end": 1, "value": "a"}] * 1_001}, "at most 1000 items"),
        ({"kind": "smell"}, "does not match any of the expected tags"),
        ({}, "Unable to extract tag"),
    ],
)
def test_bad_labels_are_refused(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        LABEL.validate_python(document)


def test_a_separator_inside_a_class_name_is_not_a_separator() -> None:
    one, two = MulticlassLabel(values=["a|b"]), MulticlassLabel(values=["a", "b"])
    assert canonical(one) != canonical(two)
    assert canonical(MulticlassLabel(values=["a\\", "b"])) != canonical(MulticlassLabel(values=["a\\|b"]))
    spans = [Span(start=0, end=1, value="a|2-3:b")], [Span(start=0, end=1, value="a"), Span(start=2, end=3, value="b")]
    assert len({canonical(SpanLabel(spans=list(some))) for some in spans}) == 2
