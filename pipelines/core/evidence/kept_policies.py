"""The text of every policy that a day was run under, kept in the home.

    policies/files/SHA256.yml     the bytes of one file
    policies/VERSION.json         the files of one version: name -> SHA-256

VERSION is the hash over names and bytes of all files (`policy.full_version`). The manifests of a
day's matches and of its report pin it (`policies`), so the text of any past day can be read, and
the day be replayed, after the policies have changed.
"""

import fcntl
from dataclasses import dataclass
from pathlib import Path

from expectations import policy
from pipelines.core.errors import IntegrityError, UsageError
from pipelines.core.evidence.publication_log import hash_bytes
from pipelines.core.publishing import sync, write_json
from pipelines.core.settings import Settings
from pipelines.core.stored_files import describe_damage, read_json

LEAST_DIGITS = 6
"""Digits of a version that a reader has to give."""


@dataclass(frozen=True)
class KeptPolicies:
    """One version of the policies."""

    version: str
    """SHA-256 over all files."""
    policy_version: str
    """The short version that matches and manifests state: without what applies after matching."""
    files: dict[str, str]
    """Name -> SHA-256."""


def keep_policies(settings: Settings) -> str:
    """Keep the text of the policies in force, unless it is kept already; return their version."""
    version = policy.full_version()
    index = settings.policies / f"{version}.json"
    if index.is_file():
        return version
    folder = settings.policies / "files"
    folder.mkdir(parents=True, exist_ok=True)
    files = {path.name: path.read_bytes() for path in policy.FOLDER.glob("*.yml")}
    with (settings.policies / ".lock").open("a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for content in files.values():
            kept = folder / f"{hash_bytes(content)}.yml"
            fresh = kept.with_name(f".{kept.name}.new")
            fresh.write_bytes(content)
            sync(fresh)
            fresh.rename(kept)
        sync(folder)
        hashes = {name: hash_bytes(content) for name, content in files.items()}
        write_json(index, {"policy_version": policy.version(), "files": hashes})
    return version


def list_kept(settings: Settings) -> list[KeptPolicies]:
    """Return every version that is kept, sorted by name.

    Raises:
        IntegrityError: An index is damaged.
    """
    return [read_index(path) for path in sorted(settings.policies.glob("*.json"))]


def find_kept(settings: Settings, name: str) -> KeptPolicies | None:
    """Return the version whose long or short name begins with `name`; None if none is kept.

    Raises:
        UsageError: The name is too short, or several versions begin with it.
    """
    found = [
        kept
        for kept in list_kept(settings)
        if kept.version.startswith(name) or kept.policy_version.startswith(name)
    ]
    if len(name) < LEAST_DIGITS or len(found) > 1:
        names = ", ".join(kept.version[:12] for kept in found[:5]) or "none"
        raise UsageError(
            f"{name!r} names no single version of the policies: {names}. Nothing was done. "
            f"`banyan policy list` shows them; give {LEAST_DIGITS} digits or more of the first one."
        )
    return found[0] if found else None


def export_policies(settings: Settings, kept: KeptPolicies, folder: Path) -> Path:
    """Write the files of a kept version into `folder`, which is made; return it.

    Raises:
        IntegrityError: A file is damaged or lost.
        UsageError: `folder` is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty. Nothing was written. Give an empty folder.")
    content = read_kept(settings, kept)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def read_kept(settings: Settings, kept: KeptPolicies) -> dict[str, bytes]:
    """Return name -> bytes of a kept version.

    Raises:
        IntegrityError: A file is damaged or lost.
    """
    content = {}
    for name, sha256 in kept.files.items():
        path = settings.policies / "files" / f"{sha256}.yml"
        data = path.read_bytes() if path.is_file() else b""
        if hash_bytes(data) != sha256:
            raise IntegrityError(describe_damage(path, f"it isn't the text of {name} any more"))
        content[name] = data
    if policy.hash_files(content) != kept.version:
        index = settings.policies / f"{kept.version}.json"
        raise IntegrityError(describe_damage(index, "its files are of another version"))
    return content


def read_index(path: Path) -> KeptPolicies:
    """Return the version that an index lists.

    Raises:
        IntegrityError: It is damaged.
    """
    stated = read_json(path)
    try:
        files = {str(name): str(sha256) for name, sha256 in stated["files"].items()}
        return KeptPolicies(path.stem, str(stated["policy_version"]), files)
    except (LookupError, AttributeError):
        raise IntegrityError(describe_damage(path, "it lists no files")) from None
