"""What a running program stands on: records, frames, and the loop that goes from instruction to instruction.

Not here: what an instruction does (steps.py, calls.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, final

from runtime.engine.interpreter.arithmetic import WORD
from runtime.errors import InternalError
from runtime.native import memory
from runtime.spec import MapOp

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import Suspect, VerifiedProgram

__all__ = ["RETURN", "Code", "Machine", "Registers", "Step", "map_call"]

RETURN: Final = -1
"""In place of the next slot: the function is over, r0 is its result."""

_FRAME: Final = 512
_STEP_LIMIT: Final = 1 << 32
_KEY_ROOM: Final = 8
_REGISTERS: Final = 11

Registers = list[int]
"""r0 to r10, unsigned words; what comes behind them is the code's own (Code.words)."""
Step = Callable[["Machine", Registers], int]
"""One instruction: changes registers and memory, returns the slot of the next."""


@final
class Code:
    """A program's steps by slot, and its maps by index and by address; `words` of registers go with a call."""

    def __init__(self, program: VerifiedProgram | Suspect, maps: Sequence[Map]) -> None:
        self.program = program
        self.maps = tuple(maps)
        self.by_address: Mapping[int, Map] = {each.address: each for each in maps}
        self.steps: Sequence[Step] = ()
        self.words = _REGISTERS

    def map_at(self, address: int) -> Map:
        """The map that a register names; raises InternalError, for a verified program names no other."""
        found = self.by_address.get(address)
        if found is None:
            raise InternalError(f"{self.program.spec.name}: a register that should name a map is {address:#x}")
        return found


@final
class Machine:
    """One run of a driver: frames at real addresses, and the records that programs are given."""

    def __init__(self) -> None:
        self.context = 0
        self.environment = 0
        self.depth = 0
        self._frames: list[ctypes.Array[ctypes.c_uint64]] = []
        self._key = (ctypes.c_uint64 * (_KEY_ROOM // 8))()
        self.key: int = ctypes.addressof(self._key)
        memory.register(self.key, _KEY_ROOM, self._key)

    def enter(self, code: Code, context: int, environment: int) -> int:
        """Run a program on a context record; returns r0."""
        before = self.context, self.environment
        self.context, self.environment = context & WORD, environment & WORD
        try:
            return self.call(code, 0, (self.context,))
        finally:
            self.context, self.environment = before

    def call(self, code: Code, start: int, arguments: Sequence[int]) -> int:
        """Run the function that starts at a slot, with up to five words, in a frame of zeroes; returns r0."""
        registers = [0, *arguments] + [0] * (code.words - 1 - len(arguments))
        registers[10] = self._frame() + _FRAME
        self.depth += 1
        try:
            return self._run(code, start, registers)
        finally:
            self.depth -= 1

    def _run(self, code: Code, pc: int, registers: Registers) -> int:
        steps = code.steps
        for _ in range(_STEP_LIMIT):
            pc = steps[pc](self, registers)
            if pc == RETURN:
                return registers[0]
        raise InternalError(f"{code.program.spec.name}: no end after {_STEP_LIMIT} instructions")

    def _frame(self) -> int:
        """The address of the frame at this depth, cleared."""
        if self.depth == len(self._frames):
            made = (ctypes.c_uint64 * (_FRAME // 8))()
            memory.register(ctypes.addressof(made), _FRAME, made)
            self._frames.append(made)
        frame = self._frames[self.depth]
        address = ctypes.addressof(frame)
        ctypes.memset(address, 0, _FRAME)
        return address

    def owns(self, address: int) -> bool:
        """Whether that is a byte of a frame."""
        return any(0 <= address - ctypes.addressof(frame) < _FRAME for frame in self._frames)

    def frame_of(self, address: int) -> tuple[int, int] | None:
        """Of a byte of a frame: which one, and how far below the frame's end (negative); None for other memory."""
        for depth, frame in enumerate(self._frames):
            at = address - ctypes.addressof(frame)
            if 0 <= at < _FRAME:
                return depth, at - _FRAME
        return None

    def close(self) -> None:
        """Withdraw the frames from the memory that natives may touch."""
        memory.unregister(self.key)
        for frame in self._frames:
            memory.unregister(ctypes.addressof(frame))


def map_call(owner: Map, op: MapOp, environment: int, words: Sequence[int]) -> int:
    """Carry out an operation of a map's kind; `words` are r2 and on, as many as the operation takes."""
    spec = owner.spec
    shape = (owner.address, spec.key_size, spec.value_size, spec.max_entries, int(spec.flags), environment)
    return owner.kind.ops[op](*shape, *words) & WORD
