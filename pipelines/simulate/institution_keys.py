"""The key pairs of simulated institutions, by which they open their encrypted lead files.

A pair is a function of the market's seed, so the same plan gives the same bytes. The private halves
are in `truth/keys/INSTITUTION.txt`, in the form of `age-keygen`; no step of the day reads them.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import pyrage

from pipelines.core.settings import Settings

PREFIX = "age-secret-key-"
ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
"""Characters and checksum of Bech32 (BIP 173), in which age writes keys."""


def make_identity(seed: int, institution_id: str) -> pyrage.x25519.Identity:
    """Return the key pair of an institution."""
    secret = hashlib.sha256(f"{seed}/key/{institution_id}".encode()).digest()
    return pyrage.x25519.Identity.from_str(_encode(secret).upper())


def write_identity(
    settings: Settings, institution_id: str, identity: pyrage.x25519.Identity
) -> None:
    """Write the private half of an institution's key pair below `truth/`."""
    file = _key_file(settings, institution_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# public key: {identity.to_public()}\n{identity}\n", "ascii")


@contextmanager
def open_file(settings: Settings, institution_id: str, file: Path) -> Iterator[Path | None]:
    """Yield an encrypted file opened, as its institution has it; None if it can't open it."""
    key_file = _key_file(settings, institution_id)
    if not key_file.is_file():
        yield None
        return
    identity = pyrage.x25519.Identity.from_str(key_file.read_text("ascii").split()[-1])
    with TemporaryDirectory(prefix="banyan-opened-") as folder:
        opened = Path(folder) / file.stem
        try:
            pyrage.decrypt_file(f"{file}", f"{opened}", [identity])
        except pyrage.DecryptError:
            yield None  # it was encrypted to another key
        else:
            yield opened


def _key_file(settings: Settings, institution_id: str) -> Path:
    return settings.truth / "keys" / f"{institution_id}.txt"


def _encode(secret: bytes) -> str:
    """Return 32 bytes as age's private key: Bech32 of 5-bit groups, with a checksum of 6."""
    bits = f"{int.from_bytes(secret):0256b}".ljust(260, "0")
    data = [int(bits[start : start + 5], 2) for start in range(0, len(bits), 5)]
    expanded = [ord(each) >> 5 for each in PREFIX] + [0] + [ord(each) & 31 for each in PREFIX]
    *_, last = accumulate([*expanded, *data, *[0] * 6], _step, initial=1)
    checksum = [((last ^ 1) >> 5 * (5 - place)) & 31 for place in range(6)]
    return f"{PREFIX}1{''.join(ALPHABET[value] for value in (*data, *checksum))}"


def _step(checksum: int, value: int) -> int:
    top = checksum >> 25
    checksum = ((checksum & 0x1FFFFFF) << 5) ^ value
    for place, generator in enumerate(GENERATOR):
        checksum ^= generator if top >> place & 1 else 0
    return checksum
