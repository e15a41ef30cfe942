"""Open a landed file: its bytes in chunks, gunzipped, and proven to be those of the ledger."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipelines.core.errors import FileRejected
from pipelines.core.publishing import sha256

CHUNK = 8_000_000
"""Bytes looked at together: enough to work by column, little beside the memory limit."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class _Hashing:
    """A file that remembers the hash of all that was read of it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def text_chunks(path: Path, expected: str) -> Iterator[bytes]:
    """Yield the text bytes of `path`, without a byte order mark.

    Args:
        path: A file; one that ends in `.gz` is gunzipped.
        expected: SHA-256 of the file that was planned to be read.

    Raises:
        FileRejected: It cannot be opened or gunzipped, is UTF-16, or has changed. What was
            yielded before is then part of no file that the ledger knows.
    """
    is_first = True
    for chunk in _chunks(path, expected):
        if is_first and chunk.startswith(UTF_16):
            raise FileRejected(
                "encoding",
                "it is UTF-16; send UTF-8, or import it by a mapping with `encoding: UTF-16`",
            )
        yield chunk.removeprefix(BYTE_ORDER_MARK) if is_first else chunk
        is_first = False


def check_unchanged(path: Path, expected: str) -> None:
    """Refuse `path` if its bytes are not those that were planned to be read."""
    try:
        digest = sha256(path)
    except OSError as error:
        raise _unreadable(error) from None
    _compare(digest, expected)


def _chunks(path: Path, expected: str) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            hashing = _Hashing(file)
            yield from _gunzipped(hashing) if path.suffix == ".gz" else _plain(hashing)
            while hashing.read(CHUNK):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise FileRejected(
            "gzip", "it is a truncated or damaged gzip file; send it again, whole"
        ) from None
    except OSError as error:
        raise _unreadable(error) from None
    _compare(hashing.digest.hexdigest(), expected)


def _plain(file: _Hashing) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _gunzipped(file: _Hashing) -> Iterator[bytes]:
    """Yield what is unzipped; of a damaged file what comes before the damage, then the error."""
    pieces: list[bytes] = []
    with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:  # type: ignore[call-overload]
        try:
            while piece := unzipped.read1(CHUNK):
                pieces.append(piece)
                if sum(map(len, pieces)) >= CHUNK:
                    yield b"".join(pieces)
                    pieces = []
        except (EOFError, gzip.BadGzipFile, zlib.error):
            yield b"".join(pieces)
            raise
    yield b"".join(pieces)


def _unreadable(error: OSError) -> FileRejected:
    return FileRejected("unreadable", f"it cannot be read: {error.strerror}")


def _compare(digest: str, expected: str) -> None:
    if digest != expected:
        raise FileRejected(
            "changed",
            "its content changed after this run had found it; name a file that is still being "
            "written `*.part`. The next run takes it as a new version",
        )
