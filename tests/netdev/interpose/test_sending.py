"""Datagrams and messages of real processes: judged one by one, with all that comes with them."""

from __future__ import annotations

import errno
import socket
import subprocess

import pytest

from netdev.interpose import ALLOW, Action, Decision, InterposeLoops, SocketCall, SocketEvent
from tests.support.interposed import BOTH, DENY, ROOT, Script, inet, python, supervise

pytestmark = ROOT

C = SocketCall

SEND = """
import socket, sys
ports = [int(word) for word in sys.argv[1:]]
u = socket.socket(type=socket.SOCK_DGRAM)
def attempt(function, *words):
    try: print(function(*words))
    except OSError as e: print("errno", e.errno)
for port in ports:
    attempt(u.sendto, b"to", ("127.0.0.1", port))
    attempt(u.sendmsg, [b"mes", b"sage"], [], 0, ("127.0.0.1", port))
"""


def _receiver() -> socket.socket:
    own = socket.socket(type=socket.SOCK_DGRAM)
    own.bind(("127.0.0.1", 0))
    own.settimeout(5)
    return own


@BOTH
def test_each_datagram_is_judged(loops: InterposeLoops) -> None:
    """Those to one port arrive, those to another fail, and a third's go elsewhere."""
    with _receiver() as good, _receiver() as bad, _receiver() as old:
        ports = [own.getsockname()[1] for own in (good, bad, old)]

        def decide(event: SocketEvent) -> Decision:
            port = int.from_bytes(event.address[2:4], "big")
            if port == ports[2]:
                event.address = inet("127.0.0.1", ports[0])
                return Decision(Action.ALLOW, redirected=True)
            return ALLOW if port == ports[0] else DENY

        policy = Script(C.SENDMSG, decide=decide)
        ended = supervise(policy, loops, python(SEND, *ports))
        assert ended.out == "2\n7\nerrno 1\nerrno 1\n2\n7\n"
        assert [good.recv(99) for _ in range(4)] == [b"to", b"message", b"to", b"message"]
        for own in (bad, old):
            own.setblocking(False)
            with pytest.raises(BlockingIOError):
                own.recv(1)
    assert [result for _, result in policy.told] == [2, 7, -1, -1, 2, 7]


SENDMMSG = """
import ctypes, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
u = socket.socket(type=socket.SOCK_DGRAM)
keep, array = [], b""
for port in sys.argv[1:]:
    name = ctypes.create_string_buffer(struct.pack("=H", 2) + struct.pack(">H4s8x", int(port), socket.inet_aton("127.0.0.1")))
    data = ctypes.create_string_buffer(b"m" + port.encode())
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(data), len(port) + 1))
    keep += [name, data, vector]
    array += struct.pack("=QI4xQQQQi4xI4x", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
array = ctypes.create_string_buffer(array, len(array))
n = libc.sendmmsg(u.fileno(), array, len(sys.argv) - 1, 0)
print(n, ctypes.get_errno() if n < 0 else 0, [struct.unpack_from("=I", array, 64 * i + 56)[0] for i in range(max(n, 0))])
"""


@BOTH
def test_messages_sent_at_once_are_judged_one_by_one(loops: InterposeLoops) -> None:
    """Those before the first denied one are sent and counted; when it is the first, the call fails."""
    with _receiver() as good, _receiver() as bad:
        yes, no = good.getsockname()[1], bad.getsockname()[1]
        policy = Script(C.SENDMSG, decide=lambda e: DENY if e.address[2:4] == no.to_bytes(2, "big") else ALLOW)
        size = len(str(yes)) + 1
        assert supervise(policy, loops, python(SENDMMSG, yes, yes, no, yes)).out == f"2 0 [{size}, {size}]\n"
        assert supervise(policy, loops, python(SENDMMSG, no, yes)).out == f"-1 {errno.EPERM} []\n"
        assert [good.recv(99) for _ in range(2)] == [b"m%d" % yes] * 2


@BOTH
def test_ancillary_data_goes_with_a_message(loops: InterposeLoops) -> None:
    """The source that a message names by IP_PKTINFO is the one that it has, the policy sees it and may name another."""
    code = """
import socket, struct, sys
u = socket.socket(type=socket.SOCK_DGRAM)
info = struct.pack("=I4s4s", 0, socket.inet_aton("127.0.0.5"), bytes(4))
print(u.sendmsg([b"x"], [(0, 8, info), (0, 2, struct.pack("=i", 33))], 0, ("127.0.0.1", int(sys.argv[1]))))
"""
    for rewritten in (False, True):

        def decide(event: SocketEvent, rewritten: bool = rewritten) -> Decision:
            assert event.source == inet("127.0.0.5", 0)
            if rewritten:
                event.source = inet("127.0.0.6", 0)
            return ALLOW

        with _receiver() as own:
            own.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTTL if hasattr(socket, "IP_RECVTTL") else 12, 1)
            assert supervise(Script(C.SENDMSG, decide=decide), loops, python(code, own.getsockname()[1])).out == "1\n"
            data, control, _, source = own.recvmsg(9, 99)
        assert (data, source[0]) == (b"x", "127.0.0.6" if rewritten else "127.0.0.5")
        assert control[0][2] == (33).to_bytes(4, "little")


@BOTH
def test_an_address_without_a_family_is_judged(loops: InterposeLoops) -> None:
    """The kernel sends a datagram to AF_UNSPEC as if it were AF_INET: the policy is asked, and its no holds."""
    code = """
import ctypes, socket, struct, sys
u = socket.socket(type=socket.SOCK_DGRAM)
a = struct.pack("=H", 0) + struct.pack(">H4s8x", int(sys.argv[1]), socket.inet_aton("127.0.0.1"))
libc = ctypes.CDLL(None, use_errno=True)
print(libc.sendto(u.fileno(), b"abc", 3, 0, a, 16), ctypes.get_errno())
"""
    with _receiver() as own:
        policy = Script(C.SENDMSG, decide=lambda _: DENY)
        assert supervise(policy, loops, python(code, own.getsockname()[1])).out == "-1 1\n"
        assert supervise(Script(C.SENDMSG), loops, python(code, own.getsockname()[1])).out == "3 0\n"
        assert own.recv(9) == b"abc"


@BOTH
def test_a_connected_socket_sends_without_being_asked(loops: InterposeLoops) -> None:
    """send, write and sendmsg without an address go where the socket is connected, from one thread and from several."""
    code = """
import socket, sys, os, threading
u = socket.socket(type=socket.SOCK_DGRAM); u.connect(("127.0.0.1", int(sys.argv[1])))
def run(): print(u.send(b"a"), os.write(u.fileno(), b"bb"), u.sendmsg([b"ccc"]))
run(); t = threading.Thread(target=run); t.start(); t.join()
"""
    with _receiver() as own:
        policy = Script(C.SENDMSG, decide=lambda _: DENY)
        assert supervise(policy, loops, python(code, own.getsockname()[1])).out == "1 2 3\n" * 2
        assert [len(own.recv(9)) for _ in range(6)] == [1, 2, 3] * 2


STREAM = """
import socket, sys, threading, hashlib, signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
a, b = socket.socket(), socket.create_server(("127.0.0.1", 0))
a.connect(b.getsockname()); c, _ = b.accept()
def run():
    data = bytes(range(256)) * 20000
    done = []
    def read():
        h = hashlib.sha256()
        while got := c.recv(65536): h.update(got)
        done.append(h.hexdigest() == hashlib.sha256(data).hexdigest())
    t = threading.Thread(target=read); t.start()
    print(a.sendmsg([data[:100], data[100:]], [], 0, ("127.0.0.9", 1)))
    a.shutdown(socket.SHUT_WR); t.join(); print(done)
    try: a.sendmsg([b"x"], [], socket.MSG_NOSIGNAL)
    except OSError as e: print(e.errno)
    sys.stdout.flush()
    a.sendmsg([b"x"])
if len(sys.argv) > 1: t = threading.Thread(target=run); t.start(); t.join()
else: run()
"""


@BOTH
@pytest.mark.parametrize("threads", [[], ["more"]], ids=["alone", "threads"])
def test_streams_carry_on(loops: InterposeLoops, threads: list[str]) -> None:
    """Messages of TCP are complete, their addresses mean nothing, and a broken pipe raises SIGPIPE unless MSG_NOSIGNAL."""
    policy = Script(C.SENDMSG, decide=lambda _: DENY)
    ended = supervise(policy, loops, python(STREAM, *threads))
    assert (ended.out, ended.code) == (f"5120000\n[True]\n{errno.EPIPE}\n", 128 + 13)
    assert policy.seen == []


@BOTH
def test_a_message_that_opens_a_connection_is_a_connect(loops: InterposeLoops) -> None:
    """MSG_FASTOPEN with an address is asked about as connect, by sendto and by sendmsg, and may be denied."""
    code = """
import socket, sys
port = int(sys.argv[1])
for way in ("sendto", "sendmsg"):
    s = socket.socket()
    try: print(s.sendto(b"fast", 0x20000000, ("127.0.0.1", port)) if way == "sendto" else s.sendmsg([b"fast"], [], 0x20000000, ("127.0.0.1", port)))
    except OSError as e: print("errno", e.errno)
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        policy = Script(C.CONNECT)
        assert supervise(policy, loops, python(code, port)).out == "4\n4\n"
        assert policy.seen == [("CONNECT", inet("127.0.0.1", port))] * 2
        for _ in range(2):
            with server.accept()[0] as connection:
                assert connection.recv(9) == b"fast"
        assert supervise(Script(C.CONNECT, decide=lambda _: DENY), loops, python(code, port)).out == "errno 1\n" * 2
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


MISTAKES = """
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
u = socket.socket(type=socket.SOCK_DGRAM)
a = struct.pack("=H", 2) + struct.pack(">H4s8x", 9, socket.inet_aton("127.0.0.1"))
def sendto(fd, data, size, flags, address, length):
    r = libc.sendto(fd, ctypes.c_void_p(data) if isinstance(data, int) else data, ctypes.c_size_t(size), flags, address, length)
    return r if r >= 0 else -ctypes.get_errno()
def sendmsg(fd, name=a, namelen=16, base=None, size=3, count=1, control=b"", clen=None, flags=0):
    n = ctypes.create_string_buffer(name); d = ctypes.create_string_buffer(b"abc")
    v = ctypes.create_string_buffer(struct.pack("=QQ", base or ctypes.addressof(d), size) * max(1, min(count, 2000)))
    c = ctypes.create_string_buffer(control, max(1, len(control)))
    h = struct.pack("=QI4xQQQQi4x", ctypes.addressof(n), namelen, ctypes.addressof(v), count, ctypes.addressof(c) if control else 0, len(control) if clen is None else clen, 0)
    r = libc.sendmsg(fd, h, flags)
    return r if r >= 0 else -ctypes.get_errno()
f = u.fileno()
print(sendto(f, b"abc", 3, 0, a, 16), sendto(f, b"", 0, 0, a, 16), sendto(f, 1, 3, 0, a, 16), sendto(f, b"a" * 70000, 70000, 0, a, 16),
      sendto(f, b"abc", 3, 0, a, 200), sendto(f, b"abc", 3, 0, a, -1), sendto(f, b"abc", 3, 0, a, 8), sendto(f, b"abc", 3, 1, a, 16), sendto(777, b"", 0, 0, a, 16))
print(sendmsg(f), sendmsg(f, count=0), sendmsg(f, count=1025), sendmsg(f, base=1), sendmsg(f, namelen=8), sendmsg(f, namelen=0),
      sendmsg(f, control=b"x" * 24), sendmsg(f, control=struct.pack("=QIII4x", 20, 0, 2, 300)), sendmsg(f, size=70000, base=None), sendmsg(f, flags=1), sendmsg(0))
print(libc.sendmsg(f, ctypes.c_void_p(8), 0), ctypes.get_errno())
"""


@BOTH
def test_mistakes_in_messages_fail_as_the_kernel_fails_them(loops: InterposeLoops) -> None:
    """Sizes, pointers, counts and control data out of range give what they give without supervision."""
    alone = subprocess.run(
        python(MISTAKES), capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    ).stdout
    assert supervise(Script(C.SENDMSG), loops, python(MISTAKES)).out == alone
