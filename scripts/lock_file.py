"""Reading a lock file: what is pinned, for which machines, by which hashes."""

import re
from pathlib import Path
from typing import NamedTuple

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))?(?: \\)?$")
HASH = re.compile(r"^\s+--hash=sha256:(?P<hash>[0-9a-f]{64})")


class Pin(NamedTuple):
    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def pins(lock: Path) -> list[Pin]:
    """Every package of the lock, in its order.

    Raises:
        SystemExit: a line is neither a pin, a hash nor a comment, or a pin has no hash.
    """
    found: list[Pin] = []
    for number, line in enumerate(lock.read_text().splitlines(), start=1):
        if pin := PIN.match(line):
            found.append(Pin(pin["name"], pin["version"], pin["marker"] or "", ()))
        elif found and (digest := HASH.match(line)):
            found[-1] = found[-1]._replace(hashes=(*found[-1].hashes, digest["hash"]))
        elif line.strip() and not line.lstrip().startswith("#"):
            raise SystemExit(
                f"{lock}:{number}: not a pin, a hash or a comment: {line!r}; write it again with `make lock`"
            )
    if bare := [pin.name for pin in found if not pin.hashes]:
        raise SystemExit(f"{lock}: without a hash: {', '.join(bare)}; write it again with `make lock`")
    return found
