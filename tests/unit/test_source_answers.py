"""Cells to labels."""

from __future__ import annotations

import pytest

from schemas.labels import ClassLabel, MulticlassLabel, RatingLabel, TextLabel
from streams.sources.answers import LabelKind, infer_kind, to_gold, to_label


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["yes", "no"] * 10, "class"),
        (["yes", "no", "", " "] * 10, "class"),
        (["0", "1"] * 10, "class"),
        ([str(n) for n in range(10)] * 3, "class"),
        ([str(n) for n in range(11)] * 3, "rating"),
        (["1.5", "2"] * 10, "rating"),
        (['["a"]', '["a","b"]', "[]"], "multiclass"),
        ([f'["word {n}"]' for n in range(65)], "text"),
        (["cat\ndog", "cat", "dog"] * 3, "multiclass"),
        (["first line\nsecond", "something else\nmore"], "text"),
        ([f"caption {n}" for n in range(10)], "text"),
        ([f"class {n}" for n in range(65)] * 10, "text"),
        ([], "text"),
        (["[1, 2]", "[1, 2]"], "class"),
    ],
)
def test_kind_is_told_from_the_answers(cells: list[str], kind: LabelKind) -> None:
    assert infer_kind(cells) == kind


def test_labels_of_each_kind() -> None:
    assert to_label(" yes ", "class") == ClassLabel(value="yes")
    assert to_label(" As typed.\n", "text") == TextLabel(value=" As typed.\n")
    assert to_label("", "text") == TextLabel(value="")
    assert to_label("4", "rating") == RatingLabel(value=4)
    assert to_label('["a", "b"]', "multiclass") == MulticlassLabel(values=["a", "b"])
    assert to_label("", "multiclass") == MulticlassLabel(values=[])


@pytest.mark.parametrize(
    ("cell", "kind", "message"),
    [
        ("  ", "class", "no answer"),
        ("", "rating", "no answer"),
        ("nan", "rating", "'nan' is not a number"),
        ("x" * 257, "class", "at most 256"),
    ],
)
def test_what_is_no_label(cell: str, kind: LabelKind, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_label(cell, kind)


def test_several_accepted_golds_keep_right_right_and_wrong_wrong() -> None:
    assert to_gold("cat\nkitten", "class", ClassLabel(value="kitten")) == ClassLabel(value="kitten")
    assert to_gold("cat\nkitten", "class", ClassLabel(value="dog")) == ClassLabel(value="cat")
    assert to_gold("4\n5", "rating", RatingLabel(value=5)) == RatingLabel(value=5)
    assert to_gold("a\nb", "multiclass", MulticlassLabel(values=["a"])) == MulticlassLabel(values=["a", "b"])
    assert to_gold(" ", "class", ClassLabel(value="cat")) is None


def test_a_gold_that_is_no_label_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a number"):
        to_gold("high", "rating", RatingLabel(value=1))
