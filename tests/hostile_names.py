"""Names that try to be more than text: in a chat, in Markdown, in HTML, on a terminal."""

from __future__ import annotations

from typing import Final

from tests.builders import HOSTILE_IDS

HOSTILE: Final = (
    *HOSTILE_IDS,
    "<!channel> <@U1|x> <https://evil.example|click>",
    "[click](https://evil.example) ![x](https://evil.example/x.png)",
    "**bold** _it_ ~no~ # head\n\n---\n| a | b |",
    "</code></pre><script>alert(1)</script>",
    "```\nout of the block\n```",
    "one ` backtick",
    "@everyone @here",
    "\x1b[31mred\x07",
    "\u202egnp.exe",
    "\ud800",
    "",
)
ON_THE_WIRE: Final = tuple(name for name in HOSTILE if name != "\ud800")
"""Half a character is in no message: it cannot be encoded."""
