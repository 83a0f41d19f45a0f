"""Programs about socket calls over single events, in both engines: contexts, writes, helpers."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdev.interpose import SocketCall
from runtime.errors import InputError
from runtime.loader import LoadedObject, load
from tests.support.sources import compile_c, needs_clang
from xdp.extension import default_registry
from xdp.hooks.sockets import SocketCallDescription, host_and_port, socket_address
from xdp.sockets import BindAction, Verdict

pytestmark = needs_clang

ENGINES = pytest.mark.parametrize("engine", ["jit", "interpreter"])

SOURCE = """
#include <bpf/bpf_endian.h>
struct out { __u64 words[48]; };
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 1); __type(key, __u32); __type(value, struct out);
} outs SEC(".maps");
static __always_inline struct out *out(void) { __u32 zero = 0; return bpf_map_lookup_elem(&outs, &zero); }
static long (*set_redirect)(void *ctx, void *data, __u32 size) = (void *)0x10001;
static long (*get_redirect)(void *ctx, void *data, __u32 size) = (void *)0x10101;
static long (*context_pid)(void *ctx) = (void *)0x10000;

SEC("cgroup/connect4") int facts(struct bpf_sock_addr *ctx)
{
    struct out *o = out();
    if (!o)
        return 0;
    o->words[0] = bpf_get_current_pid_tgid();
    o->words[1] = bpf_get_current_uid_gid();
    bpf_get_current_comm(&o->words[2], 16);
    o->words[4] = bpf_get_socket_cookie(ctx);
    o->words[5] = bpf_get_netns_cookie(ctx);
    o->words[6] = bpf_get_netns_cookie(0);
    o->words[7] = bpf_get_current_cgroup_id();
    o->words[8] = context_pid(ctx);
    o->words[9] = ctx->user_family; o->words[10] = bpf_ntohl(ctx->user_ip4); o->words[11] = bpf_ntohs(ctx->user_port);
    o->words[12] = ctx->family; o->words[13] = ctx->type; o->words[14] = ctx->protocol;
    struct bpf_sock *sk = ctx->sk;
    o->words[15] = sk->bound_dev_if; o->words[16] = sk->family; o->words[17] = sk->type; o->words[18] = sk->protocol;
    o->words[19] = sk->mark; o->words[20] = sk->priority; o->words[21] = bpf_ntohl(sk->src_ip4);
    o->words[22] = sk->src_port; o->words[23] = bpf_ntohl(sk->dst_ip4); o->words[24] = bpf_ntohs(sk->dst_port);
    o->words[25] = sk->state;
    o->words[26] = ((volatile __u8 *)&ctx->user_ip4)[3];
    char name[4];
    bpf_get_current_comm(name, sizeof(name));
    __builtin_memcpy(&o->words[27], name, 4);
    o->words[28] = bpf_set_retval(-111); o->words[29] = bpf_get_retval(); o->words[30] = bpf_set_retval(5);
    char said[] = "where from";
    o->words[31] = set_redirect(ctx, said, sizeof(said));
    o->words[32] = get_redirect(ctx, &o->words[33], 16);
    o->words[35] = get_redirect(ctx, &o->words[36], 8);
    return 1;
}
SEC("cgroup/connect4") int bound(struct bpf_sock_addr *ctx)
{
    struct out *o = out();
    struct { __u16 family, port; __u32 ip; __u64 zero; } at = { 2, 0, bpf_htonl(0x7f000007), 0 };
    int value = 1, got = 0;
    if (!o)
        return 0;
    o->words[0] = bpf_bind(ctx, (void *)&at, sizeof(at));
    at.family = 1;
    o->words[1] = bpf_bind(ctx, (void *)&at, sizeof(at));
    at.family = 2;
    o->words[2] = bpf_bind(ctx, (void *)&at, 8);
    o->words[3] = bpf_setsockopt(ctx, 1, 9, &value, sizeof(value));
    o->words[4] = bpf_getsockopt(ctx, 1, 9, &got, sizeof(got));
    o->words[5] = got;
    o->words[6] = bpf_getsockopt(ctx, 99, 9, &got, sizeof(got));
    o->words[7] = got;
    return 1;
}
SEC("cgroup/connect6") int six(struct bpf_sock_addr *ctx)
{
    ctx->user_ip6[0] = 0; ctx->user_ip6[1] = 0; ctx->user_ip6[2] = 0; ctx->user_ip6[3] = bpf_htonl(1);
    ctx->user_port = bpf_htons(bpf_ntohs(ctx->user_port) + 1);
    return 1;
}
SEC("cgroup/sendmsg4") int source(struct bpf_sock_addr *ctx)
{
    ctx->msg_src_ip4 = bpf_htonl(bpf_ntohl(ctx->msg_src_ip4) + 1);
    ctx->user_ip4 = bpf_htonl(bpf_ntohl(ctx->user_ip4) + 1);
    return 1;
}
SEC("cgroup/recv_accept4") int accepted(struct bpf_sock_addr *ctx)
{
    return ctx->user_ip4 == bpf_htonl(0x0a000001) && ctx->msg_src_ip4 == bpf_htonl(0x0a000002) ? 2 : 0;
}
SEC("cgroup/listen4") int listening(struct bpf_sock_addr *ctx)
{
    return ctx->user_ip4 == ctx->msg_src_ip4 && bpf_ntohs(ctx->user_port) == 80;
}
struct bind_md {
    __u8 *app_id_start; __u8 *app_id_end; __u64 process_id; __u8 socket_address[16];
    __u8 socket_address_length; __u32 operation; __u8 protocol;
};
SEC("bind") int named(struct bind_md *ctx)
{
    struct out *o = out();
    __u8 *at = ctx->app_id_start;
    if (!o || at + 1 > ctx->app_id_end)
        return 1;
    o->words[0] = ctx->app_id_end - ctx->app_id_start;
    o->words[1] = *at;
    o->words[2] = ctx->process_id;
    o->words[3] = ctx->socket_address_length;
    o->words[4] = ctx->operation;
    o->words[5] = ctx->protocol;
    o->words[6] = bpf_ntohs(*(__u16 *)(ctx->socket_address + 2));
    ctx->socket_address[2] = 0;
    return o->words[6] == 80 ? 2 : 3;
}
SEC("sockops") int happened(struct bpf_sock_ops *ctx)
{
    struct out *o = out();
    if (!o)
        return 0;
    o->words[0] = ctx->op; o->words[1] = ctx->family; o->words[2] = bpf_ntohl(ctx->remote_ip4);
    o->words[3] = bpf_ntohl(ctx->local_ip4); o->words[4] = bpf_ntohl(ctx->remote_port); o->words[5] = ctx->local_port;
    o->words[6] = ctx->is_fullsock; o->words[7] = ctx->args[1]; o->words[8] = bpf_get_socket_cookie(ctx);
    struct bpf_sock *sk = ctx->sk;
    o->words[9] = sk ? bpf_ntohs(sk->dst_port) : 0;
    return 1;
}
"""


@pytest.fixture(scope="module")
def programs() -> Iterator[LoadedObject]:
    """The object of SOURCE."""
    with load(compile_c(SOURCE), registry=default_registry()) as loaded:
        yield loaded


def _words(loaded: LoadedObject) -> tuple[int, ...]:
    value = loaded.maps["outs"].lookup(bytes(4))
    assert value is not None
    return struct.unpack("<48q", value)


@ENGINES
def test_programs_see_the_caller_and_its_socket(programs: LoadedObject, engine: str) -> None:
    """Every fact of the description is where helpers, the context and its socket have it."""
    done = programs.programs["facts"].run(
        address="10.0.0.1", port=8080, pid=11, tid=12, uid=13, gid=14, comm="some name", cookie=15, netns_cookie=16,
        cgroup_id=17, bound_if=18, mark=19, priority=20, state=7, local="10.0.0.2", local_port=21, remote="10.0.0.3",
        remote_port=22, engine=engine,
    )  # fmt: skip
    words = _words(programs)
    assert words[:2] == (11 << 32 | 12, 14 << 32 | 13)
    assert struct.pack("<2q", *words[2:4]).rstrip(b"\0") == b"some name"
    assert words[4:9] == (15, 16, 1, 17, 11 << 32 | 12)
    assert words[9:15] == (2, 0x0A000001, 8080, 2, 1, 6)
    assert words[15:26] == (18, 2, 1, 6, 19, 20, 0x0A000002, 21, 0x0A000003, 22, 7)
    assert words[26] == 1
    assert struct.pack("<q", words[27])[:4] == b"som\0"
    assert words[28:31] == (0, -111, -22)
    assert words[31:33] == (0, 11)
    assert struct.pack("<2q", *words[33:35]).rstrip(b"\0") == b"where from"
    assert words[35:37] == (-28, 0)
    assert (done.verdict, done.retval, done.redirect_context) == (Verdict.PROCEED, -111, b"where from\0")
    assert not done.redirected


@ENGINES
def test_helpers_act_on_the_socket(programs: LoadedObject, engine: str) -> None:
    """bpf_bind binds it to the address with a port to come, and options are set and read; errors are the kernel's."""
    with socket.socket() as own:
        programs.programs["bound"].run(address="127.0.0.1", port=9, fd=own.fileno(), engine=engine)
        assert own.getsockname() == ("127.0.0.7", 0)
        assert own.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert _words(programs)[:8] == (0, -97, -22, 0, 0, 1, -95, 0)


@ENGINES
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(address=st.ip_addresses(v=6), port=st.integers(0, 0xFFFE))
def test_addresses_are_rewritten(programs: LoadedObject, engine: str, address: object, port: int) -> None:
    """What a program of IPv6 writes is where the call goes."""
    done = programs.programs["six"].run(address=str(address), port=port, engine=engine)
    assert (done.address, done.port) == ("::1", port + 1)
    assert done.redirected


@ENGINES
@pytest.mark.parametrize(
    ("family", "words", "source"),
    [
        (0, {"source": "10.0.0.7"}, "10.0.0.8"),
        (0, {"local": "10.0.0.9"}, "10.0.0.10"),
        (0, {}, "0.0.0.1"),
        (socket.AF_INET6, {}, "0.0.0.1"),
    ],
    ids=["named", "bound", "none", "mapped"],
)
def test_messages_get_a_source(
    programs: LoadedObject, engine: str, family: int, words: dict[str, str], source: str
) -> None:
    """The own end is the one that the message names, or that the socket is bound to; mapped addresses are those of IPv4."""
    description = SocketCallDescription(address="10.0.0.1", port=53, protocol="udp", family=family)
    done = programs.programs["source"].run(description, engine=engine, **words)
    assert (done.source, done.port) == (source, 53)
    assert done.address in ("10.0.0.2", "::ffff:a00:2")


@ENGINES
def test_added_ways_show_both_ends(programs: LoadedObject, engine: str) -> None:
    """An accepted connection has its own end as the user's address; a listening socket has its end as both."""
    done = programs.programs["accepted"].run(
        address="10.0.0.2", port=40000, local="10.0.0.1", local_port=80, engine=engine
    )
    assert done.verdict is Verdict.PROCEED_HARD
    assert programs.programs["listening"].run(address="10.0.0.1", port=80, engine=engine).verdict is Verdict.PROCEED


@ENGINES
def test_bind_programs_know_who_binds(programs: LoadedObject, engine: str) -> None:
    """The app id is the path of the caller's program; only a redirect moves the socket."""
    path = os.fsencode(Path(sys.executable).resolve())
    done = programs.programs["named"].run(address="127.0.0.1", port=80, engine=engine)
    assert _words(programs)[:7] == (len(path), path[0], os.getpid(), 16, 0, 6, 80)
    assert (done.action, done.address, done.port) == (BindAction.BIND_REDIRECT, "127.0.0.1", 80)
    done = programs.programs["named"].run(address="127.0.0.1", port=0x1234, engine=engine)
    assert (done.action, done.port) == (BindAction.BIND_PERMIT_HARD, 0x1234)


@ENGINES
@pytest.mark.parametrize(
    ("call", "op"),
    [(SocketCall.ESTABLISHED_ACTIVE, 4), (SocketCall.ESTABLISHED_PASSIVE, 5), (SocketCall.CLOSED, 10)],
)
def test_connections_are_told_of(programs: LoadedObject, engine: str, call: SocketCall, op: int) -> None:
    """Ports and addresses are in the orders that Linux has them in; the end of a connection is a change of state."""
    words = {"local": "10.0.0.1", "local_port": 80, "remote": "10.0.0.2", "remote_port": 40000, "cookie": 5}
    programs.programs["happened"].run(call, engine=engine, state=1, **words)
    closed = 7 if call is SocketCall.CLOSED else 0
    assert _words(programs)[:10] == (op, 2, 0x0A000002, 0x0A000001, 40000, 80, 1, closed, 5, 40000)


@given(address=st.ip_addresses(), port=st.integers(0, 0xFFFF))
def test_addresses_are_read_as_written(address: object, port: int) -> None:
    """A socket address says what it was made of."""
    assert host_and_port(socket_address(str(address), port)) == (str(address), port)


def test_nonsense_is_refused() -> None:
    """What is no address, port or protocol raises InputError."""
    for words in ({"address": "here"}, {"address": "10.0.0.1", "port": 1 << 16}, {"protocol": "ipx"}):
        with pytest.raises(InputError):
            SocketCallDescription(**words).event(SocketCall.CONNECT)
    assert host_and_port(b"short") == ("", 0)
