"""`attach`: interfaces opened and prepared for a mode, and a link over them. All of it is taken back when a step fails.

    inline   interface ⇄ peer: what the program passes goes on to the peer and back; the host's stack sees neither
    host     interface ⇄ TAP: the host's addresses and routes move to the TAP, so the stack sees what the program passes
    monitor  interface: a copy is shown to the program, nothing is held back

Every change of the system goes through a journal (netdev.topology), whose guard restores it when this process is killed.

Not here: the link (link.py), and moving frames (worker.py).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from netdev.errors import InterfaceError
from netdev.port import LivePort
from runtime.errors import DeviceError, InputError
from xdp.live.claims import claim
from xdp.live.keeper import Order
from xdp.live.link import PASS_ONLY, Lane, Link, Mode, Wire
from xdp.live.programs import Source, open_program
from xdp.live.registry import State
from xdp.live.registry import state_folder as default_folder
from xdp.live.station import Station, Targets
from xdp.verdict import Verdict

if TYPE_CHECKING:
    from netdev.backends import Loops
    from netdev.topology import Guard, Journal
    from runtime.loader import Program

__all__ = ["BACKENDS", "LATENCIES", "attach"]

LATENCIES: Final = ("low", "normal")
DEFAULT_LATENCY: Final = "normal"
BACKENDS: Final = ("auto", "afpacket", "libpcap", "tap")
_MOST_QUEUES: Final = 64
_TAP_NAME: Final = "xdp-{}"  # 15 characters at most, whatever the index
_SIOCSIFMTU: Final = 0x8922
_FEW_BLOCKS: Final = 8


def attach(
    source: Source,
    interface: str,
    *,
    mode: str = "inline",
    peer: str | None = None,
    prog: str | None = None,
    backend: str = "auto",
    queues: int = 1,
    promisc: bool = False,
    latency: str = DEFAULT_LATENCY,
    dry_run: bool = False,
    engine: str | None = None,
    peer_program: Source | None = None,
    peer_prog: str | None = None,
    priority: int = 50,
    goes_on: frozenset[Verdict] = PASS_ONLY,
    state_folder: Path | None = None,
    journal: Journal | None = None,
    listed: bool = True,
) -> Link:
    """Attach an XDP program (an object's path, or a program of a loaded object) to an interface of this thread's namespace.

    `mode` is "inline" (with `peer`, and optionally a program for frames that come from there: `peer_program`, or `peer_prog` of the
    same object, sharing its maps), "host" or "monitor".
    `backend` is "auto", "afpacket", "libpcap" or "tap" (the interface is made, as a TAP). `queues` are workers among which
    flows are distributed. `promisc` takes in frames for other stations (inline does so always). `dry_run` counts verdicts and passes
    everything. `latency` "low" gives each frame to the program as soon as it has come, at the price of some throughput; "normal" up to a
    millisecond later. `goes_on` are verdicts on which the next program of a chain is asked, too. `state_folder` is where the journal is kept,
    unless `journal` is one already begun, whose guard is the caller's; a link that is `listed` has a record there, by which `xdpsim net`
    and `xdpsim map` find it.

    Raises InputError, ObjectError, UnsupportedError, VerificationError for the program; InterfaceError, DeviceError for the system.
    """
    folder = state_folder or default_folder()
    order = _Order(
        _mode(mode), interface, peer, backend=backend, queues=queues, promisc=promisc, latency=latency, folder=folder
    )
    order.check()
    opening = partial(_Opening, order, journal=journal)
    programs = _Programs(
        source=source, prog=prog, peer=peer_program, peer_prog=peer_prog, engine=engine, priority=priority, on=goes_on
    )
    link = _linked(opening, programs, queues=queues, dry_run=dry_run).start()
    if listed:
        _list(link, order, programs, dry_run=dry_run)
    return link


def _list(link: Link, order: _Order, programs: _Programs, *, dry_run: bool) -> None:
    """Let others see the link; one that cannot be is not left behind."""
    from xdp.live.presence import Presence

    source = programs.source
    path = Path(source) if isinstance(source, str | Path) else Path(link.programs[0].program.owner.spec.name)
    wanted = Order(
        object=path,
        label=str(path),
        interface=order.interface,
        ifindex=socket.if_nametoindex(order.interface),
        prog=programs.prog,
        mode=order.mode.value,
        peer=order.peer,
        peer_ifindex=None if order.peer is None else socket.if_nametoindex(order.peer),
        backend=order.backend,
        queues=order.queues,
        promisc=order.promisc,
        latency=order.latency,
        dry_run=dry_run,
        priority=programs.priority,
    )
    try:
        link.at_end(Presence(link, wanted, State(order.folder)).close)
    except BaseException:
        link.detach()
        raise


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Programs:
    """What is wanted to run; `on`: on which verdicts the next program is asked."""

    source: Source
    prog: str | None
    peer: Source | None
    peer_prog: str | None
    engine: str | None
    priority: int
    on: frozenset[Verdict]

    def peer_of(self, program: Program) -> Source | None:
        """What judges frames from the peer: of a source of its own, or of the same object; None: nothing."""
        if self.peer is not None or self.peer_prog is None:
            return self.peer
        return program.owner.program(self.peer_prog)


def _linked(opening: Callable[[ExitStack], _Opening], wanted: _Programs, *, queues: int, dry_run: bool) -> Link:
    """Programs and loops first: one that is refused has changed nothing, and nothing waits for a compiler."""
    from runtime.maps import possible_cpus
    from xdp.natives.ports import make_ready

    make_ready()
    cpus = max(possible_cpus(), 2 * queues)
    with ExitStack() as undo:
        program = open_program(wanted.source, wanted.prog, engine=wanted.engine, cpus=cpus)
        undo.callback(program.close)
        peer = wanted.peer_of(program.program)
        other = None if peer is None else open_program(peer, wanted.peer_prog, engine=wanted.engine, cpus=cpus)
        if other is not None:
            undo.callback(other.close)
        restore = undo.enter_context(ExitStack())
        wire = opening(restore).open()
        link = Link(
            wire,
            program,
            cpus=cpus,
            engine=wanted.engine,
            dry_run=dry_run,
            priority=wanted.priority,
            goes_on=wanted.on,
            peer_program=other,
        )
        link.hold(restore.pop_all())
        undo.pop_all()
    return link


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        raise InputError(f"mode {name!r}: there are {', '.join(Mode)}") from None


@final
@dataclass(frozen=True, slots=True)
class _Order:
    """What is wanted of the wire."""

    mode: Mode
    interface: str
    peer: str | None
    _: KW_ONLY
    backend: str
    queues: int
    promisc: bool
    latency: str
    folder: Path

    def check(self) -> None:
        """Raises InputError for what does not go together."""
        if self.backend not in BACKENDS:
            raise InputError(f"backend {self.backend!r}: there are {', '.join(BACKENDS)}")
        if self.latency not in LATENCIES:
            raise InputError(f"latency {self.latency!r}: there are {', '.join(LATENCIES)}")
        if not 1 <= self.queues <= _MOST_QUEUES:
            raise InputError(f"{self.queues} queues: 1 to {_MOST_QUEUES}")
        if self.latency == "low" and self.backend == "libpcap":
            raise InputError("low latency is of packet sockets: leave --latency away, or use afpacket")
        if self.queues > 1 and self.backend in ("libpcap", "tap"):
            raise InputError(f"the {self.backend} backend has one queue: leave --queues away, or use afpacket")
        if self.mode is Mode.INLINE and self.peer is None:
            raise InputError("inline mode stands between two interfaces: name the other one as the peer")
        if self.mode is not Mode.INLINE and self.peer is not None:
            raise InputError(f"{self.mode} mode has no peer")
        if self.peer == self.interface:
            raise InputError(f"{self.interface} cannot be its own peer")
        if self.backend == "tap" and self.mode is not Mode.INLINE:
            raise InputError("the tap backend makes a new interface: use it inline, with a peer")


@final
class _Opening:
    """The steps; each leaves its inverse in `restore`."""

    def __init__(self, order: _Order, restore: ExitStack, journal: Journal | None) -> None:
        self._order = order
        self._restore = restore
        self._journal = journal
        self._changing = threading.Lock()
        self._claimed: set[int] = set()
        self._claims = restore.enter_context(ExitStack())  # grows when interfaces return
        self._watched: _Watched | None = None

    def open(self) -> Wire:
        """Everything for the mode. Raises InterfaceError, DeviceError, InputError."""
        order = self._order
        if order.backend != "tap":
            self._claim(order.interface)
        if order.peer is not None:
            self._claim(order.peer)
        match order.mode:
            case Mode.MONITOR:
                return self._monitor()
            case Mode.INLINE:
                return self._inline()
            case Mode.HOST:
                return self._host()

    def _claim(self, name: str) -> None:
        self._claimed.add(claim(name, self._order.folder, self._claims))

    def _monitor(self) -> Wire:
        stations = self._stations(self._order.interface, promisc=self._order.promisc, changed=False)
        lanes = (Lane(station=each, onward=None, queue=i) for i, each in enumerate(stations))
        return self._wire(tuple(lanes))

    def _inline(self) -> Wire:
        order = self._order
        assert order.peer is not None
        near = self._stations(order.interface, promisc=True, made=order.backend == "tap")
        far = self._stations(order.peer, promisc=True)
        self._begin()
        if order.backend != "tap":
            self._seal(order.interface, near)
        self._seal(order.peer, far)
        pairs = list(enumerate(zip(near, far, strict=True)))
        there = (Lane(station=a, onward=b, queue=i) for i, (a, b) in pairs)
        back = (Lane(station=b, onward=a, queue=i, inward=False) for i, (a, b) in pairs)
        return self._wire((*there, *back))

    def _host(self) -> Wire:
        from netdev.backends import open_tap
        from netdev.topology import hold_groups, move_host_edge

        order = self._order
        lower = self._stations(order.interface, promisc=order.promisc)
        port = lower[0].port
        assert port is not None
        if not any(port.mac):
            raise InterfaceError(
                f"{port.name} has no address of its own: host mode is for Ethernet interfaces, not for loopback"
            )
        name = _TAP_NAME.format(port.ifindex)
        tap = open_tap(name, mac=port.mac, mtu=port.mtu, loops=_loops())
        self._restore.callback(tap.close)
        upper = Station(tap)
        self._begin()
        self._seal(order.interface, lower)
        self._restore.callback(hold_groups(order.interface, name).close)
        assert self._journal is not None
        move_host_edge(self._journal, order.interface, name)
        lower[0].on_mtu = partial(_set_mtu, name)
        up = (Lane(station=each, onward=upper, queue=i) for i, each in enumerate(lower))
        return self._wire((*up, Lane(station=upper, onward=lower[0], inward=False)))

    def _wire(self, lanes: tuple[Lane, ...]) -> Wire:
        order = self._order
        known: dict[int, Station] = {}
        for lane in lanes:
            known.setdefault(lane.station.ifindex, lane.station)
        targets = Targets(known, None if order.mode is Mode.MONITOR else _open_target)
        self._restore.callback(targets.close)
        return Wire(
            mode=order.mode,
            interface=order.interface,
            peer=order.peer,
            lanes=lanes,
            targets=targets,
            watch=None if self._watched is None else self._watched.look,
        )

    def _stations(self, name: str, *, promisc: bool, changed: bool = True, made: bool = False) -> tuple[Station, ...]:
        """The interface's ports, one for each queue; when it returns after it was gone, it is opened and sealed again."""
        order = self._order
        group = (os.getpid() * 64 + socket.if_nametoindex(name)) & 0xFFFF if order.queues > 1 else None
        open_one = partial(_open_port, name, order, promisc=promisc, fanout=group, made=made, mute=changed)
        stations = []
        for number in range(order.queues):
            reopen = None if made else partial(self._again, name, open_one, seal=changed and number == 0)
            station = Station(open_one(), reopen)
            self._restore.callback(station.close)
            stations.append(station)
        return tuple(stations)

    def _again(self, name: str, open_one: Callable[[], LivePort], _station: Station, *, seal: bool) -> LivePort:
        """Another port when the interface has returned; it is another one to the system, so it is claimed anew."""
        port = open_one()
        if port.ifindex not in self._claimed:
            try:
                self._claim(name)
            except (InputError, DeviceError) as error:
                port.close()
                raise InterfaceError(str(error)) from error
        if seal:
            sealed = False
            try:
                self._seal(name, ())
                sealed = True
            finally:
                if not sealed:
                    port.close()
        _listen(port)
        return port

    def _begin(self) -> None:
        """A journal, and a guard that restores what it says when this process dies, unless the caller has them."""
        from netdev.topology import Journal, start_guard

        journal = self._journal
        own = journal is None
        if journal is None:
            index = socket.if_nametoindex(self._order.peer or self._order.interface)
            journal = Journal.begin(self._order.folder / "journal", f"link-{os.getpid()}-{index}")
            self._journal = journal
        watched = _Watched(journal)
        self._restore.callback(watched.release)
        self._restore.callback(_revert, journal)
        if own:
            watched.guard = start_guard(journal.path.parent, journal.name, os.getpid())
            self._watched = watched

    def _seal(self, name: str, stations: tuple[Station, ...]) -> None:
        """Keep the stack from frames that come in, and the device from merging them; what came before was the stack's alone."""
        from netdev.topology import block_ingress, disable_offloads

        assert self._journal is not None
        with self._changing:
            disable_offloads(self._journal, name)
            block_ingress(self._journal, name)
        for each in stations:
            _listen(each.port)


@final
class _Watched:
    """A journal and the guard that watches over it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.guard: Guard | None = None

    def look(self) -> None:
        """Start another guard when this one died. Raises InterfaceError."""
        from netdev.topology import inside, start_guard

        journal = self._journal
        if self.guard is not None and not self.guard.alive():
            folder = journal.path.parent
            self.guard = inside(journal.namespace, lambda: start_guard(folder, journal.name, os.getpid()))

    def release(self) -> None:
        """Let the guard go."""
        if self.guard is not None:
            self.guard.release()


def _revert(journal: Journal) -> None:
    """Undo what the journal says. Raises DeviceError that names what could not be."""
    from netdev.topology import inside

    done = inside(journal.namespace, journal.revert)
    if done is not None and done.problems:
        raise DeviceError(f"not everything could be restored (see xdpsim net repair): {'; '.join(done.problems)}")


def _loops() -> Loops:
    from xdp.natives import LOOPS

    return LOOPS


def _listen(port: LivePort | None) -> None:
    from netdev.backends import PacketPort

    if isinstance(port, PacketPort):
        port.listen()


def _open_port(name: str, order: _Order, *, promisc: bool, fanout: int | None, made: bool, mute: bool) -> LivePort:
    from netdev.backends import open_packet, open_pcap, open_tap

    if made:
        return open_tap(name, mac=b"\x02" + os.urandom(5), mtu=1500, loops=_loops())
    prompt = order.latency == "low"
    observing = order.backend == "auto" and order.mode is Mode.MONITOR and not prompt
    if order.backend == "libpcap" or (observing and _has_pcap()):
        return open_pcap(name, promisc=promisc)
    return open_packet(name, loops=_loops(), fanout=fanout, promisc=promisc, mute=mute, prompt=prompt)


def _has_pcap() -> bool:
    from importlib.util import find_spec

    return find_spec("pcap") is not None


def _open_target(ifindex: int) -> Station | None:
    """A way to send to an interface that a redirect named; nothing is received there."""
    from netdev.backends import open_packet

    try:
        return Station(open_packet(socket.if_indextoname(ifindex), loops=_loops(), blocks=_FEW_BLOCKS, mute=True))
    except (InterfaceError, OSError):
        return None


def _set_mtu(name: str, mtu: int) -> None:
    """The upper edge follows the interface; what it cannot follow it leaves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        try:
            fcntl.ioctl(control, _SIOCSIFMTU, struct.pack("16si12x", name.encode(), mtu))
        except OSError:
            return
