"""Text from the wire as it may be shown to people: on a pager, in a chat, in Markdown and in HTML."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
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


def code(text: str, most: int = MAX_NAME) -> str:
    """The same as code in Markdown and Slack, where no character is special any more.

    >>> code("image_class *new*")
    '`image_class *new*`'
    """
    return f"`{shown(text, most)}`"


def code_block(text: str) -> str:
    """Lines of code, of text that holds no backticks: those of `streams.explanations.sql_text` have none.

    Raises:
        ValueError: there are backticks, which would end the block.
    """
    if "`" in text:
        raise ValueError("a block of code must not hold backticks")
    return f"```\n{text}\n```"


def enumeration(values: Sequence[str], show: Callable[[str], str] = shown, most: int = 5) -> str:
    """Names in a row, the first few of them.

    >>> enumeration(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    names = [show(value) for value in values[:most]]
    if len(values) > most:
        return f"{', '.join(names)} and {len(values) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
