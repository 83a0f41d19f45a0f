"""The record of one socket call: a fixed layout in memory that native code and Python both read and write.

Not here: what is decided about a call (decisions), and how a record is filled (facts, reference).
"""

from __future__ import annotations

import ctypes
import struct
from enum import IntEnum
from typing import Final, Self, final

__all__ = ["EVENT_ROOM", "EVENT_SIZE", "SOCKADDR_SIZE", "Event", "SocketCall", "SocketEvent"]

SOCKADDR_SIZE: Final = 128
"""Bytes that every socket address has room for: a struct sockaddr_storage."""
EVENT_SIZE: Final = 1024
"""Bytes of a record."""
EVENT_ROOM: Final = 8192
"""Bytes of memory that a record in the hands of a policy has in all: what lies behind the record is the policy's own."""


class SocketCall(IntEnum):
    """What happens. Those from BIND to SENDMSG are asked about before, the others after they have happened.

    ACCEPTED has the peer's address; when it is denied, the connection is closed and the caller never sees it.
    RECVMSG, GETPEERNAME and GETSOCKNAME have the address that the caller is about to be given. The last three cannot be
    denied: a policy is told of them (`done`).
    """

    BIND = 1
    CONNECT = 2
    CONNECT_AUTHORIZATION = 3
    LISTEN = 4
    ACCEPT = 5
    SENDMSG = 6
    ACCEPTED = 7
    RECVMSG = 8
    GETPEERNAME = 9
    GETSOCKNAME = 10
    ESTABLISHED_ACTIVE = 11
    ESTABLISHED_PASSIVE = 12
    CLOSED = 13


class Event(IntEnum):
    """Byte offsets of a record: words of 64 bits in the order of this machine, then memory.

    CALL: a SocketCall. PID_TGID: process << 32 | thread, UID_GID: group << 32 | user, both as the supervisor sees them.
    FD: the caller's descriptor; SOCKET_FD: the supervisor's duplicate of it, on which a policy may set options or bind.
    FAMILY, TYPE, PROTOCOL: of the socket. COOKIE: SO_COOKIE. NETNS_COOKIE: SO_NETNS_COOKIE. CGROUP_ID: the caller's.
    FLAGS: of the call (MSG_…, SOCK_…). BOUND_IF: interface or 0. MARK, PRIORITY: SO_MARK, SO_PRIORITY. STATE: tcp state.
    RESULT: what the call returned, or its errno with a minus. BACKLOG: of listen. REDIRECTED: 1 after a decision that said so.
    ACTION: the word of the decision (decisions.py). TIME: CLOCK_MONOTONIC in nanoseconds when the call came. NUMBER: the
    system call's number. SIZE: bytes of the message. UNTOUCHED: 1 where the kernel was left to make the call by itself.
    OBSERVED: of a policy that only observes, the word of the decision that it would have made.
    ORIGINAL, ORIGINAL_LENGTH: the address as it was before anybody decided. COMM: 16 bytes. ADDRESS: the address of the call,
    ADDRESS_LENGTH bytes of it; what stands there after the decision is what the call is made with. SOURCE, SOURCE_LENGTH: of
    SENDMSG and RECVMSG, the address of the own end that the message
    names (IP_PKTINFO), length 0 when none. LOCAL, REMOTE: the two ends of an accepted, established or closed connection.
    A fact that the policy did not ask for (Fact) is 0.
    """

    CALL = 0
    PID_TGID = 8
    UID_GID = 16
    FD = 24
    FAMILY = 32
    TYPE = 40
    PROTOCOL = 48
    COOKIE = 56
    NETNS_COOKIE = 64
    CGROUP_ID = 72
    FLAGS = 80
    ADDRESS_LENGTH = 88
    SOURCE_LENGTH = 96
    BOUND_IF = 104
    MARK = 112
    PRIORITY = 120
    STATE = 128
    SOCKET_FD = 136
    RESULT = 144
    BACKLOG = 152
    LOCAL_LENGTH = 160
    REMOTE_LENGTH = 168
    REDIRECTED = 176
    ACTION = 184
    TIME = 192
    NUMBER = 200
    SIZE = 208
    UNTOUCHED = 216
    OBSERVED = 224
    ORIGINAL_LENGTH = 232
    COMM = 240
    ADDRESS = 256
    SOURCE = 384
    LOCAL = 512
    REMOTE = 640
    ORIGINAL = 768


_COMM_SIZE: Final = 16
_HALF: Final = 0xFFFF_FFFF


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@final
class SocketEvent:
    """A record as Python sees it; only `address` and `source` can be set by a policy.

    Attributes: `record`, the address of the memory, and `memory`, a view of it.
    """

    __slots__ = ("_keep", "memory", "record")

    def __init__(self, record: int, keep: object = None, size: int = EVENT_SIZE) -> None:
        """The record at that address, which lives at least as long as `keep`."""
        self.record = record
        self.memory = memoryview((ctypes.c_ubyte * size).from_address(record)).cast("B")
        self._keep = keep

    @classmethod
    def new(cls, room: int = EVENT_ROOM) -> Self:
        """An empty record in memory of its own, with the room behind it that a policy needs (EVENT_SIZE: none)."""
        memory = (ctypes.c_uint64 * (room // 8))()
        return cls(ctypes.addressof(memory), memory, room)

    @classmethod
    def copied(cls, data: bytes, room: int = EVENT_ROOM) -> Self:
        """A record of its own with the contents of another: EVENT_SIZE bytes."""
        event = cls.new(room)
        event.memory[: len(data)] = data
        return event

    def __getitem__(self, field: Event) -> int:
        """A word, unsigned."""
        word: int = struct.unpack_from("=Q", self.memory, field)[0]
        return word

    def __setitem__(self, field: Event, word: int) -> None:
        struct.pack_into("=Q", self.memory, field, word & (1 << 64) - 1)

    def bytes_at(self, field: Event, length: int) -> bytes:
        """Memory of the record."""
        return bytes(self.memory[field : field + length])

    def put_bytes(self, field: Event, length: Event, data: bytes) -> None:
        """Set an address and its length; longer ones are cut at SOCKADDR_SIZE."""
        data = data[:SOCKADDR_SIZE]
        self.memory[field : field + SOCKADDR_SIZE] = data.ljust(SOCKADDR_SIZE, b"\0")
        self[length] = len(data)

    @property
    def call(self) -> SocketCall:
        """What happens."""
        return SocketCall(self[Event.CALL])

    @property
    def pid(self) -> int:
        """The process (the thread group)."""
        return self[Event.PID_TGID] >> 32

    @property
    def tid(self) -> int:
        """The thread."""
        return self[Event.PID_TGID] & _HALF

    @property
    def uid(self) -> int:
        """The effective user."""
        return self[Event.UID_GID] & _HALF

    @property
    def gid(self) -> int:
        """The effective group."""
        return self[Event.UID_GID] >> 32

    @property
    def comm(self) -> str:
        """The thread's name, empty unless it was asked for (Fact.COMM)."""
        return self.bytes_at(Event.COMM, _COMM_SIZE).partition(b"\0")[0].decode("utf-8", "surrogateescape")

    @property
    def fd(self) -> int:
        """The caller's descriptor."""
        return self[Event.FD]

    @property
    def family(self) -> int:
        """The socket's family; that of the address stands in its first two bytes."""
        return self[Event.FAMILY]

    @property
    def type(self) -> int:
        """SOCK_STREAM and so on."""
        return self[Event.TYPE]

    @property
    def protocol(self) -> int:
        """IPPROTO_TCP and so on."""
        return self[Event.PROTOCOL]

    @property
    def cookie(self) -> int:
        """The socket's cookie (Fact.COOKIE)."""
        return self[Event.COOKIE]

    @property
    def netns_cookie(self) -> int:
        """The cookie of the socket's network namespace (Fact.NETNS_COOKIE)."""
        return self[Event.NETNS_COOKIE]

    @property
    def cgroup_id(self) -> int:
        """The caller's cgroup (Fact.CGROUP_ID)."""
        return self[Event.CGROUP_ID]

    @property
    def flags(self) -> int:
        """Flags of the call."""
        return self[Event.FLAGS]

    @property
    def backlog(self) -> int:
        """Of LISTEN, as the caller gave it."""
        return _signed(self[Event.BACKLOG])

    @property
    def result(self) -> int:
        """What the call returned, or its errno with a minus."""
        return _signed(self[Event.RESULT])

    @property
    def redirected(self) -> bool:
        """Whether a decision changed where the call goes."""
        return bool(self[Event.REDIRECTED])

    @property
    def address(self) -> bytes:
        """The socket address of the call, as <sys/socket.h> lays it out."""
        return self.bytes_at(Event.ADDRESS, self[Event.ADDRESS_LENGTH])

    @address.setter
    def address(self, data: bytes) -> None:
        self.put_bytes(Event.ADDRESS, Event.ADDRESS_LENGTH, data)

    @property
    def original(self) -> bytes:
        """The address of the call before anybody decided about it."""
        return self.bytes_at(Event.ORIGINAL, self[Event.ORIGINAL_LENGTH])

    @property
    def source(self) -> bytes:
        """The address of the own end that a message names, empty when none."""
        return self.bytes_at(Event.SOURCE, self[Event.SOURCE_LENGTH])

    @source.setter
    def source(self, data: bytes) -> None:
        self.put_bytes(Event.SOURCE, Event.SOURCE_LENGTH, data)

    @property
    def local(self) -> bytes:
        """The own end of a connection (Fact.ENDS, and ACCEPTED, ESTABLISHED_… and CLOSED)."""
        return self.bytes_at(Event.LOCAL, self[Event.LOCAL_LENGTH])

    @property
    def remote(self) -> bytes:
        """The other end of a connection."""
        return self.bytes_at(Event.REMOTE, self[Event.REMOTE_LENGTH])
