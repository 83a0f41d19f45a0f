"""Whom supervision reaches: every descendant, however it came to be; and how commands end."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netdev.errors import InterfaceError
from netdev.interpose import ALLOW, Decision, InterposeLoops, SocketCall, SocketEvent, Supervisor
from netdev.interpose.reference import REFERENCE
from tests.support.interposed import BOTH, DENY, ROOT, Script, built, inet, python, supervise

pytestmark = ROOT

C = SocketCall
PROJECT = Path(__file__).parents[3]

C_PROGRAM = """
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
static int attempt(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    return connect(s, (void *)&a, sizeof a) ? errno : 0;
}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "vfork")) {
        pid_t pid = vfork();
        if (!pid) { _exit(attempt()); }
        int status; waitpid(pid, &status, 0); return WEXITSTATUS(status);
    }
    if (argc > 1 && !strcmp(argv[1], "exec")) { char *words[] = {argv[0], 0}; execv("/proc/self/exe", words); }
    return attempt();
}
"""

ASSEMBLY = """
    .globl _start
_start:
    mov $41, %eax           # socket(AF_INET, SOCK_DGRAM, 0)
    mov $2, %edi
    mov $2, %esi
    xor %edx, %edx
    syscall
    mov %eax, %edi
    mov $42, %eax           # connect
    lea address(%rip), %rsi
    mov $16, %edx
    syscall
    neg %eax
    mov %eax, %edi
    mov $60, %eax           # exit
    syscall
    .data
address: .byte 2, 0, 0, 9, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
"""


@BOTH
@pytest.mark.parametrize("way", ["plain", "vfork", "exec"])
def test_static_programs_are_reached(loops: InterposeLoops, way: str) -> None:
    """A program without shared libraries is denied, also in its vfork and after exec."""
    policy = Script(C.CONNECT, decide=lambda _: DENY)
    assert supervise(policy, loops, [built(C_PROGRAM, "-static"), way]).code == errno.EPERM


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the program is written for x86-64")
@BOTH
def test_programs_without_a_library_are_reached(loops: InterposeLoops) -> None:
    """A program of ten instructions, which loads no library that could be replaced, is denied."""
    program = built(ASSEMBLY, "-nostdlib", "-static", suffix=".S")
    assert supervise(Script(C.CONNECT, decide=lambda _: DENY), loops, [program]).code == errno.EPERM
    policy = Script(C.CONNECT)
    assert supervise(policy, loops, [program]).code == 0
    assert policy.seen == [("CONNECT", inet("127.0.0.1", 9))]


@BOTH
def test_a_tree_of_processes_is_reached(loops: InterposeLoops) -> None:
    """200 processes, sons and grandsons, are each asked about under their own number and answered to."""
    code = """
import os, socket
def one():
    u = socket.socket(type=socket.SOCK_DGRAM)
    return u.connect_ex(("127.0.0.1", 9))
sons = []
for _ in range(20):
    if (son := os.fork()) == 0:
        grandsons = []
        for _ in range(9):
            if (grandson := os.fork()) == 0: os._exit(one())
            grandsons.append(grandson)
        bad = one()
        for grandson in grandsons: bad += os.waitstatus_to_exitcode(os.waitpid(grandson, 0)[1])
        os._exit(bad)
    sons.append(son)
print(sum(os.waitstatus_to_exitcode(os.waitpid(son, 0)[1]) for son in sons))
"""
    policy = Script(C.CONNECT)
    assert supervise(policy, loops, python(code)).out == "0\n"
    assert len({event.pid for event in policy.events}) == len(policy.events) == 200


@BOTH
def test_threads_are_reached(loops: InterposeLoops) -> None:
    """64 threads that connect at once get each its own answer."""
    code = """
import socket, threading
ok = []
def run(n):
    u = socket.socket(type=socket.SOCK_DGRAM); r = u.connect_ex(("127.0.0.1", 1000 + n)); ok.append((r == 0) == (n % 2 == 0))
threads = [threading.Thread(target=run, args=(n,)) for n in range(64)]
for t in threads: t.start()
for t in threads: t.join()
print(len(ok), all(ok))
"""

    def decide(event: SocketEvent) -> Decision:
        return DENY if event.address[3] % 2 else ALLOW

    policy = Script(C.CONNECT, decide=decide)
    assert supervise(policy, loops, python(code)).out == "64 True\n"
    assert len({event.tid for event in policy.events}) >= 2
    assert len({event.pid for event in policy.events}) == 1


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["sh", "-c", "kill -KILL $$"], 128 + 9),
        (["/nonexistent/command"], 127),
        (["no-such-command-anywhere"], 127),
        (["/etc/passwd"], 126),
        (["/"], 126),
    ],
)
def test_a_command_ends_as_for_a_shell(command: list[str], code: int) -> None:
    """Its code, 128 and the signal, 127 when it is not there, 126 when it cannot be executed."""
    assert supervise(Script(C.CONNECT), REFERENCE, command).code == code


def test_the_environment_arrives_as_it_is() -> None:
    """Variables, working folder, arguments that are no text, signals and descriptors are those of a plain start."""
    code = "import os, sys, resource; print(resource.getrlimit(7), sorted(os.environb.items()), os.getcwd(), os.fsencode(sys.argv[1]), sorted(os.listdir('/proc/self/fd')), open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    environment = {"A": "b", "PATH": os.environ["PATH"], "LC_ALL": "C"}
    command = [*python(code), b"\xff\xfe"]
    options = {"env": environment, "cwd": "/", "stdout": subprocess.PIPE}
    plain = subprocess.run(command, check=True, **options).stdout  # type: ignore[call-overload]
    with Supervisor(Script(C.CONNECT)) as supervisor:
        supervised = supervisor.run(command, **options).process.communicate()[0]  # type: ignore[arg-type]
    assert supervised == plain


def test_one_supervisor_within_another_says_so() -> None:
    """The kernel allows one listener; the inner supervisor refuses with a line, and the outer goes on."""
    code = """
from netdev.interpose import Supervisor
from netdev.errors import InterfaceError
from tests.support.interposed import Script
from netdev.interpose import SocketCall
with Supervisor(Script(SocketCall.CONNECT)) as s:
    try: s.run(["true"])
    except InterfaceError as e: print(e)
"""
    with Supervisor(Script(C.CONNECT)) as supervisor:
        command = [sys.executable, "-c", code]
        child = supervisor.run(command, env={**os.environ, "PYTHONPATH": str(PROJECT)}, stdout=-1)
        out = child.process.communicate(timeout=60)[0].decode()
    assert "supervised itself" in out
    assert out.count("\n") == 1


def test_several_commands_share_a_supervisor() -> None:
    """Each has its listener and its end; the events say whose they are."""
    policy = Script(C.CONNECT)
    with Supervisor(policy) as supervisor:
        children = [supervisor.run([built(C_PROGRAM, "-static")]) for _ in range(5)]
        assert [child.wait(10) for child in children] == [0] * 5
        assert supervisor.wait_for_all(10)
        assert {event.pid for event in supervisor.events()} == {child.pid for child in children}
        assert sum(supervisor.statistics().values()) == 5
    with pytest.raises(InterfaceError, match="closed"):
        supervisor.run(["true"])


KILLED = """
import os, sys, subprocess
from netdev.interpose import Supervisor, SocketCall
from tests.support.interposed import Script
import time
def decide(event):
    print("asked", flush=True); time.sleep(60)
with Supervisor(Script(SocketCall.CONNECT, decide=decide)) as s:
    s.run(sys.argv[1:]).wait()
"""


def test_a_killed_supervisor_leaves_clean_errors() -> None:
    """A call that is held fails with ENOSYS when the supervisor is killed, and so do all later ones; nothing hangs."""
    code = """
import socket
for _ in range(2): print(socket.socket(type=socket.SOCK_DGRAM).connect_ex(("127.0.0.1", 9)), flush=True)
print(socket.socket().bind(("127.0.0.1", 0)))
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", KILLED, *python(code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "asked\n"
        process.kill()
        assert process.stdout.read() == f"{errno.ENOSYS}\n{errno.ENOSYS}\nNone\n"


def test_a_closed_supervisor_leaves_clean_errors() -> None:
    """The same when it is closed while the command runs; its blocked calls end too."""
    code = """
import socket, sys
s = socket.create_server(("127.0.0.1", 0)); print("ready", flush=True)
try: s.accept()
except OSError as e: print(e.errno)
"""
    with Supervisor(Script(C.ACCEPT)) as supervisor:
        child = supervisor.run(python(code), stdout=subprocess.PIPE)
        assert child.process.stdout
        child.process.stdout.readline()
        time.sleep(0.2)
    assert child.process.communicate(timeout=10)[0] == f"{errno.ENOSYS}\n".encode()


@BOTH
def test_the_callers_rights_decide_not_the_supervisors(loops: InterposeLoops) -> None:
    """A process that gave up root cannot bind port 80 by way of the supervisor; root and a kept capability can."""
    code = """
import os, socket, sys, ctypes
if sys.argv[1] != "root":
    libc = ctypes.CDLL(None)
    libc.prctl(8, 1)
    os.setgid(65534); os.setuid(65534)
    caps = 1 << 10 if sys.argv[1] == "capability" else 0
    import struct
    assert libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", caps, caps, 0, 0, 0, 0)) == 0
s = socket.socket(); s.setsockopt(1, 2, 1)
try: s.bind(("127.0.0.1", 80)); print("bound")
except OSError as e: print(e.errno)
"""
    policy = Script(C.BIND)
    for who, out in (("nobody", f"{errno.EACCES}\n"), ("capability", "bound\n"), ("root", "bound\n")):
        assert supervise(policy, loops, python(code, who)).out == out
    assert [name for name, _ in policy.seen] == ["BIND"] * 3
    assert [result for _, result in policy.told] == [-errno.EACCES, 0, 0]


UNPRIVILEGED = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
from netdev.interpose import Action, Decision, Fact, SocketCall, Supervisor
class Policy:
    wants, needs, native = frozenset({SocketCall.CONNECT}), Fact.NONE, None
    def decide(self, event): return Decision(Action.DENY)
    def done(self, event, result): pass
code = "import socket; print(socket.socket().connect_ex(('127.0.0.1', 9)), open('/proc/self/status').read().split('NoNewPrivs:')[1].split()[0])"
with Supervisor(Policy()) as s:
    print(s.run([sys.executable, "-S", "-c", code]).wait(), list(s.failures), flush=True)
"""


@pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="needs an interpreter that everybody may run")
def test_an_unprivileged_supervisor_works() -> None:
    """Another user than root supervises its own commands, with no_new_privs."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["/usr/bin/python3.11", "-c", UNPRIVILEGED],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("1 1\n0 []\n", "")


def test_supervision_leaves_nothing_behind() -> None:
    """After twenty commands, descriptors and threads are as many as before."""
    import threading

    def count() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    supervise(Script(C.CONNECT), REFERENCE, [built(C_PROGRAM, "-static")])
    before = count()
    for _ in range(20):
        supervise(Script(C.CONNECT), REFERENCE, [built(C_PROGRAM, "-static")])
    assert count() == before
    assert signal.getsignal(signal.SIGRTMIN + 7) in {signal.SIG_DFL, None}
    with socket.socket() as own:
        assert own.connect_ex(("127.0.0.1", 9)) == errno.ECONNREFUSED
