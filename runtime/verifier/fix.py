"""The shortest change that is enough: what to add before which line, with the numbers and, where the source shows them, the names.

Not here: the cause (checker.py). A fix is a proposal in words; programs are judged anew with it like any other. Without line
information it speaks of instructions and registers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from runtime.isa import Atomic, CallHelper, Instruction, Load, Store
from runtime.spec import ContextField, FieldKind, LineInfo, MapSpec, ProgramSpec
from runtime.verifier.failure import FailureCode, Rejected
from runtime.verifier.flow import registers
from runtime.verifier.state import META_BASE, State
from runtime.verifier.values import Kind, Value

__all__ = ["fix_of"]

_POINTER: Final = re.compile(r"\*\s*\(?\s*([A-Za-z_]\w*)\b|\b([A-Za-z_]\w*)\s*(?:->|\[)")
_INDEX: Final = re.compile(r"\[\s*([A-Za-z_]\w*)\s*\]")
_GOES_ON: Final = re.compile(r"\b([A-Z][A-Z0-9]*_(?:PASS|OK|ALLOW|ACCEPT))\b")
_RETURN: Final = re.compile(r"\breturn\s+([A-Z][A-Z0-9_]*|-?\d+)\s*;")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_ARGUMENT: Final = re.compile(r"argument (\d)")
_BYTEWISE: Final = re.compile(r"\b(?:void|char|__u8|uint8_t|u8)\s*\*\s*$")
_LOADED: Final = r"(\w+)\s*=(?!=)(?:[\s()\w*]|->)*->\s*{field}\b\s*\)*\s*(?:[,;]|$)"
_NEAR: Final = 32  # instructions that are looked at behind the failure
_TYPES: Final = frozenset({"void", "char", "int", "long", "unsigned", "volatile", "const", "struct", "sizeof"})


def fix_of(
    spec: ProgramSpec,
    maps: tuple[MapSpec, ...],
    fields: Mapping[int, ContextField],
    verdicts: tuple[tuple[int, str], ...],
    rejected: Rejected,
    state: State | None,
) -> str:
    """What to change, in one sentence; the advice of the message where nothing can be computed.

    `fields` are loads through the context by slot, `verdicts` the names of the type's return values.
    """
    found = _Fix(spec, maps, fields, verdicts, rejected, state).text() if state is not None else ""
    if found:
        return found
    advice = rejected.failure.message.rpartition(": ")[2]
    line = spec.line_at(rejected.pc)
    return f"{advice} ({f'line {line.line}' if line else f'instruction {rejected.pc}'})"


@final
@dataclass(slots=True)
class _Fix:
    spec: ProgramSpec
    maps: tuple[MapSpec, ...]
    fields: Mapping[int, ContextField]
    verdicts: tuple[tuple[int, str], ...]
    rejected: Rejected
    state: State | None

    def text(self) -> str:
        """The computed fix; empty where there is none."""
        assert self.state is not None
        instruction = self.spec.code[self.rejected.pc]
        place = self._place(instruction)
        if place is None:
            return ""
        register, offset, size = place
        value = self.state.registers[register]
        match self.rejected.failure.code:
            case FailureCode.PACKET_OOB:
                return self._room(value, register, value.offset + self._furthest(register, offset + size))
            case FailureCode.STALE_POINTER:
                return self._again(register, offset + size)
            case FailureCode.NULL_DEREF:
                return self._tested(register)
            case FailureCode.MAP_OOB:
                return self._index(value, register, offset, size)
            case FailureCode.HELPER_ARG | FailureCode.STACK if isinstance(instruction, CallHelper):
                return self._size()
            case _:
                return ""

    def _place(self, instruction: Instruction) -> tuple[int, int, int] | None:
        """The register at fault, and which bytes behind it the instruction touches."""
        match instruction:
            case Load(src=base):
                return base, instruction.offset, instruction.size.bytes
            case Store(dst=base) | Atomic(dst=base):
                return base, instruction.offset, instruction.size.bytes
            case CallHelper():
                number = _ARGUMENT.search(self.rejected.failure.message)
                return (int(number[1]), 0, 0) if number else None
            case _:
                return None

    def _furthest(self, register: int, end: int) -> int:
        """The last byte that the same line touches through the register: members are read one by one."""
        line = self._line
        for pc in range(self.rejected.pc, min(self.rejected.pc + _NEAR, len(self.spec.code))):
            instruction = self.spec.code[pc]
            place = self._place(instruction) if isinstance(instruction, Load | Store | Atomic) else None
            here = self.spec.line_at(pc)
            if place is not None and place[0] == register and line and here and line.line == here.line:
                end = max(end, place[1] + place[2])
            if registers(instruction)[1] >> register & 1:
                break
        return end

    @property
    def _line(self) -> LineInfo | None:
        return self.spec.line_at(self.rejected.pc)

    def _before(self, added: str) -> str:
        line = self._line
        return f"add `{added}` before line {line.line}" if line else ""

    def _room(self, value: Value, register: int, end: int) -> str:
        """A comparison with the end that shows the bytes to be there."""
        if value.number.smin < 0 or value.offset < 0 or end <= 0:
            return ""
        meta = value.kind is Kind.PACKET_META or value.id == META_BASE
        limit = self._name(FieldKind.REGION if meta else FieldKind.REGION_END)
        line = self._line
        if line is None:
            words = "the start of the packet" if meta else "the end of the packet"
            moved = end - value.offset
            return f"before instruction {self.rejected.pc}, leave when r{register} + {moved} is above {words} ({limit})"
        if value.number.const is None:
            pointer = self._pointer(line.text)
            if not pointer:
                return f"leave when the last of these bytes lies behind {limit}, before line {line.line}"
            return self._before(f"if ((void *)({pointer} + 1) > {self._void(limit)}) {self._leaves()};")
        begin = self._name(FieldKind.REGION_META if meta else FieldKind.REGION)
        return self._before(f"if ({self._void(begin)} + {end} > {self._void(limit)}) {self._leaves()};")

    def _again(self, register: int, size: int) -> str:
        line = self._line
        if line is None:
            return f"before instruction {self.rejected.pc}, load r{register} and the end of the packet from the context again, and compare r{register} + {size}"
        pointer, start = self._pointer(line.text), self._field(FieldKind.REGION)
        end, limit = self._field(FieldKind.REGION_END), self._name(FieldKind.REGION_END)
        if not pointer or start is None or end is None:
            return ""
        context = self._context()
        taken = f"{pointer} = (void *)(long){context}->{start.name}; {limit} = (void *)(long){context}->{end.name};"
        return self._before(f"{taken} if ((void *)({pointer} + 1) > (void *){limit}) {self._leaves()};")

    def _tested(self, register: int) -> str:
        line = self._line
        if line is None:
            return f"before instruction {self.rejected.pc}, leave when r{register} is 0"
        pointer = self._pointer(line.text)
        return self._before(f"if (!{pointer}) {self._leaves()};") if pointer else ""

    def _index(self, value: Value, register: int, offset: int, size: int) -> str:
        """A comparison of the index with the number of elements that fit."""
        if value.number.const is not None or value.kind is not Kind.MAP_VALUE:
            return ""
        stride = value.number.mask & -value.number.mask
        start = value.offset + offset
        if start < 0:  # part of the index
            start %= stride
        room = self.maps[value.target].value_size - start - size
        if room < 0:
            return ""
        line = self._line
        if line is None:
            return f"before instruction {self.rejected.pc}, keep the number that is added to r{register} in [0, {room}]"
        index = _INDEX.search(line.text)
        if index is None:
            return f"keep the index in [0, {room // stride}], before line {line.line}"
        name = f"(__u32){index[1]}" if value.number.smin + value.offset + offset < 0 else index[1]
        return self._before(f"if ({name} >= {room // stride + 1}) {self._leaves()};")

    def _size(self) -> str:
        """A comparison of a size with what is left of the stack or the value behind its pointer."""
        assert self.state is not None
        named = _ARGUMENT.search(self.rejected.failure.message)
        if named is None or not 1 <= int(named[1]) < 5:
            return ""
        position = int(named[1])
        pointer, size = self.state.registers[position], self.state.registers[position + 1]
        if size.kind is not Kind.NUMBER or pointer.number.const is None:
            return ""
        match pointer.kind:
            case Kind.STACK:
                room = -(pointer.offset + pointer.number.smin)
            case Kind.MAP_VALUE:
                room = self.maps[pointer.target].value_size - pointer.offset - pointer.number.smin
            case _:
                return ""
        if room <= 0:
            return ""
        line = self._line
        if line is None:
            return f"before instruction {self.rejected.pc}, leave when r{position + 1} is not in [1, {room}]"
        word = _call_argument(line.text, position)
        tests = [f"{word} < 1"] if size.number.smin < 1 else []
        tests += [f"{word} > {room}"] if size.number.umax > room else []
        return self._before(f"if ({' || '.join(tests)}) {self._leaves()};") if word and tests else ""

    def _leaves(self) -> str:
        """How the function of the failure is left, in its own words where it shows some."""
        pc = self.rejected.pc
        starts = [each.start for each in self.spec.subprograms]
        low = max(each for each in starts if each <= pc)
        high = min((each for each in starts if each > pc), default=len(self.spec.code))
        text = "\n".join(each.text for each in self.spec.lines if low <= each.pc < high)
        usual = " ".join(name for _, name in self.verdicts) if low == 0 else ""
        found = _GOES_ON.search(text) or _RETURN.search(text) or _GOES_ON.search(usual)
        return f"return {found[1] if found else 0}"

    def _field(self, kind: FieldKind) -> ContextField | None:
        return next((each for each in self.fields.values() if each.kind is kind), None)

    def _declared(self, kind: FieldKind) -> tuple[str, str]:
        """The variable that the field was loaded into, and what stands before its name."""
        for pc, field in self.fields.items():
            line = self.spec.line_at(pc)
            if field.kind is kind and line is not None:
                found = re.search(_LOADED.format(field=field.name), line.text)
                if found:
                    return found[1], line.text[: found.start(1)]
        return "", ""

    def _name(self, kind: FieldKind) -> str:
        """The variable, or the expression, that stands for an edge of the packet."""
        usual = {FieldKind.REGION: "data", FieldKind.REGION_END: "data_end", FieldKind.REGION_META: "data_meta"}[kind]
        found = self._declared(kind)[0]
        if found or self._line is None:
            return found or usual
        return f"(void *)(long){self._context()}->{usual}"

    def _void(self, name: str) -> str:
        """The name where it counts in bytes, cast where it may not."""
        known = any(
            name == each and _BYTEWISE.search(before)
            for each, before in map(self._declared, (FieldKind.REGION, FieldKind.REGION_END, FieldKind.REGION_META))
        )
        return name if known or "(" in name else f"(void *){name}"

    def _context(self) -> str:
        """What the source calls the context."""
        for pc, field in self.fields.items():
            line = self.spec.line_at(pc)
            found = re.search(rf"(\w+)\s*->\s*{field.name}\b", line.text) if line else None
            if found:
                return found[1]
        return "ctx"

    def _pointer(self, text: str) -> str:
        """The only variable that the line dereferences; empty where there are several, or none."""
        names = {first or second for first, second in _POINTER.findall(text)} - _TYPES - {self._context()}
        return names.pop() if len(names) == 1 else ""


def _call_argument(text: str, position: int) -> str:
    """The argument behind the one at `position` (from 1) of the call in a line, where it is a variable."""
    inside = text.partition("(")[2] if "bpf_" not in text else text[text.index("bpf_") :].partition("(")[2]
    parts = [each.strip() for each in inside.split(")")[0].split(",")]
    return parts[position] if len(parts) > position and _NAME.fullmatch(parts[position]) else ""
