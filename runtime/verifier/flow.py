"""The control-flow graph: successors, functions, merge points, live registers.

Not here: values. These are facts of the code alone. Raises Rejected for code that is no program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, assert_never, final

from runtime.isa import (
    Alu,
    AluOp,
    Atomic,
    AtomicOp,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Code,
    Exit,
    Instruction,
    Jump,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    MoveSigned,
    Negate,
    Operand,
    Reg,
    Store,
    WideTail,
)
from runtime.spec import Subprogram
from runtime.verifier.failure import Failure, FailureCode, Rejected

__all__ = ["MAX_FRAMES", "MAX_INSTRUCTIONS", "Graph", "graph_of", "registers"]

MAX_FRAMES: Final = 8
MAX_INSTRUCTIONS: Final = 1_000_000
_ARGUMENTS: Final = 0b111110
_CALL_CLOBBERS: Final = 0b111111
_EXIT_KEEPS: Final = 0b1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """`successors` by slot; `function` the start of the function that holds each slot; `merges` where paths meet;
    `heads` the targets of jumps back, where loops begin;
    `live` the registers (a bit each) whose value may still be read; `unreachable` slots that no jump leads to.
    """  # noqa: D205

    successors: tuple[tuple[int, ...], ...]
    function: tuple[int, ...]
    merges: frozenset[int]
    heads: frozenset[int]
    live: tuple[int, ...]
    unreachable: frozenset[int]
    starts: Mapping[int, Subprogram]


def graph_of(code: Code, subprograms: tuple[Subprogram, ...], arguments: Callable[[int], int]) -> Graph:
    """The graph of a linked program; `arguments` tells how many a helper takes. Raises Rejected."""
    if not code:
        raise _broken("the program is empty", 0)
    if len(code) > MAX_INSTRUCTIONS:
        raise _broken(f"{len(code)} instructions, more than {MAX_INSTRUCTIONS}", 0)
    starts = {each.start: each for each in subprograms}
    function = _functions(code, sorted(starts))
    successors = tuple(_successors(code, pc, function, starts) for pc in range(len(code)))
    incoming = [0] * len(code)
    for targets in successors:
        for target in targets:
            incoming[target] += 1
    reached = _reach(code, successors)
    heads = frozenset(target for pc, targets in enumerate(successors) for target in targets if target <= pc)
    return Graph(
        successors=successors,
        function=function,
        merges=frozenset(pc for pc, count in enumerate(incoming) if count > 1) | _returns(code) | heads,
        heads=heads,
        live=_liveness(code, successors, starts, arguments),
        unreachable=frozenset(
            pc for pc in range(len(code)) if pc not in reached and not isinstance(code[pc], WideTail)
        ),
        starts=starts,
    )


def _broken(message: str, pc: int) -> Rejected:
    return Rejected(Failure(FailureCode.STRUCTURE, message), pc)


def _functions(code: Code, starts: list[int]) -> tuple[int, ...]:
    if not starts or starts[0] != 0 or starts[-1] >= len(code):
        raise _broken("the entry function does not start at instruction 0", 0)
    holder = []
    ends = [*starts[1:], len(code)]
    for start, end in zip(starts, ends, strict=True):
        holder += [start] * (end - start)
    return tuple(holder)


def _successors(code: Code, pc: int, function: tuple[int, ...], starts: Mapping[int, Subprogram]) -> tuple[int, ...]:
    instruction = code[pc]
    match instruction:
        case Exit() | WideTail():
            return ()
        case Jump(offset):
            targets: tuple[int, ...] = (pc + 1 + offset,)
        case Branch(offset=offset):
            targets = (pc + 1, pc + 1 + offset)
        case CallLocal(offset) | LoadFunction(_, offset):
            if pc + 1 + offset not in starts:
                raise _broken(f"calls instruction {pc + 1 + offset}, which is no function's start", pc)
            targets = (pc + (2 if isinstance(instruction, LoadFunction) else 1),)
        case LoadImm64() | LoadMap() | LoadMapValue():
            targets = (pc + 2,)
        case _:
            targets = (pc + 1,)
    for target in targets:
        if not 0 <= target < len(code):
            raise _broken(
                f"goes on at instruction {target}, outside the program's {len(code)}: return where a function ends", pc
            )
        if isinstance(code[target], WideTail):
            raise _broken(f"jumps into the middle of the 64-bit load at {target - 1}", pc)
        if function[target] != function[pc]:
            raise _broken("runs out of its function: the last instruction must be exit or a jump", pc)
    return targets


def _returns(code: Code) -> frozenset[int]:
    """Slots behind calls of functions: paths of the callee meet there."""
    return frozenset(pc + 1 for pc, each in enumerate(code) if isinstance(each, CallLocal))


def _reach(code: Code, successors: tuple[tuple[int, ...], ...]) -> set[int]:
    seen: set[int] = set()
    work = [0]
    while work:
        pc = work.pop()
        if pc in seen:
            continue
        seen.add(pc)
        work += successors[pc]
        match code[pc]:
            case CallLocal(offset) | LoadFunction(_, offset):
                work.append(pc + 1 + offset)
            case _:
                pass
    return seen


def _bit(operand: Operand) -> int:
    return 1 << operand.index if isinstance(operand, Reg) else 0


def registers(instruction: Instruction) -> tuple[int, int]:
    """Registers read and registers written, a bit each. Helper calls are taken to read all their arguments."""
    match instruction:
        case Alu(op=op, dst=dst, src=src):
            return _bit(src) | (0 if op is AluOp.MOV else 1 << dst), 1 << dst
        case MoveSigned(dst=dst, src=source):
            return 1 << source, 1 << dst
        case Negate(_, dst) | ByteSwap(dst=dst):
            return 1 << dst, 1 << dst
        case LoadImm64(dst) | LoadMap(dst) | LoadFunction(dst) | LoadMapValue(dst=dst):
            return 0, 1 << dst
        case Load(dst=dst, src=source):
            return 1 << source, 1 << dst
        case LoadPacket(src=index):
            return 1 << 6 | (0 if index is None else 1 << index), _CALL_CLOBBERS
        case Store(dst=dst, src=src):
            return 1 << dst | _bit(src), 0
        case Atomic(op=op, fetch=fetch, dst=dst, src=source):
            swap = op is AtomicOp.CMPXCHG
            return 1 << dst | 1 << source | swap, int(swap) or (fetch << source)
        case Branch(dst=dst, src=src):
            return 1 << dst | _bit(src), 0
        case CallHelper() | CallLocal() | CallBtf():
            return _ARGUMENTS, _CALL_CLOBBERS
        case Exit():
            return _EXIT_KEEPS, 0
        case Jump() | WideTail():
            return 0, 0
        case _:
            assert_never(instruction)


def _liveness(
    code: Code, successors: tuple[tuple[int, ...], ...], starts: Iterable[int], arguments: Callable[[int], int]
) -> tuple[int, ...]:
    """Backward data flow over the graph; calls read what the helper or the function takes."""
    wanted = dict.fromkeys(starts, 0)
    while True:
        effects = [_effect(pc, each, wanted, arguments) for pc, each in enumerate(code)]
        live = _flow(effects, successors)
        found = {start: live[start] & _ARGUMENTS for start in wanted}
        if found == wanted:
            return live
        wanted = found  # only ever grows


def _effect(
    pc: int, instruction: Instruction, wanted: Mapping[int, int], arguments: Callable[[int], int]
) -> tuple[int, int]:
    match instruction:
        case CallHelper(number):
            return (1 << arguments(number) + 1) - 2, _CALL_CLOBBERS
        case CallLocal(offset):
            return wanted[pc + 1 + offset], _CALL_CLOBBERS
        case _:
            return registers(instruction)


def _flow(effects: list[tuple[int, int]], successors: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    before: list[list[int]] = [[] for _ in effects]
    for pc, targets in enumerate(successors):
        for target in targets:
            before[target].append(pc)
    live = [0] * len(effects)
    work = list(range(len(effects)))
    while work:
        pc = work.pop()
        after = 0
        for target in successors[pc]:
            after |= live[target]
        reads, writes = effects[pc]
        now = reads | after & ~writes
        if now != live[pc]:
            live[pc] = now
            work += before[pc]
    return tuple(live)
