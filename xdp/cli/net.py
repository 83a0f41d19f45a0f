"""`xdpsim net detach | show | confirm | repair`: what is attached, and an end to it.

Not here: attaching (net_attach.py) and the live view (net_top.py).
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import asdict
from typing import Any, Final

from runtime.errors import DeviceError
from xdp.cli.exits import Exit
from xdp.cli.net_words import phrase
from xdp.cli.output import Output
from xdp.live.control import ask
from xdp.live.registry import Attachment, LiveProgram, State, namespace

__all__ = ["confirm", "counted", "detach", "repair", "show"]

_PATIENCE: Final = 70.0  # seconds for a keeper to take everything back
_GUARD_LINES: Final = 20
_SECTIONS: Final = ("tc", "flow_dissector")  # bpftool's, where we never have anything


def detach(arguments: Namespace, output: Output) -> int:
    """End an attachment and print its final counts; or take one program out of its chain."""
    state = State()
    words = phrase(arguments)
    record = state.get(words.interface)
    if arguments.prog is not None or words.number is not None:
        return _remove(record, arguments.prog, words.number, state, output)
    said = ask(state.attachments / f"{record.id}.sock", "detach", seconds=_PATIENCE)
    problems = said.get("problems", [])
    document = {"devname": record.interface, "ifindex": record.ifindex, "mode": record.mode, **said}
    output.emit(document, f"{record.interface}: detached; {counted(said.get('stats', {}))}")
    for problem in problems:
        output.note(f"xdpsim: not restored: {problem}")
    return Exit.SYSTEM if problems else Exit.OK


def _remove(record: Attachment, name: str | None, number: int | None, state: State, output: Output) -> int:
    wanted: dict[str, Any] = {"name": name} if name is not None else {}
    wanted |= {"id": number} if number is not None else {}
    said = ask(state.attachments / f"{record.id}.sock", "remove", seconds=_PATIENCE, **wanted)
    now = state.get(record.interface)
    output.emit({**row(now, state), **said}, f"{now.interface}: {said['program']} (id {said['program_id']}) is gone")
    return Exit.OK


def confirm(arguments: Namespace, output: Output) -> int:
    """Keep an attachment that --revert-after would end."""
    state = State()
    record = state.get(phrase(arguments).interface)
    said = ask(state.attachments / f"{record.id}.sock", "confirm")
    text = "it stays" if said["confirmed"] else "nothing to confirm: it had no time limit"
    output.emit({"devname": record.interface, "ifindex": record.ifindex, **said}, f"{record.interface}: {text}")
    return Exit.OK


def show(arguments: Namespace, output: Output) -> int:
    """What is attached in this network namespace, in bpftool's shapes."""
    state = State()
    name = phrase(arguments).interface
    here = namespace()
    found = [each for each in state.all() if arguments.all or each.netns == here]
    if name:
        found = [each for each in found if name in (each.interface, each.peer)]
    rows = [row(each, state) for each in found]
    document = [{"xdp": rows, **{section: [] for section in _SECTIONS}}]
    texts = ["xdp:", *(_line(each, here) for each in found), ""]
    for section in _SECTIONS:
        texts += [f"{section}:", ""]
    output.emit(document, "\n".join(texts))
    return Exit.OK


def repair(_arguments: Namespace, output: Output) -> int:
    """Restore what keepers that are gone left changed."""
    from netdev.topology import recover

    state = State()
    dead = state.bury() if state.attachments.is_dir() else ()
    restored = recover(state.journals) if state.journals.is_dir() else []
    texts = [f"attachment {each.id} on {each.interface}: its keeper (process {each.pid}) is gone" for each in dead]
    texts += restored
    texts += (guarded := _guard_said(state))
    if not restored:
        texts.append("nothing is left to restore")
    document = {
        "attachments": [{"id": each.id, "devname": each.interface} for each in dead],
        "restored": restored,
        "guard": guarded,
    }
    output.emit(document, "\n".join(texts))
    return Exit.SYSTEM if any(": not restored: " in each for each in restored) else Exit.OK


def _guard_said(state: State) -> list[str]:
    """What guards restored lately; they write it beside the journals."""
    try:
        lines = (state.journals / "guard.log").read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [f"a guard said: {line}" for line in lines[-_GUARD_LINES:]]


def row(record: Attachment, state: State) -> dict[str, Any]:
    """An attachment in bpftool's four members, then what only we have."""
    rest = {
        key: value for key, value in asdict(record).items() if key not in ("interface", "ifindex", "mode", "id", "maps")
    }
    return {
        "devname": record.interface,
        "ifindex": record.ifindex,
        "mode": record.mode,
        "id": record.program_id,
        "attachment": record.id,
        **rest,
        "maps": [{"id": each.id, "name": each.name, "kind": each.kind} for each in record.maps],
        "log": str(state.attachments / f"{record.id}.log"),
    }


def _line(record: Attachment, here: int) -> str:
    parts = [f"{record.interface}({record.ifindex}) {record.mode} id {record.program_id}"]
    parts += [f"peer {record.peer}({record.peer_ifindex})"] if record.peer else []
    parts += ["dry-run"] if record.dry_run else []
    parts += [f"prog {', '.join(_program(each) for each in record.programs if not each.backward)}"]
    parts += [f"from peer {each.name}" for each in record.programs if each.backward]
    parts += [f"state {record.state}", f"pid {record.pid}"]
    parts += [f"reverts in {max(0, round(record.deadline - time.time()))} s"] if record.deadline is not None else []
    parts += [f"netns {record.netns}"] if record.netns != here else []
    return "  ".join(parts)


def _program(program: LiveProgram) -> str:
    on = "" if program.chain_on == ("pass",) else f" (on {', '.join(program.chain_on) or 'nothing'}: the next)"
    return program.name + on


def counted(stats: dict[str, Any]) -> str:
    """Counts in a line: verdicts that occurred, drops that no program asked for, what the ring lost."""
    packets = {name.removeprefix("XDP_"): count for name, count in stats.get("packets", {}).items() if count}
    words = [f"{count:,} {name}" for name, count in packets.items()] or ["no packets"]
    unasked = {k: v for k, v in stats.get("drops", {}).items() if v and k not in ("drop", "aborted")}
    words += [f"{count:,} lost ({cause.replace('_', ' ')})" for cause, count in unasked.items()]
    return ", ".join(words)


def reach(state: State, name: str) -> tuple[Attachment, ...]:
    """The attachments of this namespace, or the one of that interface; raises DeviceError when there is none."""
    if name:
        return (state.get(name),)
    here = namespace()
    found = tuple(each for each in state.all() if each.netns == here)
    if not found:
        raise DeviceError("nothing is attached in this network namespace")
    return found
