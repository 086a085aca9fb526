"""Who is here, remembered in four megabytes however many they are."""

import hashlib
import os

BITS = 1 << 25
_PROBES = 4


class Presence:
    """A Bloom filter: who was noted is always known; somebody else is taken for one of them rarely, another each time.

    For what may be done to those who are not here, and may as well be done the next time.
    """

    def __init__(self, *, bits: int = BITS) -> None:
        self._bits = bits
        self._field = bytearray(bits // 8)
        self._salt = os.urandom(16)

    def note(self, owner: str) -> None:
        for at in self._places(owner):
            self._field[at >> 3] |= 1 << (at & 7)

    def __contains__(self, owner: str) -> bool:
        return all(self._field[at >> 3] & (1 << (at & 7)) for at in self._places(owner))

    def _places(self, owner: str) -> list[int]:
        digest = hashlib.blake2b(owner.encode(), key=self._salt, digest_size=4 * _PROBES).digest()
        return [int.from_bytes(digest[4 * each : 4 * each + 4]) % self._bits for each in range(_PROBES)]
