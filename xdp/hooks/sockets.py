"""Socket calls as values: an event made from words, the hook that runs a program over it, and how addresses are written.

Not here: what each type of program answers (sock_addr, bind, sock_ops), several programs (xdp.sockets), live calls (netdev.interpose).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from netdev.interpose import EVENT_ROOM, Event, SocketCall, SocketEvent
from runtime.engine import Environment
from runtime.errors import InputError
from runtime.native import memory
from runtime.spec import ClockMode

if TYPE_CHECKING:
    from runtime.loader import Program

__all__ = ["SocketCallDescription", "SocketHook", "host_and_port", "socket_address"]

_TYPES: Final = {"tcp": (socket.SOCK_STREAM, 6), "udp": (socket.SOCK_DGRAM, 17)}


def socket_address(address: str, port: int = 0, *, family: int = 0) -> bytes:
    """A struct sockaddr_in or sockaddr_in6; with AF_INET6 an IPv4 address is mapped into IPv6. Raises InputError."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError as error:
        raise InputError(f"{address!r} is no IP address") from error
    if not 0 <= port <= 0xFFFF:
        raise InputError(f"{port} is no port")
    if found.version == 4 and family == socket.AF_INET6:
        found = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + found.packed)
    if found.version == 4:
        return struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", port, found.packed)
    return struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16sI", port, 0, found.packed, 0)


def host_and_port(data: bytes) -> tuple[str, int]:
    """What a struct sockaddr_in or sockaddr_in6 says; ("", 0) for anything else."""
    if len(data) < 16:
        return "", 0
    (family,) = struct.unpack_from("=H", data)
    (port,) = struct.unpack_from(">H", data, 2)
    if family == socket.AF_INET6 and len(data) >= 24:
        return str(ipaddress.IPv6Address(data[8:24])), port
    return (str(ipaddress.IPv4Address(data[4:8])), port) if family == socket.AF_INET else ("", 0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SocketCallDescription:
    """A socket call in words. `protocol` is "tcp" or "udp"; `family` 0 is that of the address.

    `source` is the own end that a message names; `local` and `remote` are the ends of a connection. `fd` is a socket of this
    process that helpers act on, -1 for none.
    """

    address: str = ""
    port: int = 0
    family: int = 0
    protocol: str = "tcp"
    source: str = ""
    local: str = ""
    local_port: int = 0
    remote: str = ""
    remote_port: int = 0
    pid: int = 0
    tid: int = 0
    uid: int = 0
    gid: int = 0
    comm: str = ""
    cookie: int = 0
    netns_cookie: int = 1
    cgroup_id: int = 1
    bound_if: int = 0
    mark: int = 0
    priority: int = 0
    state: int = 0
    backlog: int = 0
    fd: int = -1

    def event(self, call: SocketCall) -> SocketEvent:
        """The record of such a call; raises InputError."""
        if self.protocol not in _TYPES:
            raise InputError(f"{self.protocol!r} is no protocol here: tcp or udp")
        kind, protocol = _TYPES[self.protocol]
        event = SocketEvent.new()
        shown = self.address or self.local or self.remote
        family = self.family or (socket.AF_INET6 if ":" in shown else socket.AF_INET)
        pid = self.pid or os.getpid()
        words = {
            Event.CALL: call,
            Event.PID_TGID: pid << 32 | (self.tid or pid),
            Event.UID_GID: self.gid << 32 | self.uid,
            Event.FAMILY: family,
            Event.TYPE: kind,
            Event.PROTOCOL: protocol,
            Event.COOKIE: self.cookie,
            Event.NETNS_COOKIE: self.netns_cookie,
            Event.CGROUP_ID: self.cgroup_id,
            Event.BOUND_IF: self.bound_if,
            Event.MARK: self.mark,
            Event.PRIORITY: self.priority,
            Event.STATE: self.state,
            Event.BACKLOG: self.backlog,
            Event.SOCKET_FD: self.fd,
        }
        for field, word in words.items():
            event[field] = word
        name = self.comm.encode()[:15]
        event.memory[Event.COMM : Event.COMM + len(name)] = name
        if self.address:
            event.address = socket_address(self.address, self.port, family=family)
        if self.source:
            event.source = socket_address(self.source)
        if self.local:
            data = socket_address(self.local, self.local_port, family=family)
            event.put_bytes(Event.LOCAL, Event.LOCAL_LENGTH, data)
        if self.remote:
            data = socket_address(self.remote, self.remote_port, family=family)
            event.put_bytes(Event.REMOTE, Event.REMOTE_LENGTH, data)
        return event


@final
class SocketHook:
    """Runs one program over event records. Not for several threads at once."""

    def __init__(self, program: Program, *, engine: str | None = None, seed: int = 0) -> None:
        self._executable = program.executable(engine)
        self.environment = Environment(seed=seed, clock=ClockMode.WALL)

    def run(self, event: SocketEvent) -> int:
        """What the program returned; what it wrote stands in the event. The event has its room (SocketEvent.new)."""
        with memory.registered(event.record, EVENT_ROOM, event):
            return self._executable.drive(event.record, self.environment.address)

    def close(self) -> None:
        """Give the environment back."""
        self.environment.close()
