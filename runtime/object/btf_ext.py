"""BTF.ext: which function, line and CO-RE relocation belongs to which instruction, by section.

Not here: what is done with them (link.py). The format is that of the kernel's Documentation/bpf/btf.rst.

    header: as BTF · (offset, length) of function records · of line records · of CO-RE relocations
    part:   record size u32 · for each section: name u32 · count u32 · records, each with a byte offset first
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, final

from runtime.errors import ObjectError
from runtime.object.btf import Btf, header
from runtime.object.sections import SLOT

__all__ = ["CoreRecord", "FunctionRecord", "InstructionInfo", "LineRecord", "between", "read_btf_ext"]

_MAX_SIZE: Final = 16 << 20
_LINE_BITS: Final = 10


@final
@dataclass(frozen=True, slots=True)
class FunctionRecord:
    """The function that starts at `slot` of its section is the FUNC `type`."""

    slot: int
    type: int


@final
@dataclass(frozen=True, slots=True)
class LineRecord:
    """From `slot` on, code comes from that line; `file` and `text` are offsets of BTF strings."""

    slot: int
    file: int
    text: int
    position: int

    @property
    def line(self) -> int:
        """The line, from 1; 0 for code that the compiler made up."""
        return self.position >> _LINE_BITS

    @property
    def column(self) -> int:
        """The column, from 1."""
        return self.position & (1 << _LINE_BITS) - 1


@final
@dataclass(frozen=True, slots=True)
class CoreRecord:
    """The instruction at `slot` holds a fact about the type `type` (a CO-RE relocation of kind `kind`)."""

    slot: int
    type: int
    access: int
    kind: int


_Record = FunctionRecord | LineRecord | CoreRecord
_R = TypeVar("_R", FunctionRecord, LineRecord, CoreRecord)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionInfo:
    """The records of an object by the name of the section, in order of slot."""

    functions: Mapping[str, tuple[FunctionRecord, ...]]
    lines: Mapping[str, tuple[LineRecord, ...]]
    core: Mapping[str, tuple[CoreRecord, ...]]


def between(records: tuple[_R, ...], start: int, end: int) -> tuple[_R, ...]:
    """The records whose slot is in [start, end)."""
    first = bisect_left(records, start, key=_slot)
    return records[first : bisect_left(records, end, lo=first, key=_slot)]


def read_btf_ext(data: bytes, btf: Btf) -> InstructionInfo:
    """Read a .BTF.ext section; raises ObjectError."""
    if len(data) > _MAX_SIZE:
        raise ObjectError(f".BTF.ext: {len(data)} bytes, more than the {_MAX_SIZE} that are read")
    length = header(data, ".BTF.ext", 24)
    fields = struct.unpack_from("<6I" if length >= 32 else "<4I", data, 8)  # CO-RE came later
    parts = [_part(data, length + fields[i], fields[i + 1]) for i in range(0, len(fields), 2)]
    return InstructionInfo(
        functions=_records(parts[0], btf, "<2I", lambda words: FunctionRecord(*words)),
        lines=_records(parts[1], btf, "<4I", lambda words: LineRecord(*words)),
        core=_records(parts[2], btf, "<4I", lambda words: CoreRecord(*words)) if len(parts) > 2 else {},
    )


def _slot(record: _Record) -> int:
    return record.slot


def _part(data: bytes, start: int, length: int) -> bytes:
    if start + length > len(data):
        raise ObjectError(".BTF.ext: records reach past the end of the section")
    return data[start : start + length]


def _records(part: bytes, btf: Btf, shape: str, make: Callable[[tuple[int, ...]], _R]) -> dict[str, tuple[_R, ...]]:
    """The records of one part, by section, the first of each slot; longer records are read as far as they are known."""
    found: dict[str, dict[int, _R]] = {}
    if not part:
        return {}
    size, at, wanted = _word(part, 0), 4, struct.calcsize(shape)
    if size < wanted or size % 4:
        raise ObjectError(f".BTF.ext: records of {size} bytes, less than {wanted}")
    while at < len(part):
        name, count = btf.string(_word(part, at)), _word(part, at + 4)
        at += 8
        if count * size > len(part) - at:
            raise ObjectError(f".BTF.ext: {count} records of section {name!r} reach past the end")
        records = found.setdefault(name, {})
        for row in _in_slots((struct.unpack_from(shape, part, at + i * size) for i in range(count)), name):
            records.setdefault(row[0], make(row))
        at += count * size
    return {name: tuple(sorted(records.values(), key=_slot)) for name, records in found.items()}


def _in_slots(rows: Iterable[tuple[int, ...]], section: str) -> Iterable[tuple[int, ...]]:
    for row in rows:
        if row[0] % SLOT:
            raise ObjectError(f".BTF.ext: a record at byte {row[0]} of section {section!r}, inside an instruction")
        yield (row[0] // SLOT, *row[1:])


def _word(part: bytes, at: int) -> int:
    if at + 4 > len(part):
        raise ObjectError(".BTF.ext: cut in the middle of a count")
    return int.from_bytes(part[at : at + 4], "little")
