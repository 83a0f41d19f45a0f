"""Who makes a call, and what socket it makes it on: read from the kernel, as the law for what is decided.

Not here: the address of the call; that is in the caller's memory and read with the call.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from netdev.interpose.calls import Own
from netdev.interpose.decisions import Fact
from netdev.interpose.record import SOCKADDR_SIZE, Event, SocketEvent
from netdev.interpose.system import Notification, system, thread_pidfd

__all__ = [
    "INET",
    "Caller",
    "Rights",
    "SocketKind",
    "cookie_of",
    "fill_ends",
    "fill_socket",
    "kind_of",
    "name_of",
    "tcp_state",
]

INET: Final = (socket.AF_INET, socket.AF_INET6)

_GET_INFO: Final = 0xC040FF0B  # PIDFD_GET_INFO, Linux 6.13
_INFO: Final = struct.Struct("=QQ12I")
_INFO_WANTED: Final = 7
_SO_COOKIE: Final = 57
_SO_NETNS_COOKIE: Final = 71
_SO_BINDTOIFINDEX: Final = 62
_SIGNALS: Final = re.compile(r"SigPnd:\s*(\w+)\nShdPnd:\s*(\w+)\nSigBlk:\s*(\w+)")
_ONE_THREAD: Final = 3
"""Links of /proc/PID/task: two of every folder and one a thread."""


@final
@dataclass(frozen=True, slots=True)
class SocketKind:
    """Family, type and protocol of a socket."""

    family: int
    type: int
    protocol: int

    @property
    def is_inet(self) -> bool:
        """Whether addresses of the internet mean something to it."""
        return self.family in INET

    @property
    def ignores_names(self) -> bool:
        """Whether the address of a message means nothing to it: TCP and MPTCP, unless they open with it."""
        return self.is_inet and self.type == socket.SOCK_STREAM and self.protocol in {6, 262}

    @property
    def is_stream(self) -> bool:
        """Whether messages may be cut anywhere; those of SCTP may not, whatever its type."""
        return self.type == socket.SOCK_STREAM and self.protocol != socket.IPPROTO_SCTP


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a thread may do: users and groups (real, effective, saved, of files), and its effective capabilities."""

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    capabilities: int
    umask: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The thread that waits. `pidfd` has to be closed."""

    tid: int
    tgid: int
    uid: int
    gid: int
    cgroup: int
    pidfd: int

    @classmethod
    def open(cls, held: Notification) -> Caller | int:
        """The caller of a held call, or an errno with a minus. Whether it still waits has to be asked afterwards."""
        pidfd = thread_pidfd(held.tid)
        if pidfd < 0:
            return pidfd
        buffer = ctypes.create_string_buffer(struct.pack("=Q", _INFO_WANTED), _INFO.size)
        if system(Own.IOCTL, pidfd, _GET_INFO, buffer) >= 0:
            _, cgroup, _, tgid, _, _, _, euid, egid, *_ = _INFO.unpack(buffer.raw)
            return cls(tid=held.tid, tgid=tgid, uid=euid, gid=egid, cgroup=cgroup, pidfd=pidfd)
        try:
            status = _status(held.tid)
            uid, gid = (int(status[name].split()[1]) for name in ("Uid", "Gid"))
            return cls(tid=held.tid, tgid=int(status["Tgid"]), uid=uid, gid=gid, cgroup=_cgroup(held.tid), pidfd=pidfd)
        except (OSError, KeyError):
            os.close(pidfd)
            return -errno.ESRCH

    def is_alone(self) -> bool:
        """Whether nobody can change what the caller's descriptors stand for: its process has one thread.

        Tables shared between processes are refused by the filter.
        """
        try:
            return os.stat(f"/proc/{self.tgid}/task").st_nlink == _ONE_THREAD  # noqa: PTH116 - hot
        except OSError:
            return False

    def comm(self) -> bytes:
        """The thread's name."""
        try:
            return Path(f"/proc/{self.tid}/comm").read_bytes().rstrip(b"\n")[:15]
        except OSError:
            return b""

    def rights(self) -> Rights | None:
        """What the thread may do; None when it is gone. In another user namespace than ours it has no capabilities."""
        try:
            status = _status(self.tid)
            ours = os.stat("/proc/self/ns/user").st_ino  # noqa: PTH116
            theirs = os.stat(f"/proc/{self.tid}/ns/user").st_ino  # noqa: PTH116
        except OSError:
            return None
        uids, gids, groups = (tuple(map(int, status[name].split())) for name in ("Uid", "Gid", "Groups"))
        return Rights(
            uids=uids,
            gids=gids,
            groups=groups,
            capabilities=int(status["CapEff"], 16) if ours == theirs else 0,
            umask=int(status.get("Umask", "22"), 8),
        )

    def pending(self) -> tuple[int, int]:
        """Signals that the thread does not block and has not taken yet: its own, its process's; sets of 1 << (n - 1)."""
        try:
            text = Path(f"/proc/{self.tid}/status").read_text("utf-8", "replace")
        except OSError:
            return 0, 0
        found = _SIGNALS.search(text)
        if found is None:
            return 0, 0
        own, shared, blocked = (int(word, 16) for word in found.groups())
        return own & ~blocked, shared & ~blocked


def _status(tid: int) -> dict[str, str]:
    with open(f"/proc/{tid}/status", encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - hot
        pairs = (line.partition(":") for line in lines)
        return {name: value.strip() for name, _, value in pairs}


def _cgroup(tid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{tid}/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return os.stat(f"/sys/fs/cgroup{line[3:]}").st_ino  # noqa: PTH116
    return 0


def _option(descriptor: int, name: int, size: int = 4) -> int:
    """A socket's option as a number, or an errno with a minus."""
    value = ctypes.c_uint64()
    length = ctypes.c_uint32(size)
    done = system(Own.GETSOCKOPT, descriptor, socket.SOL_SOCKET, name, ctypes.byref(value), ctypes.byref(length))
    return done if done < 0 else value.value


def kind_of(descriptor: int) -> SocketKind | int:
    """What socket it is, or an errno with a minus (ENOTSOCK)."""
    family = _option(descriptor, socket.SO_DOMAIN)
    if family < 0:
        return family
    return SocketKind(family, _option(descriptor, socket.SO_TYPE), max(_option(descriptor, socket.SO_PROTOCOL), 0))


def name_of(descriptor: int, call: Own = Own.GETSOCKNAME) -> bytes:
    """The address of an end of a socket; empty when it has none."""
    buffer = ctypes.create_string_buffer(SOCKADDR_SIZE)
    length = ctypes.c_uint32(SOCKADDR_SIZE)
    done = system(call, descriptor, buffer, ctypes.byref(length))
    return b"" if done < 0 else buffer.raw[: min(length.value, SOCKADDR_SIZE)]


def fill_ends(event: SocketEvent, descriptor: int) -> None:
    """LOCAL and REMOTE."""
    event.put_bytes(Event.LOCAL, Event.LOCAL_LENGTH, name_of(descriptor))
    event.put_bytes(Event.REMOTE, Event.REMOTE_LENGTH, name_of(descriptor, Own.GETPEERNAME))


def fill_socket(event: SocketEvent, descriptor: int, kind: SocketKind, needs: int) -> None:
    """The facts about a socket."""
    event[Event.SOCKET_FD] = descriptor
    event[Event.FAMILY], event[Event.TYPE], event[Event.PROTOCOL] = kind.family, kind.type, kind.protocol
    if needs & Fact.COOKIE:
        event[Event.COOKIE] = max(_option(descriptor, _SO_COOKIE, 8), 0)
    if needs & Fact.NETNS_COOKIE:
        event[Event.NETNS_COOKIE] = max(_option(descriptor, _SO_NETNS_COOKIE, 8), 0)
    if needs & Fact.OPTIONS:
        event[Event.BOUND_IF] = max(_option(descriptor, _SO_BINDTOIFINDEX), 0)
        event[Event.MARK] = max(_option(descriptor, socket.SO_MARK), 0)
        event[Event.PRIORITY] = max(_option(descriptor, socket.SO_PRIORITY), 0)
        event[Event.STATE] = tcp_state(descriptor) if kind.ignores_names else 0
    if needs & Fact.ENDS:
        fill_ends(event, descriptor)


def cookie_of(descriptor: int) -> int:
    """The number that the kernel gave the socket."""
    return max(_option(descriptor, _SO_COOKIE, 8), 0)


def tcp_state(descriptor: int) -> int:
    """The state of a TCP socket (1: established); 0 when it has none."""
    value = ctypes.create_string_buffer(8)
    length = ctypes.c_uint32(1)
    done = system(Own.GETSOCKOPT, descriptor, socket.IPPROTO_TCP, socket.TCP_INFO, value, ctypes.byref(length))
    return 0 if done < 0 else value.raw[0]
