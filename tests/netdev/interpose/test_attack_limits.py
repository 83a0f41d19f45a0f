"""A supervisor that runs out of something, or whose policy misbehaves: calls fail, and nothing gets through, hangs or leaks."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from netdev.interpose import ALLOW, Action, Decision, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, ROOT, Script, built, python, supervise

pytestmark = ROOT

C = SocketCall
PROJECT: Final = Path(__file__).parents[3]
SECONDS: Final = float(os.environ.get("XDPSIM_ATTACK_SECONDS", "2"))

CONNECTS = """
import socket, sys
for _ in range(int(sys.argv[1])):
    with socket.socket(type=socket.SOCK_DGRAM) as s: print(s.connect_ex(("127.0.0.1", 9)), end=" ", flush=True)
"""


def _raises(error: BaseException) -> Callable[[SocketEvent], Decision]:
    def decide(_: SocketEvent) -> Decision:
        raise error

    return decide


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


_WRONG: Final[dict[str, Callable[[SocketEvent], Any]]] = {
    "raises": _raises(RuntimeError("no")),
    "no memory": _raises(MemoryError()),
    "leaves": _raises(SystemExit(3)),
    "interrupted": _raises(KeyboardInterrupt()),
    "generator": _raises(GeneratorExit()),
    "nothing": lambda _: None,
    "a word": lambda _: 0,
    "no errno": lambda _: Decision(Action.DENY, 0),
    "negative errno": lambda _: Decision(Action.DENY, -13),
    "huge errno": lambda _: Decision(Action.DENY, 1 << 40),
    "restart": lambda _: Decision(Action.DENY, 512),
    "asks": lambda _: Decision(Action.ASK),
}


@BOTH
@pytest.mark.parametrize("how", _WRONG)
def test_a_wrong_policy_denies(loops: InterposeLoops, how: str) -> None:
    """Whatever it raises or says, the caller gets EPERM, every time, and no descriptor or worker is lost."""
    with Supervisor(Script(C.CONNECT, decide=_WRONG[how]), loops=loops) as supervisor:
        child = supervisor.run(python(CONNECTS, 3), stdout=subprocess.PIPE)
        assert child.process.communicate(timeout=20)[0] == f"{errno.EPERM} ".encode() * 3
        before = _descriptors()
        child = supervisor.run(python(CONNECTS, 50), stdout=subprocess.PIPE)
        assert child.process.communicate(timeout=20)[0] == f"{errno.EPERM} ".encode() * 50
        child.process.stdout and child.process.stdout.close()
        assert supervisor.wait_for_all(10)
        assert _descriptors() <= before + 9  # each command has some of its own, until its end is noticed


@BOTH
def test_a_policy_that_fails_afterwards_changes_nothing(loops: InterposeLoops) -> None:
    """What `done` raises is noted down; the call keeps its result."""

    class Late(Script):
        def done(self, event: SocketEvent, result: int) -> None:
            raise SystemExit(9)

    ended = supervise(Late(C.CONNECT), loops, python(CONNECTS, 5))
    assert ended.out == "0 " * 5
    assert len(ended.failures) == 5


@BOTH
def test_a_policy_that_never_ends_does_not_hold_up_the_end(loops: InterposeLoops) -> None:
    """The supervisor closes although a decision is not over; the caller gets ENOSYS, and the decision, when it comes, moves nothing."""
    asked, go = threading.Event(), threading.Event()

    def decide(_: SocketEvent) -> Decision:
        asked.set()
        go.wait(60)
        return ALLOW

    with socket.socket(type=socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.setblocking(False)
        code = "import ctypes, socket, sys; s = socket.socket(type=2)\ntry: s.sendto(b'x', ('127.0.0.1', int(sys.argv[1])))\nexcept OSError as e: print(e.errno)"
        supervisor = Supervisor(Script(C.SENDMSG, decide=decide), loops=loops)
        child = supervisor.run(python(code, target.getsockname()[1]), stdout=subprocess.PIPE)
        assert asked.wait(20)
        supervisor.close()
        assert child.process.communicate(timeout=20)[0] == f"{errno.ENOSYS}\n".encode()
        go.set()
        time.sleep(0.1)
        with pytest.raises(BlockingIOError):
            target.recv(1)


@BOTH
def test_no_more_threads(loops: InterposeLoops, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, calls that need none go on, others fail or wait; afterwards everything is as before."""
    start = threading.Thread.start
    with Supervisor(Script(C.CONNECT), loops=loops) as supervisor:
        first = supervisor.run(python(CONNECTS, 5), stdout=subprocess.PIPE)
        assert first.process.communicate(timeout=20)[0] == b"0 " * 5
        child = supervisor.run([*python("import sys; sys.stdin.readline()\n" + CONNECTS, 20)], stdin=-1, stdout=-1)

        def refused(self: threading.Thread) -> None:
            if "interpose" in self.name:
                raise RuntimeError("can't start new thread")
            start(self)

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refused)
            words = child.process.communicate(b"\n", timeout=20)[0].split()
        assert len(words) == 20
        assert set(words) <= {b"0", b"%d" % errno.EPERM, b"%d" % errno.EAGAIN}
        last = supervisor.run(python(CONNECTS, 5), stdout=subprocess.PIPE)
        assert last.process.communicate(timeout=20)[0] == b"0 " * 5
        assert supervisor.wait_for_all(10)


STARVED = """
import os, resource, socket, sys, subprocess
from netdev.interpose import REFERENCE, SocketCall, Supervisor
from tests.support.interposed import Script
loops = REFERENCE
if sys.argv[1] == "native":
    from xdp.natives import INTERPOSE as loops
with Supervisor(Script(SocketCall.CONNECT, SocketCall.SENDMSG), loops=loops) as s:
    child = s.run(sys.argv[2:], stdin=-1, stdout=-1)
    print(child.process.stdout.readline().decode(), end="", flush=True)
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, 4096))
    try:
        while True: held.append(os.dup(0))
    except OSError: pass
    child.process.stdin.write(b"\\n"); child.process.stdin.flush()
    print(child.process.stdout.readline().decode(), end="", flush=True)
    for each in held: os.close(each)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    child.process.stdin.write(b"\\n"); child.process.stdin.flush()
    print(child.process.stdout.readline().decode(), end="", flush=True)
    child.process.stdin.close()
    print(child.wait())
"""


@BOTH
def test_no_more_descriptors(loops: InterposeLoops) -> None:
    """Calls of a supervisor without a free descriptor fail; with some again, they go through."""
    code = """
import socket, sys
def attempt():
    u = socket.socket(type=2); a = u.connect_ex(("127.0.0.1", 9))
    try: b = u.sendto(b"x", ("127.0.0.1", 9)) - 1
    except OSError as e: b = e.errno
    print(a in (1, 24), b in (1, 24), a == b == 0, flush=True)
for _ in range(3): attempt(); sys.stdin.readline()
"""
    kind = "reference" if loops.serve.__module__.endswith("reference") else "native"
    done = subprocess.run(
        [sys.executable, "-c", STARVED, kind, *python(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        timeout=60,
        check=False,
        input="",
    )
    assert done.stdout == "False False True\nTrue True False\nFalse False True\n0\n", done.stderr


STOPPED = """
import os, sys
from netdev.interpose import REFERENCE, SocketCall, Supervisor
from tests.support.interposed import Script
loops = REFERENCE
if sys.argv[1] == "native":
    from xdp.natives import INTERPOSE as loops
with Supervisor(Script(SocketCall.CONNECT, SocketCall.ACCEPT), loops=loops) as s:
    child = s.run(sys.argv[2:])
    print("pid", child.pid, flush=True)
    print(child.wait(), flush=True)
"""
MANY = r"""
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
static pthread_barrier_t barrier;
static int results[512];
static void *run(void *number) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    pthread_barrier_wait(&barrier);
    results[(long)number] = connect(s, (void *)&a, sizeof a) ? errno : 0;
    return 0;
}
int main(int argc, char **argv) {
    int count = atoi(argv[1]), good = 0, unknown = 0; pthread_t threads[512];
    pthread_barrier_init(&barrier, 0, count + 1);
    for (long i = 0; i < count; i++) { results[i] = -1; pthread_create(&threads[i], 0, run, (void *)i); }
    puts("ready"); fflush(stdout); getchar(); pthread_barrier_wait(&barrier); usleep(100000); puts("held"); fflush(stdout);
    for (int i = 0; i < count; i++) { pthread_join(threads[i], 0); good += results[i] == 0; unknown += results[i] == ENOSYS; }
    printf("%d %d\n", good, unknown); fflush(stdout); return 0;
}
"""


@BOTH
@pytest.mark.parametrize("then", ["continued", "killed"])
def test_hundreds_wait_for_a_supervisor_that_stands_still(loops: InterposeLoops, then: str) -> None:
    """400 calls are pending while it is stopped: continued, it answers them all; killed, all of them fail with ENOSYS."""
    kind = "reference" if loops.serve.__module__.endswith("reference") else "native"
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, kind, built(MANY, "-pthread"), "400"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )
    with process:
        assert process.stdin
        assert process.stdout
        lines = {process.stdout.readline().split()[0] for _ in range(2)}
        assert lines == {"pid", "ready"}
        process.send_signal(signal.SIGSTOP)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGCONT if then == "continued" else signal.SIGKILL)
        assert process.stdout.readline() == ("400 0\n" if then == "continued" else "0 400\n")
        assert process.stdout.read() == ("0\n" if then == "continued" else "")


@BOTH
def test_a_killed_supervisor_leaves_nobody_waiting(loops: InterposeLoops) -> None:
    """Threads that wait in accept and connect, and one whose call is decided, all end with ENOSYS when it is killed."""
    code = """
import ctypes, socket, struct, threading, os, sys
libc = ctypes.CDLL(None, use_errno=True)
got = []
def call(f, *a):
    r = f(*a); got.append(ctypes.get_errno() if r < 0 else r)
s = socket.create_server(("127.0.0.1", 0)); full = socket.socket(); full.bind(("127.0.0.1", 0)); full.listen(0)
fill = [socket.socket() for _ in range(4)]
for each in fill: each.setblocking(False); each.connect_ex(full.getsockname())
a = struct.pack("=H", 2) + struct.pack(">H4s8x", full.getsockname()[1], socket.inet_aton("127.0.0.1"))
own = [socket.socket() for _ in range(20)]
threads = [threading.Thread(target=call, args=(libc.accept4, s.fileno(), None, None, 0)) for _ in range(20)]
threads += [threading.Thread(target=call, args=(libc.connect, o.fileno(), a, 16)) for o in own]
for t in threads: t.start()
import time; time.sleep(0.7); print("waiting", flush=True)
for t in threads: t.join()
print(len(got), set(got), flush=True)
"""
    kind = "reference" if loops.serve.__module__.endswith("reference") else "native"
    command = [sys.executable, "-c", STOPPED, kind, *python(code)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        assert {process.stdout.readline().split()[0] for _ in range(2)} == {"pid", "waiting"}
        process.kill()
        assert process.stdout.read() == f"40 {{{errno.ENOSYS}}}\n"


RATE = r"""
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
    int port = atoi(argv[1]), many = atoi(argv[2]), good = 0;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct linger hard = {1, 0};
    struct timespec next; clock_gettime(CLOCK_MONOTONIC, &next);
    for (int i = 0; i < many; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(s, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        good += connect(s, (void *)&a, sizeof a) == 0; close(s);
        next.tv_nsec += 1000000; if (next.tv_nsec >= 1000000000) { next.tv_nsec -= 1000000000; next.tv_sec++; }
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, 0);
    }
    printf("%d\n", good); return 0;
}
"""


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@BOTH
def test_a_thousand_connects_a_second_leave_nothing(loops: InterposeLoops) -> None:
    """Descriptors, threads and memory stay as they are; XDPSIM_ATTACK_SECONDS=60 goes on for a minute."""

    class Silent(Script):
        def decide(self, event: SocketEvent) -> Decision:
            return ALLOW

        def done(self, event: SocketEvent, result: int) -> None: ...

    with (
        socket.create_server(("127.0.0.1", 0), backlog=1024) as server,
        Supervisor(Silent(C.CONNECT, C.CLOSED, C.ESTABLISHED_ACTIVE), loops=loops) as supervisor,
    ):

        def serve() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        ends, counts = [], []
        for many in (500, int(1000 * SECONDS)):
            child = supervisor.run([built(RATE), str(port), str(many)], stdout=subprocess.PIPE)
            out = child.process.communicate(timeout=60 + 3 * SECONDS)[0]
            assert out == b"%d\n" % many
            assert supervisor.wait_for_all(10)
            counts.append(len(supervisor.events()))
            ends.append((_descriptors(), threading.active_count(), _memory()))
        server.shutdown(socket.SHUT_RDWR)
    (first_files, first_threads, first_memory), (files, threads, memory) = ends
    assert files <= first_files
    assert threads <= first_threads
    assert memory - first_memory < (1 << 24) + 3 * 65536 * 1200
    assert counts[1] >= min(2 * 1000 * SECONDS, 65536)
