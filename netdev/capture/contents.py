"""A file's bytes in memory: mapped where they lie, or unpacked when they are gzip or zstd.

Not here: what the bytes mean.

A file that shrinks while it is mapped ends the process with SIGBUS, as everywhere; captures that are still being
written are to be copied first, or read through a pipe.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, final

import numpy as np
from numpy.typing import NDArray

from netdev.errors import CaptureError

__all__ = ["UNPACK_LIMIT", "Contents", "contents_of"]

UNPACK_LIMIT: Final = 4 << 30
"""How many bytes a compressed capture, or one from a pipe, may have in memory."""

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind a first byte of 0x50 to 0x5f
_ZSTD_BLOCK: Final = 1 << 17
_STEP: Final = 1 << 20
_HUGE_PAGE: Final = 2 << 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """`data` keeps its memory in being. `broken` says why a compressed stream ended early, or is empty."""

    data: NDArray[np.uint8]
    broken: str = ""


def contents_of(path: Path, *, limit: int = UNPACK_LIMIT) -> Contents:
    """The bytes of a capture file; raises CaptureError when there are none, or more than `limit` unpacked."""
    try:
        with path.open("rb", buffering=0) as file:
            data = _mapped(file) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else _collected(file, limit)
    except (OSError, ValueError) as error:
        raise CaptureError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except _TooMuchError:
        raise CaptureError(f"{path}: more than {limit:,} bytes through a pipe") from None
    if not len(data):
        raise CaptureError(f"{path}: the file is empty")
    head = data[:4].tobytes()
    if head[:2] == _GZIP:
        unpack = _gunzip
    elif head == _ZSTD or head[1:] == _ZSTD_SKIPPABLE:
        unpack = _unzstd
    else:
        return Contents(data=data)
    into = _Growing(limit)
    try:
        broken = unpack(data.data, into)
    except _TooMuchError:
        raise CaptureError(f"{path}: more than {limit:,} bytes when unpacked; unpack it into a file first") from None
    if not into.used:
        raise CaptureError(f"{path}: {broken or 'nothing is packed in it'}")
    return Contents(data=into.array(), broken=broken)


def _mapped(file: BinaryIO) -> NDArray[np.uint8]:
    """The file as memory. What is not cached yet is read in huge pages: ones of 4 KiB take longer to map than to index."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return np.empty(0, np.uint8)
    memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    if size >= _HUGE_PAGE:
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _collected(file: BinaryIO, limit: int) -> NDArray[np.uint8]:
    into = _Growing(limit)
    while piece := file.read(_STEP):
        into.append(piece)
    return into.array()


class _TooMuchError(Exception):
    """The limit is reached."""


@final
class _Growing:
    """Anonymous memory that grows by moving pages, not bytes, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._memory = mmap.mmap(-1, _STEP, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.used = 0

    def append(self, piece: bytes | memoryview) -> None:
        """Add bytes at the end."""
        end = self.used + len(piece)
        if end > self._limit:
            raise _TooMuchError
        if end > len(self._memory):
            self._memory.resize(max(end, 2 * len(self._memory)))
        self._memory[self.used : end] = piece
        self.used = end

    def array(self) -> NDArray[np.uint8]:
        """All bytes; nothing can be added from then on."""
        return np.frombuffer(self._memory, np.uint8)[: self.used]


def _gunzip(data: memoryview, into: _Growing) -> str:
    """Unpack members one after the other; returns why it ended early, or "". Bytes behind the last one are ignored."""
    at = 0
    while data[at : at + 2].tobytes() == _GZIP:
        stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
        step = _STEP
        while not stream.eof:
            piece = data[at : at + _STEP]
            before = stream.copy()
            try:
                out = stream.decompress(piece, step)
            except zlib.error as error:
                if step == 1:
                    return f"the gzip stream is damaged: {error}"
                stream, step = (
                    before,
                    step // 16,
                )  # what the call had unpacked so far is lost; go there in smaller steps
                continue
            if not piece and not out:
                return "the gzip stream is cut"
            at += len(piece) - len(stream.unconsumed_tail) - len(stream.unused_data)
            into.append(out)
    return ""


def _unzstd(data: memoryview, into: _Growing) -> str:
    """Unpack frames one after the other; returns why it ended early, or "". A damaged block costs the one before it."""
    import zstandard

    step = bytearray(_ZSTD_BLOCK)
    try:
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            while count := reader.readinto(step):
                into.append(memoryview(step)[:count])
        return "" if _whole(data) else "the zstd stream is cut"
    except zstandard.ZstdError as error:
        return f"the zstd stream is damaged: {error}"


def _whole(data: memoryview) -> bool:
    """Whether the last zstd frame ends where the data ends (RFC 8878, section 3.1): a cut one unpacks without an error."""
    import zstandard

    at = 0
    while at < len(data):
        if data[at + 1 : at + 4].tobytes() == _ZSTD_SKIPPABLE:
            at += 8 + int.from_bytes(data[at + 4 : at + 8], "little")
            continue
        head = data[at : at + 18]
        checksum = 4 if zstandard.get_frame_parameters(head).has_checksum else 0
        at += zstandard.frame_header_size(head)
        last = False
        while not last and at < len(data):
            block = int.from_bytes(data[at : at + 3], "little")
            last = bool(block & 1)
            repeated = block >> 1 & 3 == 1
            at += 3 + (1 if repeated else block >> 3)
        if not last:
            return False
        at += checksum
    return at == len(data)
