"""`xdpsim link show`: every attachment, of commands under supervision and of interfaces, in bpftool's shapes.

Not here: links of the kernel; `bpftool link show` has those.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from xdp.cli.exits import Exit
from xdp.cli.map_words import Words
from xdp.cli.output import Output
from xdp.live.registry import Attachment, State
from xdp.live.runs import Hooked, Run, Runs

__all__ = ["show"]


def show(arguments: Namespace, output: Output) -> int:
    """List links: all, or the one of `id N`."""
    words = Words(arguments.words)
    wanted = None
    if words.next is not None:
        if (word := words.take("a link")) != "id":
            raise InputError(f"expected 'id', got: {word!r}")
        wanted = words.take("the number of a link")
        words.end()
        if not (wanted.isascii() and wanted.isdigit()):
            raise InputError(f"can't parse {wanted!r} as the number of a link")
    found = [each for each in _records() if wanted is None or each["id"] == int(wanted)]
    if wanted is not None and not found:
        raise InputError(f"there is no live link with id {wanted}")
    output.emit(found[0] if wanted is not None else found, "\n".join(map(_text, found)))
    return Exit.OK


def _records() -> Iterator[dict[str, Any]]:
    state = State()
    for attachment in state.all():
        yield _of_interface(attachment)
    for run in Runs(state).all():
        for link in run.links:
            yield _of_run(run, link)


def _of_interface(holder: Attachment) -> dict[str, Any]:
    return {
        "id": holder.id,
        "type": "xdp",
        "prog_id": holder.program_id,
        "devname": holder.interface,
        "ifindex": holder.ifindex,
        "pids": _holders(holder.pid),
    }


def _of_run(run: Run, link: Hooked) -> dict[str, Any]:
    return {
        "id": link.id,
        "type": "cgroup",
        "prog_id": link.program,
        "cgroup_id": link.cgroup_id or run.cgroup_id,
        "attach_type": link.way,
        "pids": _holders(run.pid),
        "run": run.id,
    }


def _holders(pid: int) -> list[dict[str, Any]]:
    try:
        comm = Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        comm = ""
    return [{"pid": pid, "comm": comm}]


def _text(record: dict[str, Any]) -> str:
    lines = [f"{record['id']}: {record['type']}  prog {record['prog_id']}  "]
    if record["type"] == "cgroup":
        lines.append(f"\tcgroup_id {record['cgroup_id']}  attach_type {record['attach_type']}  ")
    else:
        lines.append(f"\tifindex {record['devname']}({record['ifindex']})  ")
    lines.append("\tpids " + ", ".join(f"{each['comm']}({each['pid']})" for each in record["pids"]))
    return "\n".join(lines)
