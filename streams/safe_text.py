"""Text from the wire as it may be shown to people: on a pager, in a chat that reads Markdown, and in HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MAX_NAME: Final = 60
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})
#: What begins a tag, a link or code somewhere.
_HARMLESS: Final = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")", "`": "'"})
_CALLS: Final = re.compile(r"@(?=(?:everyone|here|channel|all|team)\b)", re.IGNORECASE)


def shown(text: str, most: int = MAX_NAME) -> str:
    """A name on one line, of at most ``most`` characters, without what is invisible or means something to a chat.

    >>> shown("ana\\n<!channel> @here [x](https://evil.example)")
    'ana (!channel) (at)here (x)(https: //evil.example)'
    """
    visible = "".join(" " if unicodedata.category(one) in _INVISIBLE else one for one in text[: 4 * most])
    plain = " ".join(visible.split()).translate(_HARMLESS).replace("://", ": //")
    plain = _CALLS.sub("(at)", plain)
    if not plain:
        return "(no name)"
    return plain if len(plain) <= most else plain[: most - 1].rstrip() + "…"


def enumeration(values: Sequence[str], most: int = 5) -> str:
    """Names in a row, the first few of them.

    >>> enumeration(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = [shown(value) for value in values[:most]]
    if len(values) > most:
        return f"{', '.join(names)} and {len(values) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
