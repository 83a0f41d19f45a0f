"""What a trial knows of registers besides their values: whether they were written, and where they come from.

Not here: checks (trial.py, trial_checks.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, final

from runtime.engine.interpreter.arithmetic import WORD
from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    CallHelper,
    CallLocal,
    Instruction,
    Load,
    LoadMapValue,
    MoveSigned,
    Reg,
    Store,
)
from runtime.native import memory
from runtime.spec import ArgType, ContextField, FieldKind, MapOp, ReturnType

if TYPE_CHECKING:
    from runtime.engine.interpreter.machine import Code, Machine, Registers
    from runtime.spec import Helper

__all__ = ["Origin", "Origins", "Shadow"]

_PACKET_KINDS = (FieldKind.REGION, FieldKind.REGION_META)


class Origin(NamedTuple):
    """Where a number was read: `size` bytes at `offset` of the packet (map None), of the value of a map's key, or of the
    context's field of that name.
    """  # noqa: D205

    map: str | None
    key: bytes
    offset: int
    size: int
    field: str = ""


@final
class Shadow:
    """Of one function: a mask of registers that were written, where their numbers come from, and, of pointers into the packet,
    how many times the packet had moved when they were loaded, plus 1.
    """  # noqa: D205

    __slots__ = ("origins", "stamps", "written")

    def __init__(self, written: int) -> None:
        self.written = written
        self.origins: list[Origin | None] = [None] * 11
        self.stamps = [0] * 11

    def callee(self, instruction: CallHelper | CallLocal) -> Shadow:
        """What the called function, or the callback of a helper, starts with."""
        if isinstance(instruction, CallHelper):
            return Shadow(0b110 | 1 << 10)
        made = Shadow(self.written & 0b111110 | 1 << 10)
        made.origins[1:6] = self.origins[1:6]
        made.stamps[1:6] = self.stamps[1:6]
        return made


@final
class Origins:
    """Follows numbers and pointers through registers, the stack and lookups of one run."""

    def __init__(self, code: Code, fields: dict[int, ContextField], edges: tuple[int, int]) -> None:
        self._code = code
        self._fields = fields
        self._edges = edges
        self.missed: list[tuple[str, bytes]] = []
        self.values: dict[int, tuple[str, bytes, int]] = {}
        self.records: dict[int, int] = {}  # what helpers gave to be filled: address and size, until it is given back
        self._spilled: dict[int, tuple[Origin | None, int]] = {}
        self.moves = 0
        self.moved_by = ""

    def packet(self, machine: Machine) -> tuple[int, int]:
        """Where the packet begins and ends now."""
        start, end = self._edges
        return memory.load(machine.context + start, 8) & WORD, memory.load(machine.context + end, 8) & WORD

    def follow(
        self, machine: Machine, shadow: Shadow, pc: int, instruction: Instruction, before: Registers, r: Registers
    ) -> None:
        """Note where numbers went in an instruction that was carried out."""
        origins, stamps = shadow.origins, shadow.stamps
        match instruction:
            case Alu(op=AluOp.MOV, dst=dst, src=src):
                origins[dst] = origins[src.index] if isinstance(src, Reg) else None
                stamps[dst] = stamps[src.index] if isinstance(src, Reg) else 0
            case Alu(op=op, dst=dst, src=Reg(index)):
                origins[dst] = origins[dst] or origins[index]
                both = stamps[dst] and stamps[index] and op is AluOp.SUB
                stamps[dst] = 0 if both else stamps[dst] or stamps[index]
            case MoveSigned(dst=dst, src=source):
                origins[dst], stamps[dst] = origins[source], 0
            case Load(dst=dst):
                address = before[instruction.src] + instruction.offset & WORD
                origins[dst], stamps[dst] = self._loaded(machine, pc, address, instruction.size.bytes)
            case Store(dst=dst, src=src):
                known = (origins[src.index], stamps[src.index]) if isinstance(src, Reg) else (None, 0)
                self._spilled[before[dst] + instruction.offset & WORD] = known
            case Atomic(src=source):
                origins[source], stamps[source] = None, 0
            case LoadMapValue(dst=dst):
                owner = self._code.maps[instruction.map].spec
                self.values[r[dst] - instruction.offset] = (owner.name, bytes(owner.key_size), owner.value_size)
                origins[dst], stamps[dst] = None, 0
            case CallHelper() | CallLocal():
                origins[0:6], stamps[0:6] = [None] * 6, [0] * 6
            case _:
                pass

    def _loaded(self, machine: Machine, pc: int, address: int, size: int) -> tuple[Origin | None, int]:
        field = self._fields.get(pc)
        if field is not None:
            if field.kind in _PACKET_KINDS:
                return None, self.moves + 1
            return Origin(None, b"", 0, size, field.name), 0
        low, high = self.packet(machine)
        if low <= address and address + size <= high:
            return Origin(None, b"", address - low, size), 0
        for start, (name, key, length) in self.values.items():
            if start <= address < start + length:
                return Origin(name, key, address - start, size), 0
        return self._spilled.get(address, (None, 0))

    def called(self, helper: Helper | None, before: Registers, r: Registers) -> None:
        """Note what a helper found, and that it moved the packet."""
        if helper is None:
            return
        if helper.prototype.invalidates_packet:
            self.moves += 1
            self.moved_by = f"bpf_{helper.name}"
        self._reserved(helper, before, r)
        if helper.map_op not in (MapOp.LOOKUP, MapOp.LOOKUP_PERCPU):
            return
        owner = self._code.by_address.get(before[1])
        if owner is None:
            return
        key = memory.read(before[2], owner.spec.key_size)
        if r[0]:
            self.values[r[0]] = owner.spec.name, key, owner.spec.value_size
        else:
            self.missed.append((owner.spec.name, key))

    def _reserved(self, helper: Helper, before: Registers, r: Registers) -> None:
        """Note memory that the call gave, or took back."""
        for position, arg in enumerate(helper.prototype.args, 1):
            if arg.type is ArgType.ALLOC_MEMORY and arg.releases:
                self.records.pop(before[position], None)
            elif (
                arg.type is ArgType.CONST_ALLOC_SIZE
                and helper.prototype.ret is ReturnType.ALLOC_MEMORY_OR_NULL
                and r[0]
            ):
                self.records[r[0]] = before[position]
