"""The files that institutions have received over SFTP: each once, and as in the undisturbed run."""

from pathlib import Path

from pipelines.core.publishing import sha256

Arrivals = dict[str, tuple[int, int]]
"""Path below the inbox -> number and time of the file: a file that is sent again has others."""


def list_arrivals(inbox: Path) -> Arrivals:
    """Return the files that have arrived whole."""
    return {
        name: (path.stat().st_ino, path.stat().st_mtime_ns) for name, path in _list(inbox).items()
    }


def find_wrong_arrivals(inbox: Path, expected: Path, arrived: Arrivals) -> list[str]:
    """Return which files are not as expected, or came twice.

    Args:
        inbox: What the institutions have now.
        expected: What they have after the undisturbed run.
        arrived: What had arrived before.
    """
    found, wanted = _list(inbox), _list(expected)
    wrong = [
        name
        for name in sorted(found.keys() | wanted.keys())
        if name not in found or name not in wanted or sha256(found[name]) != sha256(wanted[name])
    ]
    now = list_arrivals(inbox)
    twice = sorted(name for name, file in arrived.items() if now.get(name) != file)
    return [
        *(f"inbox/{name} did not arrive as in the undisturbed run" for name in wrong),
        *(f"inbox/{name} was sent twice" for name in twice),
    ]


def _list(inbox: Path) -> dict[str, Path]:
    return {
        path.relative_to(inbox).as_posix(): path
        for path in inbox.rglob("*")
        if path.is_file() and path.suffix != ".part"
    }
