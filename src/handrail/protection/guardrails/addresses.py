"""Web addresses and markup in what goes out: where a link leads, and what would load or run something by itself.

A link to a listed domain goes out. One to another domain goes out if it is written exactly like this in what the
model was given; one that the model made may carry data away. Pictures load without a click, so they must be listed.
"""

import re
from collections.abc import Iterable, Sequence

from handrail.protection.guardrails.leaks import WAIT, Decision, Step, opening

LINKS, GIVEN_LINKS, MARKUP = "links", "given_links", "markup"
LONGEST = 512

_HEAD = re.compile(r"(?:https?:[\\/]{1,4}|www\.)", re.IGNORECASE)
_HEADS = ("https://", "http://", "www.")
_HOST = re.compile(r"[^\s/\\?#<>\"'`)\]},;]*")
_URL = re.compile(r"[^\s<>\"'`]*")
_TRAILING = ".,;:!?*_)]}'\""
_LISTED = re.compile(r"(?:https?://|www\.|@)((?:[a-z0-9-]{1,63}\.){1,8}[a-z]{2,24})", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\]\n]{0,200}\]\(\s{0,4}<?")
_IMAGE_BEGUN = re.compile(r"!(?:\[(?:[^\]\n]{0,200}(?:\](?:\(\s{0,4}<?)?)?)?)?\Z")
_TARGET = re.compile(r"[^\s)>]*")
_TAG = re.compile(r"</?([A-Za-z]{0,12})")
# Tags that load, run, send or restyle something.
_LOADING = frozenset(
    [
        "audio", "base", "button", "embed", "form", "frame", "iframe", "image", "img", "input", "link", "meta",
        "object", "picture", "script", "source", "style", "svg", "track", "video",
    ]
)  # fmt: skip
_SCHEME = re.compile(r"(?:data:[a-z]{2,12}/[a-z0-9.+-]{1,40}[;,]|(?:java|vb)script:)", re.IGNORECASE)
_SCHEME_BEGUN = re.compile(r"(?:data:(?:[a-z]{1,12}(?:/[a-z0-9.+-]{0,40})?)?|(?:java|vb)script)\Z", re.IGNORECASE)


def hosts_in(texts: Iterable[str]) -> frozenset[str]:
    """The domains that these texts name as links or addresses of e-mail."""
    return frozenset(found[1].lower() for text in texts for found in _LISTED.finditer(text))


def host_of(address: str) -> str:
    """The host an address leads to; empty for one inside the same site."""
    if not re.match(r"[\\/]{2}|[a-z][a-z0-9+.-]{0,20}:", address, re.IGNORECASE):
        return ""
    rest = re.sub(r"^(?:[a-z][a-z0-9+.-]{0,20}:)?[\\/]*", "", address, flags=re.IGNORECASE)
    return _plain_host(rest)


def _plain_host(written: str) -> str:
    """Of `user@host:port` the host, in one spelling."""
    authority = re.split(r"[/\\?#]", written, maxsplit=1)[0]
    return re.sub(r":\d{0,5}$", "", authority.rpartition("@")[2]).rstrip(".").lower()


def is_listed(host: str, listed: frozenset[str]) -> bool:
    return host in listed or any(host.endswith(f".{each}") for each in listed)


class Links:
    """Links, by where they lead; `given` are the texts that the model was given, a list that may still grow."""

    def __init__(self, listed: frozenset[str], given: Sequence[str]) -> None:
        self._listed = listed
        self._given = given

    @staticmethod
    def openings() -> list[str]:
        return [f"(?i:{opening('http')}|(?<![a-z0-9]){opening('www.')})"]

    def at(self, text: str, at: int, is_final: bool) -> Decision:
        head = _HEAD.match(text, at)
        if head is None:
            rest = text[at : at + 10].lower()
            is_begun = at + len(rest) == len(text) and any(each.startswith(rest) for each in _HEADS)
            return WAIT if is_begun and not is_final else None
        start = at if text[at] in "wW" else head.end()
        host = _match(_HOST, text, start)
        if start + len(host) < len(text) or is_final:
            if is_listed(_plain_host(host), self._listed):
                return Step(start + len(host))
        elif len(host) < LONGEST:
            return WAIT
        return self._unlisted(text, at, is_final)

    def _unlisted(self, text: str, at: int, is_final: bool) -> Decision:
        url = _match(_URL, text, at, LONGEST)
        if at + len(url) == len(text) and not is_final and len(url) < LONGEST:
            return WAIT
        url = url[: url.index(")")] if ")" in url and "(" not in url else url
        url = url.rstrip(_TRAILING)
        if len(url) < LONGEST and any(url in text for text in self._given):
            return Step(at + len(url), GIVEN_LINKS)
        return Step(at + len(url), LINKS, "[link withheld]", _URL if len(url) >= LONGEST - 1 else None)


class Markup:
    """Pictures of other sites, tags that load or run something, data in an address."""

    def __init__(self, listed: frozenset[str]) -> None:
        self._listed = listed

    @staticmethod
    def openings() -> list[str]:
        schemes = "|".join(opening(each) for each in ("data", "java", "vbsc"))
        return [r"!(?:\[|\Z)", r"<(?:[A-Za-z/]|\Z)", f"(?<![A-Za-z])(?i:{schemes})"]

    def at(self, text: str, at: int, is_final: bool) -> Decision:
        if text[at] == "!":
            return self._image(text, at, is_final)
        if text[at] == "<":
            return _tag(text, at, is_final)
        if _SCHEME.match(text, at):
            return Step(at + len(_match(_URL, text, at)), MARKUP, "[link withheld]", _URL)
        is_begun = _SCHEME_BEGUN.match(text, at) or any(each.startswith(text[at:].lower()) for each in _SCHEMES)
        return WAIT if is_begun and not is_final else None

    def _image(self, text: str, at: int, is_final: bool) -> Decision:
        head = _IMAGE.match(text, at)
        if head is None:
            return WAIT if not is_final and _IMAGE_BEGUN.match(text, at) else None
        target = _match(_TARGET, text, head.end(), LONGEST)
        end = head.end() + len(target)
        if end == len(text) and len(target) < LONGEST and not is_final:
            return WAIT
        host = host_of(target)
        is_harmless = not host and not target.lower().startswith(_SCHEMES)
        if is_harmless or is_listed(host, self._listed):
            return None
        return Step(end + text.startswith(")", end), MARKUP, "[picture withheld]", None if end < len(text) else _TARGET)


_SCHEMES = ("data:", "javascript:", "vbscript:")
_TAG_REST = re.compile(r"[^>]*>?")


def _tag(text: str, at: int, is_final: bool) -> Decision:
    found = _TAG.match(text, at)
    if found is None or found.end() == len(text):
        return None if is_final else WAIT
    if found[1].lower() not in _LOADING:
        return None
    end = text.find(">", at, at + LONGEST)
    if end < 0:
        is_short = len(text) - at < LONGEST and not is_final
        return WAIT if is_short else Step(min(len(text), at + LONGEST), MARKUP, "[markup withheld]", _TAG_REST)
    return Step(end + 1, MARKUP, "[markup withheld]")


def _match(pattern: re.Pattern[str], text: str, at: int, most: int = LONGEST) -> str:
    found = pattern.match(text, at, at + most)
    return found[0] if found else ""
