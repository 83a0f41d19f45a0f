"""Programs as they are installed, under supervision: let through, denied with the right errno, and led to a proxy that knows where to.

Static, libc-free and many-threaded programs and the tree of 200 are in test_processes.
"""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from netdev.interpose import ALLOW, Action, Decision, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, ROOT, Script, inet, python, supervise

pytestmark = ROOT

C = SocketCall
_ANSWER: Final = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"
_PROGRAMS: Final[dict[str, Callable[[int], list[str]]]] = {
    "python": lambda port: python(
        "import socket, sys\n"
        "try: s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "except OSError as e: sys.exit(e.strerror)\n"
        "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(s.makefile().read())",
        port,
    ),
    "curl": lambda port: ["curl", "-sS", "--noproxy", "*", f"http://127.0.0.1:{port}/"],
    "wget": lambda port: ["wget", "-q", "-t", "1", "--no-proxy", "-O", "-", f"http://127.0.0.1:{port}/"],
    "nc": lambda port: ["sh", "-c", f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -v -w 5 127.0.0.1 {port}"],
    "openssl": lambda port: ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"],
    "ssh": lambda port: ["ssh", "-o", "StrictHostKeyChecking=no", "-p", str(port), "127.0.0.1", "true"],
}
_SPEAKS_HTTP: Final = ("python", "curl", "wget", "nc")


@contextmanager
def _server(seen: list[bytes]) -> Iterator[int]:
    """Answers what is asked in HTTP, and hangs up on the rest; `seen` has the first bytes of each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5)
                    seen.append(connection.recv(4096))
                    connection.sendall(_ANSWER)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def _command(name: str, port: int) -> list[str]:
    if shutil.which("python3" if name == "python" else name) is None:
        pytest.skip(f"{name} is not installed")
    return _PROGRAMS[name](port)


@BOTH
@pytest.mark.parametrize("name", _PROGRAMS)
def test_it_is_let_through(loops: InterposeLoops, name: str) -> None:
    """The server hears it, and what speaks HTTP prints the answer; the policy was asked about that address."""
    seen: list[bytes] = []
    policy = Script(C.CONNECT, C.SENDMSG)
    with _server(seen) as port:
        ended = supervise(policy, loops, _command(name, port))
    assert len(seen) >= 1
    assert seen[-1]
    assert ("CONNECT", inet("127.0.0.1", port)) in policy.seen
    if name in _SPEAKS_HTTP:
        assert "hello" in ended.out
    assert ended.failures == []


@BOTH
@pytest.mark.parametrize("name", _PROGRAMS)
@pytest.mark.parametrize("number", [errno.EPERM, errno.EACCES])
def test_it_is_denied(loops: InterposeLoops, name: str, number: int) -> None:
    """It fails, the server hears nothing, and those that print an errno print that one."""
    seen: list[bytes] = []
    policy = Script(C.CONNECT, decide=lambda _: Decision(Action.DENY, number))
    with _server(seen) as port:
        ended = supervise(policy, loops, _command(name, port))
    assert seen == []
    assert ended.code != 0
    sentence = {errno.EPERM: "Operation not permitted", errno.EACCES: "Permission denied"}[number]
    if name not in {"curl", "wget"}:
        assert sentence in ended.out


@BOTH
@pytest.mark.parametrize("name", _SPEAKS_HTTP)
def test_it_is_led_to_a_proxy(loops: InterposeLoops, name: str) -> None:
    """It asks for one place and is answered by another, which is told where the connection was to go."""
    seen: list[bytes] = []
    with _server(seen) as port:
        wanted: dict[bytes, bytes] = {}

        def decide(event: SocketEvent) -> Decision:
            event.address = inet("127.0.0.1", port)
            return Decision(Action.ALLOW, redirected=True)

        class Noting(Script):
            def done(self, event: SocketEvent, result: int) -> None:
                wanted[event.address] = event.original

        ended = supervise(Noting(C.CONNECT, decide=decide), loops, _command(name, 7))
    assert "hello" in ended.out
    assert len(seen) == 1
    assert wanted[inet("127.0.0.1", port)] == inet("127.0.0.1", 7)
    assert ended.events[0].redirected


@BOTH
def test_a_server_of_64_threads_serves(loops: InterposeLoops) -> None:
    """Each thread accepts under supervision while others connect to it from the same tree, and one port stays denied."""
    code = """
import socket, threading, os
s = socket.create_server(("127.0.0.1", 0), backlog=256); port = s.getsockname()[1]; served = []
def serve():
    c, _ = s.accept(); c.sendall(c.recv(9)); c.close(); served.append(1)
threads = [threading.Thread(target=serve) for _ in range(64)]
for t in threads: t.start()
if os.fork() == 0:
    good = 0
    for n in range(64):
        with socket.create_connection(("127.0.0.1", port)) as c: c.sendall(b"x%d" % n); good += c.recv(9) == b"x%d" % n
    print(good, socket.socket().connect_ex(("127.0.0.1", 9)), flush=True); os._exit(0)
for t in threads: t.join()
os.wait(); print(len(served))
"""

    def decide(event: SocketEvent) -> Decision:
        return Decision(Action.DENY) if event.call is C.CONNECT and event.address[2:4] == b"\0\x09" else ALLOW

    policy = Script(C.CONNECT, C.ACCEPT, C.LISTEN, C.BIND, decide=decide)
    assert supervise(policy, loops, python(code)).out == f"64 {errno.EPERM}\n64\n"


@BOTH
def test_a_connection_that_lasts_is_not_touched(loops: InterposeLoops) -> None:
    """A client that keeps its connection goes on after the supervisor is gone; only new connects fail."""
    code = """
import socket, sys
c = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for line in sys.stdin: c.sendall(line.encode()); print(c.recv(9).decode(), end="", flush=True)
print(socket.socket().connect_ex(("127.0.0.1", 9)))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        supervisor = Supervisor(Script(C.CONNECT), loops=loops)
        child = supervisor.run(
            python(code, server.getsockname()[1]), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        connection, _ = server.accept()
        process = child.process
        assert process.stdin
        assert process.stdout
        for number in range(3):
            process.stdin.write(f"{number}\n")  # type: ignore[arg-type]
            process.stdin.flush()
            connection.sendall(connection.recv(9))
            assert process.stdout.readline() == f"{number}\n"  # type: ignore[comparison-overlap]
            if number == 1:
                supervisor.close()
        assert process.communicate(timeout=20)[0] == f"{errno.ENOSYS}\n"  # type: ignore[comparison-overlap]
        connection.close()
