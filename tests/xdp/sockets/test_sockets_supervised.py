"""Commands under attached programs: both loops and both engines, many threads, connections that come and go, cgroups."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netdev.interpose import REFERENCE, InterposeLoops, SocketCall, Supervisor
from runtime.errors import InputError
from runtime.loader import LoadedObject, load
from tests.support.cgroups import Cgroup
from tests.support.interposed import ROOT, python
from tests.support.sources import compile_c, needs_clang
from xdp.extension import default_registry
from xdp.natives import INTERPOSE
from xdp.sockets import MOST, Attachments, Parameter, SocketPolicy

pytestmark = [needs_clang, *ROOT]

WAYS = pytest.mark.parametrize(
    ("loops", "engine"),
    [
        pytest.param(INTERPOSE, "jit", id="native"),
        pytest.param(REFERENCE, "jit", id="reference"),
        pytest.param(REFERENCE, "interpreter", id="interpreted"),
    ],
)
SOURCE = """
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, __u64); } counts SEC(".maps");
static __always_inline int counted(__u32 key)
{
    __u64 *count = bpf_map_lookup_elem(&counts, &key);
    if (count)
        __sync_fetch_and_add(count, 1);
    return 1;
}
SEC("sockops") int happened(struct bpf_sock_ops *ctx)
{
    bpf_printk("op %d", ctx->op);
    return counted(ctx->op & 15);
}
SEC("cgroup/connect4") int connected(struct bpf_sock_addr *ctx) { return counted(0); }
SEC("cgroup/connect4") int closed(struct bpf_sock_addr *ctx) { counted(1); return 0; }
SEC("cgroup/connect4") int next_port(struct bpf_sock_addr *ctx)
{
    ctx->user_port = bpf_htons(bpf_ntohs(ctx->user_port) + 1);
    return 1;
}
SEC("cgroup/bind4") int binds(struct bpf_sock_addr *ctx) { return 3; }
"""
CLIENT = """
import socket, sys, threading
port, threads, calls = map(int, sys.argv[1:])
def work():
    for at in range(calls):
        with socket.socket() as s:
            if at % 3 == 2:
                s.settimeout(20)
            s.connect(("127.0.0.1", port))
            assert s.getpeername()[1] in (port, port + 14)
            assert s.connect_ex(("127.0.0.1", port)) in (106, 0)
threads = [threading.Thread(target=work) for _ in range(threads)]
for each in threads: each.start()
for each in threads: each.join()
"""


@pytest.fixture(scope="module")
def programs() -> Iterator[LoadedObject]:
    """The object of SOURCE."""
    with load(compile_c(SOURCE), registry=default_registry()) as loaded:
        yield loaded


def _counts(loaded: LoadedObject) -> list[int]:
    """By key, since the last time."""
    found = [
        int.from_bytes(loaded.maps["counts"].lookup(key.to_bytes(4, "little")) or b"", "little") for key in range(16)
    ]
    for key in range(16):
        loaded.maps["counts"].update(key.to_bytes(4, "little"), bytes(8))
    return found


def _removed(folder: Path) -> None:
    """Remove a cgroup, once the processes in it have quite ended."""
    for _ in range(200):
        with suppress(OSError):
            folder.rmdir()
            return
        threading.Event().wait(0.02)


@contextmanager
def _server(port: int = 0) -> Iterator[int]:
    """A port that accepts whoever comes."""
    with socket.create_server(("127.0.0.1", port), backlog=512) as server:

        def accept() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _run(supervisor: Supervisor, script: str, *words: object) -> int:
    child = supervisor.run([*python(script), *map(str, words)])
    code = child.wait(60)
    assert supervisor.wait_for_all(60)
    return code


@WAYS
def test_connections_are_told_once(programs: LoadedObject, loops: InterposeLoops, engine: str) -> None:
    """Each connection of six threads, also those that do not block, is told of when it opens and when it ends."""
    threads, calls = 6, 9
    attachments = Attachments()
    attachments.attach(programs.program("happened"))
    attachments.attach(programs.program("connected"))
    _counts(programs)
    with _server() as port, SocketPolicy(attachments, engine=engine) as policy:
        with Supervisor(policy, loops=loops) as supervisor:
            assert _run(supervisor, CLIENT, port, threads, calls) == 0
            kinds: Counter[SocketCall] = Counter()
            for _ in range(100):
                kinds.update(event.call for event in supervisor.events())
                if kinds[SocketCall.CLOSED] >= threads * calls:
                    break
                threading.Event().wait(0.02)
            assert not supervisor.failures
        found = _counts(programs)
        printed = policy.printed().splitlines()
    total = threads * calls
    assert kinds == {SocketCall.CONNECT: total, SocketCall.ESTABLISHED_ACTIVE: total, SocketCall.CLOSED: total}
    assert (found[0], found[4], found[5], found[10]) == (total, total, 0, total)
    assert Counter(printed) == {b"op 4": total, b"op 10": total}


@WAYS
def test_connections_are_told_where_nobody_decides(programs: LoadedObject, loops: InterposeLoops, engine: str) -> None:
    """With sock_ops programs alone, calls are not in the log, and connections are."""
    attachments = Attachments()
    attachments.attach(programs.program("happened"))
    _counts(programs)
    with _server() as port, SocketPolicy(attachments, engine=engine) as policy:
        with Supervisor(policy, loops=loops) as supervisor:
            assert _run(supervisor, CLIENT, port, 2, 4) == 0
            calls = {event.call for event in supervisor.events()}
        assert calls <= {SocketCall.ESTABLISHED_ACTIVE, SocketCall.CLOSED}
        assert _counts(programs)[4] == 8


@WAYS
def test_sixteen_programs_decide_about_many_threads(programs: LoadedObject, loops: InterposeLoops, engine: str) -> None:
    """Each call of 16 threads goes through all of them, and where they say."""
    threads, calls = 16, 6
    attachments = Attachments()
    moving = [attachments.attach(programs.program("next_port")) for _ in range(MOST - 2)]
    counting = [attachments.attach(programs.program("connected")) for _ in range(2)]
    with _server() as port, SocketPolicy(attachments, engine=engine) as policy:
        with Supervisor(policy, loops=loops) as supervisor:
            assert _run(supervisor, CLIENT, port - len(moving), threads, calls) == 0
            ports = {int.from_bytes(event.address[2:4], "big") for event in supervisor.events()}
            assert not supervisor.failures
        counts = policy.counts()
    assert ports == {port}
    assert {counts[each.id].runs for each in (*moving, *counting)} == {threads * calls}


@WAYS
def test_a_cgroup_leads_to_the_programs_around_it(programs: LoadedObject, loops: InterposeLoops, engine: str) -> None:
    """A command in a cgroup inside one that has a program is denied; one beside it is not; sock_ops programs likewise."""
    script = "import socket, sys; s = socket.socket(); print(s.connect_ex(('127.0.0.1', int(sys.argv[1]))))"
    with Cgroup() as group, _server() as port:
        inner = group.folder / "inner"
        inner.mkdir()
        try:
            attachments = Attachments()
            attachments.attach(programs.program("closed"), parameter=Parameter.cgroup_of(group.folder))
            attachments.attach(programs.program("happened"), parameter=Parameter.cgroup_of(group.folder))
            _counts(programs)
            with SocketPolicy(attachments, engine=engine) as policy, Supervisor(policy, loops=loops) as supervisor:
                found = []
                for enter in (f"echo $$ > {inner}/cgroup.procs; ", ""):
                    words = ["sh", "-c", enter + 'exec "$@"', "sh", *python(script), str(port)]
                    child = supervisor.run(words, stdout=subprocess.PIPE)
                    found.append(child.process.communicate(timeout=30)[0].strip())
                assert found == [b"1", b"0"]
                assert supervisor.wait_for_all(30)
            counts = _counts(programs)
            assert (counts[1], counts[4]) == (1, 0)
        finally:
            _removed(inner)


@WAYS
def test_programs_come_while_a_command_runs(programs: LoadedObject, loops: InterposeLoops, engine: str) -> None:
    """One about a call that is held decides from then on; one about another call is refused, and nothing else changes."""
    script = (
        "import socket, sys\n"
        "for _ in range(2):\n"
        "    s = socket.socket(); print(s.connect_ex(('127.0.0.1', int(sys.argv[1]))), flush=True); sys.stdin.readline()\n"
    )
    attachments = Attachments()
    attachments.attach(programs.program("connected"))
    with (
        _server() as port,
        SocketPolicy(attachments, engine=engine) as policy,
        Supervisor(policy, loops=loops) as supervisor,
    ):
        child = supervisor.run([*python(script), str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = child.process
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"0\n"
        with pytest.raises(InputError, match="supervision began without"):
            attachments.attach(programs.program("binds"))
        attachments.attach(programs.program("closed"))
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"1\n"
        process.communicate(timeout=30)
        assert child.wait(30) == 0
