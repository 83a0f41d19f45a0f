"""What a keeper holds: a link, rehearsed before it enforces, described as a record, counted as JSON.

Not here: the link itself (attachment.py), the keeper's loop (keeper.py).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from netdev.errors import InterfaceError
from runtime.errors import DeviceError, InputError, ObjectError, UnsupportedError
from runtime.loader import load
from xdp.extension import default_registry
from xdp.live.interfaces import addresses, hardware_address
from xdp.live.keeper import Order, say
from xdp.live.link import PASS_ONLY
from xdp.live.programs import tag
from xdp.live.registry import Attachment, LiveMap, LiveProgram, State
from xdp.live.safety import judge, rehearse, session
from xdp.verdict import Verdict

if TYPE_CHECKING:
    from runtime.maps import Map
    from xdp.live.chain import Entry
    from xdp.live.link import Link

__all__ = ["LinkHeld", "hold"]

_ANY_MAC: Final = bytes.fromhex("02005e000001")
_FOR_GOOD: Final = 300.0  # seconds after which an interface that is gone is not waited for any more

Note = Callable[[str], None]


def hold(order: Order, *, state: State, note: Note) -> LinkHeld:
    """Restore what a crash left, rehearse, attach. Raises InputError when the rehearsal says that it locks its user out, and what attaching raises."""
    from netdev.topology import recover
    from xdp.live.attachment import attach

    for each in recover(state.journals):
        note(f"of a process that is gone: {each}")
    for each in _rehearsed(order, order.object, order.label, order.prog, force=order.force):
        note(each)
    if order.peer_object is not None or order.peer_prog is not None:
        path, label = order.peer_object or order.object, order.peer_label or order.label
        for each in _rehearsed(order, path, label, order.peer_prog, force=order.force):
            note(f"from {order.peer}: {each}")
    link = attach(
        order.object,
        order.interface,
        mode=order.mode,
        peer=order.peer,
        prog=order.prog,
        backend=order.backend,
        queues=order.queues,
        promisc=order.promisc,
        latency=order.latency,
        dry_run=order.dry_run,
        priority=order.priority,
        peer_program=order.peer_object,
        peer_prog=order.peer_prog,
        goes_on=_verdicts(order.chain_on),
        state_folder=state.folder,
        listed=False,
    )
    return LinkHeld(link, order, state=state)


def _rehearsed(order: Order, path: Path, label: str, prog: str | None, *, force: bool) -> tuple[str, ...]:
    """Verify a program, and what it would do to packets that matter, in words; on maps of its own."""
    try:
        loading = load(path, registry=default_registry())
    except ObjectError as error:
        raise ObjectError(f"{label}: {error}") from error
    with loading as loaded:
        program = loaded.program(prog)
        if program.type.name != "xdp":
            raise UnsupportedError(
                f"{label}: program {program.name!r} is of type {program.type.name}: only XDP programs attach"
            )
        if order.mode == "monitor" or order.dry_run:
            _ = program.verified
            return ()
        ssh = session(os.environ)
        there = order.ifindex != 0
        here = ssh is not None and there and ssh.server in addresses(order.interface)
        mac = hardware_address(order.interface) if there else _ANY_MAC
        found = rehearse(program, mac=mac, ifindex=order.ifindex, ssh=ssh)
    judged = judge(found, mode=order.mode, ssh_here=here)
    if judged.certain and not force:
        raise InputError(
            f"{label}: not attached: {judged.certain} (in a rehearsal with the maps as the object has them); "
            "--dry-run only counts, --force attaches, best with --revert-after SECONDS"
        )
    return tuple(f"warning: in the rehearsal, {each}" for each in judged.warnings)


@final
class LinkHeld:
    """A link with numbers, of the machine, for its programs and maps. `tell` is told what is changed, for a log."""

    def __init__(self, link: Link, order: Order, *, state: State, tell: Note = say) -> None:
        self._tell = tell
        self._link = link
        self._order = order
        self._state = state
        self._labels = {order.object.stem: order.label}
        if order.peer_object is not None:
            self._labels[order.peer_object.stem] = order.peer_label
        self._numbers: dict[tuple[str, int | tuple[int, int]], int] = {}
        self._loaded: dict[int, float] = {}
        self._gone_since: float | None = None
        self._said = ""

    def describe(self, record: Attachment) -> Attachment:
        """The record with what is true now."""
        now = self._link.describe()
        programs, peers = self._link.programs, self._link.peer_programs
        maps = tuple(self._link.maps.values())
        self._forget({each.program.id for each in (*programs, *peers)}, maps)
        return replace(
            record,
            state=now["state"],
            ifindex=now["ifindex"],
            interface=_name(now["ifindex"], record.interface),
            peer=None if record.peer_ifindex is None else _name(record.peer_ifindex, record.peer),
            programs=(
                *(self._program(each) for each in programs),
                *(self._program(each, backward=True) for each in peers),
            ),
            maps=tuple(self._map(each) for each in maps),
        )

    def _forget(self, programs: set[int], maps: tuple[Map, ...]) -> None:
        """Numbers of programs and maps that are no more: the system gives what it knew them by to others."""
        there = {("program", each) for each in programs} | {("map", _inode(each)) for each in maps}
        # maps of objects whose names another one hides are named by programs only
        for each in self._link.programs + self._link.peer_programs:
            there |= {("map", _inode(one)) for one in each.program.maps}
        for key in self._numbers.keys() - there:
            del self._numbers[key]
        for number in self._loaded.keys() - programs:
            del self._loaded[number]

    def _program(self, entry: Entry, *, backward: bool = False) -> LiveProgram:
        program = entry.program
        return LiveProgram(
            id=self._number("program", program.id),
            name=entry.name,
            tag=tag(program),
            priority=entry.priority,
            object=self._labels.get(program.owner.spec.name, ""),
            maps=tuple(self._number("map", _inode(each)) for each in program.maps),
            loaded_at=self._loaded.setdefault(program.id, time.time()),
            chain_on=tuple(each.name.removeprefix("XDP_").lower() for each in sorted(entry.goes_on)),
            backward=backward,
        )

    def _map(self, each: Map) -> LiveMap:
        path = f"/proc/{os.getpid()}/fd/{each.arena.fd}"
        return LiveMap(id=self._number("map", _inode(each)), name=each.name, kind=each.kind.name, path=path)

    def _number(self, what: str, own: int | tuple[int, int]) -> int:
        """A number that nothing else on this machine has; the same for the same thing."""
        if (what, own) not in self._numbers:
            self._numbers[what, own] = self._state.new_id()
        return self._numbers[what, own]

    def ended(self) -> str:
        """Why the link cannot go on: a worker failed, or the interface has been gone for long."""
        if self._link.error is not None:
            return f"failed: {self._link.error}"
        if self._link.state != "gone":
            self._gone_since = None
            return ""
        self._gone_since = self._gone_since or time.monotonic()
        return f"{self._order.interface} is gone" if time.monotonic() - self._gone_since > _FOR_GOOD else ""

    def stats(self) -> dict[str, Any]:
        """The counts so far, in the shape that `net top` reads."""
        found = self._link.stats()
        backward = dict(found.backward)
        return {
            "state": found.state,
            "received": found.received,
            "packets": found.verdicts,
            "bytes": found.bytes,
            "drops": found.drops,
            "reasons": list(found.reasons),
            "lost": found.drops.get("lost", 0) + backward.get("drops", {}).get("lost", 0),
            "cpu_seconds": found.cpu_seconds,
            "elapsed_seconds": found.elapsed_seconds,
            "words": found.words,
            "programs": [{**each, "id": self._number("program", each["id"])} for each in found.programs],
            "backward": backward,
        }

    def replace(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Another program in the place of one; maps whose definitions match are kept."""
        path, prog, notes = self._asked(request)
        before = {id(each) for each in self._link.programs}
        names = [each.name for each in self._link.programs]
        chosen = prog if len(names) > 1 and prog in names else None
        kept = self._link.replace(path, prog, name=chosen, goes_on=_asked_verdicts(request))
        entry = next(each for each in self._link.programs if id(each) not in before)
        return self._changed(entry, request, notes, kept)

    def insert(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One more program in the chain."""
        path, prog, notes = self._asked(request)
        priority = request.get("priority")
        entry = self._link.insert(
            path,
            prog=prog,
            priority=50 if priority is None else int(priority),
            goes_on=_asked_verdicts(request) or PASS_ONLY,
        )
        return self._changed(entry, request, notes, frozenset())

    def remove(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The program of that `id`, or `name`, out of the chain."""
        name, number = request.get("name"), request.get("id")
        numbered = [(self._number("program", each.program.id), each) for each in self._link.programs]
        found = [(own, each) for own, each in numbered if number in (None, own) and name in (None, each.name)]
        if len(found) != 1:
            known = ", ".join(f"{each.name} (id {own})" for own, each in numbered)
            what = f"program {name!r}" if name is not None else f"program with id {number}"
            problem = f"there is no {what}" if not found else f"several programs are named {name!r}: name one by its id"
            raise InputError(f"{self._order.interface}: {problem}; in the chain: {known}")
        own, entry = found[0]
        self._link.remove(entry)
        self._tell(f"remove: {entry.name}")
        return {"program": entry.name, "program_id": own}

    def _asked(self, request: Mapping[str, Any]) -> tuple[Path, str | None, tuple[str, ...]]:
        path, prog = Path(str(request["object"])), request.get("prog")
        label = str(request.get("label", path.name))
        self._labels[path.stem] = label
        return path, prog, _rehearsed(self._order, path, label, prog, force=bool(request.get("force")))

    def _changed(
        self, entry: Entry, request: Mapping[str, Any], notes: tuple[str, ...], kept: frozenset[str]
    ) -> dict[str, Any]:
        self._tell(f"{request['do']}: {entry.name} of {request.get('label')}")
        number = self._number("program", entry.program.id)
        return {"notes": notes, "kept": sorted(kept), "program": entry.name, "program_id": number}

    def guarded(self) -> None:
        """Start the guard again if it died; what hinders that is told once."""
        try:
            self._link.guarded()
        except InterfaceError as error:
            if str(error) != self._said:
                self._said = str(error)
                self._tell(f"no guard: {error}")

    def detach(self) -> dict[str, Any]:
        """Take everything back; the final counts, and what could not be restored."""
        problems: tuple[str, ...] = ()
        try:
            self._link.detach()
        except (DeviceError, InterfaceError) as error:
            problems = (str(error),)
            self._tell(f"not restored: {error}")
        problems = (*problems, *(each for each in self._link.problems if each not in problems))
        return {"stats": self.stats(), "problems": problems, "failed": self._link.error is not None}


def _name(ifindex: int, before: str | None) -> str:
    """What the interface is called now; while it is gone, what it was called."""
    try:
        return socket.if_indextoname(ifindex)
    except OSError:
        return before or ""


def _verdicts(names: Iterable[str]) -> frozenset[Verdict]:
    return frozenset(Verdict[f"XDP_{name.upper()}"] for name in names)


def _asked_verdicts(request: Mapping[str, Any]) -> frozenset[Verdict] | None:
    names = request.get("chain_on")
    return None if names is None else _verdicts(names)


def _inode(each: Map) -> tuple[int, int]:
    """What tells a map's memory from all other."""
    found = os.fstat(each.arena.fd)
    return found.st_dev, found.st_ino
