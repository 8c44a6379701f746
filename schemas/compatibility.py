"""Whether a change of a JSON Schema breaks producers: whether some message that was allowed is now refused.

The comparison covers the part of JSON Schema that pydantic writes. A keyword it does not know is an error, so that
nothing is ever overlooked in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_EXACT: Final = ("format", "pattern", "multipleOf", "uniqueItems")
_STRUCTURE: Final = (
    "type", "enum", "const", "properties", "required", "additionalProperties", "propertyNames",
    "patternProperties", "items", "prefixItems", "anyOf", "oneOf", "default", "$ref",
)  # fmt: skip
_ANNOTATION: Final = ("title", "description", "examples", "deprecated", "discriminator", "$defs", "$schema", "$id")
_KNOWN: Final = frozenset((*_UPPER, *_LOWER, *_EXACT, *_STRUCTURE, *_ANNOTATION))
_MISSING: Final = object()


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """One sentence per way in which ``new`` refuses, or reads otherwise, what ``old`` allows.

    Raises:
        ValueError: a schema uses a keyword that is not compared here.

    >>> name = {"type": "string", "maxLength": 10}
    >>> old = {"type": "object", "properties": {"a": name}, "required": ["a"], "additionalProperties": False}
    >>> breaking_changes(old, {**old, "properties": {"a": {"type": "string", "maxLength": 5}}})
    ['a: maxLength narrowed from 10 to 5']
    >>> breaking_changes(old, {**old, "properties": {"b": name}, "required": ["b"]})
    ['a: field removed or renamed', 'b: field is now required']
    >>> breaking_changes(old, {**old, "properties": {"a": name, "b": name}})
    []
    """
    return list(_Comparison(old, new).compare(old, new, ""))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old_definitions: Schema = old.get("$defs", {})
        self._new_definitions: Schema = new.get("$defs", {})
        self._open: set[tuple[str, str]] = set()

    def compare(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        pair = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if all(pair):
            if pair in self._open:
                return  # a recursive type: this pair is being compared further up
            self._open.add(pair)
        yield from _default(old, new, where)
        old, new = _resolve(old, self._old_definitions), _resolve(new, self._new_definitions)
        old_branches, new_branches = _branches(old), _branches(new)
        if len(old_branches) == len(new_branches) == 1:
            yield from self._compare_plain(old_branches[0], new_branches[0], where)
        else:
            yield from self._compare_unions(old_branches, new_branches, where)
        if all(pair):
            self._open.discard(pair)

    def _compare_unions(self, old: list[Schema], new: list[Schema], where: str) -> Iterator[str]:
        """Each old branch must fit whole into a new one. (A value split over two new branches is called breaking.)"""
        for branch in old:
            attempts = [list(self.compare(branch, candidate, where)) for candidate in new]
            best = min(attempts, key=len)
            if best:
                name = self._branch_name(branch)
                same = [
                    attempt
                    for attempt, candidate in zip(attempts, new, strict=True)
                    if self._branch_name(candidate, new=True) == name
                ]
                yield from min(same, key=len) if same else [f"{where or 'message'}: may no longer be {name}"]

    def _branch_name(self, branch: Schema, *, new: bool = False) -> str:
        resolved = _resolve(branch, self._new_definitions if new else self._old_definitions)
        for field, schema in resolved.get("properties", {}).items():
            if "const" in schema:
                return f"{field} {schema['const']!r}"
        return str(resolved.get("title") or resolved.get("type") or "anything")

    def _compare_plain(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        name = where or "message"
        for schema in (old, new):
            unknown = schema.keys() - _KNOWN
            if unknown:
                raise ValueError(f"{name}: keyword {', '.join(sorted(unknown))} is not compared; teach it here first")
        lost = _types(old) - _types(new)
        if lost:
            yield f"{name}: type {', '.join(sorted(lost))} no longer allowed"
            return
        yield from _values(old, new, name)
        yield from _limits(old, new, name)
        yield from self._compare_objects(old, new, where)
        if "items" in new:
            yield from self.compare(old.get("items", {}), new["items"], f"{where}[]")
        # Of a tuple by place: how many there are is a matter of minItems and maxItems.
        before = old.get("prefixItems", ())
        for place, schema in enumerate(new.get("prefixItems", ())):
            yield from self.compare(before[place] if place < len(before) else {}, schema, f"{where}[{place}]")
        for pattern, schema in new.get("patternProperties", {}).items():
            known = old.get("patternProperties", {}).get(pattern, {})
            yield from self.compare(known, schema, f"{where}.({pattern})".lstrip("."))
        if "propertyNames" in new:
            names = {"type": "string"}
            yield from self.compare({**names, **old.get("propertyNames", {})}, {**names, **new["propertyNames"]},
                                    f"{name} (key)")  # fmt: skip

    def _compare_objects(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
        old_rest, new_rest = old.get("additionalProperties", True), new.get("additionalProperties", True)
        for field, schema in old_fields.items():
            path = f"{where}.{field}".lstrip(".")
            if field in new_fields:
                yield from self.compare(schema, new_fields[field], path)
            elif new_rest is False:
                yield f"{path}: field removed or renamed"
            elif isinstance(new_rest, Mapping):
                yield from self.compare(schema, new_rest, path)
        if new_rest is False and old_rest is not False:
            yield f"{where or 'message'}: other fields are no longer allowed"
        elif isinstance(new_rest, Mapping) and old_rest is not False:
            yield from self.compare(old_rest if isinstance(old_rest, Mapping) else {}, new_rest, f"{where}.*")
        for field in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield f"{where}.{field}: field is now required".lstrip(".")


def _resolve(schema: Schema, definitions: Schema) -> Schema:
    while "$ref" in schema:
        reference = str(schema["$ref"])
        schema = definitions[reference.removeprefix("#/$defs/")]
    return schema


def _branches(schema: Schema) -> list[Schema]:
    union = schema.get("anyOf") or schema.get("oneOf")
    if not union:
        return [schema]
    beside = schema.keys() - {"anyOf", "oneOf", "default", *_ANNOTATION}
    if beside:
        raise ValueError(f"keyword {', '.join(sorted(beside))} beside a union is not compared; teach it here first")
    return list(union)


def _types(schema: Schema) -> frozenset[str]:
    found = schema.get("type", ("null", "boolean", "integer", "number", "string", "array", "object"))
    types = frozenset((found,) if isinstance(found, str) else found)
    return types | {"integer"} if "number" in types else types


def _default(old: Schema, new: Schema, where: str) -> Iterator[str]:
    """A message without the field is still accepted, but would mean something else."""
    before, after = old.get("default", _MISSING), new.get("default", _MISSING)
    if before is not _MISSING and after is not _MISSING and before != after:
        yield f"{where or 'message'}: default changed from {before!r} to {after!r}"


def _values(old: Schema, new: Schema, name: str) -> Iterator[str]:
    allowed = _allowed(new)
    if allowed is None:
        return
    before = _allowed(old)
    if before is None:
        yield f"{name}: only {allowed} are allowed now"
        return
    for value in before:
        if value not in allowed:
            yield f"{name}: value {value!r} is no longer allowed"


def _allowed(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _limits(old: Schema, new: Schema, name: str) -> Iterator[str]:
    for limit in (*_UPPER, *_LOWER):
        if limit not in new:
            continue
        before, after = old.get(limit), new[limit]
        narrowed = before is None or (after < before if limit in _UPPER else after > before)
        # A lower limit of 0 on a length says nothing.
        if narrowed and not (before is None and after == 0 and limit in ("minLength", "minItems", "minProperties")):
            yield f"{name}: {limit} narrowed from {'none' if before is None else before} to {after}"
    for keyword in _EXACT:
        if keyword in new and new[keyword] != old.get(keyword):
            yield f"{name}: {keyword} changed from {old.get(keyword, 'none')} to {new[keyword]}"
