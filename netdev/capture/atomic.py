"""A file that appears whole or not at all: written beside its place, renamed when it is finished.

Not here: what is written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path
from types import TracebackType
from typing import Self, final

__all__ = ["AtomicFile"]


@final
class AtomicFile:
    """A file for writing. `commit` gives it its name, `abort` removes it; a with block does the one or the other.

    Where the path is something other than a regular file (a pipe, /dev/stdout) it is written to directly. A process
    that is killed leaves at most a hidden file whose name ends in ".part". Raises OSError, with the path as the
    user gave it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._part: Path | None = None
        try:
            self._file = os.open(*self._place(), 0o666)
        except OSError as error:
            error.filename = str(path)
            raise
        self._open = True

    def _place(self) -> tuple[Path, int]:
        with contextlib.suppress(FileNotFoundError):
            mode = self.path.stat().st_mode
            if not stat.S_ISREG(mode):
                return self.path, os.O_WRONLY | os.O_CLOEXEC
        whole = self.path.resolve()
        self._part = whole.with_name(f".{whole.name[:200]}.{secrets.token_hex(4)}.part")
        self._target = whole
        return self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes, all of them; raises OSError (a full disk: ENOSPC) after removing the file."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self.abort()
            error.filename = str(self.path)
            raise

    def commit(self) -> None:
        """Close the file and put it in its place. Twice is harmless."""
        if not self._open:
            return
        self._open = False
        try:
            os.close(self._file)
            if self._part is not None:
                self._part.rename(self._target)
        except OSError as error:
            self._remove()
            error.filename = str(self.path)
            error.filename2 = None
            raise

    def abort(self) -> None:
        """Close the file and remove what was written. Twice, or after `commit`, is harmless."""
        if not self._open:
            return
        self._open = False
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._remove()

    def _remove(self) -> None:
        if self._part is not None:
            with contextlib.suppress(OSError):
                self._part.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.commit()
        else:
            self.abort()
