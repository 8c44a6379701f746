"""Find where an INSERT statement ends and its data begins.

ClickHouse sends a statement and its data as one run of bytes, and only a parser knows the border. This
is the smallest one that does: it walks the tokens at the head of the body (quotes, comments, brackets)
and never looks at the data, which may be binary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""\s+ | --[^\n]*(?:\n|\Z) | \#[ !][^\n]*(?:\n|\Z) | /\*.*?\*/
      | '(?:[^'\\]|\\.|'')*' | `(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*"
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_FORMAT_NAME = re.compile(rb"\s*([A-Za-z_][A-Za-z0-9_]*)")
_BEFORE_DATA = re.compile(rb"[ \t\f]*\r?\n?")
_OUTPUT_FORMAT = re.compile(rb"\bFORMAT\s+([A-Za-z_][A-Za-z0-9_]*)\s*(?:SETTINGS\s+[^()]*)?[\s;]*\Z", re.IGNORECASE)
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True)
class InsertStatement:
    """An INSERT whose data arrives as a block: `sql` has neither FORMAT clause nor data."""

    sql: str
    format: str
    data: bytes


def first_word(sql: bytes) -> str:
    """The first keyword of a statement, upper case; "" when there is none.

    >>> first_word(b"-- why\\n (select 1)")
    'SELECT'
    """
    for token in _TOKEN.finditer(sql[:_HEAD_BYTES]):
        if token["word"]:
            return token["word"].decode("ascii").upper()
        if token["other"] and token["other"] != b"(":
            return ""
    return ""


def output_format(sql: bytes) -> str | None:
    """The format a trailing FORMAT clause names, else None.

    >>> output_format(b"SELECT 1\\n FORMAT Native")
    'Native'
    """
    found = _OUTPUT_FORMAT.search(sql[-4096:])
    return found[1].decode("ascii") if found else None


def split_insert(body: bytes, default_format: str | None = None) -> InsertStatement | None:
    """Split `INSERT INTO ... FORMAT x` from its data, or None when the statement carries no block.

    None means that the engine can run the text as it is: not an INSERT, an INSERT ... SELECT, or inline
    VALUES. `default_format` is what a client named outside of the statement (`default_format=`).

    >>> split_insert(b"INSERT INTO t (a) FORMAT CSV\\n1\\n2\\n")
    InsertStatement(sql='INSERT INTO t (a)', format='CSV', data=b'1\\n2\\n')
    >>> split_insert(b"INSERT INTO t SELECT 1") is None
    True
    """
    if first_word(body) != "INSERT":
        return None
    depth = 0
    for token in _TOKEN.finditer(body, 0, min(len(body), _HEAD_BYTES)):
        other = token["other"]
        if other == b"(":
            depth += 1
        elif other == b")":
            depth -= 1
        word = token["word"]
        if depth or not word:
            continue
        keyword = word.upper()
        if keyword in (b"SELECT", b"WITH", b"VALUES", b"WATCH"):
            return None
        name = _FORMAT_NAME.match(body, token.end()) if keyword == b"FORMAT" else None
        if name:
            data_start = _BEFORE_DATA.match(body, name.end())
            assert data_start is not None  # every part of the pattern is optional
            name_text = name[1].decode("ascii")
            return InsertStatement(_text(body[: token.start()]), name_text, body[data_start.end() :])
    if default_format is None:
        return None
    head, _, data = body.partition(b"\n")
    return InsertStatement(_text(head), default_format, data)


def _text(sql: bytes) -> str:
    return sql.decode("utf-8", errors="replace").strip().rstrip(";")
