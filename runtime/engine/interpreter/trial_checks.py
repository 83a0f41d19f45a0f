"""What a trial holds against an instruction before it runs: accesses, arguments of helpers, and what the verifier fears of it.

Not here: the run (trial.py). A check answers with the harm in words, or with None; none changes anything but what it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, final

from runtime.engine.interpreter.arithmetic import ALU, WORD, signed
from runtime.engine.interpreter.machine import Code, Machine, Registers
from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    Branch,
    CallHelper,
    CallLocal,
    Exit,
    Imm,
    Instruction,
    Load,
    Operand,
    Reg,
    Store,
)
from runtime.native import memory
from runtime.spec import Arg, ArgType, Helper, MapFlag
from runtime.verifier import FailureCode

if TYPE_CHECKING:
    from runtime.engine.interpreter.trial_shadow import Origins, Shadow
    from runtime.verifier import Suspect

__all__ = ["Checks", "Unknown", "counted"]

_MARGIN: Final = 1 << 11  # addresses so near to the packet are taken for attempts at the packet
_NO_ADDRESS: Final = 1 << 16
_NEAR: Final = 1 << 20  # addresses so near to a value are taken for attempts at it
_FRAME: Final = 512
_MAX_FRAMES: Final = 8
_SIZES: Final = (ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO)
_SHIFTS: Final = (AluOp.LSH, AluOp.RSH, AluOp.ARSH)
_DIVISIONS: Final = (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD)


@final
class Unknown(Exception):  # noqa: N818  ends a trial without a finding; it does not leave the package
    """What happens here was never found out by the verifier, so the trial shows nothing."""


@final
class Checks:
    """Of one run of a suspect."""

    def __init__(self, suspect: Suspect, code: Code, origins: Origins) -> None:
        self._suspect = suspect
        self._layout = suspect.program_type.context
        self._code = code
        self._origins = origins
        self._lows: dict[int, int] = {}
        self._rounds: tuple[object, ...] = ()
        self.changes = 0
        self.lesser = False
        """What was found breaks a contract; with other inputs there may be worse."""

    def access(self, machine: Machine, pc: int, instruction: Load | Store | Atomic, r: Registers) -> str | None:
        """Whether a load or store leaves what the program was given, or may not be made there."""
        base = r[instruction.src if isinstance(instruction, Load) else instruction.dst]
        size = instruction.size.bytes
        address = base + instruction.offset & WORD
        verb = "reads" if isinstance(instruction, Load) else "writes"
        frame = machine.frame_of(address)
        if frame is not None:
            return self._in_frame(machine, frame, size, verb)
        if base == machine.context or 0 <= address - machine.context < self._layout.record_size:
            return self._in_context(pc, address - machine.context, instruction, verb)
        low, high = self._origins.packet(machine)
        if low - _MARGIN <= address < high + _MARGIN and not self._value_at(address):
            if address < low:
                return f"{verb} {counted(low - address)} before the start of the packet"
            if address + size > high:
                return f"{verb} {counted(min(size, address + size - high))} past the end of the packet"
            return None
        if address < _NO_ADDRESS:
            if base == 0:
                return f"{verb} {counted(size)} through a null pointer"
            return f"{verb} {counted(size)} at the address {address}, where no memory is"
        if 0 <= address - r[10] < _MARGIN and not self._value_at(address):
            return f"{verb} {counted(size)} behind the end of the stack"
        return self._in_map(address, size, instruction, verb)

    def stale(self, shadow: Shadow, instruction: Load | Store | Atomic) -> str | None:
        """Whether the pointer is from before the packet moved."""
        stamp = shadow.stamps[instruction.src if isinstance(instruction, Load) else instruction.dst]
        if stamp and stamp != self._origins.moves + 1:
            verb = "reads" if isinstance(instruction, Load) else "writes"
            what = f"{verb} {counted(instruction.size.bytes)} through a pointer into the packet that was loaded before"
            return f"{what} {self._origins.moved_by} changed the packet"
        return None

    def _in_frame(self, machine: Machine, frame: tuple[int, int], size: int, verb: str) -> str | None:
        depth, at = frame
        if at + size > 0:
            return f"{verb} {counted(at + size)} past the end of the stack"
        if depth >= machine.depth:
            return f"{verb} {counted(size)} of the stack of a function that has ended"
        self._lows[depth] = min(self._lows.get(depth, 0), at)
        used = [-(low // 16 * 16) for depth, low in self._lows.items() if depth < machine.depth]
        if self._suspect.code == FailureCode.STACK and sum(used) > _FRAME:
            return f"has {sum(used)} bytes of stack in use in {len(used)} functions, and a program gets {_FRAME}"
        return None

    def entered(self, depth: int) -> None:
        """A function begins, with nothing on its stack."""
        self._lows[depth] = 0

    def _in_context(self, pc: int, offset: int, instruction: Load | Store | Atomic, verb: str) -> str | None:
        size, name = instruction.size.bytes, self._layout.name
        if offset < 0 or offset + size > self._layout.size:
            past = offset + size - self._layout.size if offset >= 0 else offset
            return f"{verb} memory outside of the context, up to {past} bytes past the end of struct {name}"
        field = self._layout.field_at(offset, size)
        if field is not None and verb == "writes" and not field.writes:
            return f"writes {name}.{field.name}, which programs may only read"
        if pc not in self._suspect.facts.context_fields:
            raise Unknown
        return None

    def _value_at(self, address: int) -> bool:
        return any(start <= address < start + size for start, (_, _, size) in self._origins.values.items())

    def _record_at(self, address: int) -> tuple[int, int] | None:
        """The memory that a helper gave which holds that address, or ends not far before: address and size."""
        records = self._origins.records.items()
        start = max((each for each, size in records if each <= address < each + size + _MARGIN), default=None)
        return None if start is None else (start, self._origins.records[start])

    def _in_map(self, address: int, size: int, instruction: Load | Store | Atomic, verb: str) -> str | None:
        values = self._origins.values
        if (record := self._record_at(address)) is not None and not self._value_at(address):
            past = address + size - record[0] - record[1]
            return f"{verb} {counted(min(size, past))} past the end of a record of {record[1]}" if past > 0 else None
        owner = next((each for each in self._code.maps if 0 <= address - each.address < each.arena.size), None)
        if any(start <= address and address + size <= start + length for start, (_, _, length) in values.items()):
            if verb == "writes" and owner and (owner.spec.frozen or owner.spec.flags & MapFlag.RDONLY_PROG):
                return f"writes {counted(size)} of a value of map {owner.spec.name!r}, which programs may only read"
            if isinstance(instruction, Atomic) and address % size:
                return f"makes an atomic operation on {size} bytes at an address that is no multiple of {size}"
            return None
        nearest = max((start for start in values if start <= address < start + _NEAR), default=None)
        if nearest is not None:
            name, _, length = values[nearest]
            past = min(size, address + size - nearest - length)
            return f"{verb} {counted(past)} past the end of a value of map {name!r}, which has {length}"
        following = min((start for start in values if address < start < address + _NEAR), default=None)
        if following is not None:
            name, _, length = values[following]
            return f"{verb} {counted(following - address)} before the start of a value of map {name!r}"
        return None if owner is None else f"{verb} {counted(size)} of map {owner.spec.name!r} outside of its values"

    def call(self, machine: Machine, instruction: CallHelper | CallLocal, r: Registers) -> str | None:
        """Whether a call hands over memory that is not there, or finds no stack."""
        if isinstance(instruction, CallLocal):
            if machine.depth >= _MAX_FRAMES:
                return f"calls function number {machine.depth + 1} while {machine.depth} are active, for which there is no stack"
            return None
        helper = self._suspect.facts.helpers.get(instruction.helper)
        if helper is None:
            return None
        for position, arg in enumerate(helper.prototype.args, 1):
            found = self._argument(machine, helper, position, arg, r)
            if found is not None:
                return f"lets bpf_{helper.name} {found}"
        return None

    def _argument(self, machine: Machine, helper: Helper, position: int, arg: Arg, r: Registers) -> str | None:
        word = r[position]
        if arg.nullable and word == 0:
            return None
        if arg.type is ArgType.CONTEXT and word != machine.context:
            at = signed(word - machine.context & WORD, 64)
            if 0 < at <= self._layout.size:
                return f"work {counted(at)} past the end of the context, for it is given a place {counted(at)} behind the start"
            return "work on something that is not the context"
        size = self._memory_size(helper, position, arg, r)
        if size is None:
            return None
        verb = "write" if arg.writes or arg.type is ArgType.UNINIT_MEMORY else "read"
        if size > 1 << 63:
            return f"{verb} {signed(size, 64)} bytes, as a number without a sign {size:,}"
        frame = machine.frame_of(word)
        if frame is not None:
            return self._in_frame(machine, frame, size, verb)
        left = self._left(machine, word)
        if left is not None and size > left:
            return f"{verb} {counted(size)} where {left} are left"
        return None

    @staticmethod
    def _memory_size(helper: Helper, position: int, arg: Arg, r: Registers) -> int | None:
        """How many bytes behind the argument the helper touches; None where that is not known, or no memory."""
        args = helper.prototype.args
        if arg.type is ArgType.FIXED_MEMORY:
            return arg.size
        if arg.type in (ArgType.MEMORY, ArgType.UNINIT_MEMORY) and position < len(args):
            return r[position + 1] if args[position].type in _SIZES else None
        return None

    def _left(self, machine: Machine, address: int) -> int | None:
        """Bytes from an address up to the end of the packet or the value that holds it; None where nothing is known."""
        low, high = self._origins.packet(machine)
        if low <= address <= high:
            return high - address
        for start, (_, _, size) in self._origins.values.items():
            if start <= address < start + size:
                return start + size - address
        record = self._record_at(address)
        return None if record is None else max(0, record[0] + record[1] - address)

    def feared(self, machine: Machine, instruction: Instruction, r: Registers) -> str | None:
        """At the instruction that the verifier rejects: whether what it fears happens now."""
        match self._suspect.code:
            case FailureCode.LEAK:
                return self._leaks(machine, instruction, r)
            case FailureCode.INSTRUCTION:
                return _wrong_operand(instruction, r)
            case FailureCode.RETURN:
                return self._returns(machine, instruction, r)
            case FailureCode.POINTER_ARITHMETIC:
                return self._lost(machine, instruction, r)
            case FailureCode.HELPER_ARG:
                return self._zero_size(instruction, r)
            case FailureCode.LOOP:
                return self._goes_round(machine, r)
            case _:
                return None

    def _leaks(self, machine: Machine, instruction: Instruction, r: Registers) -> str | None:
        match instruction:
            case Exit():
                what = self._address(machine, r[0])
                return f"returns {what}" if what else None
            case Store(src=Reg(index)):
                what = self._address(machine, r[index])
                return f"stores {what} where others read it" if what else None
            case Branch(dst=dst, src=src, width=width):
                words = [r[dst], _word(src, r)]
                left, right = (self._address(machine, each) for each in words)
                near = abs(words[0] - words[1]) < _NEAR or 0 in words
                if width == 64 and (bool(left) == bool(right) or near):
                    return None
                return f"decides by {left or right}, which is another one on every run" if left or right else None
            case Alu(op=op, dst=dst, src=src, width=32):
                words = [] if op is AluOp.MOV else [r[dst]]
                words += [r[src.index]] if isinstance(src, Reg) else []
                what = next((found for each in words if (found := self._address(machine, each))), "")
                return f"makes a number of half of {what}" if what else None
            case CallHelper(number):
                return self._handed_over(machine, self._suspect.facts.helpers.get(number), r)
            case _:
                return None

    def _handed_over(self, machine: Machine, helper: Helper | None, r: Registers) -> str | None:
        for position, arg in enumerate(helper.prototype.args if helper else (), 1):
            assert helper is not None
            if arg.type is ArgType.ANYTHING:
                what = self._address(machine, r[position])
                if what:
                    return f"hands bpf_{helper.name} {what}"
                continue
            for word in self._words(helper, position, arg, r):
                what = self._address(machine, word)
                if what:
                    return f"hands bpf_{helper.name} {what}, in memory"
        return None

    def _words(self, helper: Helper, position: int, arg: Arg, r: Registers) -> Iterator[int]:
        """The words in the memory behind an argument."""
        size = self._memory_size(helper, position, arg, r)
        if arg.type in (ArgType.MAP_KEY, ArgType.MAP_VALUE):
            owner = self._code.by_address.get(r[1])
            if owner is not None:
                size = owner.spec.key_size if arg.type is ArgType.MAP_KEY else owner.spec.value_size
        for at in range(0, min(size or 0, _FRAME) - 7, 8):
            yield memory.load(r[position] + at & WORD, 8) & WORD

    def _address(self, machine: Machine, word: int) -> str:
        """What the word is the address of; empty where it is none of this run."""
        low, high = self._origins.packet(machine)
        if low <= word <= high:
            return f"the address of byte {word - low} of the packet"
        if 0 <= word - machine.context < self._layout.record_size:
            return "the address of the context"
        if machine.frame_of(word) is not None or machine.frame_of(word - 1) is not None:
            return "an address of the stack"
        for each in self._code.maps:
            if each.address <= word < each.address + each.arena.size:
                return f"an address in map {each.spec.name!r}"
        return ""

    def _returns(self, machine: Machine, instruction: Instruction, r: Registers) -> str | None:
        if not isinstance(instruction, Exit):
            return None
        allowed = (0, 1) if machine.depth > 1 else self._suspect.program_type.returns
        value = signed(r[0], 64)
        if allowed is None or allowed[0] <= value <= allowed[1]:
            return None
        return f"returns {value}, and {allowed[0]} to {allowed[1]} are allowed"

    def _lost(self, machine: Machine, instruction: Instruction, r: Registers) -> str | None:
        if not isinstance(instruction, Alu) or instruction.op in (AluOp.MOV, AluOp.ADD, AluOp.SUB):
            return None
        mask = (1 << instruction.width) - 1
        left, right = r[instruction.dst], _word(instruction.src, r)
        what = self._address(machine, left) or self._address(machine, right)
        made = ALU[instruction.op](left & mask, right & mask, instruction.width) & mask
        if what and not self._address(machine, made):
            return (
                f"computes a number from {what}, which is no place in the program's memory and another one on every run"
            )
        return None

    def _zero_size(self, instruction: Instruction, r: Registers) -> str | None:
        if not isinstance(instruction, CallHelper):
            return None
        helper = self._suspect.facts.helpers.get(instruction.helper)
        for position, arg in enumerate(helper.prototype.args if helper else (), 1):
            if helper is not None and arg.type is ArgType.CONST_SIZE and r[position] == 0:
                self.lesser = True
                return f"calls bpf_{helper.name} with a size of 0, and it takes 1 or more"
        return None

    def _goes_round(self, machine: Machine, r: Registers) -> str | None:
        """The same place with the same registers, and nothing was stored and nobody asked in between."""
        now = (machine.depth, self.changes, *r)
        if now == self._rounds:
            return "is back with every register and all memory as they were, and so never ends"
        self._rounds = now
        return None


def _word(operand: Operand, r: Registers) -> int:
    return r[operand.index] if isinstance(operand, Reg) else operand.value & WORD


def _wrong_operand(instruction: Instruction, r: Registers) -> str | None:
    """Whether the processor's result is not the mathematical one."""
    if not isinstance(instruction, Alu) or not isinstance(instruction.src, Imm):
        return None
    width, amount = instruction.width, instruction.src.value
    if instruction.op in _DIVISIONS and amount == 0:
        return f"divides {r[instruction.dst] & (1 << width) - 1} by 0"
    if instruction.op in _SHIFTS and not 0 <= amount < width:
        return f"shifts {width} bits by {amount}, which processors take for {amount & width - 1}"
    return None


def counted(count: int) -> str:
    """So many bytes."""
    return "1 byte" if count == 1 else f"{count} bytes"
