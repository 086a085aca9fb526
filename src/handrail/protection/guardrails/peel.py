"""What an encoding hides: base64, hex, percent signs, HTML entities, rot13, backwards. Tried last, for scanning."""

import base64
import binascii
import codecs
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote

MOST_PIECES = 8
_BASE64 = re.compile(r"(?<![\w+/=])[A-Za-z0-9+/_-]{16,4000}={0,2}(?![\w+/=])")
_HEX = re.compile(r"(?<!\w)(?:0x)?((?:[0-9a-fA-F]{2}[ :]?){10,2000})(?!\w)")
_PERCENT = re.compile(r"(?:%[0-9a-fA-F]{2}[^%\s]{0,3}){4,}")
_ENTITY = re.compile(r"(?:&#x?[0-9a-fA-F]{1,6};){4,}")
_READABLE = re.compile(r"[^\W\d_]{2,}")
# What common English words become.
_ROT13 = re.compile(r"\b(?:gur|naq|nyy|lbh|lbhe|zr|gb|bs|vf|abj|cebzcg|vtaber|cerivbhf|ehyrf|vafgehpgvbaf|flfgrz)\b")
_BACKWARDS = re.compile(r"\b(?:eht|dna|lla|ruoy|uoy|won|tpmorp|snoitcurtsni|erongi|suoiverp|selur|laever|metsys)\b")


def peeled(text: str) -> list[str]:
    """Readable texts that the given one carries in an encoding, at most `MOST_PIECES`."""
    found: list[str] = []
    for piece in _decoded(text):
        if _is_readable(piece) and piece not in found:
            found.append(piece)
        if len(found) == MOST_PIECES:
            break
    return found


def _decoded(text: str) -> Iterator[str]:
    for match in _BASE64.finditer(text):
        yield from _from_base64(match[0])
    for match in _HEX.finditer(text):
        yield _as_text(bytes.fromhex(re.sub(r"[ :]", "", match[1])))
    if "%" in text and _PERCENT.search(text):
        yield unquote(text, errors="replace")
    if "&#" in text and _ENTITY.search(text):
        yield html.unescape(text)
    lower = text.lower()
    if len(_ROT13.findall(lower)) >= 2:
        yield codecs.decode(text, "rot13")
    if len(_BACKWARDS.findall(lower)) >= 2:
        yield text[::-1]


def _from_base64(written: str) -> Iterator[str]:
    if written.isalpha() and (written.islower() or written.isupper()):
        return
    padded = written.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        yield _as_text(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True))
    except (binascii.Error, ValueError):
        return


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _is_readable(piece: str) -> bool:
    """Mostly letters and spaces, with words in it: chance bytes are not."""
    plain = sum(each.isalpha() or each in " \n.,:;!?'\"-" for each in piece)
    return len(piece) >= 8 and plain >= 0.85 * len(piece) and len(_READABLE.findall(piece)) >= 2
