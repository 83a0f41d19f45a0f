"""The environment under which Python itself calls map operations: CPU 0, and a name for its locks.

Not here: the environments of workers (runtime.engine). One record serves all threads of the process: it is only read,
and a lock needs no more than the process that holds it.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

from runtime.native import memory
from runtime.spec import ENVIRONMENT_SIZE, Env

__all__ = ["caller"]

_record: Final = (ctypes.c_uint64 * (ENVIRONMENT_SIZE // 8))()
_address: Final = ctypes.addressof(_record)


def caller() -> int:
    """The address of the record."""
    return _address


def _sign() -> None:
    _record[Env.OWNER // 8] = os.getpid() << 32 | 1


_sign()
memory.register(_address, ENVIRONMENT_SIZE, _record)
os.register_at_fork(after_in_child=_sign)
