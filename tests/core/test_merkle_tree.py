"""The tree has the roots and proofs of RFC 6962, and no changed tree passes for it."""

import hashlib
import random

import pytest

from pipelines.core.evidence.merkle_tree import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    hash_leaf,
    verify_consistency,
    verify_inclusion,
)

# Test vectors of the reference implementation of Certificate Transparency (google/certificate-
# transparency, merkle_tree_test): leaves, the root after each of them, and proofs.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243"),
        *("5051525354555657", "606162636465666768696a6b6c6d6e6f"),
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {
    (0, 8): ("96a296d2", "5f083f0a", "6b47aaf2"),
    (5, 8): ("bc1a0643", "ca854ea1", "d37ee418"),
    (2, 3): ("fac54203",),
    (1, 5): ("6e340b9c", "5f083f0a", "bc1a0643"),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): ("96a296d2", "5f083f0a", "6b47aaf2"),
    (6, 8): ("0ebc5d34", "ca854ea1", "d37ee418"),
    (2, 5): ("5f083f0a", "bc1a0643"),
}
HASHES = [hash_leaf(leaf) for leaf in LEAVES]


def shorten(proof: list[bytes]) -> tuple[str, ...]:
    return tuple(each.hex()[:8] for each in proof)


def test_roots_are_the_published_ones():
    frontier = Frontier()
    assert frontier.root == EMPTY_ROOT == hashlib.sha256(b"").digest() == Tree([]).root
    for number, (leaf, root) in enumerate(zip(HASHES, ROOTS, strict=True), 1):
        frontier.append(leaf)
        assert frontier.root.hex() == root
        assert Tree(HASHES[:number]).root.hex() == root
        frontier = Frontier(frontier.size, frontier.hashes)  # as stored and read again


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_the_published_ones(index: int, size: int):
    proof = Tree(HASHES[:size]).prove_inclusion(index)
    assert shorten(proof) == INCLUSION[index, size]


@pytest.mark.parametrize(("earlier", "size"), CONSISTENCY)
def test_consistency_proofs_are_the_published_ones(earlier: int, size: int):
    proof = Tree(HASHES[:size]).prove_consistency(earlier)
    assert shorten(proof) == CONSISTENCY[earlier, size]


def test_every_proof_of_small_trees_holds_and_no_altered_one_does():
    rng = random.Random(7)
    leaves = [hash_leaf(bytes([n])) for n in range(33)]
    roots = [Tree(leaves[:n]).root for n in range(len(leaves) + 1)]
    for size in range(1, len(leaves) + 1):
        tree = Tree(leaves[:size])
        for index in range(size):
            proof = tree.prove_inclusion(index)
            assert verify_inclusion(index, size, leaves[index], proof, roots[size])
            assert not verify_inclusion(index, size, hash_leaf(b"forged"), proof, roots[size])
            longer = [hash_leaf(b"more"), *proof]
            assert not verify_inclusion(index, size, leaves[index], longer, roots[size])
        for earlier in range(1, size + 1):
            proof = tree.prove_consistency(earlier)
            assert verify_consistency(earlier, size, roots[earlier], roots[size], proof)
            forged = bytearray(roots[earlier])
            forged[rng.randrange(32)] ^= 1 << rng.randrange(8)
            assert not verify_consistency(earlier, size, bytes(forged), roots[size], proof)
            for at in range(len(proof)):
                changed = [*proof]
                changed[at] = hash_leaf(changed[at])
                assert not verify_consistency(earlier, size, roots[earlier], roots[size], changed)


def test_a_frontier_of_another_size_is_refused():
    with pytest.raises(ValueError, match="no frontier of 3 leaves"):
        Frontier(3, [b"x" * 32])
