"""The headers of every answer, put together once."""

from collections.abc import Iterable

Header = tuple[bytes, bytes]

NAMES_AND_VALUES: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    # Answers of the API are data; the console's pages bring a policy of their own.
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
# Two years, as the preload lists want it; sub-domains are not ours to decide on.
STRICT_TRANSPORT: Header = (b"strict-transport-security", b"max-age=63072000")


# An ASGI extension of our own server: it puts all lines where this one header stands, which saves looking at each.
ONE_LINE = "handrail.one_line"
MARK: Header = (b"x-handrail-headers", b"all")
MARK_LINE = b"%s: %s\r\n" % MARK


class SecurityHeaders:
    """What an answer gets unless it says otherwise itself."""

    def __init__(self, *, tls: bool = False) -> None:
        self.headers: tuple[Header, ...] = (*NAMES_AND_VALUES, STRICT_TRANSPORT) if tls else NAMES_AND_VALUES
        self._names = frozenset(name for name, _ in self.headers)
        self.lines = b"".join(b"%s: %s\r\n" % header for header in self.headers)

    def added_to(self, headers: Iterable[Header], *, one_line: bool = False) -> list[Header]:
        """The headers of an answer with ours; what the answer gave itself stays.

        Args:
            one_line: whether the server knows what the mark stands for.
        """
        given = list(headers)
        if self._names.isdisjoint([name for name, _ in given]):
            return [*given, MARK] if one_line else [*given, *self.headers]
        names = {name for name, _ in given}
        return [*given, *(each for each in self.headers if each[0] not in names)]
