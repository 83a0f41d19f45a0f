"""What several programs make of a socket call, as natives: which of them it leads to, and what their answers come to.

Not here: who is attached (chain). A table is made of words and of entries, which are never changed but in their counters; its address
is read once for each call, so that another one can take its place at any time.

Linux's rules: every program runs and sees what those before it wrote; a 0 of any denies, and set_retval says with what. The rules of
eBPF for Windows: what a program wrote is taken back unless it redirects; the first that rejects or redirects ends it.
"""

from __future__ import annotations

import errno
import platform
import socket
from enum import IntEnum
from typing import Final

from netdev.interpose import Action, Event, SocketCall
from runtime.native import (
    atomic_add64,
    call_entry,
    load8,
    load16,
    load64,
    load_acquire64,
    memcpy,
    memeq,
    native,
    store8,
    store64,
    store_release64,
    syscall,
    urem,
    zext32,
)
from runtime.spec import ENVIRONMENT_SIZE, Env
from xdp.sockets.drivers import enter_bind, enter_sock_addr, enter_sock_ops, is_mapped, leave_bind, leave_sock_addr
from xdp.sockets.layout import PRINTED_ROOM, Room
from xdp.sockets.verdicts import BindAction, Outcome, Verdict

__all__ = [
    "ENTRY_SIZE",
    "LINEAGES",
    "MOST_CGROUPS",
    "TABLE_SIZE",
    "Entry",
    "Printed",
    "Rule",
    "Scope",
    "Table",
    "answer",
    "begin",
    "decide",
    "happen",
    "is_here",
    "judge",
    "place",
    "takes",
    "tell",
    "worker",
]

MOST_CGROUPS: Final = 64
"""So many cgroups may have programs: a set of them is a word."""
LINEAGES: Final = 1024
"""Slots for what is known of the cgroups of callers."""


class Table(IntEnum):
    """Byte offsets of a table. TEMPLATE: the address of an environment that those of workers are made from.

    OBSERVE: 1 when nothing is enforced. CPUS: how many slots per-CPU values have. FIRST and COUNT: arrays by SocketCall, where its
    entries begin, counted in entries, and how many there are. LINEAGES: where pairs of words lie, the id of a cgroup (0: free) and
    the set of cgroups with programs that it is in, 0 when no cgroup has programs. PRINTED: a Printed, or 0. ENTRIES: they follow.
    """

    TEMPLATE = 0
    OBSERVE = 8
    CPUS = 16
    FIRST = 24
    COUNT = 152
    LINEAGES = 280
    PRINTED = 288
    ENTRIES = 296


class Printed(IntEnum):
    """Byte offsets of the ring that takes what programs print. NEXT and NOW: tickets of those who write. HEAD: bytes ever written."""

    NEXT = 0
    NOW = 8
    HEAD = 16
    SIZE = 24
    TEXT = 32


class Entry(IntEnum):
    """Byte offsets of an entry. ENTRY: where the program starts. RULE: a Rule. FAMILY: 4, 6, or 0 for both.

    SCOPE: a Scope, and VALUE what it is compared with: a cookie, or a set with the cgroup. RUNS, DENIED, REDIRECTED: counters.
    """

    ENTRY = 0
    RULE = 8
    FAMILY = 16
    SCOPE = 24
    VALUE = 32
    RUNS = 40
    DENIED = 48
    REDIRECTED = 56


TABLE_SIZE: Final = int(Table.ENTRIES)
ENTRY_SIZE: Final = 64


class Rule(IntEnum):
    """Whose rules a program goes by: LINUX, WINDOWS (programs about addresses), BIND (bind programs, those of WINDOWS)."""

    LINUX = 0
    WINDOWS = 1
    BIND = 2


class Scope(IntEnum):
    """Whose calls lead to a program: everybody's, those of a network namespace (by cookie), those of a cgroup (by id)."""

    EVERYBODY = 0
    NETNS = 1
    CGROUP = 2


_INET: Final = int(socket.AF_INET)
_INET6: Final = int(socket.AF_INET6)
_RAW: Final = int(socket.SOCK_RAW)
_STREAM: Final = int(socket.SOCK_STREAM)
_UDP: Final = 17
_UDP_LITE: Final = 136
_ICMP: Final = 1
_ICMP6: Final = 58
_INET_SIZE: Final = 16
_INET6_SIZE: Final = 24
_ADDRESSES: Final = 256
_LENGTHS: Final = 16
_EPERM: Final = errno.EPERM
_EACCES: Final = errno.EACCES
_NOT_SUPPORTED: Final = 524  # ENOTSUPP of the kernel
_REDIRECTED: Final = 1 << 24
_FREE_PORT: Final = 1 << 25
_YIELD: Final = 124 if platform.machine() == "aarch64" else 24
_GOLDEN: Final = 0x1E3779B97F4A7C15
_LOW: Final = 0xFFFFFFFF
_STOP_RULE: Final = 1
_STOP_ALL: Final = 2


@native
def _save(record: int, at: int) -> int:
    memcpy(record + at, record + Event.ADDRESS, _ADDRESSES)
    return memcpy(record + at + _ADDRESSES, record + Event.ADDRESS_LENGTH, _LENGTHS)


@native
def _restore(record: int, at: int) -> int:
    memcpy(record + Event.ADDRESS, record + at, _ADDRESSES)
    return memcpy(record + Event.ADDRESS_LENGTH, record + at + _ADDRESSES, _LENGTHS)


@native
def _is_changed(record: int, at: int) -> int:
    return 1 - memeq(record + Event.ADDRESS, record + at, _ADDRESSES)


@native
def _family(record: int) -> int:
    """4 or 6: the programs of which family a call leads to; 0 for none. Messages and UDP go by the address, as in Linux."""
    own = load64(record + Event.FAMILY)
    call = load64(record + Event.CALL)
    named = load16(record + Event.ADDRESS)
    if own == _INET:
        return 0 if call == SocketCall.SENDMSG and named == _INET6 else 4
    if own != _INET6:
        return 0
    if call == SocketCall.SENDMSG:
        return 4 if named == _INET or is_mapped(record + Event.ADDRESS) != 0 else 6
    if call == SocketCall.CONNECT and named == _INET and load64(record + Event.TYPE) != _STREAM:
        return 4
    return 6


@native
def _is_short(record: int) -> int:
    """Whether the address is too short for its family: such a call fails by itself."""
    least = _INET_SIZE
    call = load64(record + Event.CALL)
    named = load16(record + Event.ADDRESS)
    if load64(record + Event.FAMILY) == _INET6 and call != SocketCall.ACCEPTED:
        least = _INET6_SIZE
        if named == _INET and (call == SocketCall.SENDMSG or load64(record + Event.TYPE) != _STREAM):
            least = _INET_SIZE if call != SocketCall.BIND else _INET6_SIZE
    return 1 if load64(record + Event.ADDRESS_LENGTH) < least else 0


@native
def _is_of_interest(record: int) -> int:
    """Whether programs about addresses see the call of a socket of that kind, as in Linux."""
    call = load64(record + Event.CALL)
    protocol = load64(record + Event.PROTOCOL)
    if call == SocketCall.SENDMSG or call == SocketCall.RECVMSG:  # noqa: PLR1714 - natives have no tuples
        return 1 if protocol == _UDP or protocol == _UDP_LITE else 0  # noqa: PLR1714, SIM109
    if call == SocketCall.BIND and (protocol == _ICMP or protocol == _ICMP6):  # noqa: PLR1714, SIM109
        return 0
    return 0 if load64(record + Event.TYPE) == _RAW else 1


@native
def worker(record: int, table: int) -> int:
    """The environment behind the record; made when it is not of this table."""
    env = record + Room.ENVIRONMENT
    if load64(record + Room.MADE_BY) != table:
        template = load64(table + Table.TEMPLATE)
        memcpy(env, template, ENVIRONMENT_SIZE)
        turn = atomic_add64(template + Env.CPU, 1)
        store64(env + Env.CPU, urem(turn, load64(table + Table.CPUS)))
        store64(env + Env.RANDOM, atomic_add64(template + Env.RANDOM, _GOLDEN) | 1)
        store64(env + Env.OWNER, load64(template + Env.OWNER) & ~_LOW | record & _LOW | 1)
        store64(env + Env.PRINTK, record + Room.PRINTED)
        store64(env + Env.PRINTK_SIZE, PRINTED_ROOM)
        store64(env + Env.PRINTK_HEAD, 0)
        store64(record + Room.MADE_BY, table)
    return env


@native
def begin(record: int, table: int) -> int:
    """Get a record ready; the environment for its programs, 0 when the call leads to none."""
    store64(record + Room.RETVAL, 0)
    store64(record + Room.REDIRECT_SIZE, 0)
    store64(record + Room.VERDICT, Outcome.SOFT)
    store64(record + Room.FREE_PORT, 0)
    if _is_short(record) != 0:
        return 0
    _save(record, Room.ORIGINAL)
    _save(record, Room.SAVED)
    return worker(record, table)


@native
def place(record: int, table: int) -> int:
    """Note which of the cgroups with programs the caller is in; 0 when somebody has to find that out first."""
    known = load64(table + Table.LINEAGES)
    number = load64(record + Event.CGROUP_ID)
    store64(record + Room.CGROUPS, 0)
    if known == 0 or number == 0:
        return 1
    at = urem(number, LINEAGES)
    for _ in range(LINEAGES):
        found = load_acquire64(known + 16 * at)
        if found == number:
            store64(record + Room.CGROUPS, load64(known + 16 * at + 8))
            return 1
        if found == 0:
            return 0
        at = urem(at + 1, LINEAGES)
    return 0


@native
def is_here(record: int, entry: int) -> int:
    """Whether the caller is in the place of an entry."""
    scope = load64(entry + Entry.SCOPE)
    if scope == Scope.NETNS and load64(entry + Entry.VALUE) != load64(record + Event.NETNS_COOKIE):
        return 0
    if scope == Scope.CGROUP and load64(entry + Entry.VALUE) & load64(record + Room.CGROUPS) == 0:
        return 0
    return 1


@native
def takes(record: int, entry: int) -> int:
    """Whether the call leads to the program of an entry."""
    if is_here(record, entry) == 0:
        return 0
    if load64(entry + Entry.RULE) == Rule.BIND:
        return 1
    if load64(entry + Entry.FAMILY) != _family(record):
        return 0
    return _is_of_interest(record)


@native
def _merge(record: int, outcome: int) -> int:
    return store64(record + Room.VERDICT, max(load64(record + Room.VERDICT), outcome))


@native
def _judge_linux(record: int, entry: int, result: int) -> int:
    if result & 1 == 0 and load64(record + Room.RETVAL) == 0:
        store64(record + Room.RETVAL, -_EPERM)
    if result & 2 != 0:  # only binds may return that
        store64(record + Room.FREE_PORT, 1)
    if result & 1 == 0:
        atomic_add64(entry + Entry.DENIED, 1)
    elif _is_changed(record, Room.SAVED) != 0:
        atomic_add64(entry + Entry.REDIRECTED, 1)
    return _save(record, Room.SAVED)


@native
def _judge_windows(record: int, entry: int, outcome: int, redirects: int) -> int:
    _merge(record, outcome)
    if outcome == Outcome.REJECT:
        store64(record + Room.RETVAL, -_EACCES)
        atomic_add64(entry + Entry.DENIED, 1)
        _restore(record, Room.SAVED)
        return _STOP_ALL
    if redirects != 0 and _is_changed(record, Room.SAVED) != 0:
        atomic_add64(entry + Entry.REDIRECTED, 1)
        _save(record, Room.SAVED)
        return _STOP_RULE
    _restore(record, Room.SAVED)
    return 0


@native
def judge(record: int, entry: int, result: int) -> int:
    """Take in what a program returned; not 0 when no other of its rule (1), or none at all (2), is asked."""
    atomic_add64(entry + Entry.RUNS, 1)
    rule = load64(entry + Entry.RULE)
    if rule == Rule.LINUX:
        return _judge_linux(record, entry, result)
    if rule == Rule.WINDOWS:
        outcome = Outcome.SOFT
        if result == Verdict.REJECT:
            outcome = Outcome.REJECT
        elif result == Verdict.PROCEED_HARD:
            outcome = Outcome.HARD
        return _judge_windows(record, entry, outcome, 1)
    outcome = Outcome.SOFT
    if result == BindAction.BIND_DENY:
        outcome = Outcome.REJECT
    elif result == BindAction.BIND_PERMIT_HARD:
        outcome = Outcome.HARD
    return _judge_windows(record, entry, outcome, 1 if result == BindAction.BIND_REDIRECT else 0)


@native
def _became_mapped(record: int) -> int:
    """Whether programs sent a message of IPv6 to a mapped address, which Linux refuses."""
    if load64(record + Event.CALL) != SocketCall.SENDMSG or is_mapped(record + Event.ADDRESS) == 0:
        return 0
    return 1 - is_mapped(record + Room.ORIGINAL)


@native
def answer(record: int, table: int) -> int:
    """The decision as a word (netdev.interpose.Decision.word); where nothing is enforced, it only stands in the record."""
    failure = load64(record + Room.RETVAL)
    if failure == 0 and _became_mapped(record) != 0:
        failure = -_NOT_SUPPORTED
    word = (
        Action.ALLOW | _is_changed(record, Room.ORIGINAL) * _REDIRECTED | load64(record + Room.FREE_PORT) * _FREE_PORT
    )
    if failure != 0:
        word = Action.DENY | -failure << 8
        _merge(record, Outcome.REJECT)
    if load64(table + Table.OBSERVE) != 0:
        store64(record + Event.OBSERVED, word)
        _restore(record, Room.ORIGINAL)
        return Action.ALLOW
    return word


@native
def _run(record: int, entry: int, env: int) -> int:
    """Run one program; what it returned."""
    start = load64(entry + Entry.ENTRY)
    if load64(entry + Entry.RULE) == Rule.BIND:
        result = zext32(call_entry(start, enter_bind(record, env), env))
        leave_bind(record, result)
        return result
    result = zext32(call_entry(start, enter_sock_addr(record, env), env))
    leave_sock_addr(record)
    return result


@native
def _through(record: int, table: int, env: int, call: int) -> int:
    """Run the programs of a kind of call."""
    entry = table + Table.ENTRIES + ENTRY_SIZE * load64(table + Table.FIRST + 8 * call)
    over = -1
    for _ in range(load64(table + Table.COUNT + 8 * call)):
        if load64(entry + Entry.RULE) != over and takes(record, entry) != 0:
            stop = judge(record, entry, _run(record, entry, env))
            if stop == _STOP_ALL:
                break
            if stop == _STOP_RULE:
                over = load64(entry + Entry.RULE)
        entry += ENTRY_SIZE
    return 0


@native
def tell(record: int, table: int) -> int:
    """Move what programs have printed to where it is read from; those who do so take turns."""
    ours = record + Room.ENVIRONMENT + Env.PRINTK_HEAD
    count = load64(ours)
    printed = load64(table + Table.PRINTED)
    store64(ours, 0)
    if printed == 0:
        return 0
    first = max(count - PRINTED_ROOM, 0)
    ticket = atomic_add64(printed + Printed.NEXT, 1)
    while load_acquire64(printed + Printed.NOW) != ticket:
        syscall(_YIELD, 0, 0, 0, 0, 0, 0)
    head = load64(printed + Printed.HEAD)
    size = load64(printed + Printed.SIZE)
    for at in range(first, count):
        store8(printed + Printed.TEXT + urem(head, size), load8(record + Room.PRINTED + urem(at, PRINTED_ROOM)))
        head += 1
    store_release64(printed + Printed.HEAD, head)
    return store_release64(printed + Printed.NOW, ticket + 1)


@native
def happen(record: int, current: int) -> int:
    """Run sock_ops programs over what has happened; 0 when the caller's cgroup is not known yet, and nothing was done."""
    table = load_acquire64(current)
    if place(record, table) == 0:
        return 0
    env = worker(record, table)
    call = load64(record + Event.CALL)
    entry = table + Table.ENTRIES + ENTRY_SIZE * load64(table + Table.FIRST + 8 * call)
    for _ in range(load64(table + Table.COUNT + 8 * call)):
        if is_here(record, entry) != 0:
            atomic_add64(entry + Entry.RUNS, 1)
            call_entry(load64(entry + Entry.ENTRY), enter_sock_ops(record, env), env)
        entry += ENTRY_SIZE
    if load64(env + Env.PRINTK_HEAD) != 0:
        tell(record, table)
    return 1


@native
def decide(record: int, current: int) -> int:
    """The word for a record; `current` is the address of the word that holds the table's."""
    table = load_acquire64(current)
    if place(record, table) == 0:
        return Action.ASK
    env = begin(record, table)
    if env == 0:
        return Action.ALLOW
    call = load64(record + Event.CALL)
    _through(record, table, env, call)
    if call == SocketCall.CONNECT and load64(record + Room.RETVAL) == 0:
        store64(record + Event.CALL, SocketCall.CONNECT_AUTHORIZATION)
        _through(record, table, env, SocketCall.CONNECT_AUTHORIZATION)
        store64(record + Event.CALL, call)
    if load64(env + Env.PRINTK_HEAD) != 0:
        tell(record, table)
    return answer(record, table)
