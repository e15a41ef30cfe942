"""The Merkle tree of RFC 6962 (Certificate Transparency): its root, and proofs about it.

    root of no leaf       SHA-256 of nothing
    root of one leaf d    SHA-256(0x00 || d)
    root of n leaves      SHA-256(0x01 || root of the first k || root of the others),
                          k the largest power of two below n

The root of the first m leaves stays the same while leaves are appended. A consistency proof shows,
by some hashes for each doubling, that the tree of n leaves begins with the m leaves of an earlier
root; an inclusion proof shows that a leaf is in a tree. Both are checked without the other leaves.

The library `pymerkle` does the same under the GPL, which a project under Apache-2.0 can't require.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256().digest()


def hash_leaf(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def _hash_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: what its next root needs, one hash for each doubling."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()):
        self.size = size
        self.hashes = list(hashes)
        """Roots of the whole subtrees, the largest first."""
        if len(self.hashes) != size.bit_count():
            raise ValueError(f"{len(self.hashes)} hashes are no frontier of {size} leaves")

    def append(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        node, size = leaf, self.size
        while size & 1:
            node = _hash_node(self.hashes.pop(), node)
            size >>= 1
        self.hashes.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        *earlier, node = self.hashes
        for left in reversed(earlier):
            node = _hash_node(left, node)
        return node


class Tree:
    """A tree with all its nodes, for proofs."""

    def __init__(self, leaves: Sequence[bytes]):
        """Build the tree.

        Args:
            leaves: The hashes of the leaves.
        """
        self._levels = [list(leaves)]
        while len(below := self._levels[-1]) > 1:
            pairs = zip(below[::2], below[1::2], strict=False)
            level = [_hash_node(left, right) for left, right in pairs]
            self._levels.append(level + below[len(below) & ~1 :])  # an odd one moves up unchanged

    @property
    def size(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    @property
    def root(self) -> bytes:
        """The root of all leaves."""
        return self._levels[-1][0] if self.size else EMPTY_ROOT

    def prove_inclusion(self, index: int) -> list[bytes]:
        """Return the proof that the leaf `index`, from 0, is in the tree."""
        proof = []
        for level in self._levels[:-1]:
            if (sibling := index ^ 1) < len(level):
                proof.append(level[sibling])
            index >>= 1
        return proof

    def prove_consistency(self, earlier: int) -> list[bytes]:
        """Return the proof that the tree begins with its first `earlier` leaves (1 or more)."""
        return self._prove_part(earlier, 0, self.size, is_known=True)

    def _prove_part(self, count: int, first: int, last: int, *, is_known: bool) -> list[bytes]:
        """Return the proof for the first `count` leaves of the subtree [first, last).

        Args:
            count: The number of leaves.
            first: The first leaf of the subtree.
            last: The leaf after its last one.
            is_known: Whether the reader has the root of these leaves: it is the earlier root.
        """
        if count == last - first:
            return [] if is_known else [self._find_node(first, last)]
        half = 1 << (last - first - 1).bit_length() - 1
        middle = first + half
        if count <= half:
            left = self._prove_part(count, first, middle, is_known=is_known)
            return [*left, self._find_node(middle, last)]
        right = self._prove_part(count - half, middle, last, is_known=False)
        return [*right, self._find_node(first, middle)]

    def _find_node(self, first: int, last: int) -> bytes:
        level = (last - first - 1).bit_length()
        return self._levels[level][first >> level]


def verify_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes
) -> bool:
    """Return whether `proof` shows that the leaf hash is in the tree (RFC 9162, 2.1.3.2).

    Args:
        index: Place of the leaf, from 0.
        size: Leaves of the tree.
        leaf: The hash of the leaf.
        proof: What `Tree.prove_inclusion` returns.
        root: The root of the tree.
    """
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for other in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = _hash_node(other, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = _hash_node(node, other)
        at, last = at >> 1, last >> 1
    return last == 0 and node == root


def verify_consistency(
    earlier: int, size: int, earlier_root: bytes, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether `proof` shows that a tree begins with an earlier one (RFC 9162, 2.1.4.2).

    Args:
        earlier: Leaves of the earlier tree, 1 or more.
        size: Leaves of the tree.
        earlier_root: The root of the earlier tree.
        root: The root of the tree.
        proof: What `Tree.prove_consistency` returns.
    """
    if not 1 <= earlier <= size:
        return False
    if earlier == size:
        return not proof and earlier_root == root
    path = list(proof)
    if earlier & (earlier - 1) == 0:
        path.insert(0, earlier_root)
    if not path:
        return False
    at, last = earlier - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = _hash_node(other, first), _hash_node(other, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = _hash_node(second, other)
        at, last = at >> 1, last >> 1
    return last == 0 and first == earlier_root and second == root
