"""Calls that take long: signals, deaths, timeouts and closed sockets end them as they would without supervision."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from netdev.interpose import ALLOW, Decision, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, ROOT, Script, python, supervise

pytestmark = ROOT

C = SocketCall

PRELUDE = """
import ctypes, os, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def result(r): return r if r >= 0 else -ctypes.get_errno()
def full():
    s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
    for _ in range(4):
        c = socket.socket(); c.setblocking(False); c.connect_ex(s.getsockname()); full.held.append(c)
    full.held.append(s)
    a = struct.pack("=H", 2) + struct.pack(">H4s8x", s.getsockname()[1], socket.inet_aton("127.0.0.1"))
    return lambda c: result(libc.connect(c.fileno(), a, 16))
full.held = []
hit = []
def handler(*_): hit.append(1)
"""

SIGNALLED = (
    PRELUDE
    + """
signal.signal(signal.SIGALRM, handler); signal.siginterrupt(signal.SIGALRM, sys.argv[2] == "interrupts")
if sys.argv[1] == "connect":
    connect = full(); c = socket.socket(); signal.setitimer(signal.ITIMER_REAL, 0.3)
    print(connect(c)); print(len(hit))
else:
    s = socket.create_server(("127.0.0.1", 0)); signal.setitimer(signal.ITIMER_REAL, 0.3)
    if os.fork() == 0:
        time.sleep(1); socket.create_connection(s.getsockname()); os._exit(0)
    print(min(result(libc.accept4(s.fileno(), None, None, 0)), 1)); print(len(hit))
"""
)


@BOTH
@pytest.mark.parametrize("call", ["connect", "accept"])
def test_a_caught_signal_ends_a_call(loops: InterposeLoops, call: str) -> None:
    """A handler without SA_RESTART makes it EINTR, and has run."""
    ended = supervise(Script(C.CONNECT, C.ACCEPT), loops, python(SIGNALLED, call, "interrupts"))
    assert ended.out == f"-{errno.EINTR}\n1\n"


@BOTH
def test_a_signal_that_restarts_calls_again(loops: InterposeLoops) -> None:
    """A handler with SA_RESTART runs, and the call goes on to its end: the caller sees nothing of it."""
    policy = Script(C.ACCEPT)
    assert supervise(policy, loops, python(SIGNALLED, "accept", "restarts")).out == "1\n1\n"
    assert [name for name, _ in policy.seen] == ["ACCEPT"] * 2


@BOTH
def test_a_timeout_of_the_socket_ends_a_call(loops: InterposeLoops) -> None:
    """SO_SNDTIMEO and SO_RCVTIMEO end connect and accept with their errors; a signal before that is EINTR at any rate."""
    code = (
        PRELUDE
        + """
connect = full(); c = socket.socket(); c.setsockopt(1, socket.SO_SNDTIMEO, struct.pack("ll", 0, 200000)); print(connect(c))
s = socket.create_server(("127.0.0.1", 0)); s.setsockopt(1, socket.SO_RCVTIMEO, struct.pack("ll", 0, 200000)); print(result(libc.accept4(s.fileno(), None, None, 0)))
signal.signal(signal.SIGALRM, handler); signal.siginterrupt(signal.SIGALRM, False); signal.setitimer(signal.ITIMER_REAL, 0.3)
s.setsockopt(1, socket.SO_RCVTIMEO, struct.pack("ll", 9, 0)); print(result(libc.accept4(s.fileno(), None, None, 0)), len(hit))
"""
    )
    ended = supervise(Script(C.CONNECT, C.ACCEPT), loops, python(code))
    assert ended.out == f"-{errno.EINPROGRESS}\n-{errno.EAGAIN}\n-{errno.EINTR} 1\n"


@BOTH
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT, signal.SIGSEGV])
def test_a_death_ends_a_call(loops: InterposeLoops, number: signal.Signals) -> None:
    """A process that is killed while it waits in accept dies at once, and its port is free soon."""
    code = (
        PRELUDE
        + """
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); s.accept()
"""
    )
    with Supervisor(Script(C.ACCEPT), loops=loops) as supervisor:
        child = supervisor.run(python(code), stdout=subprocess.PIPE)
        assert child.process.stdout
        port = int(child.process.stdout.readline())
        time.sleep(0.1)
        os.kill(child.pid, number)
        assert child.wait(10) == 128 + number
        assert supervisor.wait_for_all(10)
        for _ in range(100):
            with socket.socket() as own:
                if own.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("the port of a dead process is still listened on")
        assert list(supervisor.failures) == []


@BOTH
def test_a_process_can_be_stopped_while_it_waits(loops: InterposeLoops) -> None:
    """SIGSTOP stops it in accept, SIGCONT lets it go on, and it still gets its connection."""
    code = (
        PRELUDE
        + """
s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1], flush=True); s.accept(); print("accepted")
"""
    )
    with Supervisor(Script(C.ACCEPT), loops=loops) as supervisor:
        child = supervisor.run(python(code), stdout=subprocess.PIPE)
        assert child.process.stdout
        port = int(child.process.stdout.readline())
        time.sleep(0.1)
        os.kill(child.pid, signal.SIGSTOP)
        status = Path(f"/proc/{child.pid}/stat")
        for _ in range(200):
            if status.read_text().rpartition(")")[2].split()[0] == "T":
                break
            time.sleep(0.05)
        else:
            pytest.fail("the process does not stop")
        os.kill(child.pid, signal.SIGCONT)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            assert child.process.stdout.readline() == b"accepted\n"
        assert child.wait(10) == 0


@BOTH
def test_a_signal_for_another_thread_leaves_a_call_alone(loops: InterposeLoops) -> None:
    """A thread waits in accept while the main thread takes fifty signals; it is neither interrupted nor asked about twice."""
    code = (
        PRELUDE
        + """
signal.signal(signal.SIGUSR1, handler); s = socket.create_server(("127.0.0.1", 0)); got = []
t = threading.Thread(target=lambda: got.append(result(libc.accept4(s.fileno(), None, None, 0)))); t.start()
time.sleep(0.1)
for _ in range(50): os.kill(os.getpid(), signal.SIGUSR1); time.sleep(0.01)
socket.create_connection(s.getsockname()); t.join(); print(got[0] > 0, len(hit) > 0)
"""
    )
    policy = Script(C.ACCEPT)
    assert supervise(policy, loops, python(code)).out == "True True\n"
    assert len(policy.seen) == 1


@BOTH
def test_a_socket_closed_during_a_call_is_still_the_one(loops: InterposeLoops) -> None:
    """Another thread closes the socket and opens one of the same number: the call ends on the old one."""
    code = (
        PRELUDE
        + """
s = socket.create_server(("127.0.0.1", 0)); fd = s.fileno(); port = s.getsockname()[1]; got = []
t = threading.Thread(target=lambda: got.append(result(libc.accept4(fd, None, None, 0)))); t.start()
time.sleep(0.2); keep = os.dup(fd); s.close(); u = socket.socket(type=socket.SOCK_DGRAM); print(u.fileno() == fd)
socket.create_connection(("127.0.0.1", port)); t.join(); print(got[0] > 0)
"""
    )
    assert supervise(Script(C.ACCEPT), loops, python(code)).out == "True\nTrue\n"


@BOTH
def test_a_death_while_the_policy_thinks_makes_no_call(loops: InterposeLoops) -> None:
    """The caller is killed during the decision: nothing is left of it, and the next one is served."""

    def decide(event: SocketEvent) -> Decision:
        if event.address[3] == 7:
            os.kill(event.pid, signal.SIGKILL)
            time.sleep(0.2)
        return ALLOW

    code = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', int(sys.argv[1])))"
    with Supervisor(Script(C.CONNECT, decide=decide), loops=loops) as supervisor:
        assert supervisor.run(python(code, 7)).wait(10) == 128 + 9
        assert supervisor.run(python(code, 8)).wait(10) == 0
        assert supervisor.wait_for_all(10)
        assert list(supervisor.failures) == []


@BOTH
def test_exec_by_another_thread_ends_a_call(loops: InterposeLoops) -> None:
    """A thread that waits is ended by exec; the new program is supervised and can use the port again."""
    code = (
        PRELUDE
        + """
s = socket.create_server(("127.0.0.1", 0)); port = s.getsockname()[1]
t = threading.Thread(target=lambda: s.accept(), daemon=True); t.start(); time.sleep(0.2)
os.execv(sys.executable, [sys.executable, "-S", "-c", f'''
import socket, time
for _ in range(100):
    try: s = socket.socket(); s.bind(("127.0.0.1", {port})); print("bound"); break
    except OSError: time.sleep(0.05)
'''])
"""
    )
    assert supervise(Script(C.ACCEPT), loops, python(code)).out == "bound\n"
