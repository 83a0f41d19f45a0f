"""`python -IS traffic.py < SCRIPT`: carries out socket calls line by line and says what came of each.

A line is a verb and words; the first word mostly names a socket. What the verbs do stands at their functions. Each answers
with one line: "VERB WORDS → RESULT", where the result is "ok", a value, or the name of an errno. Standard library only: this
file is run as it is, in a cgroup with programs or under a supervisor.

Not here: who is on the other end (peer.py), and what should come out (scenarios.py).
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_NAME = 15
_SO_COOKIE, _SO_NETNS_COOKIE = 57, 71
_PATIENCE = 5.0
_KINDS = {
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
    "ping4": (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
}
_sockets: dict[str, socket.socket] = {}


def _end(name: object) -> str:
    """An address as the records have it."""
    if isinstance(name, tuple):
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"
    return repr(name)


def _is_six(name: str) -> bool:
    return _sockets[name].family == socket.AF_INET6


def _packed(host: str, port: int | str) -> bytes:
    """A sockaddr of the address's own family, whatever the socket's is."""
    if ":" in host:
        return struct.pack("=HH", socket.AF_INET6, socket.htons(int(port))) + struct.pack(
            "=I16sI", 0, socket.inet_pton(socket.AF_INET6, host), 0
        )
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(int(port)), socket.inet_aton(host))


def _raw(call: str, *arguments: object) -> int:
    result: int = getattr(_LIBC, call)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _open(name: str, kind: str) -> str:
    """tcp4 | tcp6 | udp4 | udp6 | ping4 SOCKET: make one."""
    each = _sockets[name] = socket.socket(*_KINDS[kind])
    each.settimeout(None)
    return "ok"


def _connect(name: str, host: str, port: str) -> str:
    each = _sockets[name]
    data = _packed(host, port)
    _raw("connect", each.fileno(), data, len(data))
    return "ok"


def _connect_short(name: str, host: str, port: str, length: str) -> str:
    """With a length of its own."""
    data = _packed(host, port).ljust(128, b"\0")
    _raw("connect", _sockets[name].fileno(), data, int(length))
    return "ok"


def _unspec(name: str) -> str:
    """Connect to AF_UNSPEC: dissolve the association."""
    _raw("connect", _sockets[name].fileno(), bytes(16), 16)
    return "ok"


def _wait(name: str) -> str:
    """Until it can be written, then what SO_ERROR says."""
    poller = select.poll()
    poller.register(_sockets[name], select.POLLOUT)
    if not poller.poll(_PATIENCE * 1000):
        return "nothing"
    number = _sockets[name].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode.get(number, "ok")


def _nonblocking(name: str) -> str:
    _sockets[name].setblocking(False)
    return "ok"


def _bind(name: str, host: str, port: str) -> str:
    if port.isalpha():
        port = str(_sockets[port].getsockname()[1])
    data = _packed(host, port)
    _raw("bind", _sockets[name].fileno(), data, len(data))
    return "ok"


def _listen(name: str) -> str:
    _sockets[name].listen(4)
    return "ok"


def _meet(name: str, other: str, new: str) -> str:
    """SOCKET OTHER NEW: connect SOCKET to where OTHER listens; NEW is what OTHER accepts. Says whom it accepted."""
    _sockets[name].connect(_sockets[other].getsockname()[:2])
    _sockets[new], peer = _sockets[other].accept()
    return _end(peer)


def _told(name: str) -> str:
    """What the peer tells: whom it sees at which of its addresses."""
    _sockets[name].settimeout(_PATIENCE)
    text = b""
    while data := _sockets[name].recv(512):
        text += data
        if _sockets[name].type == socket.SOCK_DGRAM:
            break
    return text.decode()


def _sockname(name: str) -> str:
    return _end(_sockets[name].getsockname())


def _peername(name: str) -> str:
    return _end(_sockets[name].getpeername())


def _send(name: str) -> str:
    return str(_sockets[name].send(b"hello"))


def _sendto(name: str, host: str, port: str) -> str:
    data = _packed(host, port)
    return str(_raw("sendto", _sockets[name].fileno(), b"hello", 5, 0, data, len(data)))


def _fastopen(name: str, host: str, port: str) -> str:
    """A message that connects."""
    data = _packed(host, port)
    return str(_raw("sendto", _sockets[name].fileno(), b"hello", 5, socket.MSG_FASTOPEN, data, len(data)))


def _control(name: str, source: str) -> list[tuple[int, int, bytes]]:
    if not source:
        return []
    if _is_six(name):
        data = socket.inet_pton(socket.AF_INET6, source) + struct.pack("=I", 0)
        return [(socket.IPPROTO_IPV6, 50, data)]  # IPV6_PKTINFO
    return [(socket.IPPROTO_IP, 8, struct.pack("=I4s4s", 0, socket.inet_aton(source), bytes(4)))]  # IP_PKTINFO


def _sendmsg(name: str, host: str, port: str, source: str = "") -> str:
    """SOCKET HOST PORT [SOURCE]: SOURCE as IP_PKTINFO."""
    return str(_sockets[name].sendmsg([b"hel", b"lo"], _control(name, source), 0, (host, int(port))))


_MMSGHDR = struct.Struct("=QI4xQQQQi4xI4x")


def _sendmmsg(name: str, *ends: str) -> str:
    """SOCKET HOST PORT HOST PORT …: all in one call; how many went and how many bytes of each."""
    names = [ctypes.create_string_buffer(data, len(data)) for data in map(_packed, ends[::2], ends[1::2])]
    text = ctypes.create_string_buffer(b"hello", 5)
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(text), 5)
    vector = ctypes.create_string_buffer(_MMSGHDR.size * len(names))
    for index, each in enumerate(names):
        head = (ctypes.addressof(each), len(each), ctypes.addressof(piece), 1)
        _MMSGHDR.pack_into(vector, _MMSGHDR.size * index, *head, 0, 0, 0, 0)
    count = _raw("sendmmsg", _sockets[name].fileno(), vector, len(names), 0)
    return f"{count} {[_MMSGHDR.unpack_from(vector, _MMSGHDR.size * index)[-1] for index in range(len(names))]}"


def _recvfrom(name: str, count: str = "1") -> str:
    """What was told, and from whom it seems to come; several are put in order."""
    _sockets[name].settimeout(_PATIENCE)
    texts = []
    for _ in range(int(count)):
        text, peer = _sockets[name].recvfrom(512)
        texts.append(f"{text.decode()} from {_end(peer)}")
    return ", ".join(sorted(texts))


def _recvmsg(name: str) -> str:
    _sockets[name].settimeout(_PATIENCE)
    text, _, _, peer = _sockets[name].recvmsg(512)
    return f"{text.decode()} from {_end(peer)}"


def _v6only(name: str, value: str) -> str:
    _sockets[name].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(value))
    return "ok"


def _option(name: str, option: str, value: str) -> str:
    _sockets[name].setsockopt(socket.SOL_SOCKET, getattr(socket, option), int(value))
    return "ok"


def _cookies(name: str) -> str:
    each = _sockets[name]
    words = [each.getsockopt(socket.SOL_SOCKET, option, 8) for option in (_SO_COOKIE, _SO_NETNS_COOKIE)]
    return "cookie {} netns {}".format(*(int.from_bytes(word, sys.byteorder) for word in words))


def _close(name: str) -> str:
    _sockets.pop(name).close()
    return "ok"


def _user(number: str) -> str:
    """Become another user, with no capabilities left."""
    os.setresgid(int(number), int(number), int(number))
    os.setresuid(int(number), int(number), int(number))
    return "ok"


def _name(text: str) -> str:
    _raw("prctl", _PR_SET_NAME, text.encode(), 0, 0, 0)
    return "ok"


def _process(_: str = "") -> str:
    return f"process {os.getpid()}"


def _child(*words: str) -> str:
    """VERB WORDS: carried out by a child, which shares the sockets."""
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        os.write(theirs, _result(list(words)).encode())
        os._exit(0)
    os.waitpid(process, 0)
    return os.read(ours, 512).decode()


def _thread(*words: str) -> str:
    """VERB WORDS: carried out by another thread."""
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(_result(list(words))))
    thread.start()
    thread.join()
    return results[0]


_VERBS: dict[str, Callable[..., str]] = {
    "connect": _connect,
    "connect-short": _connect_short,
    "unspec": _unspec,
    "wait": _wait,
    "nonblocking": _nonblocking,
    "bind": _bind,
    "listen": _listen,
    "meet": _meet,
    "told": _told,
    "sockname": _sockname,
    "peername": _peername,
    "send": _send,
    "sendto": _sendto,
    "fastopen": _fastopen,
    "sendmsg": _sendmsg,
    "sendmmsg": _sendmmsg,
    "recvfrom": _recvfrom,
    "recvmsg": _recvmsg,
    "v6only": _v6only,
    "option": _option,
    "cookies": _cookies,
    "close": _close,
    "user": _user,
    "name": _name,
    "process": _process,
    "child": _child,
    "thread": _thread,
}


def _result(line: list[str]) -> str:
    verb, *words = line
    try:
        return _open(words[0], verb) if verb in _KINDS else _VERBS[verb](*words)
    except TimeoutError:
        return "nothing"
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, f"errno {error.errno}")


def main() -> None:
    """Carry out the lines of standard input."""
    _name("traffic")
    for line in sys.stdin.read().splitlines():
        sys.stdout.write(f"{line} → {_result(line.split())}\n")
    sys.stdout.flush()
    os._exit(0)  # sockets that are tidied up ask for their names once more


if __name__ == "__main__":
    main()
