"""What a process changes while a call of it is held: 10,000 times, and what was refused is never reached.

Longer and wider runs: XDPSIM_ATTACKS=10000 tries everything as often as connect.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from netdev.interpose import ALLOW, Action, Decision, InterposeLoops, SocketCall, SocketEvent
from tests.support.interposed import BOTH, ROOT, Script, built, native_policy, supervise

pytestmark = ROOT

C = SocketCall
TRIES: Final = 10_000
OTHERS: Final = int(os.environ.get("XDPSIM_ATTACKS", "1500"))

PROGRAM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
static struct sockaddr_in shared, fixed[2];  /* good, bad */
static struct msghdr message;
static struct iovec pieces[2];
static char *buffer, control[64];
static volatile int stop, started;
static int good, bad, slot = 100, plain, inet;
static struct sockaddr_in to(int port) { struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}; return a; }
static void *port(void *unused) { volatile in_port_t *p = &shared.sin_port; started = 1; while (!stop) { *p = htons(bad); *p = htons(good); } return 0; }
static void *family(void *unused) {
    volatile in_port_t *p = &shared.sin_port; volatile sa_family_t *f = &shared.sin_family; started = 1;
    while (!stop) { *p = htons(bad); *f = AF_UNSPEC; *f = AF_INET; *p = htons(good); *f = AF_INET6; *f = AF_INET; }
    return 0;
}
static void *descriptor(void *unused) { started = 1; while (!stop) { dup2(inet, slot); dup2(plain, slot); } return 0; }
static void *reopened(void *unused) { started = 1; while (!stop) { close(slot); dup2(inet, slot); close(slot); dup2(plain, slot); } return 0; }
static void *header(void *unused) {
    volatile struct msghdr *m = &message; volatile struct iovec *v = pieces; volatile in_port_t *p = &shared.sin_port; started = 1;
    for (unsigned n = 0; !stop; n++) {
        m->msg_name = &fixed[1]; *p = htons(bad); m->msg_name = &shared; *p = htons(good); m->msg_name = &fixed[0];
        m->msg_namelen = n & 1 ? 0 : n & 2 ? -1 : 128; m->msg_namelen = 16;
        m->msg_iovlen = n & 4 ? 1025 : 0; m->msg_iovlen = 1 + (n & 1);
        v[0].iov_len = n & 8 ? -1 : 60000; v[0].iov_base = n & 16 ? (void *)8 : buffer; v[0].iov_len = 1; v[0].iov_base = buffer;
        m->msg_control = control; m->msg_controllen = n & 32 ? 64 : 1UL << 40; m->msg_controllen = 0; m->msg_control = 0;
    }
    return 0;
}
static void *kind(const char *how) {
    return !strcmp(how, "family") ? (void *)family : !strcmp(how, "slot") ? (void *)descriptor : !strcmp(how, "reopened") ? (void *)reopened
        : !strcmp(how, "header") ? (void *)header : (void *)port;
}
int main(int argc, char **argv) {
    const char *call = argv[1], *how = argv[2];
    good = atoi(argv[3]); bad = atoi(argv[4]); int tries = atoi(argv[5]);
    int changes_slot = !strcmp(how, "slot") || !strcmp(how, "reopened"), stream = !strcmp(call, "connect");
    int type = stream ? SOCK_STREAM : SOCK_DGRAM, denied = 0, through = 0, escapes = 0;
    buffer = mmap(0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fixed[0] = to(good); fixed[1] = to(bad); shared = to(changes_slot ? bad : good);
    message.msg_name = &shared; message.msg_namelen = sizeof shared; message.msg_iov = pieces; message.msg_iovlen = 1;
    pieces[0].iov_base = pieces[1].iov_base = buffer; pieces[0].iov_len = pieces[1].iov_len = 1;
    plain = socket(AF_UNIX, type, 0); inet = socket(AF_INET, type, 0); dup2(plain, slot);
    pthread_t thread; pthread_create(&thread, 0, (void *(*)(void *))kind(how), 0);
    while (!started) ;
    for (int i = 0; i < tries; i++) {
        int own = changes_slot ? slot : socket(AF_INET, type, 0), r;
        if (!strcmp(call, "connect")) r = connect(own, (void *)&shared, sizeof shared);
        else if (!strcmp(call, "bind")) r = bind(own, (void *)&shared, sizeof shared);
        else if (!strcmp(call, "sendto")) r = sendto(own, buffer, 1, 0, (void *)&shared, sizeof shared);
        else if (!strcmp(call, "sendmsg")) r = sendmsg(own, &message, 0);
        else { struct mmsghdr two[2]; memset(two, 0, sizeof two); two[0].msg_hdr = message; two[1].msg_hdr = message; r = sendmmsg(own, two, 2, 0); }
        if (r < 0 && errno == EPERM) denied++;
        if (r >= 0 || errno == ECONNREFUSED) through++;
        struct sockaddr_in name; socklen_t size = sizeof name;
        if (!strcmp(call, "bind") && !getsockname(own, (void *)&name, &size) && name.sin_family == AF_INET && ntohs(name.sin_port) == bad) escapes++;
        if (!changes_slot) close(own);
    }
    stop = 1; pthread_join(thread, 0); printf("%d %d %d\n", escapes, denied, through); return 0;
}
"""


@contextmanager
def _targets(call: str) -> Iterator[tuple[int, socket.socket]]:
    """A port that may be reached, and a socket behind one that may not."""
    kind = socket.SOCK_STREAM if call == "connect" else socket.SOCK_DGRAM
    with socket.socket(type=kind) as good, socket.socket(type=kind) as bad:
        for own in (good, bad):
            own.bind(("127.0.0.1", 0))
            own.setblocking(False)
        if kind == socket.SOCK_STREAM:
            bad.listen(128)
        yes = good.getsockname()[1]
        if call in {"bind", "connect"}:
            good.close()
        yield yes, bad


def _nothing_came(target: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        _ = target.accept() if target.type == socket.SOCK_STREAM else target.recv(1)


def _port(event: SocketEvent) -> int:
    return int.from_bytes(event.address[2:4], "big")


_CASES: Final = (
    ("connect", "port", TRIES),
    ("connect", "family", OTHERS),
    ("connect", "slot", OTHERS),
    ("connect", "reopened", OTHERS),
    ("sendto", "port", OTHERS),
    ("sendto", "slot", OTHERS),
    ("sendmsg", "header", OTHERS),
    ("sendmmsg", "header", OTHERS),
    ("bind", "port", OTHERS),
    ("bind", "slot", OTHERS),
)


@BOTH
@pytest.mark.parametrize(("call", "how", "tries"), _CASES, ids=[f"{call}-{how}" for call, how, _ in _CASES])
def test_nothing_reaches_what_was_refused(loops: InterposeLoops, call: str, how: str, tries: int) -> None:
    """Another thread exchanges address, family, descriptor, header, lengths or data; the destination counts, and stays at 0."""
    with _targets(call) as (good, target):
        bad = target.getsockname()[1]
        policy = Script(
            C.CONNECT,
            C.SENDMSG,
            C.BIND,
            decide=lambda event: Decision(Action.DENY) if _port(event) == bad else ALLOW,
        )
        if call == "bind":
            target.close()
        command = [built(PROGRAM, "-pthread"), call, how, str(good), str(bad), str(tries)]
        ended = supervise(policy, loops, command, timeout=100)
        escapes, denied, through = map(int, ended.out.split())
        if call != "bind":
            _nothing_came(target)
    assert escapes == 0
    assert denied > 0
    assert through > 0 or how in {"slot", "reopened"}
    assert ended.failures == []


def test_nothing_passes_a_native_policy() -> None:
    """The same where machine code decides."""
    from xdp.natives import INTERPOSE

    with _targets("connect") as (good, target):
        bad = target.getsockname()[1]
        body = (
            f"unsigned char *a = (unsigned char *)record + 256; return (a[2] << 8 | a[3]) == {bad} ? 1 | 13 << 8 : 0;"
        )
        policy = Script(C.CONNECT, native=native_policy(body, C.CONNECT), decide=lambda _: Decision(Action.DENY))
        command = [built(PROGRAM, "-pthread"), "connect", "port", str(good), str(bad), str(TRIES)]
        ended = supervise(policy, INTERPOSE, command, timeout=100)
        _nothing_came(target)
    results = {event.result for event in ended.events}
    assert results == {-errno.EACCES, -errno.ECONNREFUSED}
