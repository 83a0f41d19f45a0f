"""What every kind checks the same way: creation flags, update flags, sizes of values.

Not here: layouts. Results are 0 or the negative errno of the kernel.
"""

from __future__ import annotations

from errno import E2BIG, EEXIST, EINVAL, ENOENT
from typing import Final

from runtime.native import native, ult
from runtime.spec import MapFlag, UpdateFlag

__all__ = ["check_access", "check_exists", "check_percpu_value", "check_update"]

_BOTH_FILE: Final = int(MapFlag.RDONLY | MapFlag.WRONLY)
_BOTH_PROG: Final = int(MapFlag.RDONLY_PROG | MapFlag.WRONLY_PROG)
ACCESS: Final = _BOTH_FILE | _BOTH_PROG

NOEXIST: Final = int(UpdateFlag.NOEXIST)
EXIST: Final = int(UpdateFlag.EXIST)
LOCK: Final = int(UpdateFlag.LOCK)

_PERCPU_MAX: Final = 32 * 1024


@native
def check_access(flags: int, allowed: int) -> int:
    """-EINVAL for creation flags outside `allowed`, or that forbid both reading and writing."""
    if flags & ~allowed or flags & _BOTH_FILE == _BOTH_FILE or flags & _BOTH_PROG == _BOTH_PROG:
        return -EINVAL
    return 0


@native
def check_percpu_value(value_size: int) -> int:
    """-E2BIG for values that one CPU's memory cannot hold."""
    if value_size > _PERCPU_MAX:
        return -E2BIG
    return 0


@native
def check_update(update_flags: int) -> int:
    """-EINVAL for unknown flags, and for F_LOCK: values with spin locks are not supported."""
    if ult(EXIST, update_flags):
        return -EINVAL
    return 0


@native
def check_exists(exists: int, update_flags: int) -> int:
    """-EEXIST or -ENOENT when the flags ask for the other case."""
    if exists != 0 and update_flags == NOEXIST:
        return -EEXIST
    if exists == 0 and update_flags == EXIST:
        return -ENOENT
    return 0
