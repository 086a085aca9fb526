"""How deep and how wide a JSON body may be, looked at before a parser builds it. Pure."""

import re

MOST_DEPTH = 64
# Strings, braces, brackets, commas and colons.
MOST_PARTS = 50_000

_PART = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}\[\],:]', re.DOTALL)


def is_bounded(body: bytes) -> bool:
    """Whether a parser may have it. Most bodies are so small that counting a few characters answers."""
    openers = body.count(b"{") + body.count(b"[")
    if openers <= MOST_DEPTH and body.count(b'"') + body.count(b",") + body.count(b":") <= MOST_PARTS:
        return True
    depth = 0
    for number, match in enumerate(_PART.finditer(body)):
        first = match[0][:1]
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
        if depth > MOST_DEPTH or number >= MOST_PARTS:
            return False
    return True
