"""The form a text is scanned in: look-alikes folded, hidden characters out or read, one case, bounded.

Only detectors see it; what is stored and answered stays as the user wrote it (see `input`). Plain ASCII takes the short
way. Folding twice changes nothing.
"""

import re
import unicodedata

# Longer text is scanned at its two ends, where instructions stand; the middle is not read.
MOST_CHARACTERS = 20_000
_PASSES = 4

_SPACES = re.compile(r"[ \t\r\f\v]+")
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\ud800-\udfff\U000e0100-\U000e01ef]"
)
_LINE_BREAKS = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_TAGS = re.compile("[\U000e0000-\U000e007f]")
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
_LATIN = re.compile(r"[a-z]")
_ALIKE = re.compile(r"[\u0370-\u03ff\u0400-\u052f\u0531-\u0587\u13a0-\u13fd\uab70-\uabbf]")
_WORD = re.compile(r"[^\W\d_]+")

# Letters of other scripts that look like a Latin one, lower case. Compatibility forms are folded by NFKC before.
_TWINS = {
    "a": "аɑα∂ꭺ", "b": "ьвƅᏼɓ", "c": "сϲςⅽᴄ", "d": "ԁɗᏧժ", "e": "еєҽεɛℯəꭼ", "f": "ғϝſƒ", "g": "ɡԍɢց",
    "h": "һнհɦ", "i": "іїιıɩɪ¡ꭵ", "j": "јϳʝ", "k": "кκқᴋ", "l": "ӏⅼǀɫłⵏ", "m": "мϻɱᴍ", "n": "пηոɴռ",
    "o": "оοσөօøᴏ०٥", "p": "рρϸᴘ", "q": "ԛգզ", "r": "гɾʀᴦ", "s": "ѕʂꜱƨ", "t": "тτƭᴛ", "u": "υцսᴜʋ",
    "v": "ѵνᴠ", "w": "ԝωшɯᴡ", "x": "хχ×ҳ", "y": "уүγʏ", "z": "ʐᴢż",
    "'": "’‘ʼ`´", '"': "“”„«»", "-": "‐‑‒–—−",
}  # fmt: skip
_FOLDED = str.maketrans({twin: plain for plain, twins in _TWINS.items() for twin in twins})
_PUNCTUATION = str.maketrans({twin: plain for plain in "'\"-" for twin in _TWINS[plain]})
_LEET = str.maketrans("013457@$!|8", "oieastasilb")
_MIXED = re.compile(r"(?<!\S)(?=\S*[a-z])(?=\S*[013457@$!|8])[a-z013457@$!|8'\-]{3,24}(?=$|[\s.,:;?)])")
_SPELLED = re.compile(r"(?<!\w)\w(?:[ .\-_*|/]\w(?!\w)){3,}")
_GAP = re.compile(r"[ .\-_*|/]")


def fold(text: str) -> str:
    """The text as detectors read it."""
    text = _ends(text)
    if text.isascii():
        return _plain(text)
    for _ in range(_PASSES):
        folded = _ends(_fold_once(text))
        if folded == text:
            break
        text = folded
    return text


def unmasked(folded: str) -> str | None:
    """The same text with digits read as the letters they stand for and s p e l l e d words joined; None if nothing of
    the kind is in it."""
    plain = _MIXED.sub(lambda found: found[0].translate(_LEET), folded)
    plain = _SPELLED.sub(lambda found: _GAP.sub("", found[0]), plain)
    return plain if plain != folded else None


def _ends(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    return f"{text[: half - 1]}\n{text[-half:]}"


def _plain(text: str) -> str:
    return _SPACES.sub(" ", _UNSEEN.sub("", _LINE_BREAKS.sub("\n", text))).strip().lower()


def _fold_once(text: str) -> str:
    # Tag characters spell hidden ASCII: they are read, not dropped.
    text = _TAGS.sub(lambda found: chr(ord(found[0]) - 0xE0000), text)
    text = _UNSEEN.sub("", _LINE_BREAKS.sub("\n", text))
    # Marks go before anything is composed: normalising is quadratic in a run of them.
    text = unicodedata.normalize("NFKC", _MARKS.sub("", text)).lower()
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text)) if _has_accents(text) else text
    text = unicodedata.normalize("NFC", text)
    return _plain(_without_twins(text.translate(_PUNCTUATION)))


def _has_accents(text: str) -> bool:
    return any("\xc0" <= character <= "\u024f" or "\u1e00" <= character <= "\u1fff" for character in text)


def _without_twins(text: str) -> str:
    """Look-alikes as Latin letters, where Latin is what is written; a text in Russian or Greek stays."""
    if text.isascii():
        return text
    if len(_LATIN.findall(text)) >= len(_ALIKE.findall(text)):
        return text.translate(_FOLDED)
    return _WORD.sub(lambda found: found[0].translate(_FOLDED) if _LATIN.search(found[0]) else found[0], text)
