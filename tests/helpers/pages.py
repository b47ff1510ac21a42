"""The code blocks of the documentation's pages."""

import re

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""The language of a block, empty for commands, and its lines."""


def code_blocks(text: str, language: str = "") -> list[str]:
    """Return the blocks of a page in a language."""
    return [body for found, body in BLOCK.findall(text) if found == language]
