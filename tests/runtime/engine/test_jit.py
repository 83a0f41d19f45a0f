"""Programs as machine code: contexts, maps, helpers, facts, calls, drivers, and what is left of them in the assembly."""

from __future__ import annotations

import ctypes
import errno
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runtime.engine import engine_named
from runtime.engine.programs import PROGRAMS
from runtime.errors import InternalError, UnsupportedError
from runtime.isa import (
    Alu,
    AluOp,
    Branch,
    CallBtf,
    CallHelper,
    CallLocal,
    Exit,
    Imm,
    Instruction,
    JumpOp,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    Reg,
    Size,
    Store,
    WideTail,
)
from runtime.spec import Arg, ArgType, Env, Helper, MapKind, MapOp, MapSpec, Prototype
from runtime.verifier.verified import Facts
from tests.support.jit_natives import context_word, nothing, table_lookup, table_same, words_driver
from tests.support.sealed import LAYOUT, BareMap, Runner, run, seal

_KIND = MapKind(
    id=1000,
    name="table",
    size=nothing,
    init=nothing,
    next_key=nothing,
    ops={MapOp.LOOKUP: table_lookup, MapOp.UPDATE: table_same},
    value_is="program",
)
_MAP_ARGS = (Arg(ArgType.CONST_MAP), Arg(ArgType.MAP_KEY))
_LOOKUP = Helper(id=1, name="lookup", prototype=Prototype(args=_MAP_ARGS), map_op=MapOp.LOOKUP)
_SAME = Helper(id=2, name="same", prototype=Prototype(args=_MAP_ARGS), map_op=MapOp.UPDATE)
_DELETE = Helper(id=3, name="delete", prototype=Prototype(args=_MAP_ARGS), map_op=MapOp.DELETE)
_WORD = Helper(
    id=4, name="word", prototype=Prototype(args=(Arg(ArgType.CONTEXT), Arg(ArgType.ANYTHING))), native=context_word
)
_TAIL = Helper(id=12, name="tail_call", prototype=Prototype(), builtin="tail_call")
_LOOP = Helper(id=181, name="loop", prototype=Prototype(), builtin="loop")
_BARE = Helper(id=5, name="bare", prototype=Prototype())
_HELPERS = {each.id: each for each in (_LOOKUP, _SAME, _DELETE, _WORD, _TAIL, _LOOP, _BARE)}


def _mov(dst: int, source: int | Reg) -> Instruction:
    return Alu(op=AluOp.MOV, width=64, dst=dst, src=source if isinstance(source, Reg) else Imm(source))


def _add(dst: int, source: int | Reg) -> Instruction:
    return Alu(op=AluOp.ADD, width=64, dst=dst, src=source if isinstance(source, Reg) else Imm(source))


def _load(dst: int, src: int, offset: int, size: Size = Size.DW) -> Instruction:
    return Load(size=size, signed=False, dst=dst, src=src, offset=offset)


def _store(dst: int, offset: int, src: int, size: Size = Size.DW) -> Instruction:
    return Store(size=size, dst=dst, offset=offset, src=Reg(src))


def _table(words: list[int], *, key_size: int = 4, flags: int = 0) -> tuple[MapSpec, BareMap, object]:
    memory = (ctypes.c_uint64 * len(words))(*words)
    spec = MapSpec(name="t", kind=1000, key_size=key_size, value_size=8, max_entries=len(words), flags=flags)
    return spec, BareMap(spec, _KIND, ctypes.addressof(memory)), memory


def _field(name: str) -> object:
    return next(each for each in LAYOUT.fields if each.name == name)


def test_context_fields_are_records() -> None:
    """Fields are read at any width where their record lives; pointers come whole; writes reach the record."""
    start, number = _field("start"), _field("number")
    fields = {0: start, 1: number, 2: number, 3: number, 8: number}
    code = [
        _load(2, 1, 0, Size.W),
        _load(3, 1, 8, Size.W),
        _load(4, 1, 9, Size.B),
        Load(size=Size.H, signed=True, dst=5, src=1, offset=10),
        _mov(0, Reg(2)),
        _add(0, Reg(3)),
        _add(0, Reg(4)),
        _add(0, Reg(5)),
        Store(size=Size.H, dst=1, offset=10, src=Imm(-2)),
        Exit(),
    ]
    runner = Runner(seal(code, facts=Facts(context_fields=fields)))  # type: ignore[arg-type]
    pointer = 0x7FFF_1234_5678_9AB0
    assert runner(pointer, 0, 0x1_9234_5678) == pointer + 0x9234_5678 + 0x56 + 0x9234 - 0x10000
    assert runner.record[2] == 0x1_FFFE_5678


def test_an_access_beside_its_field_is_our_bug() -> None:
    """A fact that does not fit its instruction is an internal error, not a wrong load."""
    with pytest.raises(InternalError):
        Runner(seal([_load(0, 1, 16, Size.W), Exit()], facts=Facts(context_fields={0: _field("number")})))  # type: ignore[dict-item]


def test_the_stack_becomes_registers() -> None:
    """A frame whose addresses are constants leaves no trace, also through pointers that were moved and merged."""
    code = [
        _load(3, 1, 0),
        _mov(2, Reg(10)),
        _add(2, -16),
        _store(2, 8, 3),
        Branch(op=JumpOp.JEQ, width=64, dst=3, src=Imm(7), offset=1),
        _store(10, -16, 3),
        Branch(op=JumpOp.JNE, width=64, dst=3, src=Imm(7), offset=1),
        Store(size=Size.DW, dst=2, offset=0, src=Imm(1)),
        _load(0, 2, 8),
        _load(4, 10, -16),
        _add(0, Reg(4)),
        Exit(),
    ]
    runner = Runner(seal(code, facts=Facts(stack={0: 16})))
    assert runner(40) == 80
    assert runner(7) == 8
    assert "alloca" not in runner.executable.ir()


def test_a_stack_address_out_of_arithmetic() -> None:
    """Addresses that are not frame + constant work too."""
    code = [
        _load(3, 1, 0),
        _mov(2, Reg(10)),
        Alu(op=AluOp.SUB, width=64, dst=2, src=Reg(3)),
        Store(size=Size.DW, dst=10, offset=-24, src=Imm(5)),
        Store(size=Size.DW, dst=2, offset=0, src=Imm(6)),
        _load(0, 10, -24),
        Exit(),
    ]
    runner = Runner(seal(code, facts=Facts(stack={0: 24})))
    assert (runner(24), runner(16)) == (6, 5)


def test_an_unwritten_stack_reads_zero() -> None:
    """When the facts say that the stack is read before it is written, it starts as zeroes."""
    runner = Runner(seal([_load(0, 10, -8), Exit()], facts=Facts(stack={0: 8}, reads_uninitialised_stack=True)))
    assert runner() == 0


def test_facts_fold() -> None:
    """Constants, one-way branches and unreachable slots need not be computed."""
    code = [
        _load(3, 1, 0),
        Branch(op=JumpOp.JEQ, width=64, dst=3, src=Imm(0), offset=2),
        _mov(0, 1),
        Exit(),
        _load(0, 1, 8),
        Exit(),
    ]
    assert Runner(seal(code, facts=Facts(branches={1: True}, constants={4: -3})))(5, 9) == (1 << 64) - 3
    runner = Runner(seal(code, facts=Facts(unreachable=frozenset({4, 5}))))
    assert runner(5, 9) == 1
    assert "icmp" not in runner.executable.ir()


def test_one_map_is_called_directly() -> None:
    """A map operation is inlined with the map's shape: no call is left, nor a test of the key's size."""
    spec, table, _memory = _table([10, 20, 30])
    code = [
        _load(3, 1, 0),
        _store(10, -4, 3, Size.W),
        LoadMap(1, 0),
        WideTail(),
        _mov(2, Reg(10)),
        _add(2, -4),
        CallHelper(1),
        Branch(op=JumpOp.JEQ, width=64, dst=0, src=Imm(0), offset=1),
        _load(0, 0, 0),
        Exit(),
    ]
    facts = Facts(call_maps={6: frozenset({0})}, helpers=_HELPERS, stack={0: 8})
    runner = Runner(seal(code, facts=facts, maps=(spec,)), [table])
    assert [runner(at) for at in (0, 2, 3)] == [10, 30, 0]
    assert " call " not in runner.executable.ir()
    assert "alloca" not in runner.executable.ir()
    assert "call" not in runner.executable.assembly()


def test_several_maps_are_told_apart() -> None:
    """When a call may meet several maps, the address decides; shapes and arguments are those of the map."""
    first, first_map, _a = _table([1, 2])
    second, second_map, _b = _table([30, 40, 50], key_size=8, flags=0)
    third, third_map, _c = _table([7], key_size=8, flags=1)
    code = [
        _load(3, 1, 0),
        _load(4, 1, 8),
        Store(size=Size.DW, dst=10, offset=-8, src=Imm(0)),
        _store(10, -8, 4, Size.W),
        _load(5, 1, 16),
        _store(10, -16, 5),
        LoadMap(1, 0),
        WideTail(),
        Branch(op=JumpOp.JEQ, width=64, dst=3, src=Imm(0), offset=5),
        LoadMap(1, 1),
        WideTail(),
        Branch(op=JumpOp.JEQ, width=64, dst=3, src=Imm(1), offset=2),
        LoadMap(1, 2),
        WideTail(),
        _mov(2, Reg(10)),
        _add(2, -8),
        _mov(3, Reg(10)),
        _add(3, -16),
        CallHelper(1),
        Branch(op=JumpOp.JEQ, width=64, dst=0, src=Imm(0), offset=1),
        _load(0, 0, 0),
        Exit(),
    ]
    for helper, cases in (
        (1, {(0, 1, 0): 2, (0, 2, 0): 0, (1, 2, 0): 50, (1, 3, 0): 0, (2, 0, 0): 0}),
        (2, {(0, 1, 2): 1, (0, 1, 3): 0, (1, 2, 50): 1, (1, 2, 2): 0}),
    ):
        code[18] = CallHelper(helper)
        tail = [*code[:19], Exit()] if helper == 2 else code
        facts = Facts(call_maps={18: frozenset({0, 1, 2})}, helpers=_HELPERS, stack={0: 16})
        runner = Runner(seal(tail, facts=facts, maps=(first, second, third)), [first_map, second_map, third_map])
        for words, expected in cases.items():
            assert runner(*words) == expected, words


def test_global_data() -> None:
    """The address of global data is the value of a one-element map, plus an offset."""
    spec, table, memory = _table([0x1122_3344_5566_7788])
    code = [LoadMapValue(dst=1, map=0, offset=2), WideTail(), _load(0, 1, 0, Size.H), Exit()]
    runner = Runner(seal(code, maps=(spec,)), [table])
    assert runner() == 0x5566
    assert len(memory) == 1  # type: ignore[arg-type]
    assert "call" not in runner.executable.assembly()


def test_helpers_are_inlined() -> None:
    """A helper's native gets the environment and the registers, and disappears."""
    runner = Runner(seal([_mov(2, 3), CallHelper(4), Exit()], facts=Facts(helpers=_HELPERS)))
    assert runner(0, 1, 2, 33) == 33
    assert "call" not in runner.executable.assembly()


@pytest.mark.parametrize(
    ("instruction", "error"),
    [
        (CallHelper(5), UnsupportedError),
        (CallHelper(99), InternalError),
        (CallHelper(1), InternalError),
        (CallBtf(7), UnsupportedError),
        (LoadPacket(size=Size.W, src=None, imm=0), UnsupportedError),
    ],
)
def test_what_cannot_be_run(instruction: Instruction, error: type[Exception]) -> None:
    """What nothing carries out is refused with the instruction's number; missing facts are our bug."""
    with pytest.raises(error, match="instruction 0"):
        run([instruction]) if not isinstance(instruction, CallHelper) else Runner(
            seal([instruction, Exit()], facts=Facts(helpers=_HELPERS))
        )


def test_a_map_without_the_operation() -> None:
    """An operation that the map's kind lacks is named."""
    spec, table, _memory = _table([1])
    facts = Facts(call_maps={0: frozenset({0})}, helpers=_HELPERS)
    with pytest.raises(UnsupportedError, match="delete"):
        Runner(seal([CallHelper(3), Exit()], facts=facts, maps=(spec,)), [table])


def test_functions_have_their_own_frames() -> None:
    """Calls pass r1 to r5, keep r6 to r9 and the frame, and see the caller's stack through pointers."""
    code = [
        _load(6, 1, 0),
        _store(10, -8, 6),
        _mov(1, Reg(10)),
        _add(1, -8),
        _mov(2, 5),
        CallLocal(4),
        _add(0, Reg(6)),
        _load(1, 10, -8),
        _add(0, Reg(1)),
        Exit(),
        _load(0, 1, 0),
        _store(10, -8, 2),
        _mov(6, 1000),
        _load(3, 10, -8),
        _store(1, 0, 3),
        Exit(),
    ]
    runner = Runner(seal(code, starts=(0, 10), facts=Facts(stack={0: 8, 10: 8})))
    assert runner(100) == 100 + 100 + 5
    assert "alloca" not in runner.executable.ir()


def test_loops_call_back() -> None:
    """bpf_loop counts its calls, stops when one gives 1, and refuses flags and too many rounds."""
    code = [
        _load(6, 1, 0),
        _load(4, 1, 16),
        _load(7, 1, 8),
        _store(10, -8, 7),
        Store(size=Size.DW, dst=10, offset=-16, src=Imm(0)),
        _mov(3, Reg(10)),
        _add(3, -16),
        _mov(8, Reg(1)),
        _mov(1, Reg(6)),
        LoadFunction(2, 6),
        WideTail(),
        CallHelper(181),
        _load(1, 10, -16),
        _store(8, 24, 1),
        _mov(9, 0),
        Exit(),
        _load(4, 2, 0),
        _add(4, Reg(1)),
        _store(2, 0, 4),
        _load(5, 2, 8),
        _mov(0, 0),
        Branch(op=JumpOp.JNE, width=64, dst=1, src=Reg(5), offset=1),
        _mov(0, 1),
        Exit(),
    ]
    facts = Facts(helpers=_HELPERS, callbacks={11: frozenset({16})}, stack={0: 16, 16: 0})
    runner = Runner(seal(code, starts=(0, 16), facts=facts))
    assert (runner(10, 100, 0), runner.record[3]) == (10, 45)
    assert (runner(10, 3, 0), runner.record[3]) == (4, 6)
    assert runner(0, 0, 0) == 0
    assert runner((1 << 23) + 1, 0, 0) == (1 << 64) - errno.E2BIG
    assert runner((5 << 32) + 2, 9, 0) == 2
    assert runner(1, 0, 1) == (1 << 64) - errno.EINVAL


def _dispatcher(maps: MapSpec, index_at: int, fallback: int) -> tuple[list[Instruction], Facts]:
    code = [
        _mov(6, Reg(1)),
        _load(3, 1, index_at),
        LoadMap(2, 0),
        WideTail(),
        CallHelper(12),
        _mov(0, fallback),
        Exit(),
    ]
    return code, Facts(call_maps={4: frozenset({0})}, helpers=_HELPERS, stack={0: 0})


def test_tail_calls() -> None:
    """A tail call leaves for the program in the slot and never returns; without one, or past the budget, it goes on."""
    spec, table, memory = _table([0, 0, 0])
    code, facts = _dispatcher(spec, 0, 77)
    numbers = (900_001, 900_002, 900_003)
    first = Runner(seal(code, facts=facts, maps=(spec,)), [table], program_id=numbers[0])
    leaf = Runner(seal([_load(0, 1, 8), _add(0, 1), Exit()]), program_id=numbers[1])
    again = Runner(seal(code, facts=facts, maps=(spec,)), [table], program_id=numbers[2])
    for runner in (first, again):
        PROGRAMS.bind(runner.environment.address)
    memory[1], memory[2] = numbers[1], numbers[2]  # type: ignore[index]

    first.environment[Env.TAIL_CALLS] = 33
    assert first(1, 500) == 501
    assert first.environment[Env.TAIL_CALLS] == 32
    assert first((7 << 32) + 1, 500) == 501, "the index is 32 bits"
    assert first(0, 500) == 77, "an empty slot"
    assert first(3, 500) == 77, "an index out of range"
    assert first.environment[Env.TAIL_CALLS] == 31
    assert first(2, 500) == 77, "a program that calls itself ends when the budget is spent"
    assert first.environment[Env.TAIL_CALLS] == 0
    first.environment[Env.TAIL_CALLS] = 5
    leaf.close()
    assert first(1, 500) == 77, "a program that is gone"
    for runner in (first, again):
        runner.close()


def test_drivers_run_batches() -> None:
    """The program is inlined into its type's driver: one call for the batch, no call inside, no context in memory."""
    code = [
        _load(2, 1, 0, Size.W),
        _load(3, 1, 4, Size.W),
        _load(0, 1, 8, Size.W),
        Alu(op=AluOp.SUB, width=64, dst=3, src=Reg(2)),
        _add(0, Reg(3)),
        Exit(),
    ]
    fields = {0: _field("start"), 1: _field("end"), 2: _field("number")}
    program = seal(code, facts=Facts(context_fields=fields, stack={0: 0}), driver=words_driver)  # type: ignore[arg-type]
    executable = engine_named("jit").load(program, [])
    elements = (ctypes.c_uint64 * 20)(*range(20))
    batch = (ctypes.c_uint64 * 2)(10, ctypes.addressof(elements))
    runner = Runner(program)
    assert executable.drive(ctypes.addressof(batch), runner.environment.address) == 10
    assert list(elements)[1::2] == [number + 16 for number in range(1, 20, 2)]
    threads = [
        threading.Thread(target=executable.drive, args=(ctypes.addressof(batch), runner.environment.address))
        for _ in range(2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    executable.close()
    with pytest.raises(InternalError):
        executable.drive(ctypes.addressof(batch), runner.environment.address)


def test_the_driven_image_is_tight() -> None:
    """In the driver's code nothing is called and no record lies in memory."""
    from runtime.engine.jit.link import _module, _text

    code = [_load(0, 1, 8, Size.W), Exit()]
    program = seal(code, facts=Facts(context_fields={0: _field("number")}), driver=words_driver)  # type: ignore[dict-item]
    unit, text = _text(program, (), driven=True)
    optimised = str(_module("sample", unit, text, driven=True))
    assert not re.search(r"\balloca\b|\bcall [^@]*@(?!llvm\.)", optimised)
    assert re.findall(r"^define .*@(\w+)\(", optimised, re.MULTILINE) == ["drive"]


_WARM = """
import sys
from runtime.isa import Alu, AluOp, Exit, Imm
from tests.support.jit_natives import words_driver
from tests.support.sealed import seal
from runtime.engine.jit import JitEngine
program = seal([Alu(op=AluOp.MOV, width=64, dst=0, src=Imm(6)), Exit()], driver=words_driver)
executable = JitEngine().load(program, [])
print(*sorted({m.split('.')[0] for m in sys.modules} & {'numba', 'numpy', 'scapy'}))
"""


def test_a_warm_start_imports_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose object is in the cache is loaded without numba; a damaged object is compiled again."""
    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path))
    root = Path(__file__).parents[3]

    def start() -> str:
        done = subprocess.run([sys.executable, "-c", _WARM], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert "numba" in start()
    assert start() == ""
    for each in tmp_path.iterdir():
        each.write_bytes(each.read_bytes()[:-9])
    assert "numba" in start()
    assert start() == ""


def test_objects_are_bound_to_any_address() -> None:
    """The same object serves maps at other addresses."""
    spec, table, _a = _table([5])
    other_spec, other, _b = _table([6])
    code = [LoadMapValue(dst=1, map=0, offset=0), WideTail(), _load(0, 1, 0), Exit()]
    assert Runner(seal(code, maps=(spec,)), [table])() == 5
    assert Runner(seal(code, maps=(other_spec,)), [other])() == 6


def test_many_loads() -> None:
    """Loading and closing over many units works across the renewal of LLVM's sessions."""
    program = seal([LoadImm64(0, 12), WideTail(), Exit()])
    kept = Runner(program)
    for _ in range(600):
        runner = Runner(program)
        runner.close()
    assert kept() == 12


def test_stages_are_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """$XDPSIM_DEBUG prints the stages that it names, also of what the cache holds."""
    code = [LoadImm64(0, 12), WideTail()]
    run(code)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("XDPSIM_DEBUG", "ir,asm")
    run(code)
    shown = capsys.readouterr().err
    assert re.findall(r"^; (\w+): (.*)$", shown, re.MULTILINE) == [
        ("ir", "sample, before optimisation"),
        ("ir", "sample"),
        ("asm", "sample"),
    ]
    assert "ret i64 12" in shown
