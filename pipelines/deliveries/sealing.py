"""Seal a lead file: encrypt it to the public key of its institution, by OpenPGP or age.

The form of the key decides: an armoured OpenPGP key gives `leads.csv.gpg`, an age recipient
`leads.csv.age`. A key that is expired, revoked, too weak or unreadable seals nothing: the file is
held back with the reason, and its plain text is never published.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import gnupg
import pyrage

from expectations import policy
from pipelines.core.errors import BanyanError
from pipelines.core.publishing import sha256
from pipelines.core.settings import Settings

ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
AGE = re.compile(r"age1[02-9ac-hj-np-z]{20,}")
SUFFIXES = {"openpgp": ".gpg", "age": ".age"}
"""Form of a key -> the suffix of a sealed file."""
SIZED = frozenset({"1", "2", "3", "16", "17", "20"})
"""OpenPGP's numbers of RSA, Elgamal and DSA, whose strength is their length."""

GpgKey = dict[str, Any]


class KeyUnusable(BanyanError):
    """A public key can't be used; `reason` is the code under `held_reasons`."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class SealingKey:
    """The public key of an institution, checked."""

    form: Literal["openpgp", "age"]
    text: str
    name: str
    """The fingerprint of an OpenPGP key, or the age recipient; both are public."""

    @property
    def suffix(self) -> str:
        """Return what a sealed file's name ends with."""
        return SUFFIXES[self.form]


def read_key(settings: Settings, text: str, as_of: datetime) -> SealingKey:
    """Return the key that `text` states, if files may be encrypted to it at `as_of`.

    Raises:
        KeyUnusable: It is unreadable, expired, revoked, too weak, or can't encrypt.
    """
    stated = text.strip()
    if stated.startswith(ARMOUR):
        return _read_openpgp_key(settings, stated, as_of)
    if AGE.fullmatch(stated):
        try:
            pyrage.x25519.Recipient.from_str(stated)
        except pyrage.RecipientError:
            raise KeyUnusable("key_unreadable", "the age recipient has a wrong checksum") from None
        return SealingKey("age", stated, stated)
    raise KeyUnusable(
        "key_unreadable", "it is neither an armoured OpenPGP public key nor an age recipient"
    )


def seal_to(
    settings: Settings, plain: Path, key_text: str | None, as_of: datetime
) -> tuple[Path, dict[str, Any]]:
    """Encrypt `plain` if its institution has a public key.

    Returns:
        The file that goes out, and what a manifest states of it: its name and hash, the hash of
        the opened file, and how it is encrypted.

    Raises:
        KeyUnusable: The key can't be used.
    """
    facts: dict[str, Any] = {"content_sha256": sha256(plain)}
    file = plain
    if key_text is not None:
        key = read_key(settings, key_text, as_of)
        file = seal(settings, plain, key, as_of)
        facts["sealed_with"] = {"form": key.form, "key": key.name}
    return file, facts | {"file": file.name, "sha256": sha256(file)}


def seal(settings: Settings, plain: Path, key: SealingKey, as_of: datetime) -> Path:
    """Encrypt `plain` beside itself, remove the plain text, and return the sealed file.

    Raises:
        KeyUnusable: The file could not be encrypted; the plain text is removed as well.
    """
    sealed = plain.with_name(plain.name + key.suffix)
    try:
        if key.form == "age":
            pyrage.encrypt_file(
                f"{plain}", f"{sealed}", [pyrage.x25519.Recipient.from_str(key.text)]
            )
        else:
            _encrypt_openpgp(settings, plain, sealed, key, as_of)
    finally:
        plain.unlink()
    if not sealed.is_file():
        raise KeyUnusable("key_unusable", "the file could not be encrypted to it")
    return sealed


def _read_openpgp_key(settings: Settings, text: str, as_of: datetime) -> SealingKey:
    keys = _scan_keys(_make_gpg_home(settings), text)
    if len(keys) != 1:
        raise KeyUnusable(
            "key_unreadable", f"it holds {len(keys)} OpenPGP public keys, and must hold one"
        )
    (key,) = keys
    _require_valid(key, as_of)
    usable = [each for each in (key, *_subkeys(key)) if _can_encrypt(each, as_of)]
    if not usable:
        raise KeyUnusable(
            "key_expired" if _encrypts_later(key) else "key_unusable",
            f"no part of the OpenPGP key {key['fingerprint']} may encrypt on {as_of:%Y-%m-%d}",
        )
    least = policy.transport().keys.least_rsa_bits
    if weak := [each for each in (key, *usable) if _is_weak(each, least)]:
        raise KeyUnusable(
            "key_weak",
            f"the OpenPGP key {key['fingerprint']} has {weak[0]['length']} bits, and at least "
            f"{least} are required (expectations/policy/transport.yml)",
        )
    return SealingKey("openpgp", text, key["fingerprint"])


def _require_valid(key: GpgKey, as_of: datetime) -> None:
    if key["trust"] == "r":
        raise KeyUnusable("key_revoked", f"the OpenPGP key {key['fingerprint']} is revoked")
    if _is_expired(key, as_of):
        raise KeyUnusable(
            "key_expired",
            f"the OpenPGP key {key['fingerprint']} expired on "
            f"{datetime.fromtimestamp(int(key['expires']), UTC):%Y-%m-%d}",
        )


def _subkeys(key: GpgKey) -> list[GpgKey]:
    return list(key.get("subkey_info", {}).values())


def _can_encrypt(key: GpgKey, as_of: datetime) -> bool:
    capable = "e" in key["cap"] and key["trust"] not in {"r", "i"}
    return capable and not _is_expired(key, as_of)


def _encrypts_later(key: GpgKey) -> bool:
    """Return whether an encrypting part is only expired."""
    return any("e" in each["cap"] and each["expires"] for each in _subkeys(key))


def _is_expired(key: GpgKey, as_of: datetime) -> bool:
    return bool(key["expires"]) and int(key["expires"]) <= as_of.timestamp()


def _is_weak(key: GpgKey, least: int) -> bool:
    return key["algo"] in SIZED and int(key["length"] or 0) < least


@lru_cache(maxsize=1024)
def _scan_keys(gpg_home: Path, text: str) -> list[GpgKey]:
    """Return the public keys in a text; kept, because a delivery reads its key twice."""
    return [key for key in _open_gpg(gpg_home).scan_keys_mem(text) if key["type"] == "pub"]


def _encrypt_openpgp(
    settings: Settings, plain: Path, sealed: Path, key: SealingKey, as_of: datetime
) -> None:
    gpg = _open_gpg(_make_gpg_home(settings))
    gpg.import_keys(key.text, extra_args=_fake_time(as_of))
    gpg.encrypt_file(
        f"{plain}",
        key.name,
        armor=False,
        output=f"{sealed}",
        always_trust=True,
        extra_args=_fake_time(as_of),
    )


def _fake_time(as_of: datetime) -> list[str]:
    """Return the option for a moment that has passed: a replay uses the keys of its day."""
    if as_of > datetime.now(UTC) - timedelta(minutes=5):
        return []
    return [f"--faked-system-time={int(as_of.timestamp())}"]


def _make_gpg_home(settings: Settings) -> Path:
    """Return GnuPG's own home in the home, mode 700; it holds public keys only."""
    folder = settings.home / "keys" / "gnupg"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder


@cache
def _open_gpg(gpg_home: Path) -> gnupg.GPG:
    """Return GnuPG with a home of its own; kept, because each start asks for its version."""
    gpg = gnupg.GPG(gnupghome=f"{gpg_home}", options=["--no-autostart", "--no-auto-check-trustdb"])
    gpg.encoding = "utf-8"
    return gpg
