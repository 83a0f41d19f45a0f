"""A verified program as LLVM IR: one function for each subprogram, and the faces that callers see.

Not here: the tables of what an instruction becomes (lower_alu, lower_memory, lower_calls), LLVM itself (link.py).
"""

from __future__ import annotations

from typing import Final, assert_never

from runtime.engine.jit.emit import Emitter, word
from runtime.engine.jit.flow import Block, blocks
from runtime.engine.jit.lower_alu import byte_swap, condition, move_signed, negate, operate
from runtime.engine.jit.lower_calls import FUNCTION_WORDS, call_helper, call_local, function_name
from runtime.engine.jit.lower_memory import atomic, load, store
from runtime.engine.jit.lower_origins import Tracker
from runtime.engine.jit.scopes import SCOPES
from runtime.engine.jit.unit import Unit
from runtime.errors import UnsupportedError
from runtime.isa import (
    Alu,
    Atomic,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
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
    Store,
    WideTail,
)
from runtime.native.lowering import ATTRIBUTES
from runtime.spec import NativeFunction
from runtime.verifier.verified import VerifiedProgram

__all__ = ["DRIVE", "ENTRY", "lower"]

DRIVE: Final = "drive"
ENTRY: Final = "entry"

_FRAME: Final = 512
_RECORDS: Final = "ptr %context, ptr %environment"
_DECLARATIONS: Final = """\
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
_ENTRY_FACE: Final = f"""\
define i64 @entry({_RECORDS}) {ATTRIBUTES} {{
%r = call i64 @program({_RECORDS}) alwaysinline
ret i64 %r
}}
"""
_DRIVER_FACE: Final = f"""\
define i64 @xs_call_program(i64 %c, i64 %e) alwaysinline {ATTRIBUTES} {{
%context = inttoptr i64 %c to ptr
%environment = inttoptr i64 %e to ptr
%r = call i64 @program({_RECORDS}) alwaysinline
ret i64 %r
}}
define i64 @drive(i64 %batch, i64 %env) {ATTRIBUTES} {{
%r = call i64 @DRIVER(i64 %batch, i64 %env) alwaysinline
ret i64 %r
}}
"""


def lower(
    program: VerifiedProgram, unit: Unit, *, driver: NativeFunction | None, tracker: Tracker | None = None
) -> str:
    """The program's IR, without its natives.

    With a driver, its one external function is i64 @drive(i64 batch, i64 environment), the driver around the
    program; without one, i64 @entry(ptr context, ptr environment), the program alone. With a tracker it keeps origins. Raises
    UnsupportedError for what this engine cannot run.
    """
    functions = [_function(program, unit, start, tracker) for start in _starts(program)]
    face = _ENTRY_FACE if driver is None else _DRIVER_FACE.replace("DRIVER", unit.native(driver).symbol)
    declarations = _DECLARATIONS if tracker is None else _DECLARATIONS + tracker.declarations
    return declarations + unit.text + "".join(functions) + face + SCOPES


def _starts(program: VerifiedProgram) -> tuple[int, ...]:
    return tuple(each.start for each in program.spec.subprograms)


def _function(program: VerifiedProgram, unit: Unit, start: int, tracker: Tracker | None) -> str:
    code = program.spec.code
    end = next((each for each in _starts(program) if each > start), len(code))
    size = (program.facts.stack.get(start, _FRAME) + 7) & ~7
    e = Emitter(size)
    for block in blocks(code, start, end, program.facts, context=start == 0):
        _block(e, program, unit, block, tracker)
    if start == 0:
        head = f"define internal i64 @program({_RECORDS}) {ATTRIBUTES} {{"
        given = ["store i64 %c1, ptr %r1"]
        e.slots.append("%c1 = ptrtoint ptr %context to i64")
    else:
        words = ", ".join(f"i64 %a{at}" for at in range(1, FUNCTION_WORDS + 1))
        head = f"define internal i64 @{function_name(start)}({words}, {_RECORDS}) {ATTRIBUTES} {{"
        given = [f"store i64 %a{at}, ptr %r{at}" for at in range(1, FUNCTION_WORDS + 1)]
    frame = [f"%stack = alloca [{size} x i8], align 16", *(f"%r{at} = alloca i64" for at in range(11))]
    frame += [] if tracker is None else tracker.frame
    given[:0] = [f"store i64 0, ptr %r{at}" for at in range(11)]  # natives may look at more words than a program sets
    if program.facts.reads_uninitialised_stack and size:
        given.append(f"call void @llvm.memset.p0.i64(ptr %stack, i8 0, i64 {size}, i1 false)")
    return "\n".join([head, "entry:", *frame, *e.slots, *given, f"br label %b{start}", *e.lines, "}\n"])


def _block(e: Emitter, program: VerifiedProgram, unit: Unit, block: Block, tracker: Tracker | None) -> None:
    code = program.spec.code
    e.enter(f"b{block.start}", block.bases)
    for pc in range(block.start, block.end):
        if pc in program.facts.unreachable and not isinstance(code[pc], WideTail):
            e.line("unreachable")
            return
        if tracker is not None and _leaves(program, code[pc]):
            tracker.calling(e, pc)
        _instruction(e, program, unit, pc, code[pc])
        e.step(code[pc])
        if tracker is not None:
            tracker.after(e, pc)
    last = code[block.end - 1]
    if isinstance(last, Exit):
        if tracker is not None:
            tracker.leave(e)
        e.line(f"ret i64 {e.get(0)}")
        return
    test = condition(e, last) if isinstance(last, Branch) and len(block.successors) > 1 else ""
    if test and tracker is not None:
        tracker.branch(e, block.end - 1, test)
    e.leave()
    if test:
        taken, following = block.successors
        e.line(f"br i1 {test}, label %b{taken}, label %b{following}")
    else:
        e.line(f"br label %b{block.successors[0]}")


def _leaves(program: VerifiedProgram, instruction: Instruction) -> bool:
    """Whether another program may follow here."""
    match instruction:
        case CallHelper(helper=number):
            helper = program.facts.helpers.get(number)
            return helper is not None and helper.builtin == "tail_call"
        case _:
            return False


def _instruction(e: Emitter, program: VerifiedProgram, unit: Unit, pc: int, instruction: Instruction) -> None:
    facts = program.facts
    match instruction:
        case Alu():
            operate(e, instruction)
        case MoveSigned():
            move_signed(e, instruction)
        case Negate():
            negate(e, instruction)
        case ByteSwap():
            byte_swap(e, instruction)
        case LoadImm64(dst, value):
            e.set(dst, word(value))
        case LoadMap(dst, index):
            e.set(dst, e.value(f"add i64 0, {unit.map_address(index)}"))
        case LoadMapValue(dst=dst, map=index, offset=offset):
            base = e.value(f"call i64 @{unit.map_value(index)}()")
            e.set(dst, e.value(f"add i64 {base}, {offset}"))
        case LoadFunction(dst, offset):
            e.set(dst, word(pc + 1 + offset))
        case Load():
            load(e, facts, pc, instruction)
        case Store():
            store(e, facts, pc, instruction)
        case Atomic():
            atomic(e, facts, pc, instruction)
        case CallHelper():
            call_helper(e, unit, facts, pc, instruction)
        case CallLocal():
            call_local(e, pc, instruction)
        case Jump() | Branch() | Exit() | WideTail():
            pass
        case CallBtf():
            raise UnsupportedError(f"instruction {pc}: calls of kernel functions cannot be run by this engine")
        case LoadPacket():
            raise UnsupportedError(f"instruction {pc}: legacy packet loads cannot be run by this engine")
        case _:
            assert_never(instruction)
