"""The growing tree against the definition of RFC 6962."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.protection.audit.merkle import EMPTY_ROOT, Tree, leaf_hash, node_hash


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, word for word: slow, and surely right."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return node_hash(defined_root(leaves[:k]), defined_root(leaves[k:]))


class TestTree:
    @given(st.lists(st.binary(max_size=8), max_size=70), st.integers(0, 70))
    def test_has_the_root_of_the_definition_however_it_grew(self, records: list[bytes], cut: int) -> None:
        leaves = [leaf_hash(each) for each in records]
        tree = Tree().grown(leaves[:cut]).grown(leaves[cut:])
        assert tree.root == defined_root(leaves)
        assert tree.size == len(leaves)

    @given(st.lists(st.binary(max_size=8), min_size=1, max_size=20), st.data())
    def test_another_order_or_another_record_is_another_root(self, records: list[bytes], data: st.DataObject) -> None:
        leaves = [leaf_hash(each) for each in records]
        at = data.draw(st.integers(0, len(leaves) - 1))
        changed = [*leaves[:at], leaf_hash(records[at] + b"!"), *leaves[at + 1 :]]
        assert Tree().grown(changed).root != Tree().grown(leaves).root

    def test_of_nothing_has_the_root_of_nothing(self) -> None:
        assert Tree().root == EMPTY_ROOT

    def test_keeps_only_its_full_subtrees(self) -> None:
        assert len(Tree().grown(leaf_hash(bytes([at])) for at in range(255)).frontier) == 8

    def test_a_leaf_is_not_a_node(self) -> None:
        left, right = leaf_hash(b"a"), leaf_hash(b"b")
        assert leaf_hash(left + right) != node_hash(left, right)

    def test_refuses_a_frontier_that_is_not_of_its_size(self) -> None:
        with pytest.raises(ValueError, match="full subtrees"):
            Tree(3, (b"",))
