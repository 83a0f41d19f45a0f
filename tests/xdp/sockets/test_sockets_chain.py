"""Programs at socket calls: who may be attached, in which order they are asked, and what their answers come to."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netdev.interpose import Action, Decision, Event, Fact, SocketCall
from runtime.errors import InputError, UnsupportedError
from runtime.loader import LoadedObject, load
from tests.support.sources import compile_c, needs_clang
from xdp.extension import default_registry
from xdp.hooks.sockets import SocketCallDescription, host_and_port
from xdp.sockets import MOST, Attached, Attachments, Parameter, Rules, SocketPolicy

pytestmark = needs_clang

ENGINES = pytest.mark.parametrize("engine", ["jit", "interpreter"])
COUNT = 4

PLANNED = "".join(
    f"""
SEC("cgroup/connect4") int connect_{n}(struct bpf_sock_addr *ctx) {{ return act(ctx, {n}); }}
SEC("cgroup/connect_authorization4") int judge_{n}(struct bpf_sock_addr *ctx) {{ return look(ctx, {n}); }}
"""
    for n in range(COUNT)
)
SOURCE = (
    """
#include <bpf/bpf_endian.h>
struct plan { __u32 verdict; __u32 port; __s32 error; __u32 seen; };
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 16); __type(key, __u32); __type(value, struct plan);
} plans SEC(".maps");

static __always_inline int act(struct bpf_sock_addr *ctx, __u32 number)
{
    struct plan *plan = bpf_map_lookup_elem(&plans, &number);
    if (!plan)
        return 0;
    plan->seen = 1 + bpf_ntohs(ctx->user_port);
    if (plan->port)
        ctx->user_port = bpf_htons(plan->port);
    if (plan->error)
        bpf_set_retval(-plan->error);
    return plan->verdict & 1;
}
static __always_inline int look(struct bpf_sock_addr *ctx, __u32 number)
{
    __u32 key = number + 8;
    struct plan *plan = bpf_map_lookup_elem(&plans, &key);
    if (!plan)
        return 0;
    plan->seen = 1 + bpf_ntohs(ctx->user_port);
    return plan->verdict > 2 ? 2 : plan->verdict;
}
struct bind_md {
    __u8 *app_id_start; __u8 *app_id_end; __u64 process_id; __u8 socket_address[16];
    __u8 socket_address_length; __u32 operation; __u8 protocol;
};
SEC("bind") int moved(struct bind_md *ctx)
{
    ctx->socket_address[3] += 1;
    return ctx->protocol == 6 ? 2 : ctx->protocol == 17 ? 0 : 1;
}
SEC("cgroup/bind4") int after(struct bpf_sock_addr *ctx) { ctx->user_ip4 = bpf_htonl(0x7f000009); return 1; }
SEC("cgroup/connect_unix") int unix_only(struct bpf_sock_addr *ctx) { return 1; }
"""
    + PLANNED
)


@dataclass(frozen=True)
class Plan:
    """What a program of the chain does."""

    verdict: int = 1
    port: int = 0
    error: int = 0


PLANS = st.lists(
    st.builds(
        Plan,
        verdict=st.integers(0, 1),
        port=st.sampled_from([0, 0, 81, 82]),
        error=st.sampled_from([0, 0, 0, errno.ECONNREFUSED]),
    ),
    max_size=COUNT,
)


@pytest.fixture(scope="module")
def programs() -> Iterator[LoadedObject]:
    """The object of SOURCE."""
    with load(compile_c(SOURCE), registry=default_registry()) as loaded:
        yield loaded


def _set(loaded: LoadedObject, at: int, plan: Plan) -> None:
    loaded.maps["plans"].update(
        at.to_bytes(4, "little"),
        b"".join(word.to_bytes(4, "little") for word in (plan.verdict, plan.port, plan.error, 0)),
    )


def _seen(loaded: LoadedObject, at: int) -> int | None:
    """The port that a program saw, None when it was not asked."""
    value = loaded.maps["plans"].lookup(at.to_bytes(4, "little"))
    assert value is not None
    return int.from_bytes(value[12:16], "little") - 1 if any(value[12:16]) else None


def _expected(plans: list[Plan], rules: Rules) -> tuple[int, int, list[int | None]]:
    """The errno (0: allowed), the port, and what each program sees."""
    port, failure = 80, 0
    seen: list[int | None] = []
    for at, plan in enumerate(plans):
        seen.append(port)
        if rules is Rules.LINUX:
            failure = plan.error or failure
            if plan.verdict == 0 and not failure:
                failure = errno.EPERM
            port = plan.port or port
        elif plan.verdict == 0:
            return errno.EACCES, 80, seen + [None] * (len(plans) - at - 1)
        elif plan.port not in (0, port):
            return plan.error, plan.port, seen + [None] * (len(plans) - at - 1)
    return failure, port, seen


@ENGINES
@pytest.mark.parametrize("rules", list(Rules))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=PLANS)
def test_answers_are_put_together_by_the_rules(
    programs: LoadedObject, engine: str, rules: Rules, plans: list[Plan]
) -> None:
    """Under Linux's rules all are asked and see each other's writes; under the others the first reject or redirect ends it."""
    if rules is Rules.WINDOWS:
        plans = [Plan(verdict=each.verdict, port=each.port) for each in plans]
    attachments = Attachments(rules=rules)
    for number, plan in enumerate(plans):
        _set(programs, number, plan)
        attachments.attach(programs.program(f"connect_{number}"))
    failure, port, seen = _expected(plans, rules)
    event = SocketCallDescription(address="10.0.0.1", port=80).event(SocketCall.CONNECT)
    with SocketPolicy(attachments, engine=engine) as policy:
        decision = policy.decide(event)
    assert [_seen(programs, at) for at in range(len(plans))] == seen
    if failure:
        assert decision == Decision(Action.DENY, errno=failure)
    else:
        assert (decision.action, decision.redirected) == (Action.ALLOW, port != 80)
        assert host_and_port(event.address) == ("10.0.0.1", port)


@ENGINES
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(verdicts=st.lists(st.integers(0, 2), min_size=1, max_size=COUNT))
def test_authorisation_follows_a_redirect(programs: LoadedObject, engine: str, verdicts: list[int]) -> None:
    """Programs that authorise see the new port, all up to the first that rejects, and nothing they say is lost."""
    attachments = Attachments()
    _set(programs, 0, Plan(port=81))
    attachments.attach(programs.program("connect_0"))
    for number, verdict in enumerate(verdicts):
        _set(programs, 8 + number, Plan(verdict=verdict))
        attachments.attach(programs.program(f"judge_{number}"))
    asked = verdicts.index(0) + 1 if 0 in verdicts else len(verdicts)
    event = SocketCallDescription(address="10.0.0.1", port=80).event(SocketCall.CONNECT)
    with SocketPolicy(attachments, engine=engine) as policy:
        assert policy.wants == {SocketCall.CONNECT}
        decision = policy.decide(event)
    assert [_seen(programs, 8 + at) for at in range(len(verdicts))] == [81] * asked + [None] * (len(verdicts) - asked)
    assert decision.action is (Action.DENY if 0 in verdicts else Action.ALLOW)
    assert event.call is SocketCall.CONNECT


@ENGINES
def test_nothing_is_enforced_while_observing(programs: LoadedObject, engine: str) -> None:
    """The call goes where it would have gone, and the record says what would have become of it."""
    attachments = Attachments()
    attachments.attach(programs.program("connect_0"))
    with SocketPolicy(attachments, mode="observe", engine=engine) as policy:
        for plan, would in ((Plan(verdict=0), "denied"), (Plan(port=81), "redirected"), (Plan(), "allowed")):
            _set(programs, 0, plan)
            event = SocketCallDescription(address="10.0.0.1", port=80).event(SocketCall.CONNECT)
            assert policy.decide(event).word == 0
            assert host_and_port(event.address) == ("10.0.0.1", 80)
            observed = Decision.of(event[Event.OBSERVED])
            said = "redirected" if observed.redirected else {0: "allowed", 1: "denied"}[observed.action]
            assert said == would


@ENGINES
@pytest.mark.parametrize(("protocol", "port"), [("tcp", 81), ("udp", 80)])
def test_only_a_redirect_of_a_bind_program_moves_it(
    programs: LoadedObject, engine: str, protocol: str, port: int
) -> None:
    """What a bind program wrote is taken back when it only permits; programs of Linux are asked after it."""
    attachments = Attachments()
    attachments.attach(programs.program("after"))
    attachments.attach(programs.program("moved"))
    assert [each.way for each in attachments.attached] == ["bind", "cgroup_inet4_bind"]
    event = SocketCallDescription(address="127.0.0.1", port=80, protocol=protocol).event(SocketCall.BIND)
    with SocketPolicy(attachments, engine=engine) as policy:
        assert policy.decide(event).redirected
    assert host_and_port(event.address) == ("127.0.0.9", port)


@ENGINES
def test_programs_are_asked_about_their_place(programs: LoadedObject, engine: str) -> None:
    """A namespace or cgroup is that of the call; those of one place come before those of all."""
    attachments = Attachments()
    everybody = attachments.attach(programs.program("connect_0"))
    there = attachments.attach(programs.program("connect_1"), parameter=Parameter.netns(7))
    inside = attachments.attach(programs.program("connect_2"), parameter=Parameter.cgroup(9))
    assert attachments.attached == (there, inside, everybody)
    with SocketPolicy(attachments, engine=engine) as policy:
        assert policy.needs == Fact.NETNS_COOKIE | Fact.CGROUP_ID
        for netns, cgroup, asked in ((7, 1, {0, 1}), (1, 9, {0, 2}), (7, 9, {0, 1, 2}), (1, 1, {0})):
            for number in range(3):
                _set(programs, number, Plan())
            words = SocketCallDescription(address="10.0.0.1", port=80, netns_cookie=netns, cgroup_id=cgroup)
            policy.decide(words.event(SocketCall.CONNECT))
            assert {number for number in range(3) if _seen(programs, number) is not None} == asked


@ENGINES
def test_the_family_of_a_call_leads_to_its_programs(programs: LoadedObject, engine: str) -> None:
    """Sockets of IPv6 connect to mapped addresses as to any of theirs; raw sockets are left alone, as in Linux."""
    attachments = Attachments()
    attachments.attach(programs.program("connect_0"))
    _set(programs, 0, Plan(verdict=0))
    mapped = SocketCallDescription(address="10.0.0.1", port=80, family=10).event(SocketCall.CONNECT)
    raw = SocketCallDescription(address="10.0.0.1", port=80).event(SocketCall.CONNECT)
    raw[Event.TYPE] = 3
    short = SocketCallDescription(address="10.0.0.1", port=80).event(SocketCall.CONNECT)
    short.address = short.address[:15]
    with SocketPolicy(attachments, engine=engine) as policy:
        assert [policy.decide(each).action for each in (mapped, raw, short)] == [Action.ALLOW] * 3


@ENGINES
def test_programs_come_and_go_under_a_policy(programs: LoadedObject, engine: str) -> None:
    """The next call is decided by those that are attached then; counters stay."""
    attachments = Attachments()
    attached: Attached = attachments.attach(programs.program("connect_0"))
    _set(programs, 0, Plan(verdict=0))
    _set(programs, 1, Plan())
    words = SocketCallDescription(address="10.0.0.1", port=80)
    with SocketPolicy(attachments, engine=engine) as policy:
        assert policy.decide(words.event(SocketCall.CONNECT)).action is Action.DENY
        new = attachments.attach(programs.program("connect_1"), replace=attached)
        assert policy.decide(words.event(SocketCall.CONNECT)).action is Action.ALLOW
        attachments.detach(new)
        assert policy.decide(words.event(SocketCall.CONNECT)).action is Action.ALLOW
        counts = policy.counts()
    assert [(counts[each.id].runs, counts[each.id].denied) for each in (attached, new)] == [(1, 1), (1, 0)]


def test_there_is_room_for_so_many(programs: LoadedObject) -> None:
    """Sixteen about addresses; one bind program for each place; none for AF_UNIX."""
    attachments = Attachments()
    for _ in range(MOST):
        attachments.attach(programs.program("connect_0"))
    with pytest.raises(InputError, match="16 programs are attached to cgroup_inet4_connect"):
        attachments.attach(programs.program("connect_0"))
    attachments.attach(programs.program("moved"))
    attachments.attach(programs.program("moved"), parameter=Parameter.cgroup(9))
    with pytest.raises(InputError, match="'moved' is attached to bind already"):
        attachments.attach(programs.program("moved"))
    with pytest.raises(UnsupportedError, match="no socket call leads there"):
        attachments.attach(programs.program("unix_only"))
    with pytest.raises(InputError, match="cannot replace"):
        attachments.attach(programs.program("connect_1"), replace=attachments.attached[0])
