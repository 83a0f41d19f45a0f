"""One map's shared memory: where it comes from, and the header that every arena starts with.

Not here: what follows the header; each kind lays that out for itself.

The header is two pages. The first holds the words below (little-endian, 64 bits unless said otherwise); the second
holds the stripe locks of writers, one a cache line. Everything is an offset from the start of the arena, so that
processes may map it anywhere. A lock word is 0, or names its owner: process id << 32 | a number of the worker.
Behind the arena, in the same file and never mapped, lie descriptions (description.py), each after its length.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import stat
from errno import EINVAL, ENOMEM, ENOSPC
from pathlib import Path
from typing import Final, final

from runtime.errors import MapError
from runtime.native import memory

__all__ = ["Arena"]

MAGIC: Final = 0x414E4552414D5358  # "XSMARENA"
VERSION: Final = 2

MAGIC_AT: Final = 0
VERSION_AT: Final = 8
KIND_AT: Final = 16
KEY_SIZE_AT: Final = 24
VALUE_SIZE_AT: Final = 32
MAX_ENTRIES_AT: Final = 40
FLAGS_AT: Final = 48
CPUS_AT: Final = 56
ID_AT: Final = 64
SIZE_AT: Final = 72
SEED_AT: Final = 80  # mixed into hashes; 0 gives the same order everywhere
FROZEN_AT: Final = 88  # 1 when user space may not write any more
NAME_AT: Final = 96  # 16 bytes, zero-padded
REPAIR_AT: Final = 128  # not 0 when a lock was taken over from the dead and the map awaits repair
REPAIRS_AT: Final = 136  # how many repairs were made
RECYCLED_AT: Final = 144  # how many inner nodes were used again; lock-free readers of tries watch it
DESCRIPTION_AT: Final = 152  # where in the file the newest description begins; 0 without one
POOL_AT: Final = 256  # the pool of elements (pool.py)
POOL_FRESH: Final = 64  # in a pool: how many elements were ever handed out
POOL_COUNT: Final = 88  # and how many are in use
NODES_AT: Final = 384  # the pool of inner nodes, for tries
STRIPES_AT: Final = 4096
STRIPE_SHIFT: Final = 6
STRIPES: Final = 64
HEADER_SIZE: Final = 8192

MAX_CPUS: Final = 1024
NAME_SIZE: Final = 16


@final
class Arena:
    """Shared memory that is mapped, and registered for natives under Python.

    `address` is where it is mapped, `size` its length in bytes, `view` its bytes, `fd` the memfd or file behind it.
    Pages that were never touched cost nothing, so arenas may be generous.
    """

    __slots__ = ("_anchor", "_map", "address", "fd", "size", "view")

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        try:
            self._map = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except (OSError, ValueError, OverflowError) as error:
            os.close(fd)
            raise MapError(f"an arena of {size} bytes cannot be mapped", errno=ENOMEM) from error
        self.view = memoryview(self._map)
        self._anchor = ctypes.c_ubyte.from_buffer(self._map)
        self.address = ctypes.addressof(self._anchor)
        memory.register(self.address, size, self)

    @classmethod
    def create(cls, size: int, *, name: str, path: Path | None = None, folder: Path | None = None) -> Arena:
        """Zeroed memory of `size` bytes; raises MapError.

        In a new file at `path`; or in a file of `folder` that has no name until it is linked to one, where that folder's
        file system can do so and has the room; or else in a memfd, which can never have a name.
        """
        try:
            if path is not None:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            else:
                fd = _nameless(folder, size)
                if fd < 0:
                    fd = os.memfd_create(name or "map", os.MFD_CLOEXEC)
        except OSError as error:
            raise MapError(f"{path or 'memfd'}: {error.strerror}", errno=error.errno or ENOMEM) from error
        try:
            os.ftruncate(fd, size)
        except (OSError, OverflowError) as error:
            os.close(fd)
            raise MapError(f"an arena of {size} bytes cannot be had", errno=ENOMEM) from error
        return cls(fd, size)

    @classmethod
    def open(cls, path: Path) -> Arena:
        """The arena in an existing file (or /proc/PID/fd/N of one that has no name); raises MapError."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MapError(f"{path}", errno=error.errno or EINVAL) from error
        found = os.fstat(fd)
        head = os.pread(fd, 80, 0) if stat.S_ISREG(found.st_mode) else b""
        size = _word(head, SIZE_AT)
        if len(head) < 80 or _word(head, MAGIC_AT) != MAGIC or not HEADER_SIZE <= size <= found.st_size:
            os.close(fd)
            raise MapError(f"{path} is no map", errno=EINVAL)
        if _word(head, VERSION_AT) != VERSION:
            os.close(fd)
            raise MapError(f"{path} is a map of layout version {_word(head, VERSION_AT)}", errno=EINVAL)
        return cls(fd, size)

    def link(self, path: Path) -> None:
        """Give the file a name (another, where it has one); raises MapError.

        EEXIST where the name is taken, EXDEV on another file system, ENOENT when the memory can have no name.
        """
        try:
            # any src_dir_fd makes Python call linkat(2), which can follow the link; link(2) does not
            os.link(f"/proc/self/fd/{self.fd}", path, src_dir_fd=self.fd, follow_symlinks=True)
        except OSError as error:
            raise MapError(f"{path}", errno=error.errno or EINVAL) from error

    def append_description(self, text: bytes) -> None:
        """From now on the arena says this of itself; raises MapError."""
        if text == self.description():
            return
        at = os.fstat(self.fd).st_size
        data = len(text).to_bytes(8, "little") + text
        try:
            if os.pwrite(self.fd, data, at) != len(data):
                raise MapError("a description of the map", errno=ENOSPC)
        except OSError as error:
            raise MapError("a description of the map", errno=error.errno or EINVAL) from error
        self.set_word(DESCRIPTION_AT, at)

    def description(self) -> bytes:
        """What the arena says of itself; empty when it says nothing."""
        at = self.word(DESCRIPTION_AT)
        end = os.fstat(self.fd).st_size
        if not self.size <= at <= end - 8:
            return b""
        length = _word(os.pread(self.fd, 8, at), 0)
        return os.pread(self.fd, min(length, end - at - 8), at + 8)

    def word(self, offset: int) -> int:
        """The 64-bit word at `offset`, unsigned."""
        return _word(self.view, offset)

    def set_word(self, offset: int, value: int) -> None:
        """Store a 64-bit word."""
        self.view[offset : offset + 8] = value.to_bytes(8, "little")

    def close(self) -> None:
        """Unmap; no native may be running on it, and no address in it may be used again."""
        if self._map.closed:
            return
        memory.unregister(self.address)
        del self._anchor
        self.view.release()
        self._map.close()
        os.close(self.fd)


def _word(buffer: bytes | memoryview, offset: int) -> int:
    return int.from_bytes(buffer[offset : offset + 8], "little")


def _nameless(folder: Path | None, size: int) -> int:
    """A file of the folder without a name, or -1 when that cannot be or there is not room for all of it."""
    if folder is None:
        return -1
    try:
        room = os.statvfs(folder)
        if room.f_bavail * room.f_frsize < size:  # a page that cannot be had would be SIGBUS
            return -1
        return os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:
        return -1
