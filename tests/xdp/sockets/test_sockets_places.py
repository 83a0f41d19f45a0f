"""Where programs are attached: namespaces and cgroups by name, cgroups inside cgroups, and what may still come once calls are held."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netdev.interpose import Action, Fact, SocketCall
from runtime.errors import InputError
from runtime.loader import LoadedObject, load
from tests.support.cgroups import Cgroup
from tests.support.sources import compile_c, needs_clang
from tests.support.wires import Namespace, privileged
from xdp.extension import default_registry
from xdp.hooks.sockets import SocketCallDescription, host_and_port
from xdp.sockets import MOST, Attachments, Parameter, SocketPolicy

pytestmark = needs_clang

ENGINES = pytest.mark.parametrize("engine", ["jit", "interpreter"])
ROOT = pytest.mark.skipif(not privileged(), reason="needs root: cgroups, network namespaces")
CONNECT = SocketCall.CONNECT

SOURCE = """
#include <bpf/bpf_endian.h>
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 64); __type(key, __u32); __type(value, __u64); } order SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, __u64); } count SEC(".maps");
static __always_inline int noted(__u64 number)
{
    __u32 zero = 0, at;
    __u64 *count_ = bpf_map_lookup_elem(&count, &zero);
    if (!count_)
        return 0;
    at = __sync_fetch_and_add(count_, 1);
    bpf_map_update_elem(&order, &at, &number, 0);
    return 1;
}
SEC("cgroup/connect4") int one(struct bpf_sock_addr *ctx) { return noted(1); }
SEC("cgroup/connect4") int two(struct bpf_sock_addr *ctx) { return noted(2); }
SEC("cgroup/connect4") int three(struct bpf_sock_addr *ctx) { return noted(3); }
SEC("cgroup/connect4") int next_port(struct bpf_sock_addr *ctx)
{
    ctx->user_port = bpf_htons(bpf_ntohs(ctx->user_port) + 1);
    return 1;
}
SEC("cgroup/connect4") int says(struct bpf_sock_addr *ctx)
{
    bpf_printk("port %d", bpf_ntohs(ctx->user_port));
    return 1;
}
SEC("cgroup/connect4") int named(struct bpf_sock_addr *ctx)
{
    char comm[16];
    return bpf_get_current_comm(comm, sizeof(comm)) == 0;
}
SEC("cgroup/bind4") int binds(struct bpf_sock_addr *ctx) { return 3; }
SEC("sockops") int happened(struct bpf_sock_ops *ctx) { bpf_printk("op %d", ctx->op); return noted(100 + ctx->op); }
"""


@pytest.fixture(scope="module")
def programs() -> Iterator[LoadedObject]:
    """The object of SOURCE."""
    with load(compile_c(SOURCE), registry=default_registry()) as loaded:
        yield loaded


def _asked(loaded: LoadedObject) -> list[int]:
    """The numbers of the programs that ran, in order, since the last time."""
    zero = bytes(4)
    count = int.from_bytes(loaded.maps["count"].lookup(zero) or b"", "little")
    loaded.maps["count"].update(zero, bytes(8))
    return [
        int.from_bytes(loaded.maps["order"].lookup(at.to_bytes(4, "little")) or b"", "little") for at in range(count)
    ]


def _call(**words: int) -> SocketCallDescription:
    return SocketCallDescription(address="10.0.0.1", port=80, **words)  # type: ignore[arg-type]


@pytest.mark.root
@ROOT
@ENGINES
def test_programs_of_a_cgroup_run_for_those_inside_it(programs: LoadedObject, engine: str) -> None:
    """From the inside out, whatever was attached first; those of a cgroup beside it do not run."""
    with Cgroup() as outer, Cgroup() as other:
        inner = outer.folder / "inner"
        inner.mkdir()
        try:
            folders = {"inner": inner, "outer": outer.folder, "other": other.folder}
            numbers = {name: path.stat().st_ino for name, path in folders.items()}
            attachments = Attachments()
            attachments.attach(programs.program("three"))
            attachments.attach(programs.program("two"), parameter=Parameter.cgroup_of(outer.folder))
            attachments.attach(programs.program("one"), parameter=Parameter.cgroup_of(inner))
            one, two, three = attachments.attached
            assert one.depth == two.depth + 1 > three.depth + 1
            with SocketPolicy(attachments, engine=engine) as policy:
                for name, expected in (("inner", [1, 2, 3]), ("outer", [2, 3]), ("other", [3]), ("inner", [1, 2, 3])):
                    assert policy.decide(_call(cgroup_id=numbers[name]).event(CONNECT)).action is Action.ALLOW
                    assert _asked(programs) == expected
        finally:
            inner.rmdir()


@ENGINES
def test_many_cgroups_are_remembered(programs: LoadedObject, engine: str) -> None:
    """More cgroups than a table has room for: each is its own, and nothing is forgotten or mixed up."""
    attachments = Attachments()
    attachments.attach(programs.program("one"), parameter=Parameter.cgroup(1 << 40 | 7))
    count = 2000 if engine == "jit" else 900
    with SocketPolicy(attachments, engine=engine) as policy:
        for number in range(count):
            policy.decide(_call(cgroup_id=1 << 40 | number + 1).event(CONNECT))
        assert _asked(programs) == [1]


@pytest.mark.root
@ROOT
def test_namespaces_have_names() -> None:
    """By a path, by the inode number and by the name that `ip netns` knows, it is the same namespace."""
    own = Parameter.netns_of("/proc/self/ns/net")
    assert own == Parameter.netns_of(Path("/proc/self/ns/net").stat().st_ino)
    with Namespace() as other:
        there = Parameter.netns_of(other.path)
        assert there != own
        assert there == Parameter.netns_of(other.path.stat().st_ino)
    with pytest.raises(InputError, match="network namespace no-such-name: No such file"):
        Parameter.netns_of("no-such-name")
    with pytest.raises(InputError, match="no name and no process holds it"):
        Parameter.netns_of(1)
    with pytest.raises(InputError, match="cgroup /no-such-cgroup: No such file"):
        Parameter.cgroup_of("/no-such-cgroup")


def test_what_comes_late_has_to_do_with_what_is_held(programs: LoadedObject) -> None:
    """A program for calls, or with facts, that nobody asked for in time is refused, and what was attached stays as it was."""
    attachments = Attachments()
    attachments.attach(programs.program("one"))
    with SocketPolicy(attachments) as policy:
        attachments.attach(programs.program("two"))
        assert policy.wants == {CONNECT}
        assert policy.needs == Fact.NONE
        attachments.attach(programs.program("three"))
        before = attachments.attached
        with pytest.raises(InputError, match="program 'binds' is asked at BIND, which supervision began without"):
            attachments.attach(programs.program("binds"))
        with pytest.raises(InputError, match="program 'named' looks at COMM, which supervision began without"):
            attachments.attach(programs.program("named"))
        assert attachments.attached == before
        policy.decide(_call().event(CONNECT))
        assert _asked(programs) == [1, 2, 3]
    with SocketPolicy(attachments, calls={SocketCall.BIND}, facts=Fact.COMM) as policy:
        assert (policy.wants, policy.needs) == ({CONNECT, SocketCall.BIND}, Fact.COMM)
        attachments.attach(programs.program("binds"))
        attachments.attach(programs.program("named"))


@ENGINES
def test_a_bind_may_need_no_privilege(programs: LoadedObject, engine: str) -> None:
    """The second bit of a verdict about a bind stands in the decision."""
    attachments = Attachments()
    attachments.attach(programs.program("binds"))
    with SocketPolicy(attachments, engine=engine) as policy:
        decision = policy.decide(_call().event(SocketCall.BIND))
    assert (decision.action, decision.free_port, decision.redirected) == (Action.ALLOW, True, False)


@ENGINES
def test_what_programs_print_is_read_once(programs: LoadedObject, engine: str) -> None:
    """Lines of decisions and of what has happened, in order."""
    attachments = Attachments()
    attachments.attach(programs.program("says"))
    attachments.attach(programs.program("happened"))
    with SocketPolicy(attachments, engine=engine) as policy:
        for _ in range(2):
            policy.decide(_call().event(CONNECT))
            policy.done(_call().event(SocketCall.ESTABLISHED_PASSIVE), 0)
        assert policy.printed() == b"port 80\nop 5\n" * 2
        assert policy.printed() == b""
        assert sum(count.runs for count in policy.counts().values()) == 4
    _asked(programs)


def test_sixteen_programs_under_many_threads(programs: LoadedObject) -> None:
    """Each call passes all programs, whoever else calls and whatever comes and goes; counters lose nothing, lines stay whole."""
    threads, calls = 8, 300
    attachments = Attachments()
    moving = [attachments.attach(programs.program("next_port")) for _ in range(MOST - 2)]
    saying = attachments.attach(programs.program("says"))
    start = threading.Barrier(threads + 1)
    with SocketPolicy(attachments) as policy:

        def call() -> set[int]:
            event = _call().event(CONNECT)
            address = event.address
            found = set()
            start.wait()
            for _ in range(calls):
                event.address = address
                assert policy.decide(event).redirected
                found.add(host_and_port(event.address)[1])
            return found

        with ThreadPoolExecutor(threads) as pool:
            ends = [pool.submit(call) for _ in range(threads)]
            start.wait()
            for _ in range(20):
                attachments.detach(attachments.attach(programs.program("next_port")))
            ports = set().union(*(end.result() for end in ends))
        counts = policy.counts()
        lines = policy.printed().splitlines()
    assert ports <= {80 + MOST - 2, 80 + MOST - 1}
    assert [counts[each.id].runs for each in (*moving, saying)] == [threads * calls] * (MOST - 1)
    assert lines == [b"port 94"] * (threads * calls)
