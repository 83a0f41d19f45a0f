"""connect, bind and listen of real processes: let through, denied and turned elsewhere."""

from __future__ import annotations

import errno
import os
import socket
import threading
from typing import Self

import pytest

from netdev.interpose import ALLOW, Action, Decision, Event, Fact, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, DENY, ROOT, Script, inet, inet6, native_policy, python, supervise

pytestmark = ROOT

C = SocketCall

CONNECT = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
s.settimeout(None)
print(s.connect_ex((host, port)))
if len(sys.argv) > 3: print(s.recv(100).decode(), s.getpeername()[0])
"""


class Greeter:
    """A server on loopback that greets and hangs up."""

    def __init__(self, greeting: str, family: int = socket.AF_INET) -> None:
        self.socket = socket.create_server(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0), family=family)
        self.port = self.socket.getsockname()[1]
        self._greeting = greeting.encode()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                connection.sendall(self._greeting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


@BOTH
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_allowed_connect_connects(loops: InterposeLoops, host: str) -> None:
    """The policy sees the address as the process gave it, and the connection is the process's own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    policy = Script(C.CONNECT)
    with Greeter("hello", family) as server:
        ended = supervise(policy, loops, python(CONNECT, host, server.port, "read"))
        make = inet6 if ":" in host else inet
        assert policy.seen == [("CONNECT", make(host, server.port))]
    assert (ended.code, ended.out) == (0, f"0\nhello {host}\n")
    assert policy.told == [("CONNECT", 0)]


@BOTH
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES, errno.ECONNREFUSED, errno.ENETUNREACH])
def test_a_denied_connect_fails_with_the_errno(loops: InterposeLoops, number: int) -> None:
    """Nothing reaches the server, and the process gets the number that the policy named."""
    policy = Script(C.CONNECT, decide=lambda _: Decision(Action.DENY, number))
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = supervise(policy, loops, python(CONNECT, "127.0.0.1", server.getsockname()[1]))
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert ended.out == f"{number}\n"
    assert [event[Event.RESULT] for event in ended.events] == [(1 << 64) - number]


@BOTH
def test_a_rewritten_connect_goes_elsewhere(loops: InterposeLoops) -> None:
    """The process connects to one server and speaks with another, as getpeername tells."""
    with Greeter("proxy") as proxy, Greeter("original") as original:

        def decide(event: SocketEvent) -> Decision:
            event.address = inet("127.0.0.1", proxy.port)
            return Decision(Action.ALLOW, redirected=True)

        ended = supervise(Script(C.CONNECT, decide=decide), loops, python(CONNECT, "127.0.0.1", original.port, "read"))
    assert ended.out == "0\nproxy 127.0.0.1\n"
    assert ended.events[0].redirected


@BOTH
def test_an_authorization_sees_where_a_connect_goes(loops: InterposeLoops) -> None:
    """It is asked after the connect was rewritten, with the new address, and may still deny it."""

    def decide(event: SocketEvent) -> Decision:
        if event.call is C.CONNECT_AUTHORIZATION:
            return DENY
        event.address = inet("127.0.0.2", 7)
        return Decision(Action.ALLOW, redirected=True)

    policy = Script(C.CONNECT, C.CONNECT_AUTHORIZATION, decide=decide)
    ended = supervise(policy, loops, python(CONNECT, "127.0.0.1", 9))
    assert policy.seen == [("CONNECT", inet("127.0.0.1", 9)), ("CONNECT_AUTHORIZATION", inet("127.0.0.2", 7))]
    assert ended.out == f"{errno.EPERM}\n"


ERRORS = """
import ctypes, socket, struct, os
libc = ctypes.CDLL(None, use_errno=True)
def connect(fd, address, length):
    return 0 if libc.connect(fd, address, length) == 0 else ctypes.get_errno()
s = socket.socket()
good = struct.pack("=H", 2) + struct.pack(">H4s8x", 9, socket.inet_aton("127.0.0.1"))
six = struct.pack("=H", 10) + struct.pack(">HI16sI", 9, 0, socket.inet_pton(10, "::1"), 0)
null = os.open("/dev/null", os.O_RDONLY)
print(connect(999, good, 16), connect(-1, good, 16), connect(null, good, 16), connect(s.fileno(), good, -1),
      connect(s.fileno(), good, 129), connect(s.fileno(), 1, 16), connect(s.fileno(), good, 0), connect(s.fileno(), good, 1),
      connect(s.fileno(), good, 8), connect(s.fileno(), six, 28), connect(s.fileno(), good, 16), s.connect_ex(("127.0.0.1", 9)))
u = socket.socket(type=socket.SOCK_DGRAM)
print(connect(u.fileno(), good, 16), connect(u.fileno(), bytes(16), 16), connect(u.fileno(), bytes(2), 2))
try: u.getpeername()
except OSError as e: print(e.errno)
"""


@BOTH
def test_mistakes_fail_as_the_kernel_fails_them(loops: InterposeLoops) -> None:
    """Bad descriptors, lengths, pointers and families give the same errors with and without supervision."""
    import subprocess

    alone = subprocess.run(python(ERRORS), capture_output=True, text=True, check=True).stdout
    assert supervise(Script(C.CONNECT), loops, python(ERRORS)).out == alone


@BOTH
def test_a_disconnect_is_not_asked_about_but_done(loops: InterposeLoops) -> None:
    """Connecting to AF_UNSPEC takes the peer away even where every connect is denied."""
    code = """
import socket, ctypes, sys
s = socket.socket(fileno=int(sys.argv[1]))
print(ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16))
try: s.getpeername()
except OSError as e: print(e.errno)
"""
    with socket.socket(type=socket.SOCK_DGRAM) as own:
        own.connect(("127.0.0.1", 9))
        with Supervisor(Script(C.CONNECT, decide=lambda _: DENY), loops=loops) as supervisor:
            child = supervisor.run(python(code, own.fileno()), stdout=-1, pass_fds=[own.fileno()])
            out = child.process.communicate()[0]
    assert out == f"0\n{errno.ENOTCONN}\n".encode()


@BOTH
def test_a_socket_that_does_not_wait_keeps_not_waiting(loops: InterposeLoops) -> None:
    """A connect that takes long gives EINPROGRESS, then EALREADY, and the flag of the description stays."""
    code = """
import socket, fcntl, os, sys
s = socket.socket(fileno=int(sys.argv[1]))
port = s.getsockname()[1]
held = []
for _ in range(8):  # fill the backlog, so that the next one waits
    c = socket.socket(); c.setblocking(False); held.append((c.connect_ex(("127.0.0.1", port)), c))
c = held[-1][1]
print(held[0][0], held[-1][0], c.connect_ex(("127.0.0.1", port)), bool(fcntl.fcntl(c, fcntl.F_GETFL) & os.O_NONBLOCK))
"""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen(0)
        with Supervisor(Script(C.CONNECT), loops=loops) as supervisor:
            child = supervisor.run(python(code, own.fileno()), stdout=-1, pass_fds=[own.fileno()])
            out = child.process.communicate(timeout=20)[0]
    assert out == f"{errno.EINPROGRESS} {errno.EINPROGRESS} {errno.EALREADY} True\n".encode()


BIND = """
import socket, sys
s = socket.socket(type=getattr(socket, sys.argv[1]))
try:
    s.bind(("127.0.0.1", int(sys.argv[2])))
    if sys.argv[1] == "SOCK_STREAM": s.listen(7)
    print(s.getsockname()[1] > 0, s.getsockname()[0])
except OSError as e: print(e.errno)
"""


@BOTH
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_bind_and_listen_are_asked_about(loops: InterposeLoops, kind: str) -> None:
    """Each with its address; the backlog is there."""
    policy = Script(C.BIND, C.LISTEN)
    assert supervise(policy, loops, python(BIND, kind, 0)).out == "True 127.0.0.1\n"
    assert policy.seen[0] == ("BIND", inet("127.0.0.1", 0))
    if kind == "SOCK_STREAM":
        assert policy.events[1].call is C.LISTEN
        assert policy.events[1].backlog == 7
        assert policy.events[1].address[4:8] == bytes([127, 0, 0, 1])


@BOTH
def test_bind_and_listen_are_denied_and_rewritten(loops: InterposeLoops) -> None:
    """A bind goes to another address of the host, a listen fails."""

    def decide(event: SocketEvent) -> Decision:
        if event.call is C.LISTEN:
            return Decision(Action.DENY, errno.EACCES)
        event.address = inet("127.0.0.3", 0)
        return ALLOW

    assert supervise(Script(C.BIND, decide=decide), loops, python(BIND, "SOCK_DGRAM", 0)).out == "True 127.0.0.3\n"
    policy = Script(C.BIND, C.LISTEN, decide=decide)
    assert supervise(policy, loops, python(BIND, "SOCK_STREAM", 0)).out == f"{errno.EACCES}\n"


@BOTH
def test_facts_about_the_caller_are_true(loops: InterposeLoops) -> None:
    """Process, thread, name, user, group, cgroup and the socket's cookies are what the process itself says."""
    code = """
import os, socket, threading
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.setsockopt(1, socket.SO_PRIORITY, 3)
os.setgid(1234); os.setuid(4321)
def run():
    print(os.getpid(), threading.get_native_id(), open(f"/proc/self/task/{threading.get_native_id()}/comm").read().strip(), s.fileno(),
          int.from_bytes(s.getsockopt(1, 57, 8), "little"), int.from_bytes(s.getsockopt(1, 71, 8), "little"))
    s.connect(("::1", 9))
t = threading.Thread(target=run); t.start(); t.join()
"""
    policy = Script(C.CONNECT, needs=Fact.COMM | Fact.COOKIE | Fact.NETNS_COOKIE | Fact.CGROUP_ID | Fact.OPTIONS)
    out = supervise(policy, loops, python(code)).out.split()
    (event,) = policy.events
    assert [event.pid, event.tid, event.comm, event.fd, event.cookie, event.netns_cookie] == [
        int(out[0]), int(out[1]), out[2], int(out[3]), int(out[4]), int(out[5]),
    ]  # fmt: skip
    assert (event.uid, event.gid, event.family, event.type) == (4321, 1234, socket.AF_INET6, socket.SOCK_DGRAM)
    assert (event.protocol, event[Event.PRIORITY]) == (socket.IPPROTO_UDP, 3)
    assert event.cgroup_id > 0


@BOTH
def test_what_is_not_the_internet_passes(loops: InterposeLoops, tmp_path: os.PathLike[str]) -> None:
    """AF_UNIX and netlink sockets work although everything is denied, from one thread and from several."""
    code = """
import socket, sys, threading, struct, os
def run(path):
    a = socket.socket(socket.AF_UNIX); a.bind(path); a.listen(1)
    b = socket.socket(socket.AF_UNIX); b.connect(path)
    c, _ = a.accept(); b.sendmsg([b"x"]); print(c.recv(1), struct.unpack("3i", c.getsockopt(1, 17, 12))[1:])
    n = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); n.bind((0, 0)); print(n.getsockname()[0] > 0)
    d, e = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    r, w = os.pipe(); socket.send_fds(d, [b"fd"], [w]); _, (got,), *_ = socket.recv_fds(e, 9, 1)
    os.write(got, b"through"); print(os.read(r, 9))
os.chdir(sys.argv[1]); run("one")
t = threading.Thread(target=run, args=("two",)); t.start(); t.join()
"""
    policy = Script(*(call for call in C if call < C.RECVMSG), decide=lambda _: DENY)
    ended = supervise(policy, loops, python(code, tmp_path))
    assert (ended.out, ended.failures) == ("b'x' (0, 0)\nTrue\nb'through'\n" * 2, [])
    assert policy.seen == []


@BOTH
def test_calls_that_wait_do_not_hold_others_up(loops: InterposeLoops) -> None:
    """With 60 threads waiting in connect, another process's connect goes through."""
    waiting = """
import socket, threading, sys, os, time
s = socket.socket(fileno=int(sys.argv[1])); port = s.getsockname()[1]
def run():
    c = socket.socket(); c.connect_ex(("127.0.0.1", port))
for _ in range(60): threading.Thread(target=run, daemon=True).start()
if os.fork() == 0:
    time.sleep(0.5)
    d = socket.socket(type=socket.SOCK_DGRAM); d.connect(("127.0.0.1", 9)); print("through", flush=True); os._exit(0)
os.wait(); os._exit(0)
"""
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        own.listen(0)
        policy = Script(C.CONNECT)
        with Supervisor(policy, loops=loops) as supervisor:
            child = supervisor.run(python(waiting, own.fileno()), stdout=-1, pass_fds=[own.fileno()])
            out = child.process.communicate(timeout=20)[0]
            assert supervisor.wait_for_all(10)
    assert out == b"through\n"
    assert len(policy.seen) == 61


def test_a_native_policy_is_asked_in_its_stead() -> None:
    """Machine code decides: it denies port 7, turns port 8 to port 7's neighbour, and asks Python about port 9."""
    from xdp.natives import INTERPOSE

    body = """
        unsigned char *address = (unsigned char *)record + 256; int port = address[2] << 8 | address[3];
        if (port == 7) return 1 | 13 << 8;
        if (port == 8) { address[3] = 6; return 1 << 24; }
        return 2;
    """
    policy = Script(C.CONNECT, native=native_policy(body, C.CONNECT), decide=lambda _: DENY)
    code = """
import socket
for port in (7, 8, 9):
    u = socket.socket(type=socket.SOCK_DGRAM); print(u.connect_ex(("127.0.0.1", port)))
    if port == 8: print(u.getpeername()[1])
"""
    ended = supervise(policy, INTERPOSE, python(code))
    assert ended.out == f"{errno.EACCES}\n0\n6\n{errno.EPERM}\n"
    assert policy.seen == [("CONNECT", inet("127.0.0.1", 9))]
    assert [event.address[3] for event in ended.events] == [7, 6, 9]


@BOTH
def test_a_policy_that_fails_denies(loops: InterposeLoops) -> None:
    """What a policy raises is kept as a sentence, and the call fails; with on_error="allow" it goes through."""

    def decide(_: SocketEvent) -> Decision:
        raise KeyError("oh")

    for on_error, result in (("deny", errno.EPERM), ("allow", errno.ECONNREFUSED)):
        with Supervisor(Script(C.CONNECT, decide=decide), loops=loops, on_error=on_error) as supervisor:  # type: ignore[arg-type]
            child = supervisor.run(python(CONNECT, "127.0.0.1", 9), stdout=-1)
            assert child.process.communicate()[0] == f"{result}\n".encode()
            assert "KeyError('oh')" in supervisor.failures[0]


MIXED = """
import socket
def attempt(function, *words):
    try: function(*words)
    except OSError: pass
for family, hosts in ((socket.AF_INET, ("127.0.0.1",)), (socket.AF_INET6, ("::1", "::ffff:127.0.0.1"))):
    for host in hosts:
        s = socket.socket(family); s.setsockopt(1, socket.SO_MARK, 5); attempt(s.bind, (host, 0)); attempt(s.listen, 3)
        c = socket.socket(family); attempt(c.connect, (host, 9)); attempt(c.sendto, b"ignored", (host, 9))
        u = socket.socket(family, socket.SOCK_DGRAM); attempt(u.sendto, b"data", (host, 9)); attempt(u.sendto, b"x" * 70000, (host, 9))
        attempt(u.connect, (host, 9)); attempt(u.sendto, b"other", (host, 10)); attempt(u.bind, ("192.0.2.1", 1))
"""


def test_both_loops_write_the_same_records() -> None:
    """All facts of some twenty calls, allowed or denied, on both families: what the compiled loop logs is what the other logs."""
    from netdev.interpose import REFERENCE
    from xdp.natives import INTERPOSE

    everything = Fact.COMM | Fact.CGROUP_ID | Fact.NETNS_COOKIE | Fact.OPTIONS | Fact.ENDS
    own = (Event.TIME, Event.PID_TGID, Event.SOCKET_FD)

    def records(loops: InterposeLoops) -> list[dict[str, object]]:
        policy = Script(
            C.BIND, C.CONNECT, C.LISTEN, C.SENDMSG, needs=everything, decide=lambda e: DENY if e.flags else ALLOW
        )
        found = []
        for event in supervise(policy, loops, python(MIXED)).events:
            words: dict[str, object] = {
                field.name: event[field] for field in Event if field < Event.COMM and field not in own
            }
            # ports of bound sockets differ from run to run
            ends = [event.address, event.local, event.remote]
            found.append({**words, "comm": event.comm, "ends": [end[:2] + end[4:] for end in ends]})
        return found

    reference, native = records(REFERENCE), records(INTERPOSE)
    assert len(reference) >= 15
    assert native == reference
