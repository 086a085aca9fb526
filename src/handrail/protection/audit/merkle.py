"""The Merkle tree of RFC 6962, section 2.1, grown leaf by leaf. Pure.

Only the frontier is kept: the roots of the full subtrees from left to right, one for each bit that is set in the size.
So adding a leaf costs a few hashes however long the log is.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of one record; its prefix keeps a leaf from being taken for a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Tree:
    """A log of `size` leaves; `frontier` has the roots of its full subtrees, largest first."""

    size: int = 0
    frontier: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size.bit_count() != len(self.frontier):
            raise ValueError(f"a tree of {self.size} leaves has {self.size.bit_count()} full subtrees")

    def grown(self, leaves: Iterable[bytes]) -> "Tree":
        """The tree with these leaf hashes appended."""
        size, frontier = self.size, list(self.frontier)
        for leaf in leaves:
            node, bits = leaf, size
            while bits & 1:
                node = node_hash(frontier.pop(), node)
                bits >>= 1
            frontier.append(node)
            size += 1
        return Tree(size, tuple(frontier))

    @property
    def root(self) -> bytes:
        """The root as RFC 6962 defines it: the smaller subtrees on the right are joined first."""
        return _joined(self.frontier) if self.frontier else EMPTY_ROOT


def _joined(frontier: Sequence[bytes]) -> bytes:
    root = frontier[-1]
    for left in reversed(frontier[:-1]):
        root = node_hash(left, root)
    return root
