"""States in the form of the kernel's log: what `bpf(2)` prints of an accepted or rejected program at level 2.

Not here: which states there are (the explorer tells a watcher).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, final

from runtime.isa import Code, disassemble_one, encode
from runtime.spec import MapSpec, ProgramSpec
from runtime.verifier.domains import Scalar
from runtime.verifier.state import Slot, State
from runtime.verifier.values import UNKNOWN, Kind, Value

__all__ = ["StateLog", "state_text", "value_text"]

_MOST: Final = 200_000
_WORD: Final = (1 << 64) - 1
_TOP_UNSIGNED: Final = _WORD
_TOP_SIGNED: Final = (1 << 63) - 1
_SLOT: Final = 8
_NAMES: Final = {
    Kind.CONTEXT: "ctx", Kind.PACKET: "pkt", Kind.PACKET_END: "pkt_end", Kind.PACKET_META: "pkt_meta", Kind.MAP: "map_ptr",
    Kind.MAP_VALUE: "map_value", Kind.MAP_VALUE_OR_NULL: "map_value_or_null", Kind.FUNCTION: "func",
}  # fmt: skip
_MAPS: Final = frozenset({Kind.MAP, Kind.MAP_VALUE, Kind.MAP_VALUE_OR_NULL, Kind.MAP_OR_NULL, Kind.MAP_KEY})
_PACKETS: Final = frozenset({Kind.PACKET, Kind.PACKET_META})


@final
class StateLog:
    """A watcher that keeps lines; `lines` is complete once `close` was called."""

    def __init__(self, spec: ProgramSpec, maps: tuple[MapSpec, ...], helpers: Mapping[int, str]) -> None:
        self.lines: list[str] = []
        self._spec = spec
        self._maps = maps
        self._helpers = helpers
        self._opcodes = _opcodes(spec.code)
        self._names = [each.name for each in maps]
        self._last: tuple[int, State, list[Value], dict[int, Slot], int] | None = None
        self._line: object = None
        self._full = False

    def __call__(self, pc: int, state: State) -> None:
        """The state before the instruction at `pc`."""
        if self._full:
            return
        self._finish(state)
        last = self._last
        if last is None or last[1] is not state or last[4] != state.depth:
            came = f"from {last[0]} to {pc}" if last is not None else str(pc)
            self.lines.append(f"{came}: {state_text(state, self._maps)}")
        line = self._spec.line_at(pc)
        if line is not None and line is not self._line:
            self.lines.append(f"; {line.text.strip()} @ {line.file.rpartition('/')[2]}:{line.line}")
        self._line = line
        self._last = pc, state, state.registers[:], state.stack.copy(), state.depth
        if len(self.lines) >= _MOST:
            self._full = True
            self._last = None
            self.lines.append(f"the log ends here, after {_MOST} lines")

    def close(self) -> None:
        """The last instruction has no state behind it."""
        self._finish(None)
        self._last = None

    def _finish(self, state: State | None) -> None:
        """The line of the last instruction, with what it changed or used."""
        if self._last is None:
            return
        pc, before, registers, stack, depth = self._last
        instruction = self._spec.code[pc]
        text = disassemble_one(instruction, pc, maps=self._names, helper_name=self._helpers)
        for sign in "+-":
            text = text.replace(f" {sign} ", f" {sign}") if "*(" in text else text
        told = f"{pc}: ({self._opcodes[pc]:02x}) {text}"
        after = ""
        if state is before and state is not None and depth == state.depth:
            changed = [i for i, value in enumerate(registers) if state.registers[i] is not value]
            parts = [f"R{i}_w={value_text(state, state.registers[i], self._maps)}" for i in changed]
            parts += [
                f"fp{index * _SLOT}_w={_slot_text(state, slot, self._maps)}"
                for index, slot in sorted(state.stack.items(), reverse=True)
                if stack.get(index) is not slot
            ]
            after = " ".join(parts)
        self.lines.append(f"{told:<40} ; {after}" if after else told)


def state_text(state: State, maps: tuple[MapSpec, ...]) -> str:
    """Registers and stack of the running function, with the frame's number where there are several."""
    parts = [f"frame{state.depth}:"] if state.depth else []
    parts += [
        f"R{i}={value_text(state, value, maps)}"
        for i, value in enumerate(state.registers)
        if value.kind is not Kind.UNINIT
    ]
    parts += [
        f"fp{index * _SLOT}={_slot_text(state, slot, maps)}"
        for index, slot in sorted(state.stack.items(), reverse=True)
    ]
    return " ".join(parts)


def value_text(state: State, value: Value, maps: tuple[MapSpec, ...]) -> str:
    """A value as the kernel prints it."""
    match value.kind:
        case Kind.UNINIT:
            return "?"
        case Kind.NUMBER:
            if value.number.const is not None:
                return str(value.number.smin)
            return f"scalar({','.join(([f'id={abs(value.id)}'] if value.id else []) + _bounds(value.number))})"
        case Kind.STACK:
            moved = "" if value.number.const == 0 else f"({','.join(_bounds(value.number))})"
            return f"fp{value.offset + (value.number.const or 0)}{moved}"
        case _:
            return f"{_NAMES.get(value.kind, value.kind.name.lower())}({','.join(_pointer(state, value, maps))})"


def _pointer(state: State, value: Value, maps: tuple[MapSpec, ...]) -> list[str]:
    parts = []
    if value.kind in _MAPS and 0 <= value.target < len(maps):
        spec = maps[value.target]
        parts.append(f"map={spec.name},ks={spec.key_size},vs={spec.value_size}")
    elif value.id > 1:
        parts.append(f"id={value.id}")
    if value.offset or value.kind in _PACKETS:
        parts.append(f"off={value.offset}")
    if value.kind in _PACKETS:
        parts.append(f"r={state.room.get(value.id, 0)}")
    return parts + (_bounds(value.number) if value.number.const is None else [])


def _bounds(number: Scalar) -> list[str]:
    """Limits that say something."""
    if number is UNKNOWN.number:
        return []
    parts = []
    if (number.smin, number.smax) != (number.umin, number.umax):
        parts += [f"smin={number.smin}"] if number.smin != -_TOP_SIGNED - 1 else []
        parts += [f"smax={number.smax}"] if number.smax != _TOP_SIGNED else []
    parts += [f"umin={number.umin}"] if number.umin else []
    parts += [f"umax={number.umax}"] if number.umax != _TOP_UNSIGNED else []
    if number.mask != _TOP_UNSIGNED:
        parts.append(f"var_off=({number.value:#x}; {number.mask:#x})")
    return parts


def _slot_text(state: State, slot: Slot, maps: tuple[MapSpec, ...]) -> str:
    """Eight letters, or what was spilled."""
    if slot.value is not None:
        return value_text(state, slot.value, maps)
    letters = []
    for byte in reversed(range(_SLOT)):
        bit = 1 << byte
        letters.append("0" if slot.zero & bit else "m" if slot.written & bit else "?")
    return "".join(letters)


def _opcodes(code: Code) -> bytes:
    """The first byte of each slot."""
    return encode(code)[::_SLOT]
