"""Helpers about the caller and its socket: natives for those that Linux has, rows for those that it has not.

Not here: which programs may call them (programs). A native finds the event record through the environment.
"""

from __future__ import annotations

import errno
import platform
import socket
from typing import Final

from netdev.interpose import Event, Own, SocketCall
from runtime.native import (
    load16,
    load64,
    memcpy,
    memzero,
    native,
    stack_alloc,
    store8,
    store32,
    store64,
    syscall,
)
from runtime.spec import Arg, ArgType, Helper, NativeFunction, Prototype
from xdp.sockets.layout import LONGEST_REDIRECT, Room, Word

__all__ = ["BIND_NATIVES", "REDIRECT_HELPERS", "SOCK_ADDR_NATIVES", "SOCK_OPS_NATIVES"]

_EINVAL: Final = -errno.EINVAL
_ENOENT: Final = -errno.ENOENT
_ENOSPC: Final = -errno.ENOSPC
_EAFNOSUPPORT: Final = -errno.EAFNOSUPPORT
_REFUSED: Final = -1
_COMM: Final = 16
_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_INET_SIZE: Final = 16
_INET6_SIZE: Final = 24  # SIN6_LEN_RFC2133
_SOL_IP: Final = int(socket.SOL_IP)
_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT
_MAX_ERRNO: Final = 4095
_INIT_NETNS: Final = 1
_SET_OPTION: Final = 208 if platform.machine() == "aarch64" else 54


@native
def get_current_pid_tgid(env: int) -> int:
    """Process << 32 | thread."""
    return load64(load64(env + Word.RECORD) + Event.PID_TGID)


@native
def get_current_uid_gid(env: int) -> int:
    """Group << 32 | user."""
    return load64(load64(env + Word.RECORD) + Event.UID_GID)


@native
def get_current_comm(env: int, buffer: int, size: int) -> int:
    """The thread's name, cut to the size, the rest zero."""
    memzero(buffer, size)
    count = min(size, _COMM)
    memcpy(buffer, load64(env + Word.RECORD) + Event.COMM, count)
    store8(buffer + size - 1, 0)
    return 0


@native
def get_current_cgroup_id(env: int) -> int:
    """The cgroup of the caller."""
    return load64(load64(env + Word.RECORD) + Event.CGROUP_ID)


@native
def get_socket_cookie(env: int, context: int) -> int:
    """The socket's cookie, of whatever kind the context is."""
    return load64(load64(env + Word.RECORD) + Event.COOKIE)


@native
def get_netns_cookie(env: int, context: int) -> int:
    """The cookie of the socket's network namespace; without a context that of the first namespace."""
    return _INIT_NETNS if context == 0 else load64(load64(env + Word.RECORD) + Event.NETNS_COOKIE)


@native
def get_retval(env: int) -> int:
    """What the call is to fail with so far, a negative errno or 0."""
    return load64(load64(env + Word.RECORD) + Room.RETVAL)


@native
def set_retval(env: int, value: int) -> int:
    """What the call is to fail with; 0 takes it back."""
    code = (value & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    if code > 0 or code < -_MAX_ERRNO:
        return _EINVAL
    return store64(load64(env + Word.RECORD) + Room.RETVAL, code)


@native
def bind(env: int, context: int, address: int, size: int) -> int:
    """Bind the socket, before it is connected, to an address; the port may be 0."""
    count = size & 0xFFFFFFFF
    if count < 2:
        return _EINVAL
    family = load16(address)
    if family != _INET and family != _INET6:  # noqa: PLR1714 - natives have no tuples
        return _EAFNOSUPPORT
    if count < _INET_SIZE or (family == _INET6 and count < _INET6_SIZE):
        return _EINVAL
    if load64(env + Word.OBSERVE) != 0:
        return 0
    descriptor = load64(load64(env + Word.RECORD) + Event.SOCKET_FD)
    if load16(address + 2) != 0:
        return syscall(Own.BIND, descriptor, address, count, 0, 0, 0)
    late = stack_alloc(8)
    store32(late, 1)
    syscall(_SET_OPTION, descriptor, _SOL_IP, _NO_PORT, late, 4, 0)
    done = syscall(Own.BIND, descriptor, address, count, 0, 0, 0)
    store32(late, 0)
    syscall(_SET_OPTION, descriptor, _SOL_IP, _NO_PORT, late, 4, 0)
    return done


@native
def setsockopt(env: int, context: int, level: int, name: int, value: int, size: int) -> int:
    """Set an option of the socket."""
    if load64(env + Word.OBSERVE) != 0:
        return 0
    descriptor = load64(load64(env + Word.RECORD) + Event.SOCKET_FD)
    return syscall(_SET_OPTION, descriptor, level & 0xFFFFFFFF, name & 0xFFFFFFFF, value, size & 0xFFFFFFFF, 0)


@native
def getsockopt(env: int, context: int, level: int, name: int, value: int, size: int) -> int:
    """Read an option of the socket; on failure the memory is zero."""
    length = stack_alloc(8)
    store32(length, size)
    descriptor = load64(load64(env + Word.RECORD) + Event.SOCKET_FD)
    done = syscall(Own.GETSOCKOPT, descriptor, level & 0xFFFFFFFF, name & 0xFFFFFFFF, value, length, 0)
    if done < 0:
        memzero(value, size & 0xFFFFFFFF)
    return done


@native
def context_pid_tgid(env: int, context: int) -> int:
    """get_current_pid_tgid of programs that hand over their context."""
    return load64(load64(env + Word.RECORD) + Event.PID_TGID)


@native
def set_redirect_context(env: int, context: int, data: int, size: int) -> int:
    """Leave some memory for those who deal with a redirected connection; -1 where nothing is connected."""
    record = load64(env + Word.RECORD)
    count = size & 0xFFFFFFFF
    if load64(record + Event.CALL) != SocketCall.CONNECT:
        return _REFUSED
    if count == 0 or count > LONGEST_REDIRECT:
        return _REFUSED
    memcpy(record + Room.REDIRECT, data, count)
    store64(record + Room.REDIRECT_SIZE, count)
    return 0


@native
def get_redirect_context(env: int, context: int, data: int, size: int) -> int:
    """What was left for this connection: its size. -ENOENT when nothing was, -ENOSPC when it does not fit."""
    record = load64(env + Word.RECORD)
    count = load64(record + Room.REDIRECT_SIZE)
    memzero(data, size & 0xFFFFFFFF)
    if count == 0:
        return _ENOENT
    if count > size & 0xFFFFFFFF:
        return _ENOSPC
    memcpy(data, record + Room.REDIRECT, count)
    return count


_CONTEXT: Final = Arg(ArgType.CONTEXT)
_SIZE: Final = Arg(ArgType.CONST_SIZE)

REDIRECT_HELPERS: Final = (
    Helper(
        id=0x10000,
        name="sock_addr_get_current_pid_tgid",
        native=context_pid_tgid,
        prototype=Prototype(args=(_CONTEXT,)),
    ),
    Helper(
        id=0x10001,
        name="sock_addr_set_redirect_context",
        native=set_redirect_context,
        prototype=Prototype(args=(_CONTEXT, Arg(ArgType.MEMORY), _SIZE)),
    ),
    Helper(
        id=0x10101,
        name="sock_addr_get_redirect_context",
        native=get_redirect_context,
        prototype=Prototype(args=(_CONTEXT, Arg(ArgType.UNINIT_MEMORY, writes=True), _SIZE)),
    ),
)
"""The first two have the numbers of eBPF for Windows, the third is ours."""

_Natives = tuple[tuple[int, NativeFunction], ...]

BIND_NATIVES: Final[_Natives] = (
    (14, get_current_pid_tgid),
    (15, get_current_uid_gid),
    (16, get_current_comm),
    (80, get_current_cgroup_id),
)
"""In place of nothing: by the numbers of Linux's helpers."""

SOCK_OPS_NATIVES: Final[_Natives] = (
    *BIND_NATIVES,
    (46, get_socket_cookie),
    (49, setsockopt),
    (57, getsockopt),
    (122, get_netns_cookie),
)

SOCK_ADDR_NATIVES: Final[_Natives] = (
    *SOCK_OPS_NATIVES,
    (64, bind),
    (186, get_retval),
    (187, set_retval),
)
