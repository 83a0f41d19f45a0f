"""Ways around a policy that a process may try: none leads anywhere."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from netdev.interpose import ALLOW, Decision, InterposeLoops, SocketCall, SocketEvent
from tests.support.interposed import BOTH, DENY, ROOT, Script, built, python, supervise

pytestmark = ROOT

C = SocketCall

FLIP = """
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <fcntl.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
static union { struct sockaddr_in in; struct sockaddr_un un; } address;
static volatile int stop;
static int good, bad, slot, plain, inet;
static void *flip_address(void *unused) { volatile in_port_t *port = &address.in.sin_port; while (!stop) { *port = htons(bad); *port = htons(good); } return 0; }
static void *flip_descriptor(void *unused) { while (!stop) { dup2(inet, slot); dup2(plain, slot); } return 0; }
int main(int argc, char **argv) {
    int descriptors = !strcmp(argv[1], "descriptor"), datagrams = !strcmp(argv[1], "datagram");
    good = atoi(argv[2]); bad = atoi(argv[3]); int tries = atoi(argv[4]), escapes = 0;
    pthread_t thread;
    slot = 100; plain = socket(AF_UNIX, SOCK_DGRAM, 0); inet = socket(AF_INET, SOCK_DGRAM, 0);
    dup2(plain, slot);
    address.in.sin_family = AF_INET; address.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.in.sin_port = htons(descriptors ? bad : good);
    pthread_create(&thread, 0, descriptors ? flip_descriptor : flip_address, 0);
    for (int i = 0; i < tries; i++) {
        if (datagrams) { sendto(inet, "x", 1, 0, (void *)&address, sizeof address.in); continue; }
        int s = descriptors ? slot : socket(AF_INET, SOCK_DGRAM, 0);
        connect(s, (void *)&address, sizeof address.in);
        struct sockaddr_in peer; socklen_t size = sizeof peer;
        if (!getpeername(descriptors ? inet : s, (void *)&peer, &size) && peer.sin_family == AF_INET && ntohs(peer.sin_port) == bad) escapes++;
        if (!descriptors) close(s);
    }
    stop = 1; pthread_join(thread, 0); printf("%d\\n", escapes); return 0;
}
"""


@BOTH
@pytest.mark.parametrize("what", ["address", "descriptor", "datagram"])
def test_what_changes_after_the_check_does_not_count(loops: InterposeLoops, what: str) -> None:
    """A thread exchanges the address or the descriptor while the call is held, 1,000 times: never does the other get through."""
    with socket.socket(type=socket.SOCK_DGRAM) as good, socket.socket(type=socket.SOCK_DGRAM) as bad:
        for own in (good, bad):
            own.bind(("127.0.0.1", 0))
            own.setblocking(False)
        yes, no = good.getsockname()[1], bad.getsockname()[1]

        def decide(event: SocketEvent) -> Decision:
            return DENY if int.from_bytes(event.address[2:4], "big") == no else ALLOW

        policy = Script(C.CONNECT, C.SENDMSG, decide=decide)
        program = built(FLIP, "-pthread")
        ended = supervise(policy, loops, [program, what, str(yes), str(no), "1000"], timeout=60)
        assert ended.out == "0\n"
        assert {result for _, result in policy.told} - {0, 1} <= {-errno.EPERM}
        with pytest.raises(BlockingIOError):
            bad.recv(1)


UNSHARED = """
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
static int slot = 100, result;
static void *run(void *unused) {
    if (unshare(CLONE_FILES)) return 0;
    int s = socket(AF_INET, SOCK_DGRAM, 0); dup2(s, slot);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    result = connect(slot, (void *)&a, sizeof a) ? errno : 0; return 0;
}
int main(void) {
    dup2(socket(AF_UNIX, SOCK_DGRAM, 0), slot);
    pthread_t thread; pthread_create(&thread, 0, run, 0); pthread_join(thread, 0); printf("%d\\n", result); return 0;
}
"""


@BOTH
def test_a_thread_with_a_table_of_its_own_is_looked_into_itself(loops: InterposeLoops) -> None:
    """What counts is the descriptor of the thread that calls, not that of its process."""
    program = built(UNSHARED, "-pthread")
    assert supervise(Script(C.CONNECT, decide=lambda _: DENY), loops, [program]).out == f"{errno.EPERM}\n"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 has these entries")
@BOTH
def test_other_entries_do_not_lead_past(loops: InterposeLoops) -> None:
    """Int 0x80, x32 numbers, io_uring, clone3 and shared tables end in errors."""
    source = """
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/syscall.h>
static long old(long nr, long a, long b, long c) { long r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory"); return r; }
static long now(long nr, long a) { long r = syscall(nr, a, 0, 0, 0, 0); return r < 0 ? -errno : r; }
int main(void) {
    printf("%ld %ld %ld %ld %ld\\n", old(102, 3, 0, 0), old(362, 3, 0, 0), old(20, 0, 0, 0) > 0 ? 1L : old(20, 0, 0, 0), now(0x40000000 | 42, 3), now(425, 1));
    printf("%ld %ld\\n", now(435, 0), now(SYS_clone, CLONE_FILES | 17));
    return 0;
}
"""
    out = supervise(Script(C.CONNECT), loops, [built(source)]).out.splitlines()
    no = -errno.ENOSYS
    assert out[0] in {f"{no} {no} 1 {no} {no}", f"{no} {no} {no} {no} {no}"}
    assert out[1] == f"{no} {-errno.EPERM}"


@BOTH
def test_a_process_that_cannot_be_looked_into_is_denied(loops: InterposeLoops) -> None:
    """Root looks into processes that are not dumpable as well; the policy is asked about them like others."""
    code = """
import ctypes, socket
ctypes.CDLL(None).prctl(4, 0)
print(socket.socket(type=socket.SOCK_DGRAM).connect_ex(("127.0.0.1", 9)))
"""
    policy = Script(C.CONNECT, decide=lambda _: DENY)
    assert supervise(policy, loops, python(code)).out == f"{errno.EPERM}\n"
    assert len(policy.seen) == 1


@BOTH
def test_programs_that_gain_privileges_stay_supervised(loops: InterposeLoops, tmp_path: os.PathLike[str]) -> None:
    """Under a privileged supervisor a setuid program has its rights, and the filter still."""
    import shutil
    from pathlib import Path

    source = """
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
    if (argc > 1) { setgid(65534); setuid(65534); execl(argv[1], argv[1], (char *)0); return 99; }
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    printf("%d %d %d\\n", getuid(), geteuid(), connect(socket(AF_INET, SOCK_DGRAM, 0), (void *)&a, sizeof a) ? errno : 0); return 0;
}
"""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        program = Path(folder) / "setuid"
        shutil.copy(built(source, "-static"), program)
        program.chmod(0o4755)
        policy = Script(C.CONNECT, decide=lambda _: DENY)
        assert supervise(policy, loops, [str(program), str(program)]).out == f"65534 0 {errno.EPERM}\n"
        assert policy.events[0].uid == 0
