"""Connecting a socket that is connected already: nobody is asked, as in Linux, and nobody gets anywhere by that."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from netdev.interpose import ALLOW, Decision, InterposeLoops, SocketCall, SocketEvent
from tests.support.interposed import BOTH, DENY, ROOT, Script, built, python, supervise

pytestmark = ROOT
C = SocketCall


@pytest.fixture
def ports() -> Iterator[tuple[socket.socket, int, int]]:
    """A server that may be connected to with its port, and the port of one that may not be, which counts who comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as open_, socket.create_server(("127.0.0.1", 0)) as shut:
        shut.setblocking(False)
        yield shut, open_.getsockname()[1], shut.getsockname()[1]


def _policy(shut: int) -> Script:
    def decide(event: SocketEvent) -> Decision:
        return DENY if int.from_bytes(event.address[2:4], "big") == shut else ALLOW

    return Script(C.CONNECT, decide=decide)


@BOTH
def test_nobody_is_asked(loops: InterposeLoops, ports: tuple[socket.socket, int, int]) -> None:
    """A connected, a connecting, a listening and a refused socket answer what the kernel says; a new one is asked about."""
    _, port, shut = ports
    code = (
        "import errno, socket, sys, time\n"
        "port, shut = int(sys.argv[1]), int(sys.argv[2])\n"
        "def tell(s, port, host='127.0.0.1'): print(errno.errorcode.get(s.connect_ex((host, port)), 0), end=' ')\n"
        "a = socket.socket(); tell(a, port); tell(a, shut); tell(a, port)\n"
        "b = socket.socket(); b.setblocking(False); tell(b, port); time.sleep(0.1); tell(b, shut); tell(b, shut)\n"
        "c = socket.socket(); c.bind(('127.0.0.1', 0)); c.listen(); tell(c, port)\n"
        "d = socket.socket(socket.AF_INET6); tell(d, port, '::ffff:127.0.0.1'); tell(d, shut, '::1')\n"
        "e = socket.socket(); tell(e, shut); tell(e, port)\n"
        "f = socket.socket(type=socket.SOCK_DGRAM); tell(f, port); tell(f, shut); tell(f, port)\n"
    )
    policy = _policy(shut)
    ended = supervise(policy, loops, python(code, port, shut))
    assert ended.out == "0 EISCONN EISCONN EINPROGRESS 0 EISCONN EISCONN 0 EISCONN EPERM 0 0 EPERM 0 "
    assert [name for name, _ in policy.seen] == ["CONNECT"] * 8


FLIPS = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static volatile int over, at = -1;
static struct sockaddr_in to(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return a;
}
static void *dissolve(void *unused)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    while (!over) connect(at, &none, sizeof none);
    return 0;
}
int main(int argc, char **argv)
{
    struct sockaddr_in good = to(atoi(argv[1])), bad = to(atoi(argv[2]));
    int denied = 0, connected = 0, wrong = 0;
    pthread_t thread;
    at = socket(AF_INET, SOCK_STREAM, 0);
    pthread_create(&thread, 0, dissolve, 0);
    for (int i = 0; i < 1500; i++) {
        struct sockaddr_in peer = {0};
        socklen_t size = sizeof peer;
        connect(at, (struct sockaddr *)&good, sizeof good);
        if (connect(at, (struct sockaddr *)&bad, sizeof bad) == 0) wrong++;
        else if (errno == EPERM) denied++;
        else if (errno == EISCONN) connected++;
        if (!getpeername(at, (struct sockaddr *)&peer, &size) && peer.sin_port == bad.sin_port) wrong++;
    }
    over = 1;
    pthread_join(thread, 0);
    printf("%d %d %d", wrong, denied > 0, connected > 0);
}
"""


@BOTH
def test_dissolving_an_association_meanwhile_leads_nowhere(
    loops: InterposeLoops, ports: tuple[socket.socket, int, int]
) -> None:
    """A thread dissolves the connection all the time: what is not asked about is never made."""
    counting, port, shut = ports
    ended = supervise(_policy(shut), loops, [built(FLIPS, "-pthread"), str(port), str(shut)], timeout=60)
    wrong, _, connected = ended.out.split()
    assert (wrong, connected) == ("0", "1")
    with pytest.raises(BlockingIOError):
        counting.accept()
