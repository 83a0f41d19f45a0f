"""Random XDP programs over everything: the whole instruction set, packets, frames, maps, helpers, functions, loops.

Not here: engines. A program that `generate` makes is well-formed, and nearly always one that a verifier
accepts; whole_mutations.py makes it wrong, mostly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    ByteSwap,
    CallHelper,
    CallLocal,
    Code,
    Exit,
    Imm,
    Instruction,
    Jump,
    JumpOp,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    MoveSigned,
    Negate,
    Operand,
    Reg,
    Size,
    Store,
    SwapKind,
    WideTail,
)
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, Subprogram

__all__ = ["EDGES", "MAPS", "OPERATIONS", "TESTS", "generate", "whole"]

OPERATIONS: Final = [op for op in AluOp if op not in (AluOp.NEG, AluOp.END)]
_SHIFTS: Final = (AluOp.LSH, AluOp.RSH, AluOp.ARSH)
_DIVISIONS: Final = (AluOp.DIV, AluOp.MOD, AluOp.SDIV, AluOp.SMOD)
TESTS: Final = [op for op in JumpOp if op not in (JumpOp.JA, JumpOp.CALL, JumpOp.EXIT)]
EDGES: Final = (0, 1, -1, 2, 7, 31, 32, 63, 127, 255, 256, 65535, 0x7FFFFFFF, -0x80000000)
_FRAME: Final = 64
_CONTEXT, _PACKET, _VALUE, _SPARE, _FP = 6, 7, 8, 9, 10
_SCRATCH: Final = (0, 1, 2, 3, 4, 5)
_VALUE_SIZE: Final = 32

MAPS: Final = (
    MapSpec(name="array", kind=2, key_size=4, value_size=_VALUE_SIZE, max_entries=4),
    MapSpec(name="hash", kind=1, key_size=4, value_size=_VALUE_SIZE, max_entries=64),
    MapSpec(name="percpu", kind=6, key_size=4, value_size=_VALUE_SIZE, max_entries=4),
    MapSpec(name="lru", kind=9, key_size=4, value_size=_VALUE_SIZE, max_entries=1024),
    MapSpec(name="percpu_hash", kind=5, key_size=4, value_size=_VALUE_SIZE, max_entries=64),
    MapSpec(name="lpm", kind=11, key_size=8, value_size=_VALUE_SIZE, max_entries=64, flags=1),
    MapSpec(name="data", kind=2, key_size=4, value_size=_VALUE_SIZE, max_entries=1),
)
_DATA: Final = 6


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a function that has no slot yet."""

    function: int


@dataclass(frozen=True, slots=True)
class _Address:
    """The address of a function that has no slot yet."""

    dst: int
    function: int


Item = Instruction | _Call | _Address
Items = list[Item]


def whole(code: Code, starts: Sequence[int]) -> ObjectSpec:
    """An object with that program over MAPS."""
    subprograms = tuple(Subprogram(start, f"f{start}" if start else "fuzz") for start in starts)
    program = ProgramSpec(name="fuzz", section="xdp", code=code, subprograms=subprograms, license="GPL")
    return ObjectSpec(name="fuzz", programs=(program,), maps=MAPS, license="GPL")


def generate(seed: int) -> ObjectSpec:
    """The program of that seed."""
    return _Generator(random.Random(seed)).object()


class _Generator:
    """Keeps: r6 the context, r7 the packet with `room` bytes proven, r10 - 1 … - _FRAME written, r0 to r5 and r9 numbers.

    r8 points to a map value when `value` is set, else it is a number.
    """

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.room = 0
        self.value = False
        self.inside = 0
        self.functions: list[Items] = []
        self.callbacks: list[Items] = []

    def object(self) -> ObjectSpec:
        """A whole program."""
        for _ in range(self.draw.randint(0, 2)):
            self.functions.append(self._function(callback=False))
        if self.draw.random() < 0.3:
            self.callbacks.append(self._function(callback=True))
        main: Items = [_move(_CONTEXT, Reg(1)), *self._frame(), *self._refresh(self.draw.choice((14, 20, 34, 60)))]
        for _ in range(self.draw.randint(2, 14)):
            main += self._step()
        main += self._show()
        main += [_move(0, Reg(self.draw.choice((0, 3, 9)))), Exit()]
        return self._linked(main)

    def _linked(self, main: Items) -> ObjectSpec:
        """The main program and the functions that are called, one after the other, with calls that lead there."""
        parts = [main, *self.functions, *self.callbacks]
        used = sorted({0} | {at for part in parts for at in self._callees(part)})
        sizes = [len(parts[number]) for number in used]
        starts = {number: sum(sizes[:i]) for i, number in enumerate(used)}
        code: list[Instruction] = []
        for item in (item for number in used for item in parts[number]):
            match item:
                case _Call(function):
                    code.append(CallLocal(starts[function] - len(code) - 1))
                case _Address(dst, function):
                    code.append(LoadFunction(dst, starts[function] - len(code) - 1))
                case _:
                    code.append(item)
        return whole(tuple(code), list(starts.values()))

    @staticmethod
    def _callees(part: Items) -> list[int]:
        return [item.function for item in part if isinstance(item, _Call | _Address)]

    # -- pieces

    def _imm(self) -> int:
        if self.draw.random() < 0.6:
            return self.draw.choice(EDGES)
        return self.draw.randint(-(1 << 31), (1 << 31) - 1)

    def _number(self) -> int:
        """A register that holds a number."""
        choices = [*_SCRATCH, _SPARE] + ([] if self.value else [_VALUE])
        return self.draw.choice(choices)

    def _operand(self) -> Operand:
        return Reg(self._number()) if self.draw.random() < 0.6 else Imm(self._imm())

    def _size(self) -> Size:
        return self.draw.choice(list(Size))

    def _frame(self) -> Items:
        """Every byte of the frame that is used, and every number register, gets a value."""
        items: Items = [
            Store(size=Size.DW, dst=_FP, offset=-8 * at, src=Imm(self._imm())) for at in range(1, _FRAME // 8 + 1)
        ]
        return items + self._numbers([*_SCRATCH, _VALUE, _SPARE])

    def _numbers(self, registers: Sequence[int]) -> Items:
        items: Items = []
        for each in registers:
            kind = self.draw.random()
            if kind < 0.4:
                items.append(_move(each, Imm(self._imm())))
            elif kind < 0.6:
                items += [LoadImm64(each, self.draw.getrandbits(64)), WideTail()]
            else:
                items.append(
                    Load(size=Size.DW, signed=False, dst=each, src=_FP, offset=-8 * self.draw.randint(1, _FRAME // 8))
                )
        return items

    def _refresh(self, room: int) -> Items:
        """r7 = the packet, with that many bytes proven; leaves when it is shorter."""
        self.room = room
        return [
            Load(size=Size.W, signed=False, dst=_PACKET, src=_CONTEXT, offset=0),
            Load(size=Size.W, signed=False, dst=2, src=_CONTEXT, offset=4),
            _move(3, Reg(_PACKET)),
            Alu(op=AluOp.ADD, width=64, dst=3, src=Imm(room)),
            Branch(op=JumpOp.JLE, width=64, dst=3, src=Reg(2), offset=2),
            _move(0, Imm(self.draw.randint(0, 4))),
            Exit(),
            *self._numbers([2, 3]),
        ]

    def _show(self) -> Items:
        """Numbers into the packet and the first array, so that nothing that was computed stays hidden."""
        items: Items = [LoadMapValue(dst=1, map=_DATA, offset=0), WideTail()]
        for at, each in enumerate((0, 2, 3, _SPARE)):
            items.append(Store(size=Size.DW, dst=1, offset=8 * at, src=Reg(each)))
        for at in range(0, self.room - 7, 8):
            items += [
                Load(size=Size.DW, signed=False, dst=1, src=_FP, offset=-8 * (at // 8 + 1)),
                Store(size=Size.DW, dst=_PACKET, offset=at, src=Reg(1)),
            ]
        return items

    def _step(self) -> Items:
        plain: list[Callable[[], Items]] = [self._alu, self._alu, self._alu, self._unary, self._memory, self._memory]
        plain += [self._atomic, self._branch, self._branch]
        top: list[Callable[[], Items]] = [self._lookup, self._change, self._clock, self._checksum, self._call]
        top += [self._loop, self._reach, self._adjust, self._copy, self._looped_call, self._scalar_range]
        if self.inside or self.draw.random() < 0.6:
            return self.draw.choice(plain)()
        return self.draw.choice(top)()

    def _alu(self) -> Items:
        op, width, source = self.draw.choice(OPERATIONS), self.draw.choice((32, 64)), self._operand()
        if isinstance(source, Imm):
            if op in _SHIFTS:
                source = Imm(source.value % width)
            elif op in _DIVISIONS and source.value == 0:
                source = Imm(3)
        return [Alu(op=op, width=width, dst=self._number(), src=source)]

    def _unary(self) -> Items:
        dst = self._number()
        match self.draw.randrange(4):
            case 0:
                return [Negate(self.draw.choice((32, 64)), dst)]
            case 1:
                bits = self.draw.choice((16, 32, 64))
                return [ByteSwap(kind=self.draw.choice(list(SwapKind)), bits=bits, dst=dst)]
            case 2:
                width = self.draw.choice((32, 64))
                bits = self.draw.choice((8, 16) if width == 32 else (8, 16, 32))
                return [MoveSigned(width=width, bits=bits, dst=dst, src=self._number())]
            case _:
                return [LoadImm64(dst, self.draw.getrandbits(64)), WideTail()]

    def _memory(self) -> Items:
        size = self._size()
        width = size.bytes
        places = [(_FP, -_FRAME + width * self.draw.randrange(_FRAME // width))]
        if self.room >= width:
            places.append((_PACKET, self.draw.randint(0, self.room - width)))
        if self.value:
            places.append((_VALUE, width * self.draw.randrange(_VALUE_SIZE // width)))
        base, offset = self.draw.choice(places)
        if self.draw.random() < 0.5:
            return [Store(size=size, dst=base, offset=offset, src=self._operand())]
        signed = size is not Size.DW and self.draw.random() < 0.4
        return [Load(size=size, signed=signed, dst=self._number(), src=base, offset=offset)]

    def _atomic(self) -> Items:
        op, size = self.draw.choice(list(AtomicOp)), self.draw.choice((Size.W, Size.DW))
        fetch = op in (AtomicOp.XCHG, AtomicOp.CMPXCHG) or self.draw.random() < 0.5
        offset = -_FRAME + size.bytes * self.draw.randrange(_FRAME // size.bytes)
        base = _FP
        if self.value and self.draw.random() < 0.5:
            base, offset = _VALUE, size.bytes * self.draw.randrange(_VALUE_SIZE // size.bytes)
        return [Atomic(op=op, size=size, fetch=fetch, dst=base, src=self._number(), offset=offset)]

    def _block(self, count: int) -> Items:
        self.inside += 1
        items = [item for _ in range(count) for item in self._step()]
        self.inside -= 1
        return items

    def _branch(self) -> Items:
        if self.inside > 2:
            return self._alu()
        first = self._block(self.draw.randint(1, 3))
        second = self._block(self.draw.randint(0, 2))
        if second:
            first.append(Jump(len(second), wide=self.draw.random() < 0.3))
        test = Branch(
            op=self.draw.choice(TESTS),
            width=self.draw.choice((32, 64)),
            dst=self._number(),
            src=self._operand(),
            offset=len(first),
        )
        return [test, *first, *second]

    def _loop(self) -> Items:
        """A few rounds over a block that leaves r9 alone."""
        chunks = [self._block(1) for _ in range(3)]
        body = [item for chunk in chunks if not any(_touches(item, _SPARE) for item in chunk) for item in chunk]
        rounds = self.draw.randint(1, 5)
        return [
            _move(_SPARE, Imm(0)),
            *body,
            Alu(op=AluOp.ADD, width=64, dst=_SPARE, src=Imm(1)),
            Branch(op=JumpOp.JLT, width=64, dst=_SPARE, src=Imm(rounds), offset=-len(body) - 2),
        ]

    def _after_call(self) -> Items:
        return self._numbers([1, 2, 3, 4, 5])

    def _key(self, index: int) -> Items:
        """R1 = the map, r2 = a key in the frame."""
        key = -_FRAME + 8 * self.draw.randrange(_FRAME // 8)
        items: Items = []
        if MAPS[index].kind == 11:
            items += [
                Store(size=Size.W, dst=_FP, offset=key, src=Imm(self.draw.choice((0, 8, 24, 32)))),
                Store(size=Size.W, dst=_FP, offset=key + 4, src=Imm(self.draw.choice((0, 10, 0x0A0A, -1)))),
            ]
        else:
            items += [Store(size=Size.W, dst=_FP, offset=key, src=Imm(self.draw.randrange(6)))]
        items += [LoadMap(1, index), WideTail(), _move(2, Reg(_FP)), Alu(op=AluOp.ADD, width=64, dst=2, src=Imm(key))]
        return items

    def _lookup(self) -> Items:
        """R8 = a value; without one, leave or put a number there."""
        items = [*self._key(self.draw.randrange(len(MAPS))), CallHelper(1), _move(_VALUE, Reg(0))]
        items += [Branch(op=JumpOp.JNE, width=64, dst=_VALUE, src=Imm(0), offset=2), _move(0, Imm(1)), Exit()]
        items += self._numbers([0])
        self.value = True
        return items + self._after_call()

    def _change(self) -> Items:
        index = self.draw.randrange(len(MAPS) - 1)
        items = self._key(index)
        if self.draw.random() < 0.3 and MAPS[index].kind not in (2, 6):
            return [*items, CallHelper(3), *self._after_call()]
        items += [
            _move(3, Reg(_FP)),
            Alu(op=AluOp.ADD, width=64, dst=3, src=Imm(-_FRAME)),
            _move(4, Imm(self.draw.choice((0, 0, 1, 2)))),
            CallHelper(2),
        ]
        return items + self._after_call()

    def _clock(self) -> Items:
        return [CallHelper(self.draw.choice((5, 7, 8))), *self._after_call()]

    def _checksum(self) -> Items:
        sizes = (0, 4, 8, 16, 32)
        items: Items = []
        for pointer, size in ((1, 2), (3, 4)):
            count = self.draw.choice(sizes)
            items += [_move(pointer, Reg(_FP)), Alu(op=AluOp.ADD, width=64, dst=pointer, src=Imm(-_FRAME))]
            items += [_move(size, Imm(count))]
        return [*items, _move(5, Imm(self.draw.randrange(1 << 16))), CallHelper(28), *self._after_call()]

    def _call(self) -> Items:
        if not self.functions:
            return self._alu()
        return [_Call(1 + self.draw.randrange(len(self.functions))), *self._after_call()]

    def _looped_call(self) -> Items:
        if not self.callbacks:
            return self._alu()
        count = self.draw.choice((0, 1, 3, 8))
        return [
            _move(1, Imm(count)),
            _Address(2, 1 + len(self.functions)),
            WideTail(),
            _move(3, Imm(0)),
            _move(4, Imm(self.draw.choice((0, 0, 0, 1)))),
            CallHelper(181),
            *self._after_call(),
        ]

    def _function(self, *, callback: bool) -> Items:
        """A function of numbers: its arguments, a frame of its own."""
        known = (1, 2) if callback else (1, 2, 3, 4, 5)
        self.room, self.value = 0, False
        items: Items = self._numbers_plain([each for each in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) if each not in known])
        if callback:
            items += [_move(2, Imm(self._imm()))]
        items += [Store(size=Size.DW, dst=_FP, offset=-8 * at, src=Reg(1)) for at in range(1, _FRAME // 8 + 1)]
        for _ in range(self.draw.randint(1, 5)):
            items += self._block(1)
        if callback:
            items += [_move(0, Imm(self.draw.choice((0, 0, 1))))]
        return [*items, Exit()]

    def _numbers_plain(self, registers: Sequence[int]) -> Items:
        return [_move(each, Imm(self._imm())) for each in registers]

    def _reach(self) -> Items:
        """A packet access at an offset that is only known to be small."""
        size = self._size()
        mask = self.draw.choice((3, 7, 31, 255))
        inner: Items
        if self.draw.random() < 0.5:
            inner = [Load(size=size, signed=False, dst=0, src=3, offset=0)]
        else:
            inner = [Store(size=size, dst=3, offset=0, src=Imm(self._imm()))]
        body: Items = [
            _move(2, Reg(self._number())),
            Alu(op=AluOp.AND, width=64, dst=2, src=Imm(mask)),
            _move(3, Reg(_PACKET)),
            Alu(op=AluOp.ADD, width=64, dst=3, src=Reg(2)),
            _move(4, Reg(3)),
            Alu(op=AluOp.ADD, width=64, dst=4, src=Imm(size.bytes)),
            Load(size=Size.W, signed=False, dst=5, src=_CONTEXT, offset=4),
            Branch(op=JumpOp.JGT, width=64, dst=4, src=Reg(5), offset=len(inner)),
            *inner,
        ]
        return [*body, *self._numbers([2, 3, 4, 5])]

    def _scalar_range(self) -> Items:
        """A map value or frame access at a bounded index."""
        size = self._size()
        inner: Items = [
            _move(2, Reg(self._number())),
            Alu(op=AluOp.AND, width=64, dst=2, src=Imm(_VALUE_SIZE - size.bytes)),
            LoadMapValue(dst=3, map=_DATA, offset=0),
            WideTail(),
            Alu(op=AluOp.ADD, width=64, dst=3, src=Reg(2)),
            Load(size=size, signed=size is not Size.DW and self.draw.random() < 0.5, dst=2, src=3, offset=0),
            Store(size=size, dst=3, offset=0, src=Reg(self._number_but(3))),
        ]
        return [*inner, *self._numbers([3])]

    def _number_but(self, taken: int) -> int:
        while (found := self._number()) == taken:
            pass
        return found

    def _adjust(self) -> Items:
        helper = self.draw.choice((44, 65))
        items: Items = [
            _move(1, Reg(_CONTEXT)),
            _move(2, Imm(self.draw.choice((-40, -14, -8, -1, 0, 1, 4, 8, 20, 300, -300)))),
            CallHelper(helper),
            *self._numbers([1, 2, 3, 4, 5]),
        ]
        return items + self._refresh(self.draw.choice((1, 8, 14, 20)))

    def _copy(self) -> Items:
        """xdp_load_bytes and xdp_store_bytes between the packet and the frame."""
        helper = self.draw.choice((189, 190))
        items: Items = [
            _move(1, Reg(_CONTEXT)),
            _move(2, Imm(self.draw.choice((0, 1, 6, 14, 60, 1000)))),
            _move(3, Reg(_FP)),
            Alu(op=AluOp.ADD, width=64, dst=3, src=Imm(-_FRAME)),
            _move(4, Imm(self.draw.choice((1, 2, 6, 16, 32)))),
            CallHelper(helper),
            *self._after_call(),
        ]
        return items + (self._refresh(min(self.room, 14)) if helper == 190 else [])


def _move(dst: int, source: Operand) -> Alu:
    return Alu(op=AluOp.MOV, width=64, dst=dst, src=source)


def _touches(item: Item, register: int) -> bool:
    match item:
        case Alu(dst=dst) | MoveSigned(dst=dst) | Load(dst=dst) | LoadImm64(dst=dst):
            return dst == register
        case Negate(_, dst) | ByteSwap(dst=dst):
            return dst == register
        case Atomic(src=src):
            return src == register
        case _:
            return False
