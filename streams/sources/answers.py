"""Cells to labels: which kind of answer a column holds, and how one cell becomes one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, get_args

from schemas.labels import ClassLabel, Label, MulticlassLabel, RatingLabel, TextLabel, canonical
from streams.sources.text_files import parse_number

LabelKind = Literal["class", "multiclass", "text", "rating"]
LABEL_KINDS: tuple[LabelKind, ...] = get_args(LabelKind)

#: More distinct answers than this are not a closed set of classes.
MAX_CLASSES = 64
#: More distinct whole numbers than this are a scale, not classes.
MAX_NUMERIC_CLASSES = 10


def _json_list(cell: str) -> list[str] | None:
    if not cell.lstrip().startswith("["):
        return None
    try:
        values = json.loads(cell)
    except ValueError:
        return None
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return values
    return None


def split_values(cell: str) -> list[str]:
    """The answers of a many-of-several question: a JSON list of strings, else one a line; blanks dropped.

    >>> split_values('["Astronaut","Scientist"]'), split_values("cat\\ndog")
    (['Astronaut', 'Scientist'], ['cat', 'dog'])
    """
    values = _json_list(cell)
    if values is None:
        values = cell.splitlines()
    return [value.strip() for value in values if value.strip()]


def infer_kind(cells: Sequence[str]) -> LabelKind:
    """The kind of label in a column of answers.

    In this order: all JSON lists, or lists of lines: ``multiclass`` if they name at most 64 classes, else ``text``;
    numbers: ``class`` if whole and at most 10 distinct, else ``rating``; anything else: ``class`` if at most 64
    are distinct and each is given twice on average, else ``text``.

    >>> infer_kind(["yes", "no", "yes", "yes"]), infer_kind(["a dog", "a cat on a mat"]), infer_kind(["1", "2.5"])
    ('class', 'text', 'rating')
    """
    filled = [cell.strip() for cell in cells if cell.strip()]
    distinct = set(filled)
    if not filled:
        return "text"
    if all(_json_list(cell) is not None for cell in distinct):
        named = {value for cell in distinct for value in split_values(cell)}
        return "multiclass" if len(named) <= MAX_CLASSES else "text"
    if any("\n" in cell for cell in distinct):
        lines = [line for cell in filled for line in split_values(cell)]
        closed = len(set(lines)) <= MAX_CLASSES and 2 * len(set(lines)) <= len(lines)
        return "multiclass" if closed else "text"
    numbers = [parse_number(cell) for cell in distinct]
    if all(number is not None for number in numbers):
        whole = all(isinstance(number, int) for number in numbers)
        return "class" if whole and len(distinct) <= MAX_NUMERIC_CLASSES else "rating"
    return "class" if len(distinct) <= MAX_CLASSES and 2 * len(distinct) <= len(filled) else "text"


def to_label(cell: str, kind: LabelKind) -> Label:
    """One cell as a label. Text is kept as it was typed; a class loses the blanks around it.

    Raises:
        ValueError: no answer where there must be one, not a number, or over the schema's limits.
    """
    match kind:
        case "text":
            return TextLabel(value=cell)
        case "multiclass":
            return MulticlassLabel(values=split_values(cell))
        case "class":
            if not cell.strip():
                raise ValueError("no answer")
            return ClassLabel(value=cell.strip())
        case "rating":
            number = parse_number(cell)
            if number is None:
                raise ValueError(f"{cell[:40]!r} is not a number" if cell.strip() else "no answer")
            return RatingLabel(value=number)


def to_gold(cell: str, kind: LabelKind, answer: Label) -> Label | None:
    """The gold label that judges ``answer``; None where the cell is blank.

    A gold cell may accept several answers, one a line. For ``multiclass`` they are one set. Otherwise the event
    carries the accepted one that the labeler gave, and the first where none was met: right stays right, wrong wrong.

    >>> to_gold("cat\\nkitten", "class", ClassLabel(value="kitten")).value
    'kitten'
    >>> to_gold("cat\\nkitten", "class", ClassLabel(value="dog")).value
    'cat'
    """
    if not cell.strip():
        return None
    if kind == "multiclass":
        return to_label(cell, kind)
    accepted = [to_label(line, kind) for line in split_values(cell)]
    given = canonical(answer).strip()
    for gold in accepted:
        if canonical(gold) == given:
            return answer
    return accepted[0] if accepted else None
