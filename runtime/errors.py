"""Every way in which the runtime fails, split by whose fault it is.

Not here: how a failure is printed; that is the command line's business.

    XdpsimError
    ├── InputError               what was handed in is at fault
    │   ├── DecodeError          bytes that are no instruction
    │   ├── AssemblyError        text that is no instruction
    │   ├── ObjectError          an ELF object, BTF or map definition that does not hold together
    │   ├── RelocationError      a reference that leads nowhere
    │   └── UnsupportedError     well-formed, and more than this build can do
    ├── VerificationError        a program that could not be proven safe
    ├── MapError                 a map operation, with its errno
    ├── DeviceError              the system, an interface or the kernel refused
    ├── MemoryFault              code under the Python interpreter left the memory that it was given
    └── InternalError            our bug
"""

from __future__ import annotations

import errno as _errno
import os
from typing import final

__all__ = [
    "AssemblyError",
    "DecodeError",
    "DeviceError",
    "InputError",
    "InternalError",
    "MapError",
    "MemoryFault",
    "ObjectError",
    "RelocationError",
    "UnsupportedError",
    "VerificationError",
    "XdpsimError",
]


class XdpsimError(Exception):
    """The root: one line of text that says what, where and what to do."""


class InputError(XdpsimError):
    """What was handed in is at fault."""


@final
class DecodeError(InputError):
    """Bytes that are no instruction; `pc` is the slot at fault."""

    def __init__(self, message: str, *, pc: int) -> None:
        super().__init__(f"instruction {pc}: {message}")
        self.pc = pc


@final
class AssemblyError(InputError):
    """Text that is no instruction; `line` counts from 1."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@final
class ObjectError(InputError):
    """An object file that does not hold together."""


@final
class RelocationError(InputError):
    """A reference inside an object that leads nowhere."""


@final
class UnsupportedError(InputError):
    """Well-formed input that asks for more than this build can do."""


@final
class VerificationError(XdpsimError):
    """A program that could not be proven safe.

    `code` is stable (see docs/verification-failures.md); `pc` is the slot of the
    instruction at fault; `source` is "file:line" or "" without line info; `log` is the whole story; `suspect` is what
    a trial of the program takes (runtime.verifier.Suspect), or None; `fix` is the shortest change that is enough, in words;
    `known` is what each register holds there.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        pc: int,
        source: str = "",
        log: str = "",
        suspect: object = None,
        fix: str = "",
        known: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code = code
        self.pc = pc
        self.source = source
        self.log = log
        self.suspect = suspect
        self.fix = fix
        self.known = known


@final
class MapError(XdpsimError):
    """A map operation that failed; `errno` is what bpf(2) would have returned (positive)."""

    def __init__(self, message: str, *, errno: int) -> None:
        super().__init__(f"{message}: {os.strerror(errno)} ({_errno.errorcode.get(errno, errno)})")
        self.errno = errno


@final
class DeviceError(XdpsimError):
    """The system, an interface or the kernel refused."""


@final
class MemoryFault(XdpsimError):  # noqa: N818 - the field's word for it
    """Code under the Python interpreter left the memory that it was given: `size` bytes at `address`."""

    def __init__(self, *, address: int, size: int, write: bool) -> None:
        super().__init__(f"{'write' if write else 'read'} of {size} bytes at {address & (1 << 64) - 1:#x}: not ours")
        self.address = address
        self.size = size
        self.write = write


@final
class InternalError(XdpsimError):
    """A broken promise inside xdpsim: please report it."""
