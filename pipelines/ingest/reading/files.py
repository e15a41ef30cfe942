"""The bytes of a landed file, decompressed, in chunks, and checked against the ledger's hash."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipelines.core.errors import FileRejected
from pipelines.core.publishing import sha256

CHUNK = 8_000_000
"""Bytes of a chunk: enough for vectorised work, little beside the memory limit."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class _HashingReader:
    """A file with the hash of all bytes read from it."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


def read_text_chunks(path: Path, expected: str) -> Iterator[bytes]:
    """Yield the text bytes of `path`, without a byte order mark.

    Args:
        path: A file; its name ends in `.gz` if it is compressed.
        expected: SHA-256 of the planned content.

    Raises:
        FileRejected: It cannot be opened or decompressed, is UTF-16, or has changed. Chunks
            yielded before belong to no file of the ledger.
    """
    is_first = True
    for chunk in _open_chunks(path, expected):
        if is_first and chunk.startswith(UTF_16):
            raise FileRejected(
                "encoding",
                "it is UTF-16; send UTF-8, or import it by a mapping with `encoding: UTF-16`",
            )
        yield chunk.removeprefix(BYTE_ORDER_MARK) if is_first else chunk
        is_first = False


def check_unchanged(path: Path, expected: str) -> None:
    """Reject `path` if its content is not the planned one."""
    try:
        digest = sha256(path)
    except OSError as error:
        raise _reject_unreadable(error) from None
    _check_hash(digest, expected)


def _open_chunks(path: Path, expected: str) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            hashing = _HashingReader(file)
            yield from _decompress(hashing) if path.suffix == ".gz" else _read_chunks(hashing)
            while hashing.read(CHUNK):
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise FileRejected(
            "gzip", "it is a truncated or damaged gzip file; send it again, whole"
        ) from None
    except OSError as error:
        raise _reject_unreadable(error) from None
    _check_hash(hashing.digest.hexdigest(), expected)


def _read_chunks(file: _HashingReader) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _decompress(file: _HashingReader) -> Iterator[bytes]:
    """Yield decompressed chunks; a truncated file yields its readable part, then the error."""
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


def _reject_unreadable(error: OSError) -> FileRejected:
    return FileRejected("unreadable", f"it cannot be read: {error.strerror}")


def _check_hash(digest: str, expected: str) -> None:
    if digest != expected:
        raise FileRejected(
            "changed",
            "its content changed after this run had found it; name a file that is still being "
            "written `*.part`. The next run takes it as a new version",
        )
