"""YAML that people write, read strictly: every value knows its line, and nothing in it may surprise.

Parsed by PyYAML's safe loader. Besides, duplicate keys, aliases (with which a small file becomes a huge one), tags
and deep nesting are refused; only ``true`` and ``false`` are booleans, and ``22:00`` is text, as in YAML 1.2.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_DEPTH: Final = 20
_PREFIX: Final = "tag:yaml.org,2002:"


class Problem(NamedTuple):
    """One reason to refuse a file. Lines and columns count from 1; 0 where there is none."""

    line: int
    column: int
    field: str
    """Where in the document, such as ``rules[2].scope``; empty for the document itself."""
    reason: str


class DocumentError(Exception):
    """The text is no such YAML; ``problem`` says where and why."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        self.problem = Problem(line, column, "", reason)
        super().__init__(reason)


class _Loader(yaml.SafeLoader):
    """The safe loader, but for what YAML 1.1 takes for booleans, times and base-60 numbers."""

    yaml_implicit_resolvers: Final = {}  # type: ignore[misc]  # not those of the class above

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _refusal(event, f"aliases (*{event.anchor}) are not allowed: write the value, or use defaults")
        if getattr(event, "tag", None) is not None:
            raise _refusal(event, f"tags ({str(event.tag)[:40]}) are not allowed")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refusal(event, f"nested deeper than {MAX_DEPTH}")
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]{1,18}", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]{1,50}|[0-9]{1,18}(?:\.[0-9]{0,50})?)(?:[eE][-+]?[0-9]{1,3})?", "-+0123456789."),
):
    _Loader.add_implicit_resolver(_PREFIX + _tag, re.compile(f"^(?:{_pattern})$", re.ASCII), list(_first))


class Document(NamedTuple):
    """A document's plain values, and its nodes, which know their lines."""

    values: Any
    node: Node

    def where(self, location: tuple[int | str, ...], *, key: bool = False) -> tuple[int, int]:
        """Line and column of the value at a path of keys and positions, or of the nearest there is above it.

        Args:
            location: keys and positions, from the top.
            key: of the key instead, where the last one is a key.
        """
        node = self.node
        for number, part in enumerate(location, 1):
            if isinstance(node, SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
                node = node.value[part]
            elif isinstance(node, MappingNode):
                found = next((pair for pair in node.value if pair[0].value == part), None)
                if found is None:
                    break
                node = found[0] if key and number == len(location) else found[1]
            else:
                break
        return node.start_mark.line + 1, node.start_mark.column + 1


def parse(text: str) -> Document:
    """The one document of a text.

    Raises:
        DocumentError: it is not such YAML.

    >>> document = parse("a:\\n- on: 22:00\\n  off: [1, .5, yes]\\n")
    >>> document.values, document.where(("a", 0, "off", 2))
    ({'a': [{'on': '22:00', 'off': [1, 0.5, 'yes']}]}, (3, 16))
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        raise _unreadable(text, error) from None
    try:
        node = loader.get_single_node()
        if node is None:
            raise DocumentError(1, 1, "is empty")
        return Document(_plain(node), node)
    except yaml.reader.ReaderError as error:
        raise _unreadable(text, error) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise DocumentError(line, column, f"not YAML: {error.problem}{context}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # an escape beyond Unicode is not YAML's error
        mark = loader.get_mark()
        raise DocumentError(mark.line + 1, mark.column + 1, f"not YAML: {error}") from None
    finally:
        loader.dispose()


def _refusal(at: Any, reason: str) -> DocumentError:
    return DocumentError(at.start_mark.line + 1, at.start_mark.column + 1, reason)


def _unreadable(text: str, error: yaml.reader.ReaderError) -> DocumentError:
    position = error.position if isinstance(error.position, int) else 0
    before = text[:position]
    column = position - (before.rfind("\n") + 1) + 1
    character = error.character if isinstance(error.character, int) else 0
    return DocumentError(before.count("\n") + 1, column, f"not YAML: the character U+{character:04X} is not allowed")


def _plain(node: Node) -> Any:
    """A node's value, of None, bool, int, float, str, list and dict."""
    if isinstance(node, SequenceNode):
        return [_plain(one) for one in node.value]
    if isinstance(node, MappingNode):
        return _mapping(node)
    text = str(node.value)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _refusal(node, "half of a surrogate pair is no text")
    match node.tag.removeprefix(_PREFIX):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text)
        case "float":
            return float(text)
    return text


def _mapping(node: MappingNode) -> dict[str, Any]:
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or not isinstance(name := _plain(key), str):
            raise _refusal(key, "a key must be a word")
        if name in values:
            raise _refusal(key, f"{name[:40]!r} is here twice; first in line {lines[name]}")
        lines[name] = key.start_mark.line + 1
        values[name] = _plain(value)
    return values
