"""What a rule watches: each labeler, vendor, project, segment or task type by itself, or everything together.

    segment                                                      each segment
    labeler where task_type = "image_class"                      each labeler, in segments of that type only
    project_id = "x" and vendor_id in ("a", "b")                 these segments together, as one

Expressions know ``=``, ``!=``, ``in``, ``not in``, ``and``, ``or``, ``not`` and parentheses over the fields of a
segment. They are parsed here, never evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, NoReturn, cast, get_args

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from schemas.events import MAX_ID_CHARS

Kind = Literal["labeler", "vendor", "project", "segment", "task_type", "all"]
KINDS: Final = cast(tuple[Kind, ...], get_args(Kind))
SEGMENT_FIELDS: Final = ("project_id", "task_type", "vendor_id")
#: What tells the scopes of a kind apart. Labelers are told apart by label space, as their reliability is.
KEY_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    "labeler": ("project_id", "task_type", "labeler_id"),
    "vendor": ("vendor_id",),
    "project": ("project_id",),
    "segment": SEGMENT_FIELDS,
    "task_type": ("task_type",),
    "all": (),
}
MAX_CHARS: Final = 2_000
MAX_DEPTH: Final = 20
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\["\\])*"|'(?:[^'\\]|\\['\\])*')|(?P<word>[A-Za-z_]+)|(?P<sign>!=|==?|[(),]))"""
)
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "where"})


@dataclass(frozen=True, slots=True)
class Among:
    """Whether a field has one of these values."""

    field: str
    values: tuple[str, ...]

    def matches(self, segment: Mapping[str, str]) -> bool:
        """Raises KeyError where the segment lacks the field: a bug of the caller."""
        return segment[self.field] in self.values


@dataclass(frozen=True, slots=True)
class Not:
    """Whether its part does not match."""

    part: Expression

    def matches(self, segment: Mapping[str, str]) -> bool:
        """As `Among.matches`."""
        return not self.part.matches(segment)


@dataclass(frozen=True, slots=True)
class Every:
    """Whether all of its parts match."""

    parts: tuple[Expression, ...]

    def matches(self, segment: Mapping[str, str]) -> bool:
        """As `Among.matches`."""
        return all(part.matches(segment) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Some:
    """Whether any of its parts matches."""

    parts: tuple[Expression, ...]

    def matches(self, segment: Mapping[str, str]) -> bool:
        """As `Among.matches`."""
        return any(part.matches(segment) for part in self.parts)


Expression = Among | Not | Every | Some


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule watches, as parsed from ``text``."""

    text: str
    kind: Kind = field(compare=False)
    where: Expression | None = field(default=None, compare=False)

    def matches(self, segment: Mapping[str, str]) -> bool:
        """Whether a segment (its three fields, perhaps more) belongs to what is watched.

        >>> scope = parse_scope('vendor where project_id = "x" and not task_type in ("a", "b")')
        >>> scope.matches({"project_id": "x", "task_type": "c", "vendor_id": "v"})
        True
        >>> scope.matches({"project_id": "x", "task_type": "a", "vendor_id": "v"})
        False
        """
        return self.where is None or self.where.matches(segment)

    def key(self, fields: Mapping[str, str]) -> tuple[str, ...]:
        """What tells the scope of these fields from the rule's other scopes; one for all where it pools.

        >>> parse_scope("vendor").key({"project_id": "x", "task_type": "c", "vendor_id": "v"})
        ('v',)
        """
        return tuple(fields[name] for name in KEY_FIELDS[self.kind])

    def names(self) -> Iterator[tuple[str, str]]:
        """Every field and value that the expression speaks of."""
        waiting = [self.where] if self.where is not None else []
        while waiting:
            match waiting.pop(0):
                case Among(field=name, values=values):
                    yield from ((name, value) for value in values)
                case Not(part=part):
                    waiting.append(part)
                case Every(parts=parts) | Some(parts=parts):
                    waiting.extend(parts)


def parse_scope(value: object) -> Scope:
    """A scope from its text.

    Raises:
        ValueError: says what was expected, and at which character.

    >>> scope = parse_scope("project_id = 'x' or vendor_id != 'y'")
    >>> scope.kind, scope.where
    ('all', Some(parts=(Among(field='project_id', values=('x',)), Not(part=Among(field='vendor_id', values=('y',))))))
    >>> parse_scope('labler')
    Traceback (most recent call last):
    ...
    ValueError: 'labler' at character 1: not a scope (labeler, vendor, project, segment, task_type, all) nor a field ...
    """
    if not isinstance(value, str):
        raise ValueError('must be text, such as segment, or project_id = "x"')
    if len(value) > MAX_CHARS:
        raise ValueError(f"longer than {MAX_CHARS:,} characters")
    return _Parser(value).scope()


class _Parser:
    """Recursive descent over the tokens: (kind of token, its text, first character counted from 1)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0
        self._depth = 0
        at, end = 0, len(text.rstrip())
        while at < end:
            found = _TOKEN.match(text, at)
            if found is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise ValueError(f"{text[at]!r} at character {at + 1}: cannot be read; values are in quotes")
            kind = str(found.lastgroup)
            self._tokens.append((kind, found[kind], found.start(kind) + 1))
            at = found.end()

    def scope(self) -> Scope:
        if not self._tokens:
            raise ValueError(f"is empty; write {', '.join(KINDS)}, or an expression")
        text = self._text.strip()
        kind, word, _ = self._tokens[0]
        named = word in KINDS and kind == "word"
        if named and len(self._tokens) == 1:
            return Scope(text, cast(Kind, word))
        # task_type is both a kind and a field: what follows tells which
        if named and self._tokens[1][1].lower() == "where":
            self._next = 2
            return Scope(text, cast(Kind, word), self._whole())
        if named and word not in SEGMENT_FIELDS:
            self._next = 1
            self._refuse(f"expected `where` after {word}")
        return Scope(text, "all", self._whole())

    def _whole(self) -> Expression:
        expression = self._some()
        if self._next < len(self._tokens):
            self._refuse("expected `and`, `or`, or the end")
        return expression

    def _some(self) -> Expression:
        parts = [self._every()]
        while self._take("or"):
            parts.append(self._every())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _every(self) -> Expression:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def _one(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"nested deeper than {MAX_DEPTH}")
        try:
            if self._take("not"):
                return Not(self._one())
            if self._take("("):
                inside = self._some()
                self._expect(")")
                return inside
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Expression:
        kind, name, _ = self._peek()
        if kind != "word" or name not in SEGMENT_FIELDS:
            known = f"a field ({', '.join(SEGMENT_FIELDS)})"
            self._refuse(f"not a scope ({', '.join(KINDS)}) nor {known}" if not self._next else f"expected {known}")
        self._next += 1
        if self._take("=") or self._take("=="):
            return Among(name, (self._value(),))
        if self._take("!="):
            return Not(Among(name, (self._value(),)))
        negated = self._take("not")
        if not self._take("in"):
            self._refuse("expected `=`, `!=`, `in` or `not in`")
        self._expect("(")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        self._expect(")")
        among = Among(name, tuple(values))
        return Not(among) if negated else among

    def _value(self) -> str:
        kind, text, _ = self._peek()
        if kind != "text":
            self._refuse("expected a value in quotes")
        value = re.sub(r"\\(.)", r"\1", text[1:-1])
        if not 1 <= len(value) <= MAX_ID_CHARS:
            self._refuse(f"a value has 1 to {MAX_ID_CHARS} characters")
        self._next += 1
        return value

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "", len(self._text) + 1)

    def _take(self, wanted: str) -> bool:
        kind, text, _ = self._peek()
        taken = kind in ("word", "sign") and (text.lower() if text.lower() in _KEYWORDS else text) == wanted
        self._next += taken
        return taken

    def _expect(self, wanted: str) -> None:
        if not self._take(wanted):
            self._refuse(f"expected `{wanted}`")

    def _refuse(self, reason: str) -> NoReturn:
        kind, text, at = self._peek()
        found = "the end" if kind == "end" else f"{text[:40]!r} at character {at}"
        raise ValueError(f"{found}: {reason}")


ScopeText = Annotated[
    Scope,
    PlainValidator(parse_scope),
    PlainSerializer(lambda scope: scope.text, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_CHARS,
            "description": f"{', '.join(KINDS)}; one of them with `where` and an expression; or an expression alone, "
            f"which watches what it selects together. Fields: {', '.join(SEGMENT_FIELDS)}.",
            "examples": [*KINDS, 'segment where project_id = "x"', 'project_id = "x" and vendor_id in ("a", "b")'],
        }
    ),
]
