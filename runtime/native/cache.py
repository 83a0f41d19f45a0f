"""Compiled code on disk, under keys that say all that it depends on.

Not here: what goes into a key. An entry that is damaged or cannot be written is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["directory", "key", "load", "store", "toolchain"]

_MAGIC: Final = b"xdpsim-cache-1\n"
_DIGEST: Final = 32
_MOST: Final = 4096  # entries that are kept when the directory is tidied
_SHOWN: Final = frozenset({"asm", "ir", "native"})
_FORMAT_FILES: Final = ("compiler.py", "llvm.py", "lowering.py", "rewrite.py")


def directory() -> Path:
    """Where entries live: $XDPSIM_CACHE, else xdpsim in the user's cache directory."""
    chosen = os.environ.get("XDPSIM_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - never raises
    return Path(base) / "xdpsim"


def key(*parts: str | bytes) -> str:
    """The name of an entry: SHA-256 over its parts, in order, and over the toolchain."""
    digest = hashlib.sha256()
    for part in (toolchain(), *parts):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


@cache
def toolchain() -> str:
    """What compiled code depends on besides its source: numba, llvmlite and the compiler of this package.

    Found without importing numba: the files that name the versions are read.
    """
    parts = []
    for library in ("numba", "llvmlite"):
        spec = find_spec(library)
        if spec is None or spec.origin is None:
            parts.append(f"{library} absent")
            continue
        parts.append(_digest_of(Path(spec.origin).with_name("_version.py")))
    parts += [_digest_of(Path(__file__).with_name(name)) for name in _FORMAT_FILES]
    return " ".join(parts)


def _digest_of(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "unreadable"


def load(name: str) -> bytes | None:
    """The bytes of an entry, or None when there is none that is whole."""
    if not _SHOWN.isdisjoint(os.environ.get("XDPSIM_DEBUG", "").split(",")):
        return None  # stages are shown by going through them
    path = directory() / name
    try:
        data = path.read_bytes() if _trusted(path.parent) else b""
    except OSError:
        return None
    body = data[len(_MAGIC) + _DIGEST :]
    if data[: len(_MAGIC) + _DIGEST] != _MAGIC + hashlib.sha256(body).digest():
        return None
    return body


def store(name: str, body: bytes) -> None:
    """Keep an entry; readers see it whole or not at all. A directory that cannot be written is left alone."""
    import tempfile

    folder = directory()
    temporary = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _trusted(folder):
            return
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", delete=False) as file:
            temporary = file.name
            file.write(_MAGIC + hashlib.sha256(body).digest() + body)
        Path(temporary).rename(folder / name)
        if name.startswith("00"):  # names are digests: one entry in 256
            _tidy(folder)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Drop what was written longest ago, beyond the most that are kept."""
    entries = sorted((each.stat().st_mtime_ns, each.name) for each in os.scandir(folder) if each.is_file())
    for _, name in entries[:-_MOST]:
        (folder / name).unlink(missing_ok=True)


def _trusted(folder: Path) -> bool:
    """Whether nobody else can put code there that we would run."""
    info = folder.stat()
    return info.st_uid in (0, os.geteuid()) and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
