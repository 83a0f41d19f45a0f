"""Ways out that lead through other threads, other processes, odd memory and the supervisor itself: each ends in an error."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from netdev.interpose import ALLOW, Decision, InterposeLoops, SocketCall, SocketEvent, Supervisor
from tests.support.interposed import BOTH, DENY, ROOT, Script, built, python, supervise

pytestmark = ROOT

C = SocketCall
PROJECT: Final = Path(__file__).parents[3]

EXEC = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
static char *self;
static void *become(void *unused) { usleep(100000); execl(self, self, "wait", (char *)0); return 0; }
int main(int argc, char **argv) {
    self = argv[0];
    if (argc > 1) { usleep(800000); return 0; }
    int s = socket(AF_INET, SOCK_STREAM, 0), status;
    if (!fork()) {
        setgid(65534); setuid(65534);
        pthread_t thread; pthread_create(&thread, 0, become, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(81), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        bind(s, (void *)&a, sizeof a); _exit(9);
    }
    wait(&status);
    struct sockaddr_in name; socklen_t size = sizeof name; getsockname(s, (void *)&name, &size);
    printf("%d %d\n", WEXITSTATUS(status), ntohs(name.sin_port)); return 0;
}
"""


@BOTH
def test_exec_of_a_setuid_program_lends_no_rights_to_an_earlier_call(loops: InterposeLoops) -> None:
    """While a bind without rights is decided, another thread becomes a program with them: the bind is not made with those."""

    def decide(_: SocketEvent) -> Decision:
        time.sleep(0.4)
        return ALLOW

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "setuid"
        shutil.copy(built(EXEC, "-static", "-pthread"), program)
        program.chmod(0o4755)
        assert supervise(Script(C.BIND, decide=decide), loops, [str(program)]).out == "0 0\n"


UNREADABLE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#define E(x) ((x) < 0 ? errno : 0)
static struct iovec many[256];
int main(void) {
    char *pages = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(pages + 4096, 4096, PROT_NONE); munmap(pages + 8192, 4096);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    memcpy(pages + 4096 - 16, &a, 16); memcpy(pages + 100, &a, 16);
    void *odd[] = {pages + 4096 - 16, pages + 4096 - 15, pages + 4096, pages + 8192, (void *)-1L, (void *)-4096L, (void *)0x7ffffffff000, (void *)1, 0};
    int lengths[] = {16, 8, 2, 1, 0, 28, 128, 129, -1, 0x7fffffff, -2147483647 - 1};
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0), t = socket(AF_INET6, SOCK_STREAM, 0);
        printf("%d %d %d ", E(connect(u, odd[i], 16)), E(bind(v, odd[i], 16)), E(connect(t, odd[i], 28)));
        printf("%d %d ", E(sendto(v, odd[i], 16, 0, (void *)&a, 16)), E(sendto(v, "x", 1, 0, odd[i], 16)));
        struct iovec piece = {odd[i], 16}; struct msghdr m = {&a, 16, &piece, 1, 0, 0, 0};
        printf("%d %d ", E(sendmsg(v, &m, 0)), E(sendmsg(v, odd[i], 0)));
        m.msg_iov = odd[i + !i]; printf("%d ", E(sendmsg(v, &m, 0)));
        m.msg_iov = &piece; piece.iov_base = &a; m.msg_control = odd[i]; m.msg_controllen = 24; printf("%d ", E(sendmsg(v, &m, 0)));
        m.msg_control = 0; m.msg_controllen = 0; m.msg_name = odd[i]; printf("%d\n", E(sendmsg(v, &m, 0)));
        close(u); close(v); close(t);
    }
    for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int u = socket(AF_INET, SOCK_DGRAM, 0), v = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_STREAM, 0);
        printf("%d %d %d ", E(connect(u, (void *)&a, lengths[i])), E(sendto(v, "x", 1, 0, (void *)&a, lengths[i])), E(connect(s, (void *)&a, lengths[i])));
        struct iovec piece = {pages, 1}; struct msghdr m = {&a, lengths[i], &piece, 1, 0, 0, 0};
        printf("%d ", E(sendmsg(v, &m, 0)));
        m.msg_namelen = 16; m.msg_iov = many; m.msg_iovlen = (unsigned)lengths[i]; printf("%d ", E(sendmsg(v, &m, 0)));
        m.msg_iov = &piece; m.msg_iovlen = 1; piece.iov_len = (long)lengths[i]; printf("%d ", E(sendmsg(v, &m, 0)));
        struct mmsghdr two[2] = {{{&a, 16, &piece, 1, 0, 0, 0}, 0}, {{&a, 16, &piece, 1, 0, 0, 0}, 0}}; piece.iov_len = 1;
        printf("%d\n", lengths[i] > 2 || lengths[i] < 0 ? E(sendmmsg(v, two, lengths[i] > 2 ? 3 : -1, 0)) : sendmmsg(v, two, lengths[i], 0));
        close(u); close(v); close(s);
    }
    return 0;
}
"""


@BOTH
def test_odd_memory_and_lengths_fail_as_the_kernel_fails_them(loops: InterposeLoops) -> None:
    """Ends of pages, PROT_NONE, unmapped and kernel addresses, negative and huge lengths: the errors are those of a plain run."""
    program = built(UNREADABLE)
    plain = subprocess.run([program], capture_output=True, text=True, check=True, timeout=20).stdout
    assert supervise(Script(C.CONNECT, C.SENDMSG, C.BIND), loops, [program]).out == plain


FAULT = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
static char *page;
static void *stuck(void *unused) { connect(socket(AF_INET, SOCK_DGRAM, 0), (void *)page, 16); return 0; }
int main(int argc, char **argv) {
    int fault = syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {UFFD_API, 0, 0};
    if (fault < 0 || ioctl(fault, UFFDIO_API, &api)) { puts("none"); return 0; }
    page = mmap(0, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct uffdio_register range = {{(unsigned long)page, 8 * 4096}, UFFDIO_REGISTER_MODE_MISSING, 0};
    if (ioctl(fault, UFFDIO_REGISTER, &range)) { puts("none"); return 0; }
    pthread_t thread; for (int i = 0; i < 8; i++) pthread_create(&thread, 0, stuck, 0);
    usleep(300000);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    printf("%d\n", connect(socket(AF_INET, SOCK_DGRAM, 0), (void *)&a, 16)); fflush(stdout);
    if (argc > 1) pause();
    _exit(0);
}
"""


@BOTH
def test_memory_that_never_comes_holds_nobody_else_up(loops: InterposeLoops) -> None:
    """Eight calls whose address lies behind a userfaultfd that nobody serves wait; others go on, and the supervisor can end."""
    program = built(FAULT, "-pthread")
    assert supervise(Script(C.CONNECT), loops, [program]).out in {"0\n", "none\n"}
    with Supervisor(Script(C.CONNECT), loops=loops) as supervisor:
        child = supervisor.run([program, "stay"], stdout=subprocess.PIPE)
        assert child.process.stdout
        if child.process.stdout.readline() == b"none\n":
            pytest.skip("there is no userfaultfd here")
        supervisor.close()
        child.kill()
        assert child.wait(20) == 128 + signal.SIGKILL
        child.process.stdout.close()


OTHERS = """
import ctypes, os, signal, socket, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
page = ctypes.create_string_buffer(16)
def address(port): return struct.pack("=H", 2) + struct.pack(">H4s8x", port, socket.inet_aton("127.0.0.1"))
good, bad = int(sys.argv[1]), int(sys.argv[2])
page.raw = address(good)
"""

WRITER = (
    OTHERS
    + """
own = os.getpid()
if (son := os.fork()) == 0:
    class V(ctypes.Structure): _fields_ = [("b", ctypes.c_void_p), ("l", ctypes.c_size_t)]
    texts = [ctypes.create_string_buffer(address(p), 16) for p in (bad, good)]
    here = [V(ctypes.addressof(t), 16) for t in texts]; there = V(ctypes.addressof(page), 16)
    while os.getppid() == own:
        for each in here: libc.process_vm_writev(own, ctypes.byref(each), 1, ctypes.byref(there), 1, 0)
    os._exit(0)
u = socket.socket(type=socket.SOCK_DGRAM); results = set()
for _ in range(1500): results.add(libc.sendto(u.fileno(), b"x", 1, 0, page, 16))
os.kill(son, 9); os.waitpid(son, 0); print(sorted(results))
"""
)

TRACER = (
    OTHERS
    + """
bits = ctypes.create_string_buffer(27 * 8)
if (son := os.fork()) == 0:
    libc.ptrace(0, 0, 0, 0); os.kill(os.getpid(), signal.SIGSTOP)
    u = socket.socket(type=socket.SOCK_DGRAM)
    for _ in range(50): libc.sendto(u.fileno(), b"x", 1, 0, page, 16)
    for _ in range(50): libc.getppid()
    os._exit(0)
os.waitpid(son, 0); libc.ptrace(0x4200, son, 0, 1); seen = 0
text = address(bad)
while True:  # at each stop at a call: the address becomes the bad one, and getppid becomes a sendto
    libc.ptrace(24, son, 0, 0)
    _, status = os.waitpid(son, 0)
    if os.WIFEXITED(status): break
    libc.ptrace(12, son, 0, ctypes.addressof(bits))
    words = list(struct.unpack("=27Q", bits.raw))
    if words[15] in (44, 110):
        for at in (0, 8): libc.ptrace(5, son, ctypes.addressof(page) + at, int.from_bytes(text[at:at + 8], "little", signed=True))
        seen += 1
        if words[15] == 110 and words[10] == (1 << 64) - 38:
            words[15], words[14], words[13], words[12], words[7], words[9], words[8] = 44, 3, ctypes.addressof(page), 1, 0, ctypes.addressof(page), 16
            bits.raw = struct.pack("=27Q", *words); libc.ptrace(13, son, 0, ctypes.addressof(bits))
print(seen > 50)
"""
)


def _two(run: Callable[[int, int, Script], str]) -> str:
    """Run with a port that may be reached and one that may not; nothing may come to that one."""
    with socket.socket(type=socket.SOCK_DGRAM) as good, socket.socket(type=socket.SOCK_DGRAM) as bad:
        for own in (good, bad):
            own.bind(("127.0.0.1", 0))
            own.setblocking(False)
        yes, no = good.getsockname()[1], bad.getsockname()[1]
        calls = tuple(call for call in (C.SENDMSG, C.CONNECT))
        policy = Script(*calls, decide=lambda event: DENY if int.from_bytes(event.address[2:4], "big") == no else ALLOW)
        out = run(yes, no, policy)
        with pytest.raises(BlockingIOError):
            bad.recv(1)
        return out


@BOTH
def test_another_process_writes_into_the_caller(loops: InterposeLoops) -> None:
    """process_vm_writev by a son into the address of a single-threaded caller, 1,500 times."""
    out = _two(lambda good, bad, policy: supervise(policy, loops, python(WRITER, good, bad), 60).out)
    assert out == "[-1, 1]\n"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="registers are those of x86-64")
@BOTH
def test_a_tracer_changes_calls(loops: InterposeLoops) -> None:
    """A tracer exchanges addresses, and makes a sendto of another call, before the kernel looks: it is judged all the same."""
    out = _two(lambda good, bad, policy: supervise(policy, loops, python(TRACER, good, bad), 60).out)
    assert out == "True\n"


NESTED = """
import ctypes, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def instruction(*words): return struct.pack("=HBBI", *words)
class P(ctypes.Structure): _fields_ = [("n", ctypes.c_ushort), ("f", ctypes.c_char_p)]
def install(flags, value):
    code = instruction(0x20, 0, 0, 0) + instruction(0x15, 0, 1, 42) + instruction(6, 0, 0, value) + instruction(6, 0, 0, 0x7fff0000)
    program = P(len(code) // 8, code)
    r = libc.syscall(317, 1, flags, ctypes.byref(program))
    return r if r == 0 else ctypes.get_errno()
def connect(): return socket.socket(type=socket.SOCK_DGRAM).connect_ex(("127.0.0.1", 9))
print(install(8, 0x7fc00000), install(0, 0x7fff0000), connect(), install(0, 0x7ff00000), connect(), install(0, 0x00050000 | 99), connect())
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
@BOTH
def test_filters_of_the_process_add_and_never_take_away(loops: InterposeLoops) -> None:
    """No second listener; a filter that allows or traces changes nothing, one that refuses is obeyed."""
    policy = Script(C.CONNECT, decide=lambda _: Decision(DENY.action, errno.EACCES))
    assert supervise(policy, loops, python(NESTED)).out == f"{errno.EBUSY} 0 {errno.EACCES} 0 {errno.EACCES} 0 99\n"


@BOTH
def test_another_namespace_is_no_way_out(loops: InterposeLoops) -> None:
    """After unshare of the network, users, mounts and processes: calls there are held and judged on the socket's own namespace."""
    code = """
import ctypes, os, socket
libc = ctypes.CDLL(None)
s = socket.socket(type=socket.SOCK_DGRAM)
for flag in (0x40000000, 0x00020000, 0x10000000, 0x20000000):
    libc.unshare(flag)
    t = socket.socket(type=socket.SOCK_DGRAM)
    if (son := os.fork()) == 0: os._exit(t.connect_ex(("127.0.0.1", 9)))
    print(s.connect_ex(("127.0.0.1", 9)), t.connect_ex(("127.0.0.1", 9)), os.waitstatus_to_exitcode(os.waitpid(son, 0)[1]))
"""
    policy = Script(C.CONNECT, decide=lambda _: DENY)
    assert supervise(policy, loops, python(code)).out == "1 1 1\n" * 4
    assert len(policy.seen) == 12


@BOTH
def test_a_socket_from_outside_is_judged_when_it_is_used(loops: InterposeLoops) -> None:
    """A socket that came by SCM_RIGHTS from a process without supervision cannot connect or send either."""
    code = """
import socket, sys
_, (fd,), *_ = socket.recv_fds(socket.socket(fileno=int(sys.argv[1])), 1, 1)
s = socket.socket(fileno=fd)
print(s.connect_ex(("127.0.0.1", 9)))
try: s.sendto(b"x", ("127.0.0.1", 9))
except OSError as e: print(e.errno)
"""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    policy = Script(C.CONNECT, C.SENDMSG, decide=lambda _: DENY)
    with ours, theirs, socket.socket(type=socket.SOCK_DGRAM) as own, Supervisor(policy, loops=loops) as supervisor:
        socket.send_fds(ours, [b"x"], [own.fileno()])
        child = supervisor.run(python(code, theirs.fileno()), stdout=subprocess.PIPE, pass_fds=[theirs.fileno()])
        assert child.process.communicate(timeout=20)[0] == b"1\n1\n"


STEAL = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
class V(ctypes.Structure): _fields_ = [("b", ctypes.c_void_p), ("l", ctypes.c_size_t)]
up = os.getppid(); pidfd = os.pidfd_open(up); got = []
for fd in range(64):
    if libc.syscall(438, pidfd, fd, 0) >= 0: got.append(fd)
mine = ctypes.create_string_buffer(8)
print(got, libc.ptrace(16, up, 0, 0))
try: open(f"/proc/{up}/mem", "r+b"); print("memory")
except PermissionError: print("no memory")
"""

UNPRIVILEGED = """
import os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
if sys.argv[1] == "dumpable":
    import ctypes; ctypes.CDLL(None).prctl(4, 1)
from netdev.interpose import Action, Decision, Fact, SocketCall, Supervisor
class Policy:
    wants, needs, native = frozenset({SocketCall.CONNECT}), Fact.NONE, None
    def decide(self, event): return Decision(Action.DENY)
    def done(self, event, result): pass
with Supervisor(Policy()) as s:
    print(s.run([sys.executable, "-S", "-c", sys.argv[2]]).wait(), flush=True)
"""


@pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="needs an interpreter that everybody may run")
def test_a_process_of_the_same_user_cannot_reach_into_the_supervisor() -> None:
    """Without privileges, neither the listener can be fetched nor the supervisor traced or written to."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["/usr/bin/python3.11", "-c", UNPRIVILEGED, "dumpable", STEAL],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("[] -1\nno memory\n0\n", "")


DIES = r"""
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/wait.h>
static struct sockaddr_in a;
static void *run(void *unused) {
    for (;;) {
        int u = socket(AF_INET, SOCK_DGRAM, 0), t = socket(AF_INET, SOCK_STREAM, 0);
        connect(u, (void *)&a, sizeof a); sendto(u, "x", 1, 0, (void *)&a, sizeof a); connect(t, (void *)&a, sizeof a); bind(t, (void *)&a, sizeof a);
        close(u); close(t);
    }
    return 0;
}
int main(int argc, char **argv) {
    a.sin_family = AF_INET; a.sin_port = htons(9); a.sin_addr.s_addr = htonl(INADDR_LOOPBACK); srand(atoi(argv[1]));
    for (int i = 0; i < atoi(argv[2]); i++) {
        pid_t son = fork();
        if (!son) { pthread_t t; for (int n = 0; n < 3; n++) pthread_create(&t, 0, run, 0); run(0); }
        usleep(rand() % 4000); kill(son, SIGKILL); waitpid(son, 0, 0);
    }
    return 0;
}
"""


@BOTH
def test_deaths_at_any_moment_are_survived(loops: InterposeLoops) -> None:
    """200 processes of four threads each are killed at random moments of their calls; nothing fails, leaks or hangs."""
    files = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    policy = Script(C.CONNECT, C.SENDMSG, C.BIND)
    ended = supervise(policy, loops, [built(DIES, "-pthread"), "7", "200"], timeout=60)
    assert (ended.code, ended.failures) == (0, [])
    assert len(os.listdir("/proc/self/fd")) <= files + 2  # noqa: PTH208


@BOTH
@pytest.mark.parametrize("moment", ["before", "decided", "made"])
def test_deaths_at_each_step_are_survived(loops: InterposeLoops, moment: str) -> None:
    """Before the call is taken, after it is decided, after it is made: the dead caller's datagram goes only if it was made."""
    busy, go = threading.Event(), threading.Event()

    class Killing(Script):
        def done(self, event: SocketEvent, result: int) -> None:
            super().done(event, result)
            if moment == "made" and event.address[2:4] == port:
                os.kill(event.pid, signal.SIGKILL)

    def decide(event: SocketEvent) -> Decision:
        if event.address[3] == 7 and event.address[2] == 0:
            busy.set()
            go.wait(20)
        if moment == "decided" and event.address[2:4] == port:
            os.kill(event.pid, signal.SIGKILL)
            time.sleep(0.2)
        return ALLOW

    send = "import socket, sys; print('x', flush=True); socket.socket(type=2).sendto(b'x', ('127.0.0.1', int(sys.argv[1])))"
    with socket.socket(type=socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.setblocking(False)
        port = target.getsockname()[1].to_bytes(2, "big")
        number = target.getsockname()[1]
        with Supervisor(Killing(C.SENDMSG, decide=decide), loops=loops, workers=1) as supervisor:
            if moment == "before":
                code = f"import os, sys, time\nif os.fork() == 0:\n    sys.argv[1] = '7'\n    {send}\n    os._exit(0)\ntime.sleep(0.5)\n{send}"
                child = supervisor.run(python(code, number), stdout=subprocess.DEVNULL)
                assert busy.wait(20)
                time.sleep(0.7)
                child.kill()
                assert child.wait(20) == 128 + 9
                go.set()
            else:
                assert supervisor.run(python(send, number), stdout=subprocess.DEVNULL).wait(20) == 128 + 9
            assert supervisor.wait_for_all(20)
            assert supervisor.run(python(send, 8), stdout=subprocess.DEVNULL).wait(20) == 0
            assert list(supervisor.failures) == []
        if moment == "made":
            assert target.recv(1) == b"x"
        with pytest.raises(BlockingIOError):
            target.recv(1)
