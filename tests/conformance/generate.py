"""Writes the conformance cases: code, inputs, and what RFC 9669 says of them, computed here in plain integers.

Not here: engines. `python -m tests.conformance.generate` rewrites the files beside this one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from tests.conformance.cases import Case, Run, render
from tests.conformance.control import control
from tests.conformance.semantics import ALU, ATOMICS, TESTS, alu, atomic, signed, swap, test, unsigned

__all__ = ["FILES", "FOLDER"]

FOLDER: Final = Path(__file__).parent

_M64: Final = (1 << 64) - 1
_MIN64: Final = 1 << 63
_MAX64: Final = _MIN64 - 1
_M32: Final = (1 << 32) - 1
_MIN32: Final = 1 << 31
_MAX32: Final = _MIN32 - 1
_A: Final = 0x0123_4567_89AB_CDEF
_B: Final = 0xFEDC_BA98_7654_3210

_DIVISIONS: Final = ("/", "s/", "%", "s%")
_SHIFTS: Final = ("<<", ">>", "s>>")

_PAIRS: Final = (
    (0, 0),
    (1, 2),
    (2, 1),
    (_M64, 1),
    (1, _M64),
    (_MAX64, 1),
    (_MIN64, _MIN64),
    (_MIN64, 1),
    (_M32, 1),
    (_MAX32, 1),
    (_MIN32, _MIN32),
    (_M64, _M64),
    (_A, _B),
    (0xDEAD_BEEF_0000_0001, 0xCAFE_BABE_0000_0002),
    (0xFFFF_FFFF_0000_0000, 1),
)
_DIVIDED: Final = (
    *((unsigned(a), unsigned(b)) for a in (7, -7) for b in (2, -2)),
    (7, 0),
    (_MIN64, 0),
    (0, 5),
    (_MIN64, _M64),
    (_MIN64, 1),
    (_MAX64, _M64),
    (unsigned(-_MIN32), _M64),
    (_MIN32, _M32),
    (0xDEAD_BEEF_8000_0000, 0xFFFF_FFFF),
    (0xDEAD_BEEF_0000_0007, 0xCAFE_0000_0000_0000),
    (1 << 32, 3),
    (5, 0xFFFF_FFFF_0000_0002),
    (_M64, _MIN64),
    (_A, _B),
    (_B, _A),
)
_SHIFTED: Final = tuple(
    (value, count)
    for value in (0x8000_0001_8000_0001, 0x7654_3210_0123_4567)
    for count in (0, 1, 7, 31, 32, 33, 63, 64, 65, 127, 1 << 32, (1 << 32) + 1, _M64)
)
_ALONE: Final = (0, 1, 0x8000_0000_8000_0000, _M64, _A, _B)
_IMMEDIATES: Final = (0, 1, -1, _MAX32, -_MIN32)


def _register(kind: str, at: int) -> str:
    return f"{kind}{at}"


def _widths() -> Iterator[tuple[int, str]]:
    yield 64, "r"
    yield 32, "w"


def _inputs(sign: str) -> tuple[tuple[int, int], ...]:
    return _DIVIDED if sign in _DIVISIONS else _SHIFTED if sign in _SHIFTS else _PAIRS


def _alu_registers(sign: str, bits: int, kind: str) -> Iterator[Case]:
    yield Case(
        name=f"{kind} {sign}= register",
        asm=f"{kind}1 {sign}= {kind}2\nr0 = r1",
        runs=tuple(Run(arguments=(a, b), result=alu(sign, bits, a, b)) for a, b in _inputs(sign)),
    )
    yield Case(
        name=f"{kind} {sign}= itself",
        asm=f"{kind}1 {sign}= {kind}1\nr0 = r1",
        runs=tuple(Run(arguments=(a,), result=alu(sign, bits, a, a)) for a in _ALONE),
    )


def _alu_immediates(sign: str, bits: int) -> tuple[int, ...]:
    if sign in _SHIFTS:
        return (0, 1, 7, bits - 1)
    return (1, -1, 7, -7, _MAX32, -_MIN32) if sign in _DIVISIONS else _IMMEDIATES


def _alu_immediate(sign: str, bits: int, kind: str, immediate: int, *, refused: bool = False) -> Case:
    values = dict.fromkeys((*_ALONE, _MIN64, unsigned(-7), _MIN32))
    return Case(
        name=f"{kind} {sign}= {immediate}",
        asm=f"{kind}1 {sign}= {immediate}\nr0 = r1",
        refused=("kernel", "verifier") if refused else (),
        runs=tuple(Run(arguments=(a,), result=alu(sign, bits, a, immediate)) for a in values),
    )


def _arithmetic(signs: Iterable[str]) -> Iterator[Case]:
    for sign in signs:
        for bits, kind in _widths():
            yield from _alu_registers(sign, bits, kind)
            for immediate in _alu_immediates(sign, bits):
                yield _alu_immediate(sign, bits, kind, immediate)


def _refused() -> Iterator[Case]:
    for bits, kind in _widths():
        for sign in _DIVISIONS:
            yield _alu_immediate(sign, bits, kind, 0, refused=True)
        for sign in _SHIFTS:
            for count in (bits, 127, -1):
                yield _alu_immediate(sign, bits, kind, count, refused=True)


def _unary() -> Iterator[Case]:
    words = (0, 1, 0x80, 0x7F, 0x8000, 0x7FFF, _MIN32, _MAX32, _MIN64, _M64, _A, _B, 0xDEAD_BEEF_8001_8081)
    for bits, kind in _widths():
        runs = tuple(Run(arguments=(a,), result=unsigned(-a, bits)) for a in words)
        yield Case(name=f"{kind} negated", asm=f"{kind}1 = -{kind}1\nr0 = r1", runs=runs)
        for low in (8, 16, 32)[: 3 if bits == 64 else 2]:
            runs = tuple(Run(arguments=(a,), result=unsigned(signed(a, low), bits)) for a in words)
            yield Case(name=f"{kind} = (s{low}) register", asm=f"{kind}0 = (s{low}){kind}1", runs=runs)
            yield Case(name=f"{kind} = (s{low}) itself", asm=f"{kind}1 = (s{low}){kind}1\nr0 = r1", runs=runs)
    for word in ("le", "be", "bswap"):
        for low in (16, 32, 64):
            runs = tuple(Run(arguments=(a,), result=swap(word, low, a)) for a in (*words, 0x1122_3344_5566_7788))
            yield Case(name=f"{word}{low}", asm=f"r1 = {word}{low} r1\nr0 = r1", runs=runs)


def _constants() -> Iterator[Case]:
    for value in (0, 1, _MAX32, _MIN32, _M32, 1 << 32, _A, _B, _MAX64, _MIN64, _M64):
        yield Case(name=f"{value:#x} ll", asm=f"r0 = {value:#x} ll", runs=(Run(result=value),))


_COMPARED: Final = (
    (5, 5),
    (4, 5),
    (6, 5),
    (0, 0),
    (0, _M64),
    (_M64, 0),
    (_M64, _M64),
    (_MIN64, _MAX64),
    (_MAX64, _MIN64),
    (_MIN32, _MAX32),
    (_MAX32, _MIN32),
    (_M32, 0),
    (0, _M32),
    (0x1_0000_0005, 5),
    (5, 0xFFFF_FFFF_0000_0005),
    (0xFFFF_FFFF_0000_0000, 1),
    (0xF0, 0x0F),
    (1 << 32, 1 << 32),
    (1 << 63, 1 << 63),
)


def _jump(kind: str, sign: str, source: str) -> str:
    return f"r0 = 1\nif {kind}1 {sign} {source} goto end\nr0 = 0"


def _jumps(bits: int, kind: str) -> Iterator[Case]:
    for sign in TESTS:
        runs = tuple(Run(arguments=(a, b), result=int(test(sign, bits, a, b))) for a, b in _COMPARED)
        yield Case(name=f"if {kind} {sign} register", asm=_jump(kind, sign, f"{kind}2"), runs=runs)
        runs = tuple(Run(arguments=(a,), result=int(test(sign, bits, a, a))) for a in _ALONE)
        yield Case(name=f"if {kind} {sign} itself", asm=_jump(kind, sign, f"{kind}1"), runs=runs)
        for immediate in (0, 5, -1, _MAX32, -_MIN32):
            near = [unsigned(immediate + step) for step in (-1, 0, 1)]
            values = dict.fromkeys((*near, *(a ^ 1 << 32 for a in near), 0, _MAX64, _MIN64, unsigned(immediate, 32)))
            runs = tuple(Run(arguments=(a,), result=int(test(sign, bits, a, immediate))) for a in values)
            yield Case(name=f"if {kind} {sign} {immediate}", asm=_jump(kind, sign, str(immediate)), runs=runs)


_PATTERNS: Final = tuple(bytes.fromhex(each) for each in ("8182838485868788", "7172737475767778", "ffffffffffffff80"))


def _loads() -> Iterator[Case]:
    for size in (8, 16, 32, 64):
        for sign in "us"[: 1 if size == 64 else 2]:
            for offset in (0, 3, -5):
                at = 16 + offset
                runs = []
                for pattern in _PATTERNS:
                    memory = bytes(16 - 8) + pattern * 3
                    raw = int.from_bytes(memory[at : at + size // 8], "little")
                    result = unsigned(signed(raw, size)) if sign == "s" else raw
                    runs.append(Run(memory=memory, result=result, memory_after=memory))
                place = f"*({sign}{size} *)(r2 {'-' if offset < 0 else '+'} {abs(offset)})"
                asm = f"r2 = r9\nr2 += 16\nr0 = -1\nr0 = {place}"
                yield Case(name=f"load {sign}{size} at {offset}", asm=asm, runs=tuple(runs))
            runs = []
            for word in (_A, _B, _MIN64, 0xFFFF_FFFF_8000_8080):
                low = unsigned(word, size)
                runs.append(Run(arguments=(word,), result=unsigned(signed(low, size)) if sign == "s" else low))
            asm = f"*(u64 *)(r10 - 16) = r1\nr0 = *({sign}{size} *)(r10 - 16)"
            yield Case(name=f"load {sign}{size} from the frame", asm=asm, runs=tuple(runs))


def _stored(memory: bytes, at: int, size: int, value: int) -> bytes:
    count = size // 8
    return memory[:at] + unsigned(value, size).to_bytes(count, "little") + memory[at + count :]


def _stores() -> Iterator[Case]:
    memory = bytes.fromhex("a5") * 40
    for size in (8, 16, 32, 64):
        for offset in (0, 3, -5):
            place = f"*(u{size} *)(r3 {'-' if offset < 0 else '+'} {abs(offset)})"
            start = "r3 = r9\nr3 += 16\nr0 = 0\n"
            filled = tuple(
                Run(
                    arguments=(word,),
                    memory=memory,
                    result=0,
                    memory_after=_stored(memory, 16 + offset, size, word),
                )
                for word in (0, _A, _B)
            )
            yield Case(name=f"store u{size} register at {offset}", asm=f"{start}{place} = r1", runs=filled)
        for immediate in (0, 0x7F, -1, _MAX32, -_MIN32):
            after = _stored(memory, 16, size, immediate)
            asm = f"{start}*(u{size} *)(r3 + 0) = {immediate}"
            run = Run(memory=memory, result=0, memory_after=after)
            yield Case(name=f"store u{size} {immediate}", asm=asm, runs=(run,))
        for source in ("r1", "-2"):
            asm = f"*(u64 *)(r10 - 8) = r2\n*(u{size} *)(r10 - 8) = {source}\nr0 = *(u64 *)(r10 - 8)"
            runs = []
            for word in (_A, _B):
                value = word if source == "r1" else -2
                after = _stored((~word & _M64).to_bytes(8, "little"), 0, size, value)
                runs.append(Run(arguments=(word, ~word & _M64), result=int.from_bytes(after, "little")))
            yield Case(name=f"store u{size} {source} into the frame", asm=asm, runs=tuple(runs))


_SOURCES: Final = (
    (0, 0, 0),
    (1, 2, 1),
    (_M64, 1, _M64),
    (_M32, 1, _M32),
    (_MAX64, _MAX64, 0),
    (_A, _B, _A ^ 1 << 40),
    (_B, _A, _B ^ 1),
    (0xDEAD_BEEF_0000_0005, 0xCAFE_BABE_0000_0007, 5),
)


def _atomic_text(name: str, bits: int, place: str, *, fetch: bool) -> str:
    register, zero = ("r2", "r0") if bits == 64 else ("w2", "w0")
    if name == "cmpxchg":
        return f"{zero} = cmpxchg{'_64' if bits == 64 else '32_32'}({place}, {zero}, {register})"
    if name == "xchg":
        return f"{register} = xchg{'_64' if bits == 64 else '32_32'}({place}, {register})"
    if fetch:
        return f"{register} = atomic_fetch_{name}((u{bits} *)({place}), {register})"
    sign = {"add": "+", "or": "|", "and": "&", "xor": "^"}[name]
    return f"lock *(u{bits} *)({place}) {sign}= {register}"


def _atomic_runs(name: str, bits: int, *, fetch: bool) -> Iterator[Run]:
    """r1 is what was at the place, r2 the source, r3 what r0 holds; left are r0, r2 and the place."""
    for before, source, expected in _SOURCES:
        old, after = atomic(name, bits, before, source, expected)
        result = old if name == "cmpxchg" else expected
        register = old if fetch and name != "cmpxchg" else source
        left = register.to_bytes(8, "little") + after.to_bytes(8, "little")
        yield Run(arguments=(before, source, expected), result=result, memory_after=left)


def _atomics() -> Iterator[Case]:
    for where, start, place in (
        ("the frame", "", "r10 - 8"),
        ("a map", "r6 = map_value[data]+16 ll\n", "r6 + 8"),
    ):
        for name in (*ATOMICS, "cmpxchg"):
            for bits in (64, 32):
                for fetch in (True,) if name in ("xchg", "cmpxchg") else (False, True):
                    yield Case(
                        name=f"{'fetch ' if fetch else ''}{name} u{bits} in {where}",
                        asm=f"{start}*(u64 *)({place}) = r1\nr0 = r3\n"
                        f"{_atomic_text(name, bits, place, fetch=fetch)}\n"
                        f"*(u64 *)(r9 + 0) = r2\nr4 = *(u64 *)({place})\n*(u64 *)(r9 + 8) = r4",
                        runs=tuple(_atomic_runs(name, bits, fetch=fetch)),
                    )


def _plain() -> list[str]:
    return [sign for sign in ALU if sign not in _DIVISIONS + _SHIFTS]


FILES: Final[dict[str, tuple[str, tuple[Case, ...]]]] = {
    "arithmetic": ("Arithmetic, logic and moves of both widths", tuple(_arithmetic(_plain()))),
    "division": ("Division and remainder, by zero and by -1 too", tuple(_arithmetic(_DIVISIONS))),
    "shifts": ("Shifts, at and past the width too", tuple(_arithmetic(_SHIFTS))),
    "refused": ("What verifiers refuse and RFC 9669 defines", tuple(_refused())),
    "unary": ("Negation, sign extension and byte order", tuple(_unary())),
    "constants": ("Constants of 64 bits", tuple(_constants())),
    "jumps64": ("Comparisons of 64 bits", tuple(_jumps(64, "r"))),
    "jumps32": ("Comparisons of 32 bits", tuple(_jumps(32, "w"))),
    "loads": ("Loads, with zeroes and with the sign", tuple(_loads())),
    "stores": ("Stores of registers and immediates", tuple(_stores())),
    "atomics": ("Atomics of both widths, with and without fetch", tuple(_atomics())),
    "control": ("Jumps, loops, functions and references", control()),
}

if __name__ == "__main__":
    for file, (title, cases) in FILES.items():
        (FOLDER / f"{file}.data").write_text(render(title, cases))
