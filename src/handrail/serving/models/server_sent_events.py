"""Server-sent events from raw network reads, wherever the reads happen to be cut."""


class EventTooLarge(ValueError):
    """One event is larger than any honest one; nothing more is read."""


class EventDecoder:
    """Feed it what the network gave; it hands back the data of the events that are complete.

    Takes LF, CRLF and CR line ends, `data:` with and without a space, comments, and fields it does not know.
    """

    __slots__ = ("_buffer", "_limit", "_saw_cr")

    def __init__(self, max_event_bytes: int) -> None:
        self._buffer = bytearray()
        self._limit = max_event_bytes
        self._saw_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises `EventTooLarge`."""
        if not self._buffer and not self._saw_cr and chunk.endswith(b"\n\n") and b"\r" not in chunk:
            return _data_of(chunk)
        buffer = self._buffer
        # A blank line may begin at the last byte of the read before.
        start = max(0, len(buffer) - 1)
        buffer += self._with_line_feeds(chunk)
        end = buffer.rfind(b"\n\n", start)
        if end < 0:
            if len(buffer) > self._limit:
                raise EventTooLarge(f"an event has more than {self._limit} bytes")
            return []
        events = bytes(buffer[:end])
        del buffer[: end + 2]
        return _data_of(events)

    def close(self) -> list[bytes]:
        """The data of a last event that no blank line followed."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _data_of(rest)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        if self._saw_cr and chunk:
            # The CR has ended the line already; its LF came with this read.
            self._saw_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" not in chunk:
            return chunk
        self._saw_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(events: bytes) -> list[bytes]:
    return [data for event in events.split(b"\n\n") if event and (data := _data(event))]


def _data(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(line.removeprefix(b" ") for line in lines)
