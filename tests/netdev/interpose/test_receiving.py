"""Connections and addresses that processes are given: seen, denied, rewritten, and otherwise as the kernel gives them."""

from __future__ import annotations

import contextlib
import errno
import socket

import pytest

from netdev.interpose import ALLOW, Action, Decision, Event, Fact, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, DENY, ROOT, Script, inet, python, supervise

pytestmark = ROOT

C = SocketCall

ACCEPT = """
import socket, sys, os, fcntl
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
for _ in range(int(sys.argv[1])):
    connection, peer = server.accept()
    print(peer[1], fcntl.fcntl(connection, fcntl.F_GETFD), connection.recv(9).decode(), connection.getpeername()[1], flush=True)
"""


def _client(port: int, text: bytes) -> socket.socket:
    own = socket.create_connection(("127.0.0.1", port), timeout=10)
    own.sendall(text)
    return own


@BOTH
def test_accepted_connections_become_the_processes_own(loops: InterposeLoops) -> None:
    """Accept gives the peer's address and a descriptor that is closed on exec; the policy sees both ends."""
    policy = Script(C.ACCEPT, C.ACCEPTED, C.ESTABLISHED_PASSIVE, needs=Fact.COOKIE)
    with Supervisor(policy, loops=loops) as supervisor:
        child = supervisor.run(python(ACCEPT, 1), stdout=-1)
        assert child.process.stdout
        port = int(child.process.stdout.readline())
        with _client(port, b"hi") as client:
            own = client.getsockname()[1]
            assert child.process.stdout.readline() == f"{own} 1 hi {own}\n".encode()
        assert child.wait(10) == 0
        assert supervisor.wait_for_all(5)
    assert [name for name, _ in policy.seen] == ["ACCEPT", "ACCEPTED"]
    before, after = policy.events
    assert before.address[:8] == inet("127.0.0.1", port)[:8]
    assert (after.address, after.local) == (inet("127.0.0.1", own), inet("127.0.0.1", port))
    assert after.cookie not in {0, before.cookie}
    assert [name for name, _ in policy.told] == ["ESTABLISHED_PASSIVE", "ACCEPTED"]


@BOTH
def test_a_denied_connection_is_closed_and_never_seen(loops: InterposeLoops) -> None:
    """The peer is hung up on, and accept goes on waiting for the next."""
    ports: list[int] = []

    def decide(event: SocketEvent) -> Decision:
        ports.append(int.from_bytes(event.address[2:4], "big"))
        return DENY if len(ports) == 1 else ALLOW

    with Supervisor(Script(C.ACCEPTED, decide=decide), loops=loops) as supervisor:
        child = supervisor.run(python(ACCEPT, 1), stdout=-1)
        assert child.process.stdout
        port = int(child.process.stdout.readline())
        with _client(port, b"one") as first:
            with contextlib.suppress(ConnectionResetError):
                assert first.recv(9) == b""
            with _client(port, b"two") as second:
                own = second.getsockname()[1]
                assert child.process.stdout.readline() == f"{own} 1 two {own}\n".encode()
        assert child.wait(10) == 0


@BOTH
def test_accept_can_be_denied_beforehand(loops: InterposeLoops) -> None:
    """The call fails with the errno and the connection stays in the queue."""
    code = """
import socket
s = socket.create_server(("127.0.0.1", 0))
c = socket.create_connection(s.getsockname())
for _ in range(2):
    try: print(s.accept()[1] == c.getsockname())
    except OSError as e: print(e.errno)
"""
    answers = [Decision(Action.DENY, errno.EMFILE), ALLOW]
    policy = Script(C.ACCEPT, decide=lambda _: answers.pop(0))
    assert supervise(policy, loops, python(code)).out == f"{errno.EMFILE}\nTrue\n"


@BOTH
def test_accept_without_waiting_and_without_an_address(loops: InterposeLoops) -> None:
    """EAGAIN stays EAGAIN, SOCK_NONBLOCK arrives, NULL for the address is allowed, and mistakes fail as ever."""
    code = """
import ctypes, socket, fcntl, os
libc = ctypes.CDLL(None, use_errno=True)
s = socket.create_server(("127.0.0.1", 0)); s.setblocking(False)
def accept4(fd, a, l, flags):
    r = libc.accept4(fd, a, l, flags)
    return r if r >= 0 else -ctypes.get_errno()
print(accept4(s.fileno(), None, None, 0), accept4(0, None, None, 0), accept4(s.fileno(), None, None, 77), accept4(999, None, None, 0))
c = [socket.create_connection(s.getsockname()) for _ in range(3)]
fd = accept4(s.fileno(), None, None, socket.SOCK_NONBLOCK)
print(fd > 0, bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK), fcntl.fcntl(fd, fcntl.F_GETFD))
a = ctypes.create_string_buffer(b"z" * 16, 16); l = ctypes.c_int(4)
print(accept4(s.fileno(), a, ctypes.byref(l), 0) > 0, l.value, a.raw[:2], a.raw[4:6])
print(accept4(s.fileno(), ctypes.c_void_p(8), ctypes.byref(l), 0))
"""
    import subprocess

    alone = subprocess.run(python(code), capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL).stdout
    assert supervise(Script(C.ACCEPTED), loops, python(code)).out == alone


@BOTH
def test_names_are_rewritten(loops: InterposeLoops) -> None:
    """Getsockname and getpeername tell what the policy wrote, for AF_UNIX what is true; a short buffer gets a part."""
    code = """
import ctypes, socket, struct
u = socket.socket(type=socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); u.connect(("127.0.0.1", 9))
print(u.getsockname(), u.getpeername())
a, b = socket.socketpair(); print(repr(a.getsockname()))
libc = ctypes.CDLL(None, use_errno=True)
l = ctypes.c_int(6); buffer = ctypes.create_string_buffer(b"x" * 16, 16)
print(libc.getpeername(u.fileno(), buffer, ctypes.byref(l)), l.value, buffer.raw[4:8])
l = ctypes.c_int(-1); print(libc.getpeername(u.fileno(), buffer, ctypes.byref(l)), ctypes.get_errno())
print(socket.socket().connect_ex(("127.0.0.1", 9)))
try: socket.socket().getpeername()
except OSError as e: print(e.errno)
"""

    def decide(event: SocketEvent) -> Decision:
        event.address = inet("192.0.2.1", 77) if event.call is C.GETPEERNAME else inet("192.0.2.2", 88)
        return ALLOW

    out = supervise(Script(C.GETPEERNAME, C.GETSOCKNAME, decide=decide), loops, python(code)).out
    assert out == (
        "('192.0.2.2', 88) ('192.0.2.1', 77)\n''\n0 16 b'\\xc0\\x00xx'\n"
        f"-1 {errno.EINVAL}\n{errno.ECONNREFUSED}\n{errno.ENOTCONN}\n"
    )


@BOTH
def test_senders_of_datagrams_are_rewritten(loops: InterposeLoops) -> None:
    """recvfrom, recvmsg and recvmmsg tell another sender; data, control data, flags and lengths are untouched."""
    code = """
import ctypes, socket, struct
u = socket.socket(type=socket.SOCK_DGRAM); u.bind(("127.0.0.1", 0)); u.setsockopt(0, 8, 1)
s = socket.socket(type=socket.SOCK_DGRAM)
for _ in range(5): s.sendto(b"datagram", u.getsockname())
print(u.recvfrom(99))
data, control, flags, peer = u.recvmsg(4, 99); print(data, [(a, b, c[4:]) for a, b, c in control], flags & socket.MSG_TRUNC, peer)
print(u.recvfrom(99, socket.MSG_PEEK)[0])
libc = ctypes.CDLL(None, use_errno=True)
keep, array = [], b""
for _ in range(3):
    name, buffer = ctypes.create_string_buffer(16), ctypes.create_string_buffer(9)
    vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(buffer), 9))
    keep.append((name, buffer, vector))
    array += struct.pack("=QI4xQQQQi4xI4x", ctypes.addressof(name), 16, ctypes.addressof(vector), 1, 0, 0, 0, 0)
array = ctypes.create_string_buffer(array, len(array))
print(libc.recvmmsg(u.fileno(), array, 3, 0, None), [(k[0].raw[2:8], k[1].raw[:8]) for k in keep], struct.unpack_from("=I", array, 56)[0])
u.setblocking(False)
try: u.recvfrom(9)
except OSError as e: print(e.errno)
"""

    def decide(event: SocketEvent) -> Decision:
        assert event.address[4:8] == bytes([127, 0, 0, 1])
        event.address = inet("192.0.2.9", 99)
        return ALLOW

    out = supervise(Script(C.RECVMSG, decide=decide), loops, python(code)).out.splitlines()
    name = b"\x00c\xc0\x00\x02\x09"
    assert out == [
        "(b'datagram', ('192.0.2.9', 99))",
        f"b'data' [(0, 8, b'\\x7f\\x00\\x00\\x01\\x7f\\x00\\x00\\x01')] {socket.MSG_TRUNC} ('192.0.2.9', 99)",
        "b'datagram'",
        f"3 {[(name, b'datagram')] * 3} 8",
        str(errno.EAGAIN),
    ]


@BOTH
@pytest.mark.parametrize("waits", [True, False])
def test_opened_connections_are_told(loops: InterposeLoops, waits: bool) -> None:
    """ESTABLISHED_ACTIVE comes with both ends, also of a connect that did not wait; never of one that failed."""
    code = """
import socket, sys, select, time
s = socket.socket(); s.setblocking(sys.argv[2] == "True")
s.connect_ex(("127.0.0.1", int(sys.argv[1]))); select.select([], [s], []); print(s.getsockname()[1])
f = socket.socket(); f.setblocking(s.getblocking()); f.connect_ex(("127.0.0.1", 9)); time.sleep(0.3)
"""
    policy = Script(C.ESTABLISHED_ACTIVE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended = supervise(policy, loops, python(code, port, waits))
    assert (policy.seen, policy.told) == ([], [("ESTABLISHED_ACTIVE", 0)])
    (event,) = ended.events
    assert (event.local, event.remote) == (inet("127.0.0.1", int(ended.out)), inet("127.0.0.1", port))
    assert event[Event.CALL] == C.ESTABLISHED_ACTIVE


@BOTH
def test_ends_of_connections_are_told(loops: InterposeLoops) -> None:
    """CLOSED comes for the connecting and the accepting end, with their addresses, when the sockets are gone."""
    code = """
import socket, time
s = socket.create_server(("127.0.0.1", 0)); c = socket.socket(); c.connect(s.getsockname()); a, peer = s.accept()
print(s.getsockname()[1], peer[1], flush=True); c.close(); a.close(); time.sleep(0.5)
"""
    policy = Script(C.CLOSED)
    ended = supervise(policy, loops, python(code))
    listening, connecting = (inet("127.0.0.1", int(word)) for word in ended.out.split())
    assert policy.told == [("CLOSED", 0)] * 2
    assert {(event.local, event.remote) for event in ended.events} == {
        (listening, connecting),
        (connecting, listening),
    }


def test_coverage_says_what_holds() -> None:
    """Every event and every way around has a row, whose status follows what the policy wants."""
    with Supervisor(Script(C.CONNECT, C.CLOSED)) as supervisor:
        rows = {row.what: row for row in supervisor.coverage()}
    assert {rows[call.name.lower()].status for call in C if call not in {C.CONNECT, C.CLOSED}} == {"open"}
    assert (rows["connect"].status, rows["closed"].status, rows["io_uring"].status) == ("enforced", "told", "refused")
    assert rows["connect"].how == "connect, sendto, sendmsg, sendmmsg"
