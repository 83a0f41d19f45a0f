"""OBJECT on the command line: the bytes of an ELF object, or of what clang makes of a C file.

Not here: reading the object.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from runtime.errors import DeviceError, InputError, ObjectError

__all__ = ["blaming", "object_bytes"]

_MAX_OBJECT: Final = 256 << 20
_FLAGS: Final = ("-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wno-unused-function")


def object_bytes(path: str) -> bytes:
    """The object's bytes; a `.c` file is compiled first. Raises ObjectError and DeviceError."""
    if path.endswith(".c"):
        return _compile(Path(path))
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_OBJECT + 1)
    except OSError as error:
        raise ObjectError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MAX_OBJECT:
        raise ObjectError(f"{path}: larger than {_MAX_OBJECT >> 20} MiB, which is no BPF object")
    return data


@contextmanager
def blaming(path: str) -> Iterator[None]:
    """Says of what is wrong with an object in which file, and where in it. Raises InputError."""
    try:
        yield
    except InputError as error:
        places = [note for note in getattr(error, "__notes__", ()) if not note.startswith("in object")]
        raise InputError(f"{path}: {', '.join([str(error), *places])}") from error


def _compile(path: Path) -> bytes:
    import subprocess
    import tempfile

    if not path.is_file():
        raise ObjectError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    with tempfile.TemporaryDirectory(prefix="xdpsim-") as folder:
        target = Path(folder) / "out.o"
        command = [_clang(), *_FLAGS, *_multiarch(), "-I", str(path.parent or "."), "-c", str(path), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            first = next(
                (line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip() or "failed"
            )
            raise ObjectError(f"clang: {first}")
        return target.read_bytes()


def _clang() -> str:
    """The newest clang on PATH: $CLANG, clang, clang-NN."""
    import shutil

    chosen = os.environ.get("CLANG") or shutil.which("clang")
    if chosen:
        return chosen
    found = [
        (int(version[1]), str(each))
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
        for each in Path(folder or ".").glob("clang-[0-9]*")
        if (version := re.fullmatch(r"clang-(\d+)", each.name)) and os.access(each, os.X_OK)
    ]
    if not found:
        raise DeviceError(
            "no clang found to compile C: install one (Debian: apt-get install clang-19), or pass the object"
        )
    return max(found)[1]


def _multiarch() -> list[str]:
    """Debian keeps asm/types.h in a folder per machine, which `-target bpf` does not search."""
    folder = Path(f"/usr/include/{os.uname().machine}-linux-gnu")
    return ["-idirafter", str(folder)] if folder.is_dir() else []
