"""Random programs with global functions, and the BTF that tells the kernel so: what functions are lent, nearly always rightly.

Not here: what becomes of them. The maps are those of tests/xdp/linux/cases.py; the context is that of a tc classifier.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, final

from runtime.spec import Parameter, ProgramSpec, Signature, Subprogram
from tests.xdp.linux.cases import Case

__all__ = ["GlobalProgram", "function_types", "global_program"]

_NUMBER, _SHORT, _LONG, _NOT_NULL, _CONTEXT = "number", "short", "long", "not null", "context"
_PARAMETERS: Final = {
    _NUMBER: Parameter(pointer=False),
    _SHORT: Parameter(pointer=True, size=8),
    _LONG: Parameter(pointer=True, size=16),
    _NOT_NULL: Parameter(pointer=True, size=8, tags=frozenset({"nonnull"})),
    _CONTEXT: Parameter(pointer=True, struct="__sk_buff"),
}
_SIZES: Final = {_SHORT: 8, _NOT_NULL: 8, _LONG: 16}
_INT, _PTR, _STRUCT, _FUNC, _PROTO, _TAG = (kind << 24 for kind in (1, 2, 4, 12, 13, 17))
_GLOBAL: Final = 1


@final
@dataclass(frozen=True, slots=True)
class GlobalProgram:
    """A program, and the parameters of its functions behind the entry."""

    spec: ProgramSpec
    parameters: tuple[tuple[str, ...], ...]


def global_program(seed: int) -> GlobalProgram:
    """The program of that seed."""
    draw = random.Random(seed)
    wanted = [tuple(draw.choices(list(_PARAMETERS), k=draw.randint(1, 3))) for _ in range(draw.choice((1, 1, 2)))]
    lines = ["r6 = r1", "*(u64 *)(r10 - 8) = 0", "*(u64 *)(r10 - 16) = 0", "r7 = *(u32 *)(r6 + 76)"]
    lines += ["r8 = *(u32 *)(r6 + 80)", "r1 = r7", f"r1 += {draw.choice((8, 16, 14))}", "if r1 > r8 goto out"]
    calls = [*range(len(wanted)), *draw.choices(range(len(wanted)), k=draw.randint(0, 2))]
    for number in calls:
        lines += _call(draw, number, wanted[number])
    lines += ["out:", "r0 = 0", "exit"]
    labels = iter(range(1 << 20))
    for number, each in enumerate(wanted):
        lines += _body(draw, number, each, labels)
    spec = Case(name="", type="tc", ours="", kernel="", text="\n".join(lines)).program()
    signatures = (Signature(parameters=tuple(map(_PARAMETERS.__getitem__, each)), scalar=True) for each in wanted)
    functions = (
        Subprogram(each.start, each.name, is_global=True, btf_id=1, signature=signature)
        for each, signature in zip(spec.subprograms[1:], signatures, strict=True)
    )
    return GlobalProgram(replace(spec, subprograms=(spec.subprograms[0], *functions)), tuple(wanted))


def _call(draw: random.Random, number: int, parameters: Sequence[str]) -> Iterator[str]:
    if draw.random() < 0.5:
        yield from ("*(u32 *)(r10 - 20) = 0", "r1 = map[hash] ll", "r2 = r10", "r2 += -20", "call 1", "r9 = r0")
        if draw.random() < 0.8:
            yield "if r9 == 0 goto out"
    else:
        yield "r9 = 5"
    if draw.random() < 0.15:
        yield "*(u64 *)(r10 - 16) = r6"
    for register, kind in enumerate(parameters, 1):
        yield from _argument(draw, f"r{register}", kind)
    yield f"call f{number}"
    how = draw.random()
    if how < 0.3:
        yield "r1 = *(u8 *)(r7 + 0)"
    elif how < 0.5:
        yield from ("r1 = map_value[small] ll", f"if r0 > {draw.choice((1, 255, 300))} goto out", "r1 += r0")
        yield "r0 = *(u8 *)(r1 + 0)"
    elif how < 0.6:
        yield from ("r1 = *(u64 *)(r10 - 8)", "if r1 != 0 goto out")


def _argument(draw: random.Random, register: str, kind: str) -> Sequence[str]:
    if kind == _CONTEXT:
        return [f"{register} = r6"]
    if kind == _NUMBER:
        return [f"{register} = {draw.choice(('3', 'r9', '*(u32 *)(r6 + 0)'))}"]
    return draw.choice((
        [f"{register} = r10", f"{register} += {draw.choice((-8, -16, -16))}"],
        [f"{register} = r7"],
        [f"{register} = r9"],
        [f"{register} = 0"],
        [f"{register} = map_value[small] ll", f"{register} += {draw.choice((0, 8, 248))}"],
    ))  # fmt: skip


def _body(draw: random.Random, number: int, parameters: Sequence[str], labels: Iterator[int]) -> Iterator[str]:
    yield f"f{number}:"
    yield from (f"r{6 + position} = r{1 + position}" for position in range(len(parameters)))
    yield "r0 = 0"
    for _ in range(draw.randint(1, 6)):
        position = draw.randrange(len(parameters))
        yield from _step(draw, f"r{6 + position}", parameters[position], f"g{next(labels)}")
    if draw.random() < 0.93:
        yield draw.choice(("r0 = 0", "r0 = 1"))
    yield "exit"


def _step(draw: random.Random, register: str, kind: str, label: str) -> Sequence[str]:
    if kind == _CONTEXT and draw.random() < 0.4:
        return [f"r1 = {register}", "r2 = 0", f"call {draw.choice((39, 7))}"]  # the first moves the packet
    if kind == _CONTEXT:
        return [f"r0 = *(u32 *)({register} + {draw.choice((0, 4, 8, 76, 80))})"]
    if kind == _NUMBER:
        lines = [f"if {register} > {draw.choice((7, 8, 300))} goto {label}", "r1 = map_value[small] ll"]
        return [*lines, f"r1 += {register}", "r0 = *(u8 *)(r1 + 0)", f"{label}:"]
    whole = _SIZES[kind]
    offset = whole if draw.random() < 0.05 else draw.choice((0, 0, whole - 8, 4))
    size = 32 if offset == 4 else draw.choice((8, 32, 64))
    place = f"*(u{size} *)({register} + {offset})"
    line = draw.choice((f"r0 = {place}", f"{place} = 3", f"{place} = {register}" if draw.random() < 0.2 else "r0 = 5"))
    tested = kind != _NOT_NULL and draw.random() < 0.85
    return [f"if {register} == 0 goto {label}", line, f"{label}:"] if tested else [line]


def function_types(program: GlobalProgram) -> tuple[bytes, bytes]:
    """BTF with a global function for each start of the program, and what says which function starts where."""
    strings, types, count = bytearray(b"\0"), bytearray(), 0

    def name(text: str) -> int:
        strings.extend(text.encode() + b"\0")
        return len(strings) - len(text) - 1

    def add(named: str, info: int, what: int, rest: bytes = b"") -> int:
        nonlocal count
        types.extend(struct.pack("<III", name(named) if named else 0, info, what) + rest)
        count += 1
        return count

    word, long = (add(f"u{bits}", _INT, bits // 8, struct.pack("<I", bits)) for bits in (32, 64))
    first, second = struct.pack("<III", name("a"), long, 0), struct.pack("<III", name("b"), long, 64)
    short = add("", _PTR, add("short_one", _STRUCT | 1, 8, first))
    whole = add("", _PTR, add("long_one", _STRUCT | 2, 16, first + second))
    context = add("", _PTR, add("__sk_buff", _STRUCT, 192))
    known = {_NUMBER: long, _SHORT: short, _NOT_NULL: short, _LONG: whole, _CONTEXT: context}
    info = b""
    for function, parameters in zip(program.spec.subprograms, ((_CONTEXT,), *program.parameters), strict=True):
        given = b"".join(struct.pack("<II", name(f"p{at}"), known[each]) for at, each in enumerate(parameters))
        ident = add(function.name, _FUNC | _GLOBAL, add("", _PROTO | len(parameters), word, given))
        for at, each in enumerate(parameters):
            if each == _NOT_NULL:
                add("arg:nonnull", _TAG, ident, struct.pack("<i", at))
        info += struct.pack("<II", function.start, ident)
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings, info
