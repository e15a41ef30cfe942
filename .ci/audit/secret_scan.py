"""Search the tracked files for secrets with detect-secrets."""

import subprocess
from pathlib import Path

from detect_secrets.core.potential_secret import PotentialSecret
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import default_settings, get_settings
from pins import ROOT
from policy import Policy

HASHES = (
    ".ci/audit/policy.yml",
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-spark.txt",
)
"""Files that consist of hashes."""

COMMENT_FILTER = "detect_secrets.filters.allowlist.is_line_allowlisted"
"""A comment beside a secret does not accept it: only the policy does, with a reason and a date."""


def check_secrets(policy: Policy, root: Path = ROOT) -> list[str]:
    """Return a line for each text that looks like a secret and is not accepted."""
    accepted = {(each.file, each.sha1): each for each in policy.accepted_secrets}
    problems, seen = [], set()
    for found in find_secrets(root):
        name = Path(found.filename).relative_to(root).as_posix()
        key = (name, found.secret_hash)
        seen.add(key)
        place = f"{name}:{found.line_number}: {found.type} (sha1 {found.secret_hash})"
        if key not in accepted:
            problems.append(f"{place}; take it out and revoke it, or accept it in policy.yml")
        elif accepted[key].has_ended:
            problems.append(f"{place} was accepted until {accepted[key].until}")
    return problems + [
        f"{each.file}: the accepted text with sha1 {each.sha1} is gone; remove it from policy.yml"
        for key, each in accepted.items()
        if key not in seen
    ]


def find_secrets(root: Path) -> list[PotentialSecret]:
    """Return what looks like a secret in the files of `root` that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    names = sorted({*listed.stdout.split("\0")} - {"", *HASHES})
    with default_settings():
        get_settings().disable_filters(COMMENT_FILTER)
        return [
            secret
            for name in names
            if (root / name).is_file() and _is_text(root / name)
            for secret in scan_file(str(root / name))
        ]


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)
