"""Signatures of manifests: who has a delivery can prove that the platform made it.

Each manifest gets a detached signature, `manifest.json.sig`, in OpenSSH's format (SSHSIG) by an
Ed25519 key of the home. `outbox/allowed_signers` has the public halves; with it any OpenSSH from
8.2 on (Windows, macOS and Linux have one) verifies a manifest with `ssh-keygen -Y verify`. The
manifest has the SHA-256 of each file, so one signature covers them all.

A key is named by the first business date that it signs. `banyan signing-key` makes a new one; the
earlier ones stay public, because earlier manifests were signed with them. Ed25519 is deterministic:
equal manifests have equal signatures.
"""

import base64
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import date
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from pipelines.core.errors import IntegrityError
from pipelines.core.publishing import MANIFEST, SIGNATURE, sync
from pipelines.core.settings import Settings

SIGNER = "banyan"
"""The identity under which `allowed_signers` lists the platform's keys."""
NAMESPACE = "banyan-manifest"
"""What a signature is for, so that none of another purpose passes for a manifest's."""
ALLOWED_SIGNERS = "allowed_signers"
FIRST_DATE = date(1970, 1, 1)
"""The date of the first key: it signs every date before the first rotation."""
LINE = 70
"""Characters of a line of an armoured signature."""


def sign_manifests(settings: Settings, day: date, institutions: Iterable[str]) -> None:
    """Sign the manifests of `institutions` and publish the public keys.

    A signature that fits its manifest stays as it is. A run that is killed before it ends leaves
    manifests without one; the next run, and the step that sends them, sign these.
    """
    outbox = settings.day_folder(settings.outbox, day)
    paths = [outbox / name / MANIFEST for name in institutions]
    paths = [path for path in paths if path.is_file()]
    if paths:
        key = load_signing_key(settings, day)
        publish_keys(settings)
        for path in paths:
            sign_file(path, key)


def sign_file(path: Path, key: Ed25519PrivateKey) -> None:
    """Write the signature of a manifest beside it, unless it is there."""
    signature = make_signature(path.read_bytes(), key)
    target = path.with_name(SIGNATURE)
    if not target.is_file() or target.read_text("ascii", "replace") != signature:
        _write(target, signature)


def make_signature(content: bytes, key: Ed25519PrivateKey) -> str:
    """Return the armoured SSHSIG signature of `content` (OpenSSH, PROTOCOL.sshsig)."""
    hashed = hashlib.sha512(content).digest()
    fields = (NAMESPACE.encode(), b"", b"sha512")
    signed = b"SSHSIG" + b"".join(map(_string, (*fields, hashed)))
    signature = _string(b"ssh-ed25519") + _string(key.sign(signed))
    blob = b"SSHSIG" + (1).to_bytes(4, "big")
    blob += b"".join(map(_string, (_public_blob(key), *fields, signature)))
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + LINE] for start in range(0, len(text), LINE)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def load_signing_key(settings: Settings, day: date) -> Ed25519PrivateKey:
    """Return the key that signs the manifests of `day`; the first one is made at first use."""
    _require_first_key(settings)
    begun = [path for path in _list_keys(settings) if path.stem <= f"{day}"]
    return _read(max(begun, key=lambda path: path.stem))


def rotate_key(settings: Settings, first: date) -> Path:
    """Make a new key that signs from business date `first` on; return its file.

    Raises:
        IntegrityError: There is a key of that date.
    """
    path = _folder(settings) / f"{first}.key"
    if path.exists():
        raise IntegrityError(f"{path} exists, so no new key was made. Choose a later date.")
    load_signing_key(settings, first)  # the first key must exist before a second one
    _create(path)
    publish_keys(settings)
    return path


def publish_keys(settings: Settings) -> str:
    """Write `outbox/allowed_signers`, the public half of each key; return its text."""
    lines = []
    _require_first_key(settings)
    for path in _list_keys(settings):
        public = _read(path).public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        since = "" if path.stem == f"{FIRST_DATE}" else f" from {path.stem}"
        lines.append(f'{SIGNER} namespaces="{NAMESPACE}" {public.decode()} {SIGNER}{since}\n')
    target = settings.outbox / ALLOWED_SIGNERS
    text = "".join(lines)
    if not target.is_file() or target.read_text("utf-8") != text:
        _write(target, text)
    return text


def _require_first_key(settings: Settings) -> None:
    if not _list_keys(settings):
        _create(_folder(settings) / f"{FIRST_DATE}.key")


def _folder(settings: Settings) -> Path:
    return settings.home / "keys" / "signing"


def _list_keys(settings: Settings) -> list[Path]:
    return sorted(_folder(settings).glob("????-??-??.key"))


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IntegrityError(
            f"The signing key {path} can't be read ({type(error).__name__}). Nothing was signed. "
            "Restore it from the backup of the home; if it is lost, remove the file and give the "
            "institutions the new key of outbox/allowed_signers."
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IntegrityError(f"The signing key {path} is no Ed25519 key. Nothing was signed.")
    return key


def _create(path: Path) -> None:
    """Write a new key, mode 600; of several processes the first one decides it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            key = Ed25519PrivateKey.generate()
            file.write(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(fresh, path)
    finally:
        fresh.unlink()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")  # shards sign at the same time
    fresh.write_text(text, "utf-8")
    sync(fresh)
    fresh.rename(path)


def _public_blob(key: Ed25519PrivateKey) -> bytes:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _string(b"ssh-ed25519") + _string(raw)


def _string(content: bytes) -> bytes:
    """Return a string as SSH encodes it: its length, then its bytes."""
    return len(content).to_bytes(4, "big") + content
