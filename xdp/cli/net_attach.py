"""`xdpsim net attach OBJECT dev IF`: a program onto an interface, in the background or here.

Not here: holding the attachment (xdp.live.keeper) and the other `net` commands (net.py).
"""

from __future__ import annotations

import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

from runtime.errors import DeviceError, InputError
from xdp.cli.exits import Exit
from xdp.cli.failures import failure
from xdp.cli.net import counted, row
from xdp.cli.net_words import Phrase, phrase
from xdp.cli.output import Output
from xdp.cli.progress import telling_of_compilation, watched
from xdp.cli.source import object_bytes
from xdp.live.background import Reporter, in_background
from xdp.live.control import ask
from xdp.live.keeper import Keeper, Order, say
from xdp.live.registry import Attachment, State

__all__ = ["run"]

_PATIENCE: Final = 120.0  # seconds that a keeper has to verify and compile another program
_CAPABILITIES: Final = (("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13))

_SENTENCES: Final = {
    "monitor": "a copy of what {interface} receives is judged and counted; nothing is enforced, every packet goes on",
    "inline": "stands between {interface} and {peer}: PASS forwards, TX returns, DROP ends; this host takes no part in either",
    "host": "stands between {interface} and this host: only what PASSes reaches it, TX goes back out, its own packets go out "
    "unfiltered; addresses and routes are on the upper edge until detached",
}


def run(arguments: Namespace, output: Output) -> int:
    """Attach, replace (overwrite) or add to what is attached (--priority)."""
    said = phrase(arguments)
    state = State()
    ifindex = 0 if arguments.backend == "tap" else _index(said.interface)  # that backend makes the interface
    existing = state.find(said.interface)
    if existing is not None:
        return _change(existing, said, arguments, state, output)
    mode = _mode(arguments)
    peer_ifindex = None if arguments.peer is None else _index(arguments.peer)
    if peer_ifindex == ifindex:
        raise InputError(f"--peer {arguments.peer}: a bump in the wire needs two interfaces")
    taken = None if arguments.peer is None else state.find(arguments.peer)
    if taken is not None:
        raise InputError(f"{arguments.peer} belongs to attachment {taken.id} on {taken.interface} already")
    _require_capabilities()
    data = object_bytes(said.object)
    peer_data = None if arguments.peer_object is None else object_bytes(arguments.peer_object)
    state.prepare()
    state.tidy()
    number = state.new_id()
    order = Order(
        object=_stored(state, number, said.object, data),
        label=said.object,
        interface=said.interface,
        ifindex=ifindex,
        prog=arguments.prog,
        mode=mode,
        peer=arguments.peer,
        peer_ifindex=peer_ifindex,
        backend=arguments.backend,
        queues=arguments.queues,
        promisc=arguments.promisc,
        latency=arguments.latency,
        dry_run=arguments.dry_run,
        revert_after=arguments.revert_after,
        force=arguments.force,
        priority=50 if arguments.priority is None else arguments.priority,
        peer_object=None if peer_data is None else _stored(state, number, arguments.peer_object, peer_data),
        peer_label=arguments.peer_object or "",
        peer_prog=arguments.peer_prog,
        chain_on=arguments.chain_on or ("pass",),
    )
    return _here(order, number, state, output) if arguments.detach_on_exit else _away(order, number, state, output)


def _away(order: Order, number: int, state: State, output: Output) -> int:
    """In the background: return when it works, or with what it failed of."""
    log = state.attachments / f"{number}.log"
    somebody_waits = watched(output)

    def work(reporter: Reporter) -> int:
        told = False

        def remark(message: str) -> None:
            if not told:
                reporter.note(message)

        def ready(record: Attachment) -> None:
            nonlocal told
            reporter.done({"ok": row(record, state), "text": _told(record)})
            told = True
            say(f"attached: {_told(record)}")

        try:
            with telling_of_compilation(remark if somebody_waits else None):
                end = _keeper(order, number, state, reporter.note).run(ready)
        except Exception as error:
            if "trace" in os.environ.get("XDPSIM_DEBUG", ""):
                raise
            described = _described(error)
            say(described["error"])
            if not told:
                reporter.done(described)
            return int(described["code"])
        say(f"{end['reason']}; {counted(end.get('stats', {}))}")
        return Exit.OK

    warnings, warn = _collecting(output)
    try:
        answer = in_background(work, log, warn)
    except BaseException:
        state.remove(number)
        raise
    if "ok" not in answer:
        state.remove(number)
        log.unlink(missing_ok=True)
        output.error(answer.pop("error"), **answer.get("fields", {}))
        return int(answer["code"])
    output.emit({**answer["ok"], "warnings": warnings}, answer["text"])
    return Exit.OK


def _here(order: Order, number: int, state: State, output: Output) -> int:
    """In the foreground, until Ctrl-C, SIGTERM or `net detach`."""
    warnings, warn = _collecting(output)

    def ready(record: Attachment) -> None:
        output.emit({**row(record, state), "warnings": warnings}, f"{_told(record)}\nCtrl-C detaches")
        sys.stdout.flush()

    try:
        with telling_of_compilation(warn if watched(output) else None):
            end = _keeper(order, number, state, warn).run(ready)
    finally:
        state.remove(number)
    problems = end.get("problems", [])
    output.emit(end, f"{order.interface}: {end['reason']}; {counted(end.get('stats', {}))}")
    for problem in problems:
        output.note(f"xdpsim: not restored: {problem}")
    return Exit.SYSTEM if problems or end.get("failed") else Exit.OK


def _collecting(output: Output) -> tuple[list[str], Callable[[str], None]]:
    """A list of warnings for JSON, and a function that fills it and tells people at once."""
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message)
        output.note(message)

    return warnings, warn


def _keeper(order: Order, number: int, state: State, note: Callable[[str], None]) -> Keeper:
    from xdp.live.held import hold

    return Keeper(
        order,
        number=number,
        state=state,
        make=lambda: hold(order, state=state, note=note),
        describe=_described,
    )


def _described(error: Exception) -> dict[str, Any]:
    code, line, fields = failure(error)
    return {"error": line, "code": int(code), "fields": fields}


def _change(record: Attachment, said: Phrase, arguments: Namespace, state: State, output: Output) -> int:
    """Another program in the place of the one that runs, or beside it."""
    if not said.overwrite and arguments.priority is None:
        names = ", ".join(each.name for each in record.programs)
        raise InputError(
            f"{said.interface} has {names or 'a program'} attached ({record.mode}, attachment {record.id}): 'overwrite' replaces "
            f"it, --priority N adds another, 'xdpsim net detach dev {record.interface}' ends it"
        )
    if said.overwrite and record.interface != said.interface:
        raise InputError(f"{said.interface} is the peer of {record.interface}: overwrite that one")
    if arguments.peer_prog is not None or arguments.peer_object is not None:
        _refuse(
            arguments, "what judges frames from the peer is chosen when the filter is attached: detach, attach anew"
        )
    data = object_bytes(said.object)
    request = {
        "object": str(_stored(state, record.id, said.object, data)),
        "label": said.object,
        "prog": arguments.prog,
        "force": arguments.force,
        "priority": arguments.priority,
        "chain_on": arguments.chain_on,
    }
    what = "replace" if said.overwrite else "insert"
    answer = ask(state.attachments / f"{record.id}.sock", what, seconds=_PATIENCE, **request)
    for each in answer.get("notes", ()):
        output.note(each)
    now = state.get(record.interface)
    kept = f"; maps kept: {', '.join(answer['kept'])}" if answer.get("kept") else ""
    verb = "replaced by" if said.overwrite else "joined by"
    output.emit(
        {**row(now, state), **answer}, f"{now.interface}: {verb} {answer['program']} (id {answer['program_id']}){kept}"
    )
    return Exit.OK


def _told(record: Attachment) -> str:
    """The mode in one sentence of what it does and what it does not."""
    sentence = _SENTENCES[record.mode].format(interface=record.interface, peer=record.peer)
    names = ", ".join(each.name for each in record.programs if not each.backward)
    back = ", ".join(each.name for each in record.programs if each.backward)
    sentence += f"; {back} judges what comes from {record.peer}" if back else ""
    dry = " (dry run: verdicts are counted, everything passes)" if record.dry_run else ""
    return f"{record.interface}: {names} id {record.program_id}, {record.mode} mode: {sentence}{dry}"


def _stored(state: State, number: int, label: str, data: bytes) -> Path:
    """The object under its own name in the state folder, where the keeper reads it and `net show` may point."""
    state.prepare()
    folder = state.objects / str(number) / str(state.new_id())
    folder.mkdir(parents=True)
    path = folder / f"{Path(label).stem}.o"
    path.write_bytes(data)
    return path


def _mode(arguments: Namespace) -> str:
    mode: str | None = arguments.mode or ("inline" if arguments.peer else None)
    if mode is None:
        _refuse(
            arguments,
            "choose what it does: --mode monitor (watch a copy), --mode host (filter this host), --peer IF (inline)",
        )
    if mode == "inline" and arguments.peer is None:
        _refuse(arguments, "inline mode stands between two interfaces: name the other one with --peer IF")
    if mode != "inline" and (arguments.peer_prog is not None or arguments.peer_object is not None):
        _refuse(arguments, f"--peer-prog and --peer-object belong to inline mode, not to {mode}")
    if mode != "inline" and arguments.peer is not None:
        _refuse(arguments, f"--peer belongs to inline mode, not to {mode}")
    return mode


def _refuse(arguments: Namespace, message: str) -> NoReturn:
    arguments.wrong(message)
    raise AssertionError


def _index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        known = ", ".join(each for _, each in socket.if_nameindex())
        raise DeviceError(f"there is no interface {name}; there are: {known}") from None


def _require_capabilities() -> None:
    """Raises DeviceError that names what is missing before anything is tried."""
    lines = Path("/proc/thread-self/status").read_text().splitlines()
    effective = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), -1)
    missing = [name for name, bit in _CAPABILITIES if not effective >> bit & 1]
    if missing:
        raise DeviceError(
            f"attaching needs {' and '.join(missing)}: run as root, or give the process these capabilities"
        )
