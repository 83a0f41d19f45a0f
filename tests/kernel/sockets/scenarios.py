"""What is done with which programs attached: rows of traffic, run once under the kernel's hooks and once under ours.

The client has 10.9.0.1, 10.9.0.3, fd09::1 and fd09::3; the peer 10.9.0.2, 10.9.0.4, fd09::2 and fd09::4, and it listens for TCP and
UDP on 7001 and 7002, not on 7009. Nobody has 10.9.0.9.

Not here: how they are run (records.py), and the words of the scripts (traffic.py).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final, final

__all__ = ["SCENARIOS", "WAYS", "Scenario"]

WAYS: Final = tuple(
    f"{call}{family}"
    for call in ("connect", "bind", "sendmsg", "recvmsg", "getpeername", "getsockname")
    for family in (4, 6)
)
"""In the order of their numbers in objects/sockets.h, from 1."""

Row = tuple[str, bytes, bytes]
_JUDGED: Final = tuple(WAYS[:6])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Programs of an object, attached in this order (`program` or `program:way`), rows of its maps, and traffic.

    `watched`: maps that belong to the record.
    """

    name: str
    object: str
    attach: tuple[str, ...]
    script: str
    maps: tuple[Row, ...] = ()
    watched: tuple[str, ...] = ()


def _ip(text: str) -> bytes:
    """16 bytes, of which IPv4 takes the first four."""
    if ":" in text:
        return socket.inet_pton(socket.AF_INET6, text)
    return socket.inet_aton(text).ljust(16, b"\0")


def _number(way: str) -> int:
    return WAYS.index(way) + 1


def _change(
    way: str, host: str, port: int, *, to: tuple[str | None, int | None] = (None, None), source: str | None = None
) -> Row:
    """Of rewrite.c: what becomes of an address (port 0: of any port)."""
    address, new_port = to
    what = bool(address) | (new_port is not None) << 1 | bool(source) << 2
    key = struct.pack("=II", _number(way), port) + _ip(host)
    value = struct.pack("=II", what, new_port or 0) + _ip(address or "::") + _ip(source or "::")
    return ("changes", key, value)


def _port(number: int) -> Row:
    """Of firewall.c: a port that is closed."""
    return ("ports", struct.pack("=I", number), struct.pack("=Q", 1))


def _prefix(text: str, *, blocked: bool = True) -> Row:
    """Of firewall.c: a prefix that is blocked, or an exception."""
    host, length = text.split("/")
    name = "blocked6" if ":" in host else "blocked4"
    data = _ip(host) if ":" in host else _ip(host)[:4]
    return (name, struct.pack("=I", int(length)) + data, struct.pack("=Q", blocked))


def _source(way: str, host: str, port: int = 0) -> Row:
    """Of source.c."""
    return ("sources", struct.pack("=I", _number(way)), _ip(host) + struct.pack("=I", port))


def _plans(*plans: tuple[int, int]) -> tuple[Row, ...]:
    """Of order.c: verdict and new port of each program."""
    return tuple(("plans", struct.pack("=I", index), struct.pack("=II", *plan)) for index, plan in enumerate(plans, 1))


def _words(way: str, host: str) -> Row:
    """Of narrow.c: what two double words are written."""
    return ("stored", struct.pack("=I", _number(way)), _ip(host) + bytes(16))


def _error(number: int) -> Row:
    """Of verdicts.c."""
    return ("errors", bytes(4), struct.pack("=q", number))


_TALK4: Final = "tcp4 a\nconnect a 10.9.0.2 {port}\ntold a\n"
_TALK6: Final = "tcp6 a\nconnect a fd09::2 {port}\ntold a\n"
_NAMES: Final = "sockname a\npeername a\n"

_PLAIN: Final = (
    Scenario(
        name="see a TCP connection over IPv4",
        object="observe",
        attach=("connect4", "getsockname4", "getpeername4"),
        script="process\ntcp4 a\ncookies a\nconnect a 10.9.0.2 7001\ntold a\n" + _NAMES,
        watched=("seen",),
    ),
    Scenario(
        name="see a TCP connection over IPv6",
        object="observe",
        attach=("connect6", "getsockname6", "getpeername6"),
        script="process\ntcp6 a\ncookies a\nconnect a fd09::2 7001\ntold a\n" + _NAMES,
        watched=("seen",),
    ),
    Scenario(
        name="see a connection that does not block",
        object="observe",
        attach=("connect4",),
        script="tcp4 a\nnonblocking a\nconnect a 10.9.0.2 7001\nwait a\nconnect a 10.9.0.2 7001\ntold a\n" + _NAMES,
        watched=("seen",),
    ),
    Scenario(
        name="see connections that are refused",
        object="observe",
        attach=("connect4", "connect6"),
        script=(
            "tcp4 a\nconnect a 10.9.0.2 7009\ntcp6 b\nconnect b fd09::2 7009\n"
            "tcp4 c\nnonblocking c\nconnect c 10.9.0.2 7009\nwait c\nconnect a 10.9.0.2 7001\ntold a\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see UDP connected, sent and connected elsewhere",
        object="observe",
        attach=("connect4", "sendmsg4", "recvmsg4"),
        script=(
            "udp4 a\ncookies a\nconnect a 10.9.0.2 7001\nsend a\ntold a\nconnect a 10.9.0.4 7002\nsend a\ntold a\n"
            "sendto a 10.9.0.2 7001\nunspec a\npeername a\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see datagrams over IPv4",
        object="observe",
        attach=("sendmsg4", "recvmsg4", "bind4"),
        script=(
            "udp4 a\nbind a 10.9.0.3 0\nsendto a 10.9.0.2 7001\nrecvfrom a\nsendmsg a 10.9.0.4 7002\nrecvmsg a\n"
            "udp4 b\nsendmsg b 10.9.0.2 7002 10.9.0.3\nrecvfrom b\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see datagrams over IPv6",
        object="observe",
        attach=("sendmsg6", "recvmsg6", "bind6"),
        script=(
            "udp6 a\nbind a fd09::3 0\nsendto a fd09::2 7001\nrecvfrom a\nsendmsg a fd09::4 7002\nrecvmsg a\n"
            "udp6 b\nsendmsg b fd09::2 7002 fd09::3\nrecvfrom b\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see several datagrams of one call",
        object="observe",
        attach=("sendmsg4",),
        script="udp4 a\nsendmmsg a 10.9.0.2 7001 10.9.0.2 7002 10.9.0.4 7001\nrecvfrom a 3\n",
        watched=("seen",),
    ),
    Scenario(
        name="see binds to addresses, to any and to port 0",
        object="observe",
        attach=("bind4", "bind6"),
        script=(
            "tcp4 a\nbind a 10.9.0.1 6001\nsockname a\ntcp4 b\nbind b 0.0.0.0 0\nsockname b\ntcp6 c\nbind c ::1 6002\n"
            "sockname c\nudp6 d\nbind d :: 6003\nsockname d\nudp4 e\nbind e 127.0.0.1 6004\nsockname e\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see binds that fail",
        object="observe",
        attach=("bind4", "bind6"),
        script=(
            "tcp4 a\nbind a 10.9.0.1 6001\nlisten a\ntcp4 b\nbind b 10.9.0.1 6001\ntcp4 c\nbind c 10.9.0.9 6001\n"
            "bind a 10.9.0.1 6002\nuser 65534\ntcp4 d\nbind d 10.9.0.1 80\ntcp6 e\nbind e fd09::9 6001\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see mapped addresses as IPv6",
        object="observe",
        attach=("connect4", "connect6", "sendmsg4", "sendmsg6", "bind4", "bind6"),
        script=(
            "tcp6 a\nconnect a ::ffff:10.9.0.2 7001\ntold a\nudp6 b\nsendto b ::ffff:10.9.0.2 7001\nrecvfrom b\n"
            "tcp6 c\nv6only c 1\nconnect c ::ffff:10.9.0.2 7001\ntcp6 d\nbind d ::ffff:10.9.0.3 6001\nsockname d\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="do not see addresses of the wrong family or length",
        object="observe",
        attach=("connect4", "connect6", "bind4", "bind6", "sendmsg4", "sendmsg6"),
        script=(
            "tcp4 a\nconnect a fd09::2 7001\ntcp6 b\nconnect b 10.9.0.2 7001\nconnect-short a 10.9.0.2 7001 8\n"
            "connect-short a 10.9.0.2 7001 0\nconnect-short b fd09::2 7001 20\nconnect-short b fd09::2 7001 24\n"
            "connect-short a 10.9.0.2 7001 100\ntold a\ntcp6 c\nbind c 10.9.0.1 6001\nudp4 d\nsendto d fd09::2 7001\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="do not see that an association is dissolved",
        object="observe",
        attach=("connect4", "connect6"),
        script=(
            "udp4 a\nunspec a\nconnect a 10.9.0.2 7001\nunspec a\npeername a\nsockname a\n"
            "tcp4 b\nconnect b 10.9.0.2 7001\nunspec b\npeername b\nconnect b 10.9.0.2 7002\ntold b\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see connections of a socket that is connected",
        object="observe",
        attach=("connect4",),
        script="tcp4 a\nconnect a 10.9.0.2 7001\nconnect a 10.9.0.2 7002\ntcp4 b\nbind b 10.9.0.1 6001\nlisten b\nconnect b 10.9.0.2 7001\n",
        watched=("seen",),
    ),
    Scenario(
        name="see a message that connects",
        object="observe",
        attach=("connect4", "connect6", "sendmsg4", "sendmsg6"),
        script="tcp4 a\nfastopen a 10.9.0.2 7001\ntold a\ntcp6 b\nfastopen b fd09::2 7002\ntold b\n",
        watched=("seen",),
    ),
    Scenario(
        name="see echo requests of a user",
        object="observe",
        attach=("connect4", "bind4"),
        script="ping4 a\nconnect a 10.9.0.2 0\nping4 b\nbind b 10.9.0.1 0\n",
        watched=("seen",),
    ),
    Scenario(
        name="see who calls",
        object="observe",
        attach=("connect4",),
        script="process\nuser 65533\nname another\ntcp4 a\nconnect a 10.9.0.2 7001\ntold a\n",
        watched=("seen",),
    ),
    Scenario(
        name="see the calls of children and threads",
        object="observe",
        attach=("connect4", "bind4"),
        script=(
            "process\ntcp4 a\nchild bind a 10.9.0.1 6001\nthread connect a 10.9.0.2 7001\ntold a\n"
            "tcp4 b\nchild connect b 10.9.0.2 7002\ntold b\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see connections to any address",
        object="observe",
        attach=("connect4", "connect6", "sendmsg4", "sendmsg6"),
        script=(
            "tcp6 a\nbind a :: 6001\nlisten a\ntcp4 b\nconnect b 0.0.0.0 6001\npeername b\ntcp6 c\nconnect c :: 6001\npeername c\n"
            "udp6 d\nsendto d :: 6001\nudp4 e\nsendto e 0.0.0.0 6001\nudp6 f\nconnect f :: 6001\npeername f\n"
        ),
        watched=("seen",),
    ),
    Scenario(
        name="see the names of sockets that serve",
        object="observe",
        attach=("getsockname4", "getpeername4", "connect4"),
        script="tcp4 a\nbind a 127.0.0.1 0\nlisten a\ntcp4 b\nmeet b a c\nsockname a\nsockname c\npeername c\npeername b\npeername a\n",
        watched=("seen",),
    ),
)

_DENIED: Final = (
    Scenario(
        name="deny a port to connections",
        object="firewall",
        attach=_JUDGED,
        maps=(_port(7001),),
        script=_TALK4.format(port=7001) + _NAMES + "connect a 10.9.0.2 7002\ntold a\n" + _TALK6.format(port=7001),
        watched=("denied", "users", "names"),
    ),
    Scenario(
        name="deny a port to a connection that does not block",
        object="firewall",
        attach=("connect4",),
        maps=(_port(7001),),
        script="tcp4 a\nnonblocking a\nconnect a 10.9.0.2 7001\nwait a\nconnect a 10.9.0.2 7002\nwait a\ntold a\n",
        watched=("denied",),
    ),
    Scenario(
        name="deny a port to datagrams",
        object="firewall",
        attach=_JUDGED,
        maps=(_port(7001),),
        script=(
            "udp4 a\nsendto a 10.9.0.2 7001\nsendto a 10.9.0.2 7002\nrecvfrom a\nconnect a 10.9.0.2 7001\nconnect a 10.9.0.2 7002\n"
            "send a\ntold a\nudp6 b\nsendto b fd09::2 7001\nsendmsg b fd09::2 7002\nrecvfrom b\n"
        ),
        watched=("denied",),
    ),
    Scenario(
        name="deny some datagrams of one call",
        object="firewall",
        attach=("sendmsg4",),
        maps=(_port(7002),),
        script=(
            "udp4 a\nsendmmsg a 10.9.0.2 7001 10.9.0.2 7002 10.9.0.2 7001\nrecvfrom a\n"
            "sendmmsg a 10.9.0.2 7002 10.9.0.2 7001\n"
        ),
        watched=("denied",),
    ),
    Scenario(
        name="deny prefixes with an exception",
        object="firewall",
        attach=_JUDGED,
        maps=(_prefix("10.9.0.0/16"), _prefix("10.9.0.4/32", blocked=False)),
        script=(
            "tcp4 a\nconnect a 10.9.0.2 7001\nconnect a 10.9.0.4 7001\ntold a\nudp4 b\nsendto b 10.9.0.2 7001\n"
            "sendto b 10.9.0.4 7001\nrecvfrom b\nconnect b 10.9.0.2 7001\n"
        ),
        watched=("denied",),
    ),
    Scenario(
        name="deny prefixes of IPv6",
        object="firewall",
        attach=_JUDGED,
        maps=(_prefix("fd09::/64"), _prefix("fd09::4/128", blocked=False), _prefix("::ffff:10.9.0.2/128")),
        script=(
            "tcp6 a\nconnect a fd09::2 7001\nconnect a fd09::4 7001\ntold a\nudp6 b\nsendto b fd09::2 7001\n"
            "sendto b fd09::4 7001\nrecvfrom b\ntcp6 c\nconnect c ::ffff:10.9.0.2 7001\n"
            "connect c ::ffff:10.9.0.4 7001\ntold c\n"
        ),
        watched=("denied",),
    ),
    Scenario(
        name="deny binds",
        object="firewall",
        attach=_JUDGED,
        maps=(_port(6001), _prefix("10.9.0.3/32"), _prefix("::1/128")),
        script=(
            "tcp4 a\nbind a 10.9.0.1 6001\nbind a 10.9.0.3 6002\nbind a 10.9.0.1 6002\nsockname a\nudp6 b\nbind b ::1 6002\n"
            "bind b :: 6001\nbind b :: 0\nsockname b\ntcp4 c\nlisten c\nsockname c\n"
        ),
        watched=("denied",),
    ),
    Scenario(
        name="count by thread, user, name and socket",
        object="firewall",
        attach=_JUDGED,
        script=(
            "process\ntcp4 a\ncookies a\nconnect a 10.9.0.2 7001\nudp4 b\ncookies b\nsendto b 10.9.0.2 7001\nsendto b 10.9.0.2 7001\n"
            "name renamed\nsendto b 10.9.0.2 7002\nuser 65534\nsendto b 10.9.0.2 7002\ntcp6 c\ncookies c\nbind c ::1 0\n"
        ),
        watched=("threads", "users", "names", "sockets", "denied"),
    ),
    Scenario(
        name="fail with an errno of the program's own",
        object="verdicts",
        attach=("connect4", "sendmsg4"),
        maps=(_error(113),),
        script="tcp4 a\nconnect a 10.9.0.2 7001\nudp4 b\nsendto b 10.9.0.2 7001\nconnect b 10.9.0.2 7001\n",
    ),
    Scenario(
        name="bind to a low port without the privilege",
        object="verdicts",
        attach=("bind4", "bind6"),
        script="user 65534\ntcp4 a\nbind a 10.9.0.1 80\nsockname a\ntcp6 b\nbind b fd09::1 81\nsockname b\n",
    ),
)

_REWRITTEN: Final = (
    Scenario(
        name="redirect a connection to another port",
        object="rewrite",
        attach=("connect4",),
        maps=(_change("connect4", "10.9.0.2", 7001, to=(None, 7002)),),
        script=_TALK4.format(port=7001) + _NAMES,
    ),
    Scenario(
        name="redirect a connection to another address",
        object="rewrite",
        attach=("connect4",),
        maps=(_change("connect4", "10.9.0.9", 0, to=("10.9.0.4", None)),),
        script="tcp4 a\nconnect a 10.9.0.9 7002\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect a connection that does not block",
        object="rewrite",
        attach=("connect4",),
        maps=(_change("connect4", "10.9.0.9", 7009, to=("10.9.0.2", 7002)),),
        script="tcp4 a\nnonblocking a\nconnect a 10.9.0.9 7009\nwait a\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect connections to where nobody listens",
        object="rewrite",
        attach=("connect4", "connect6"),
        maps=(
            _change("connect4", "10.9.0.2", 7001, to=(None, 7009)),
            _change("connect6", "fd09::2", 7001, to=(None, 7009)),
        ),
        script=_TALK4.format(port=7001) + _TALK6.format(port=7001),
    ),
    Scenario(
        name="redirect a connection over IPv6",
        object="rewrite",
        attach=("connect6",),
        maps=(_change("connect6", "fd09::9", 7001, to=("fd09::4", 7002)),),
        script="tcp6 a\nconnect a fd09::9 7001\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect a message that connects",
        object="rewrite",
        attach=("connect4", "sendmsg4"),
        maps=(_change("connect4", "10.9.0.9", 7009, to=("10.9.0.2", 7002)),),
        script="tcp4 a\nfastopen a 10.9.0.9 7009\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect mapped addresses, also from IPv6 to IPv4",
        object="rewrite",
        attach=("connect4", "connect6"),
        maps=(
            _change("connect6", "::ffff:10.9.0.9", 7001, to=("::ffff:10.9.0.2", 7002)),
            _change("connect6", "fd09::9", 7001, to=("::ffff:10.9.0.4", 7001)),
        ),
        script="tcp6 a\nconnect a ::ffff:10.9.0.9 7001\ntold a\n" + _NAMES + "tcp6 b\nconnect b fd09::9 7001\ntold b\n",
    ),
    Scenario(
        name="hide a redirection from the caller",
        object="rewrite",
        attach=("connect4", "getpeername4"),
        maps=(
            _change("connect4", "10.9.0.9", 7001, to=("10.9.0.2", 7002)),
            _change("getpeername4", "10.9.0.2", 7002, to=("10.9.0.9", 7001)),
        ),
        script="tcp4 a\nconnect a 10.9.0.9 7001\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="hide a redirection over IPv6",
        object="rewrite",
        attach=("connect6", "getpeername6", "getsockname6"),
        maps=(
            _change("connect6", "fd09::9", 7001, to=("fd09::2", 7002)),
            _change("getpeername6", "fd09::2", 7002, to=("fd09::9", 7001)),
            _change("getsockname6", "fd09::1", 0, to=("fd09::5", 1234)),
        ),
        script="tcp6 a\nconnect a fd09::9 7001\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect a connected UDP socket",
        object="rewrite",
        attach=("connect4", "sendmsg4"),
        maps=(_change("connect4", "10.9.0.9", 7001, to=("10.9.0.2", 7002)),),
        script="udp4 a\nconnect a 10.9.0.9 7001\nsend a\ntold a\n" + _NAMES,
    ),
    Scenario(
        name="redirect datagrams and hide it",
        object="rewrite",
        attach=("sendmsg4", "recvmsg4"),
        maps=(
            _change("sendmsg4", "10.9.0.9", 53, to=("10.9.0.2", 7002)),
            _change("recvmsg4", "10.9.0.2", 7002, to=("10.9.0.9", 53)),
        ),
        script=(
            "udp4 a\nsendto a 10.9.0.9 53\nrecvfrom a\nsendmsg a 10.9.0.9 53\nrecvmsg a\n"
            "sendmmsg a 10.9.0.9 53 10.9.0.2 7001\nrecvfrom a 2\n"
        ),
    ),
    Scenario(
        name="redirect datagrams over IPv6 and hide it",
        object="rewrite",
        attach=("sendmsg6", "recvmsg6"),
        maps=(
            _change("sendmsg6", "fd09::9", 53, to=("fd09::2", 7002)),
            _change("recvmsg6", "fd09::2", 7002, to=("fd09::9", 53)),
        ),
        script="udp6 a\nsendto a fd09::9 53\nrecvfrom a\nsendmsg a fd09::9 53\nrecvmsg a\n",
    ),
    Scenario(
        name="redirect mapped datagrams",
        object="rewrite",
        attach=("sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6"),
        maps=(
            _change("sendmsg4", "10.9.0.9", 53, to=("10.9.0.2", 7002)),
            _change("recvmsg4", "10.9.0.2", 7002, to=("10.9.0.9", 53)),
            _change("recvmsg6", "::ffff:10.9.0.2", 7002, to=("::ffff:10.9.0.9", 54)),
        ),
        script="udp6 a\nsendto a ::ffff:10.9.0.9 53\nrecvfrom a\nsendto a ::ffff:10.9.0.2 7001\nrecvfrom a\n",
    ),
    Scenario(
        name="redirect to where nothing can go",
        object="rewrite",
        attach=("connect4", "sendmsg4", "sendmsg6"),
        maps=(
            _change("connect4", "10.9.0.2", 7001, to=("198.51.100.1", None)),
            _change("connect4", "10.9.0.2", 7002, to=(None, 0)),
            _change("sendmsg4", "10.9.0.2", 7001, to=("198.51.100.1", None)),
            _change("sendmsg4", "10.9.0.2", 7002, to=(None, 0)),
            _change("sendmsg6", "fd09::2", 7001, to=("::ffff:10.9.0.2", None)),
            _change("sendmsg6", "fd09::2", 7002, to=(None, 0)),
        ),
        script=(
            "tcp4 a\nconnect a 10.9.0.2 7001\nconnect a 10.9.0.2 7002\nudp4 b\nsendto b 10.9.0.2 7001\nsendto b 10.9.0.2 7002\n"
            "udp6 c\nsendto c fd09::2 7001\nsendto c fd09::2 7002\n"
        ),
    ),
    Scenario(
        name="choose the source of datagrams",
        object="rewrite",
        attach=("sendmsg4",),
        maps=(_change("sendmsg4", "10.9.0.2", 7001, source="10.9.0.3"),),
        script=(
            "udp4 a\nsendto a 10.9.0.2 7001\nrecvfrom a\nsendto a 10.9.0.2 7002\nrecvfrom a\n"
            "sendmsg a 10.9.0.2 7001 10.9.0.1\nrecvfrom a\nudp4 b\nbind b 10.9.0.1 0\nsendto b 10.9.0.2 7001\n"
        ),
    ),
    Scenario(
        name="choose the source and the target of datagrams over IPv6",
        object="rewrite",
        attach=("sendmsg6",),
        maps=(_change("sendmsg6", "fd09::9", 7001, to=("fd09::2", 7002), source="fd09::1"),),
        script=(
            "udp6 a\nsendto a fd09::9 7001\nrecvfrom a\nsendto a fd09::2 7002\nrecvfrom a\n"
            "sendmsg a fd09::9 7001 fd09::3\nrecvfrom a\n"
        ),
    ),
    Scenario(
        name="choose a source that is not here",
        object="rewrite",
        attach=("sendmsg4",),
        maps=(_change("sendmsg4", "10.9.0.2", 7001, source="10.9.0.9"),),
        script="udp4 a\nsendto a 10.9.0.2 7001\nsendto a 10.9.0.2 7002\nrecvfrom a\n",
    ),
    Scenario(
        name="bind elsewhere",
        object="rewrite",
        attach=("bind4", "bind6"),
        maps=(
            _change("bind4", "10.9.0.1", 6001, to=(None, 6002)),
            _change("bind4", "10.9.0.1", 6003, to=("10.9.0.3", None)),
            _change("bind4", "0.0.0.0", 6004, to=("10.9.0.3", 6005)),
            _change("bind6", "fd09::1", 6006, to=("fd09::3", 6007)),
        ),
        script=(
            "tcp4 a\nbind a 10.9.0.1 6001\nsockname a\nudp4 b\nbind b 10.9.0.1 6003\nsockname b\ntcp4 c\nbind c 0.0.0.0 6004\n"
            "sockname c\ntcp6 d\nbind d fd09::1 6006\nsockname d\nlisten d\n"
        ),
    ),
    Scenario(
        name="bind elsewhere, where it is taken or not here",
        object="rewrite",
        attach=("bind4",),
        maps=(
            _change("bind4", "10.9.0.1", 6002, to=(None, 6001)),
            _change("bind4", "10.9.0.1", 6003, to=("10.9.0.9", None)),
        ),
        script="tcp4 a\nbind a 10.9.0.1 6001\nlisten a\ntcp4 b\nbind b 10.9.0.1 6002\nbind b 10.9.0.1 6003\nsockname b\n",
    ),
    Scenario(
        name="bind a user to a low port",
        object="rewrite",
        attach=("bind4",),
        maps=(_change("bind4", "10.9.0.1", 6001, to=(None, 80)), _change("bind4", "10.9.0.1", 81, to=(None, 6002))),
        script="user 65534\ntcp4 a\nbind a 10.9.0.1 6001\nbind a 10.9.0.1 81\nsockname a\n",
    ),
    Scenario(
        name="tell other names of servers",
        object="rewrite",
        attach=("getsockname4",),
        maps=(_change("getsockname4", "127.0.0.1", 0, to=("192.0.2.1", None)),),
        script="tcp4 a\nbind a 127.0.0.1 6001\nsockname a\nudp4 b\nbind b 127.0.0.1 6002\nsockname b\ntcp4 c\nsockname c\n",
    ),
)

_FINER: Final = (
    Scenario(
        name="choose the source of connections",
        object="source",
        attach=("connect4", "connect6"),
        maps=(_source("connect4", "10.9.0.3"), _source("connect6", "fd09::3")),
        script=_TALK4.format(port=7001) + _NAMES + _TALK6.format(port=7001) + _NAMES,
        watched=("results",),
    ),
    Scenario(
        name="choose the source of connected UDP and of sockets that are bound",
        object="source",
        attach=("connect4", "connect6"),
        maps=(_source("connect4", "10.9.0.3"),),
        script=(
            "udp4 a\nconnect a 10.9.0.2 7001\nsend a\ntold a\nsockname a\ntcp4 b\nbind b 10.9.0.1 6001\nconnect b 10.9.0.2 7001\ntold b\n"
            "sockname b\ntcp4 c\nnonblocking c\nconnect c 10.9.0.2 7001\nwait c\nconnect c 10.9.0.2 7001\ntold c\n"
        ),
        watched=("results",),
    ),
    Scenario(
        name="choose sources that cannot be",
        object="source",
        attach=("connect4", "connect6"),
        maps=(_source("connect4", "10.9.0.9"), _source("connect6", "fd09::9")),
        script=_TALK4.format(port=7001) + _TALK6.format(port=7001),
        watched=("results",),
    ),
    Scenario(
        name="choose the source's port",
        object="source",
        attach=("connect4", "connect6"),
        maps=(_source("connect4", "10.9.0.3", 6011), _source("connect6", "fd09::3", 6012)),
        script=_TALK4.format(port=7001) + _TALK6.format(port=7001),
        watched=("results",),
    ),
    Scenario(
        name="read parts of fields of IPv4",
        object="narrow",
        attach=("connect4", "bind4", "sendmsg4"),
        script=(
            "tcp4 a\nbind a 10.9.0.1 6001\nconnect a 10.9.0.2 7001\ntold a\nudp4 b\nsendto b 10.9.0.2 7001\n"
            "sendmsg b 10.9.0.2 7002 10.9.0.3\n"
        ),
        watched=("parts",),
    ),
    Scenario(
        name="read parts of fields of IPv6, write double words",
        object="narrow",
        attach=("connect6", "bind6", "sendmsg6"),
        maps=(_words("connect6", "fd09::4"), _words("bind6", "fd09::3"), _words("sendmsg6", "fd09::4")),
        script=(
            "tcp6 a\nbind a fd09::1 6001\nsockname a\nconnect a fd09::9 7001\ntold a\nudp6 b\nsendmsg b fd09::9 7002 fd09::3\nrecvfrom b\n"
        ),
        watched=("parts",),
    ),
    Scenario(
        name="look at the socket",
        object="endpoint",
        attach=("connect4", "bind4", "sendmsg4", "getpeername4", "getsockname4"),
        script=(
            "tcp4 a\noption a SO_MARK 7\noption a SO_PRIORITY 5\nbind a 10.9.0.1 6001\nconnect a 10.9.0.2 7001\ntold a\n"
            + _NAMES
            + "udp4 b\nsendto b 10.9.0.2 7001\nrecvfrom b\nconnect b 10.9.0.2 7001\nconnect b 10.9.0.2 7002\n"
        ),
        watched=("ends",),
    ),
    Scenario(
        name="look at the socket over IPv6",
        object="endpoint",
        attach=("connect6", "bind6", "sendmsg6", "getpeername6", "getsockname6"),
        script=(
            "tcp6 a\nbind a fd09::1 6001\nconnect a fd09::2 7001\ntold a\n"
            + _NAMES
            + "udp6 b\nconnect b fd09::2 7001\n"
            "connect b fd09::2 7002\n"
        ),
        watched=("ends",),
    ),
)

_ORDERED: Final = (
    Scenario(
        name="run programs in order",
        object="order",
        attach=("first:connect4", "second:connect4", "third:connect4"),
        maps=_plans((1, 0), (1, 0), (1, 0)),
        script=_TALK4.format(port=7001),
        watched=("steps",),
    ),
    Scenario(
        name="the last of several programs rejects",
        object="order",
        attach=("third:connect4", "second:connect4", "first:connect4"),
        maps=_plans((0, 0), (1, 0), (1, 0)),
        script=_TALK4.format(port=7001),
        watched=("steps",),
    ),
    Scenario(
        name="the last of several programs redirects",
        object="order",
        attach=("first:connect4", "second:connect4"),
        maps=_plans((1, 0), (1, 7002), (1, 0)),
        script=_TALK4.format(port=7001),
        watched=("steps",),
    ),
    Scenario(
        name="the first of several programs rejects",
        object="order",
        attach=("first:connect4", "second:connect4", "third:connect4"),
        maps=_plans((0, 0), (1, 0), (1, 0)),
        script=_TALK4.format(port=7001),
        watched=("steps",),
    ),
    Scenario(
        name="the first of several programs redirects",
        object="order",
        attach=("first:connect4", "second:connect4"),
        maps=_plans((1, 7002), (1, 0), (1, 0)),
        script=_TALK4.format(port=7001),
        watched=("steps",),
    ),
    Scenario(
        name="connections established",
        object="established",
        attach=("established:sockops",),
        script=(
            _TALK4.format(port=7001)
            + _NAMES
            + "tcp6 b\nconnect b fd09::2 7002\ntold b\ntcp4 c\nnonblocking c\nconnect c 10.9.0.2 7002\nwait c\nconnect c 10.9.0.2 7002\n"
            "tcp4 d\nconnect d 10.9.0.2 7009\n"
        ),
        watched=("connections",),
    ),
    Scenario(
        name="connections accepted",
        object="established",
        attach=("established:sockops",),
        script="tcp4 a\nbind a 127.0.0.1 0\nlisten a\ntcp4 b\nmeet b a c\nsockname a\nsockname c\npeername c\n",
        watched=("connections",),
    ),
)

SCENARIOS: Final = (*_PLAIN, *_DENIED, *_REWRITTEN, *_FINER, *_ORDERED)
