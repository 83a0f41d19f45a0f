"""The text of one LLVM function while it grows: fresh names, registers, addresses.

Not here: what an instruction becomes (lower.py and its tables).

Registers live in allocas, which LLVM turns into values. Within a block the text already works on values: a
register is loaded when first read and stored when the block ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from runtime.engine.jit.flow import FRAME, Base, Bases, after
from runtime.isa import Instruction

__all__ = ["Emitter", "word"]

_SIGN: Final = 1 << 63
_MASK: Final = (1 << 64) - 1


def word(value: int) -> str:
    """A 64-bit constant as LLVM writes it."""
    return str(((value + _SIGN) & _MASK) - _SIGN)


@final
class Emitter:
    """`lines` of one function, after the `slots` of its entry block. `stack` is the frame's size in bytes."""

    def __init__(self, stack: int) -> None:
        self.lines: list[str] = []
        self.slots: list[str] = []
        self._stack = stack
        self._names = 0
        self._values: dict[int, str] = {}
        self._dirty: set[int] = set()
        self._bases: Bases = ()

    def line(self, text: str) -> None:
        """Add an instruction that has no result, or a label."""
        self.lines.append(text)

    def value(self, text: str) -> str:
        """Add an instruction; returns the name of its result."""
        self._names += 1
        name = f"%v{self._names}"
        self.lines.append(f"{name} = {text}")
        return name

    def label(self, stem: str) -> str:
        """A label that nothing else has."""
        self._names += 1
        return f"{stem}{self._names}"

    def slot(self, kind: str) -> str:
        """A pointer to memory of that LLVM type, a part of the function's native frame."""
        name = f"%s{len(self.slots)}"
        self.slots.append(f"{name} = alloca {kind}")
        return name

    def preload(self, indices: Iterable[int]) -> None:
        """Read registers now, so that their values hold in all blocks that follow."""
        for index in indices:
            self.get(index)

    def enter(self, label: str, bases: Bases) -> None:
        """Start a block in which those bases hold."""
        self.lines.append(f"{label}:")
        self._values = {}
        self._dirty = set()
        self._bases = bases

    def step(self, instruction: Instruction) -> None:
        """The instruction has been emitted: bases are now those after it."""
        self._bases = after(self._bases, instruction)

    def leave(self) -> None:
        """Store what the block changed; the terminator follows."""
        for index in sorted(self._dirty):
            self.lines.append(f"store i64 {self.get(index)}, ptr %r{index}")
        self._dirty = set()

    def base(self, index: int) -> Base | None:
        """What the register is known to point to."""
        return self._bases[index]

    def get(self, index: int) -> str:
        """The register's value."""
        known = self._values.get(index)
        if known is None:
            base = self._bases[index]
            if base is None:
                known = self.value(f"load i64, ptr %r{index}")
            else:
                known = self.value(f"ptrtoint ptr {self._based(base, 0)} to i64")
            self._values[index] = known
        return known

    def set(self, index: int, value: str) -> None:
        """Give the register a value."""
        self._values[index] = value
        self._dirty.add(index)

    def rebased(self, instruction: Instruction, index: int) -> bool:
        """Whether the register's base is known after the instruction; then its value comes from there."""
        if after(self._bases, instruction)[index] is None:
            return False
        self._values.pop(index, None)
        self._dirty.add(index)
        return True

    def get32(self, index: int) -> str:
        """The low half of the register."""
        return self.value(f"trunc i64 {self.get(index)} to i32")

    def set32(self, index: int, value: str) -> None:
        """Give the register a 32-bit value, the upper half zero."""
        self.set(index, self.value(f"zext i32 {value} to i64"))

    def address(self, index: int, offset: int) -> str:
        """A pointer `offset` bytes from where the register points."""
        base = self._bases[index]
        if base is not None:
            return self._based(base, offset)
        pointer = self.value(f"inttoptr i64 {self.get(index)} to ptr")
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {offset}") if offset else pointer

    def copied(self, index: int, size: int) -> str:
        """The address, as a word, of a copy of what the register points to, if that is the frame; else the register."""
        base = self._bases[index]
        if base is None or base.kind != FRAME:
            return self.get(index)
        spot = self.slot(f"[{size} x i8], align 8")
        original = self.address(index, 0)
        self.line(f"call void @llvm.memcpy.p0.p0.i64(ptr align 8 {spot}, ptr align 1 {original}, i64 {size}, i1 false)")
        return self.value(f"ptrtoint ptr {spot} to i64")

    def _based(self, base: Base, offset: int) -> str:
        if base.kind == FRAME:
            return self.value(f"getelementptr i8, ptr %stack, i64 {self._stack + base.offset + offset}")
        return self.context(base.offset + offset)

    def context(self, offset: int) -> str:
        """A pointer into the context's record."""
        return self.value(f"getelementptr i8, ptr %context, i64 {offset}")
