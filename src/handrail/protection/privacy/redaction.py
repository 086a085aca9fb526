"""The last processor of every log line."""

from collections.abc import Mapping
from typing import Any

from handrail.protection.privacy.checks import passes_luhn
from handrail.protection.privacy.detector import find_structured
from handrail.protection.privacy.spans import Kind

# Fields that hold what people said or what tools were given: they don't belong in a log at all.
CONTENT_KEYS = frozenset(
    {
        "answer", "args", "arguments", "body", "content", "input", "instructions", "message_text", "messages", "output",
        "parameters", "prompt", "result", "text", "user_message",
    }
)  # fmt: skip
SECRET_KEYS = frozenset(
    {
        "access_token", "api_key", "apikey", "authorization", "cookie", "key", "operator_token", "passwd",
        "password", "refresh_token", "secret", "set-cookie", "token", "x-api-key",
    }
)  # fmt: skip
SECRET = "[secret]"  # noqa: S105
MASKS = {**{kind: f"[{kind.lower()}]" for kind in Kind}, Kind.API_KEY: SECRET}
WITHHELD = "[withheld]"

MOST_CHARACTERS = 2_000
# A stack trace is worth more room; its messages are masked like all else.
MOST_TRACE_CHARACTERS = 16_000
MOST_ITEMS = 50
MOST_DEPTH = 6
# Longer than what any pattern but a token can match: a thing cut in two at the end would not be recognised.
_TAIL = 256
_PLAIN = (bool, type(None), float)
_TRACES = ("exception", "stack")


def redact_event(_logger: Any, _method: str, event: Mapping[str, Any]) -> dict[str, Any]:
    """A structlog processor: content fields dropped, secrets and personal data masked, sizes bounded."""
    return _mapping(event, MOST_DEPTH)


def redact_text(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text with e-mail addresses, cards, IBANs, phone numbers and keys masked, `most` characters at most."""
    if len(text) <= most:
        return _mask(text)
    masked = _mask(text[: most + _TAIL])
    return f"{masked[: min(most, max(0, len(masked) - _TAIL))]}... ({len(text)} characters)"


def _mask(text: str) -> str:
    for span in reversed(find_structured(text)):
        text = text[: span.start] + MASKS[span.kind] + text[span.end :]
    return text


def _mapping(values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    redacted: dict[str, Any] = {}
    for key, value in values.items():
        name = key if isinstance(key, str) else str(key)
        lower = name.lower()
        if lower in CONTENT_KEYS:
            continue
        if lower in SECRET_KEYS:
            redacted[name] = SECRET
        elif name in _TRACES and isinstance(value, str):
            redacted[name] = redact_text(value, MOST_TRACE_CHARACTERS)
        else:
            redacted[name if len(name) <= 100 else redact_text(name, 100)] = _value(value, depth)
        if len(redacted) >= MOST_ITEMS:
            redacted["more_fields"] = len(values) - MOST_ITEMS
            break
    return redacted


def _value(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, int):
        return "[card]" if value > 10**12 and str(value)[0] in "23456" and passes_luhn(str(value)) else value
    if depth <= 0:
        return WITHHELD
    if isinstance(value, Mapping):
        return _mapping(value, depth - 1)
    if isinstance(value, list | tuple | set | frozenset):
        items = [_value(item, depth - 1) for item, _ in zip(value, range(MOST_ITEMS), strict=False)]
        return items if len(value) <= MOST_ITEMS else [*items, f"({len(value)} items)"]
    return _unknown(value)


def _unknown(value: object) -> str:
    """An object of any kind, as the renderer would show it, but masked: a renderer's own `repr` would come after us."""
    try:
        return redact_text(value.decode(errors="replace") if isinstance(value, bytes) else repr(value))
    except Exception:  # noqa: BLE001 - a broken repr must not stop the line, nor slip through unread
        return WITHHELD
