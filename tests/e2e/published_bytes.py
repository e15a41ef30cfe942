"""Hash every file that a home publishes, without the code that wrote it.

`python tests/e2e/published_bytes.py HOME` prints one line per file, for `diff`.
"""

import hashlib
import sys
from pathlib import Path

PUBLISHED = (
    *("ledger", "lake", "quarantine", "marts", "registry", "pairs"),
    *("matches", "offers", "unmatched", "reasons", "outbox", "reports"),
    *("delivered", "settlement"),
)

BY_OWN_KEY = {"manifest.json.sig", "allowed_signers"}
"""Files that depend on the signing key, which each home makes for itself."""


def published(home: Path) -> dict[str, str]:
    """Return path below `home` -> SHA-256, for every published file."""
    return {
        path.relative_to(home).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in PUBLISHED
        for path in sorted((home / folder).rglob("*"))
        if path.is_file()
        and not path.name.startswith(".")  # a hidden file is a cache
        and path.name not in BY_OWN_KEY
    }


def differences(one: Path, other: Path) -> list[str]:
    """Return the paths that only one of two homes has, or that differ; both must hold files."""
    hashes, others = published(one), published(other)
    assert hashes, f"{one} has no published file; nothing was compared"
    assert others, f"{other} has no published file; nothing was compared"
    return sorted(
        path for path in hashes.keys() | others.keys() if hashes.get(path) != others.get(path)
    )


if __name__ == "__main__":
    for path, digest in published(Path(sys.argv[1])).items():
        print(digest, path)
