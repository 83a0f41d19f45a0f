"""Maps and their elements as bpftool prints them: the records of JSON, and the text for people.

Not here: elements with BTF in JSON (runtime.maps.dump), and what is printed when (map.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from runtime.maps import Map, dump_one, format_one
from xdp.live.registry import Attachment
from xdp.live.runs import Run

__all__ = [
    "Element",
    "element_record",
    "element_text",
    "elements_text",
    "header_record",
    "hexes",
    "map_record",
    "map_text",
    "rows",
    "tree",
]

_BLOCK: Final = 512
_ONE_LINE: Final = 24
_ROW: Final = 16
_NO_ENTRY: Final = "No such file or directory"

Element = tuple[bytes, bytes | str | None]
"""A key, and its value; in place of the value None for an empty slot, or the error that looking it up gives."""


def hexes(data: bytes) -> list[str]:
    """The bytes as JSON has them."""
    return [f"0x{byte:02x}" for byte in data]


def rows(data: bytes) -> str:
    """The bytes as people read them: 16 a line, a wider gap in the middle."""
    lines = [data[at : at + _ROW] for at in range(0, len(data), _ROW)]
    return "\n".join("  ".join(filter(None, (line[:8].hex(" "), line[8:].hex(" ")))) for line in lines)


def header_record(number: int, opened: Map) -> dict[str, Any]:
    """What every record of a map begins with."""
    spec = opened.spec
    return {"id": number, "type": opened.kind.name, "name": spec.name, "flags": int(spec.flags)}


def map_record(number: int, opened: Map, holders: tuple[Attachment | Run, ...]) -> dict[str, Any]:
    """What `map show -j` says of a map."""
    spec = opened.spec
    record: dict[str, Any] = {
        **header_record(number, opened),
        "bytes_key": spec.key_size,
        "bytes_value": spec.value_size,
        "max_entries": spec.max_entries,
        "bytes_memlock": _memory(opened),
        "frozen": int(opened.frozen),
    }
    if holders:
        record["pids"] = [{"pid": each.pid, "comm": _command(each.pid)} for each in holders]
        record["devs"] = [each.interface for each in holders if isinstance(each, Attachment)]
        if runs := [each.id for each in holders if isinstance(each, Run)]:
            record["runs"] = runs
    return record


def map_text(record: dict[str, Any]) -> str:
    """The same as lines of text."""
    lines = [
        f"{record['id']}: {record['type']}  name {record['name']}  flags {record['flags']:#x}",
        f"\tkey {record['bytes_key']}B  value {record['bytes_value']}B  max_entries {record['max_entries']}",
    ]
    lines[-1] += f"  memlock {record['bytes_memlock']}B"
    if record["frozen"]:
        lines.append("\tfrozen")
    if "pids" in record:
        lines.append("\tpids " + ", ".join(f"{each['comm']}({each['pid']})" for each in record["pids"]))
        where = {name: ", ".join(map(str, record[name])) for name in ("devs", "runs") if record.get(name)}
        lines += [f"\t{name} {said}" for name, said in where.items()]
    return "\n".join(lines)


def element_record(opened: Map, key: bytes, value: bytes | str | None) -> dict[str, Any]:
    """What `map dump -j` says of an element."""
    if not isinstance(value, bytes):
        return {"key": hexes(key), "value": {"error": _NO_ENTRY if value is None else value}}
    return dump_one(opened, key, value)


def elements_text(opened: Map, elements: list[Element]) -> str:
    """What `map dump` says: typed where BTF says what the bytes are, else bytes and how many there are."""
    if opened.typed.value_type is not None:
        return tree([format_one(opened, key, value) for key, value in elements if isinstance(value, bytes)])
    count = sum(isinstance(value, bytes) for _, value in elements)
    texts = [element_text(opened, key, value) for key, value in elements]
    return "\n".join((*texts, f"Found {count} element{'' if count == 1 else 's'}"))


def element_text(opened: Map, key: bytes, value: bytes | str | None) -> str:
    """One element for people."""
    if isinstance(value, str):
        return f"key:\n{rows(key)}\nvalue:\n{value}"
    if value is not None and (typed := format_one(opened, key, value)) is not None:
        return tree(typed)
    size = opened.spec.value_size
    if opened.kind.per_cpu and value is not None:
        slot = opened.value_stride // opened.cpus
        gap = "\n" if size > _ROW else " "
        slots = [
            f"value (CPU {cpu:02}):{gap}{rows(value[cpu * slot : cpu * slot + size])}" for cpu in range(opened.cpus)
        ]
        return "\n".join((f"key:\n{rows(key)}", *slots))
    breaks = len(key) > _ROW or size > _ROW
    gap = "\n" if breaks else " "
    between = "  " if len(key) + size <= _ONE_LINE and not breaks else "\n"
    return f"key:{gap}{rows(key)}{between}value:{gap}{'<no entry>' if value is None else rows(value)}"


def tree(document: Any) -> str:
    """JSON, indented as bpftool indents it."""
    return "".join(_tree(document, 0))


def _tree(document: Any, depth: int) -> Iterator[str]:
    inner, outer = f"\n{'    ' * (depth + 1)}", f"\n{'    ' * depth}"
    match document:
        case dict():
            yield "{"
            for at, (name, value) in enumerate(document.items()):
                yield f"{',' if at else ''}{inner}{json.dumps(name)}: "
                yield from _tree(value, depth + 1)
            yield f"{outer}}}" if document else "}"
        case list():
            yield "["
            for at, value in enumerate(document):
                yield "," if at else ""
                yield from _tree(value, depth + 1)
            yield f"{outer}]" if document else "]"
        case _:
            yield json.dumps(document)


def _memory(opened: Map) -> int:
    """How many bytes of memory the arena has touched."""
    return os.fstat(opened.arena.fd).st_blocks * _BLOCK


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
