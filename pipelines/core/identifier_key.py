"""The secret key of a home, and the keyed hash (HMAC-SHA256) of identifiers.

A plain hash of a phone or of a lead id can be reversed by trying every value. So match ids, and the
hashes of phones and identity numbers, are keyed with a secret that never leaves the home. An order
list of a partner holds plain SHA-256 hashes: ingest keys the hash, so that both sides agree.
"""

import os
import secrets
from contextlib import suppress
from pathlib import Path

import duckdb

from pipelines.core.errors import IntegrityError
from pipelines.core.settings import Settings

BLOCK = 64
"""Bytes of a block of SHA-256, to which HMAC pads its key (RFC 2104)."""
MIN_LENGTH = 32
"""Characters of the shortest key that is accepted."""


def load_identifier_key(settings: Settings) -> str:
    """Return the key of the home; it is created at first use, with mode 600.

    Raises:
        IntegrityError: The key is lost, too short, or differs from `BANYAN_IDENTIFIER_KEY`.
    """
    path = settings.identifier_key_file
    stored = _read(path)
    given = settings.identifier_key and settings.identifier_key.get_secret_value()
    if given:
        if stored is not None and stored != given:
            raise IntegrityError(
                f"BANYAN_IDENTIFIER_KEY differs from the key in {path}. Nothing was done, because "
                "identifiers hashed with another key match no earlier one: orders and match ids "
                "would be lost. Remove the variable, or use a home of its own."
            )
        return _require_length(given, "BANYAN_IDENTIFIER_KEY")
    if stored is not None:
        return _require_length(stored, str(path))
    if any(settings.lake.glob("*/date=*/manifest.json")):
        raise IntegrityError(
            f"The key of the identifiers is missing: there is no {path}, but {settings.lake} holds "
            "hashes. Nothing was done, because a new key would match no earlier hash: suppression "
            "orders and match ids would be lost. Restore the file from the backup of the home (or "
            "set BANYAN_IDENTIFIER_KEY). A home that an older version wrote has no key: start a "
            "new home from its landing/."
        )
    _create(path)
    return _require_length(_read(path) or "", str(path))


def create_keyed_hash_macro(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Create the SQL function `keyed_hash`: text -> HMAC-SHA256 in hexadecimal, null of null."""
    secret = key.encode()
    padded = secret.ljust(BLOCK, b"\0")
    inner, outer = (_blob(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    connection.execute(
        "create or replace macro keyed_hash(text) as "
        f"sha256({outer} || unhex(sha256({inner} || encode(text))))"
    )


def _blob(content: bytes) -> str:
    return f"unhex('{content.hex()}')"


def _read(path: Path) -> str | None:
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise IntegrityError(
            f"The key of the identifiers can't be read: {path} ({type(error).__name__}). Nothing "
            "was done. Restore the file from the backup of the home."
        ) from None


def _require_length(key: str, place: str) -> str:
    if not MIN_LENGTH <= len(key.encode()) <= BLOCK:
        raise IntegrityError(
            f"The key of the identifiers in {place} has {len(key.encode())} characters; it needs "
            f"{MIN_LENGTH} to {BLOCK}. Nothing was done. Restore it from the backup of the home."
        )
    return key


def _create(path: Path) -> None:
    """Write a new key; of several processes the first one decides it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_hex(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()
