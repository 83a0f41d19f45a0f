"""What happened to the socket calls of a command: lines as they come, and an account by process at the end.

Not here: where the records come from, and what is decided about a call.
"""

from __future__ import annotations

import errno
import json
import signal
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Final, final

from netdev.interpose import Action, Decision, Event, SocketCall, SocketEvent

__all__ = ["Account", "Entry", "Ledger", "as_line", "ended", "spoken"]

_MOST_DENIED: Final = 8  # different destinations of a process in the text
_MOST_PROCESSES: Final = 4096  # of their own in the account; what comes later is counted together
_OUTCOMES: Final = ("allowed", "denied", "redirected", "would deny", "would redirect")
_HAPPENINGS: Final = frozenset({SocketCall.ESTABLISHED_ACTIVE, SocketCall.ESTABLISHED_PASSIVE, SocketCall.CLOSED})


def spoken(address: bytes) -> str:
    """A socket address as people write it: 10.0.0.1:80, [::1]:80; empty when there is none."""
    if len(address) < 2:
        return ""
    family = struct.unpack_from("=H", address)[0]
    port = struct.unpack_from("!H", address, 2)[0] if len(address) >= 4 else 0
    if family == socket.AF_INET and len(address) >= 8:
        return f"{socket.inet_ntoa(address[4:8])}:{port}"
    if family == socket.AF_INET6 and len(address) >= 24:
        scope = struct.unpack_from("=I", address, 24)[0] if len(address) >= 28 else 0
        return f"[{IPv6Address(address[8:24])}{f'%{scope}' if scope else ''}]:{port}"
    return f"family {family}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call.

    `outcome` is one of allowed, denied, redirected, would deny, would redirect; `result` what the call returned, or its errno
    with a minus; `wanted` is the address before a program rewrote it, where that is known.
    """

    time: float
    pid: int
    tid: int
    uid: int
    comm: str
    call: str
    address: str
    outcome: str
    result: int
    wanted: str = ""

    @classmethod
    def of(cls, event: SocketEvent, *, epoch: float) -> Entry:
        """From a record of the supervisor's log. `epoch`: seconds between the record's clock and that of the wall."""
        call = event.call
        outcome = "allowed" if call in _HAPPENINGS else _outcome(event)
        ends = event.remote if call in (*_HAPPENINGS, SocketCall.ACCEPTED) else event.address
        return cls(
            time=event[Event.TIME] / 1e9 + epoch,
            pid=event.pid,
            tid=event.tid,
            uid=event.uid,
            comm=event.comm,
            call=call.name.lower(),
            address=spoken(ends or event.address),
            outcome=outcome,
            result=event.result,
            wanted=spoken(event.original) if outcome == "redirected" else "",
        )

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        document: dict[str, Any] = {
            "time": round(self.time, 6),
            "pid": self.pid,
            "tid": self.tid,
            "uid": self.uid,
            "comm": self.comm,
            "call": self.call,
            "address": self.address,
            "outcome": self.outcome,
            "result": self.result,
        }
        if self.wanted:
            document["wanted"] = self.wanted
        if self.result < 0:
            document["errno"] = _errno(self.result)
        return document

    @property
    def text(self) -> str:
        """As a line."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time)) + f"{self.time % 1:.6f}"[1:]
        where = f" {self.wanted} → {self.address}" if self.wanted else f" {self.address}" if self.address else ""
        end = f" ({_errno(self.result)})" if self.result < 0 else ""
        return f"{clock} {self.comm or '?'}[{self.pid}] {self.call}{where} {self.outcome}{end}"


@final
@dataclass(slots=True)
class Account:
    """What one process did: calls by (call, outcome), and how often which destination was denied."""

    comm: str = ""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    denied: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Count a call."""
        self.comm = entry.comm or self.comm
        self.counts[entry.call, entry.outcome] += 1
        if entry.outcome in ("denied", "would deny"):
            why = _errno(entry.result) if entry.outcome == "denied" else "not enforced"
            self.denied[f"{entry.call} {entry.address}".strip(), why] += 1

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        calls: dict[str, dict[str, int]] = {}
        for (call, outcome), count in sorted(self.counts.items()):
            calls.setdefault(call, {})[outcome] = count
        denied = [{"call": what, "errno": why, "count": count} for (what, why), count in self.denied.most_common()]
        return {"comm": self.comm, "calls": calls, "denied": denied}

    @property
    def text(self) -> str:
        """As a line, without the process."""
        parts = []
        for call in dict.fromkeys(call for call, _ in sorted(self.counts)):
            said = [f"{self.counts[call, each]:,} {each}" for each in _OUTCOMES if self.counts[call, each]]
            parts.append(f"{call} {', '.join(said)}")
        line = "; ".join(parts)
        if self.denied:
            first = self.denied.most_common(_MOST_DENIED)
            said = [
                f"{what} ({why}" + (f", {count:,} times" if count > 1 else "") + ")" for (what, why), count in first
            ]
            more = len(self.denied) - len(first)
            line += f"\n      denied: {', '.join(said)}" + (f" and {more:,} more" if more else "")
        return line


@final
class Ledger:
    """Accounts of all processes."""

    def __init__(self) -> None:
        self.accounts: dict[int, Account] = {}
        self.epoch = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)

    def add(self, event: SocketEvent) -> Entry:
        """Count what a record says."""
        entry = Entry.of(event, epoch=self.epoch)
        self.count(entry)
        return entry

    def count(self, entry: Entry) -> None:
        """Count a call."""
        pid = entry.pid if entry.pid in self.accounts or len(self.accounts) < _MOST_PROCESSES else 0
        self.accounts.setdefault(pid, Account()).add(entry)

    @property
    def totals(self) -> dict[str, int]:
        """Calls by outcome; those that did not occur are left out, apart from the first two."""
        found: Counter[str] = Counter()
        for account in self.accounts.values():
            for (_, outcome), count in account.counts.items():
                found[outcome] += count
        return {each: found[each] for each in _OUTCOMES if found[each] or each in _OUTCOMES[:2]}

    @property
    def document(self) -> list[dict[str, Any]]:
        """The accounts, as JSON has them, by process; process 0 is all those that came when there were too many."""
        return [{"pid": pid, **account.document} for pid, account in sorted(self.accounts.items())]

    @property
    def text(self) -> str:
        """Totals in a line, then a line a process."""
        said = ", ".join(f"{count:,} {outcome}" for outcome, count in self.totals.items())
        count = len(self.accounts)
        if not count:
            return "no socket calls that anything is asked about"
        lines = [f"{said} in {count:,} process{'' if count == 1 else 'es'}"]
        for pid, account in sorted(self.accounts.items()):
            name = f"{account.comm or '?'} ({pid})" if pid else "(more processes)"
            lines.append(f"  {name}: {account.text}")
        return "\n".join(lines)


def _outcome(event: SocketEvent) -> str:
    decision, observed = Decision.of(event[Event.ACTION]), Decision.of(event[Event.OBSERVED])
    if decision.action is not Action.ALLOW:
        return "denied"
    if event.redirected or decision.redirected:
        return "redirected"
    if observed.action is not Action.ALLOW:
        return "would deny"
    return "would redirect" if observed.redirected else "allowed"


def _errno(result: int) -> str:
    return errno.errorcode.get(-result, str(-result)) if result < 0 else "0"


def as_line(document: dict[str, Any]) -> str:
    """A JSON line."""
    return json.dumps(document, ensure_ascii=False, default=str)


def ended(code: int) -> str:
    """An exit code as a shell gives it, in words."""
    if 128 < code < 128 + signal.NSIG:
        try:
            return f"killed by {signal.Signals(code - 128).name}"
        except ValueError:
            return f"killed by signal {code - 128}"
    return f"exit code {code}"
