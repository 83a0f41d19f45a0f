"""`xdpsim prog show`: the programs of live attachments and of commands under supervision, in bpftool's shapes.

Not here: dumping a program's code (prog.py).
"""

from __future__ import annotations

import os
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from xdp.cli.exits import Exit
from xdp.cli.map_words import Words
from xdp.cli.output import Output
from xdp.live.registry import Attachment, LiveProgram, State
from xdp.live.runs import Run, Runs

__all__ = ["run"]

_HANDLES = ("id", "tag", "name", "dev")


def run(arguments: Namespace, output: Output) -> int:
    """List programs: all, or those of `id N`, `tag TAG`, `name NAME`, `dev INTERFACE`."""
    words = Words(arguments.words)
    kind = wanted = None
    if words.next is not None:
        kind = words.take("a program")
        if kind not in _HANDLES:
            raise InputError(f"expected 'id', 'tag', 'name' or 'dev', got: {kind!r}")
        wanted = words.take(f"what follows {kind!r}")
        words.end()
    state = State()
    holders: tuple[Attachment | Run, ...] = (*state.all(), *Runs(state).all())
    if kind == "dev" and wanted is not None:
        holders = (state.get(wanted),)
    found = [
        _record(program, holder)
        for holder in holders
        for program in holder.programs
        if kind in (None, "dev") or wanted == _handle(program, kind)
    ]
    if not found and kind is not None:
        raise InputError(f"there is no live program with {kind} {wanted}")
    single = len(found) == 1 and kind in ("id", "tag", "name")
    output.emit(found[0] if single else found, "\n".join(map(_text, found)))
    return Exit.OK


def _handle(program: LiveProgram, kind: str) -> str:
    """What the word must be that names the program in this way."""
    return {"id": str(program.id), "tag": program.tag, "name": program.name}[kind]


def _type(program: LiveProgram, holder: Attachment | Run) -> str:
    links = holder.links if isinstance(holder, Run) else ()
    return next((each.type for each in links if each.program == program.id), "xdp")


def _record(program: LiveProgram, holder: Attachment | Run) -> dict[str, Any]:
    type_ = _type(program, holder)
    record: dict[str, Any] = {"id": program.id, "type": type_, "name": program.name, "tag": program.tag}
    if program.loaded_at:
        record["loaded_at"] = int(program.loaded_at)
    try:
        record["uid"] = Path(f"/proc/{holder.pid}").stat().st_uid
    except OSError:
        record["uid"] = os.geteuid()
    record["jited"] = True
    record["map_ids"] = list(program.maps)
    comm = Path(f"/proc/{holder.pid}/comm")
    record["pids"] = [{"pid": holder.pid, "comm": comm.read_text().strip() if comm.exists() else ""}]
    if isinstance(holder, Run):
        record["run"] = holder.id
    else:
        record["dev"] = holder.interface
    record["object"] = program.object
    return record


def _text(record: dict[str, Any]) -> str:
    lines = [f"{record['id']}: {record['type']}  name {record['name']}  tag {record['tag']}"]
    second = []
    if "loaded_at" in record:
        second.append(f"loaded_at {datetime.fromtimestamp(record['loaded_at'], UTC).astimezone():%Y-%m-%dT%H:%M:%S%z}")
    lines.append("\t" + "  ".join((*second, f"uid {record['uid']}")))
    lines.append("\tjited" + ("  map_ids " + ",".join(map(str, record["map_ids"])) if record["map_ids"] else ""))
    lines.append("\tpids " + ", ".join(f"{each['comm']}({each['pid']})" for each in record["pids"]))
    where = f"dev {record['dev']}" if "dev" in record else f"run {record['run']}"
    lines.append(f"\t{where}" + (f"  object {record['object']}" if record["object"] else ""))
    return "\n".join(lines)
