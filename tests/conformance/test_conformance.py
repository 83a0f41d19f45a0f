"""Every case on every engine, and on the running kernel: r0 whole, the packet whole.

Not here: expectations (generate.py) and the files' grammar (cases.py, README.md).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from netdev.port import pack
from runtime.engine.bpf import Refused
from runtime.errors import VerificationError
from runtime.isa import (
    Alu,
    Branch,
    CallBtf,
    CallLocal,
    Code,
    Imm,
    Instruction,
    LoadFunction,
    LoadPacket,
    Store,
    assemble,
)
from runtime.loader import LoadedObject, Program
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, Subprogram
from runtime.verifier import Policy, VerifiedProgram, verified
from tests.conformance.cases import MAP, MEMORY, Case, Run, parse, render
from tests.conformance.generate import FILES
from tests.support.instructions import one_of_each
from xdp.extension import default_registry
from xdp.hooks import hook_on

_FOLDER: Final = Path(__file__).parent
_CASES: Final = {path.stem: parse(path) for path in sorted(_FOLDER.glob("*.data"))}
_NAME: Final = "sample"

_needs_root: Final = (pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)"))
_kernel: Final = pytest.param("kernel", marks=_needs_root)
_ours: Final = ("interpreter", "jit")


def _parametrised(*, refused: bool) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=f"{file}: {case.name}")
            for file, cases in _CASES.items()
            for case in cases
            if bool(case.refused) == refused
        ],
    )


def _object(case: Case, code: Code, engine: str) -> LoadedObject:
    starts = {pc + 1 + each.offset for pc, each in enumerate(code) if isinstance(each, CallLocal | LoadFunction)}
    program = ProgramSpec(
        name=_NAME,
        section="xdp",
        code=code,
        subprograms=tuple(Subprogram(start, f"f{start}" if start else _NAME) for start in sorted({0} | starts)),
        license="GPL",
    )
    maps = (MapSpec(name=MAP, kind=2, key_size=4, value_size=MEMORY, max_entries=1),) if MAP in case.asm else ()
    spec = ObjectSpec(name=_NAME, programs=(program,), maps=maps, license="GPL")
    return LoadedObject(
        spec, default_registry(), engine="jit" if engine == "kernel" else engine, policy=Policy(), cpus=1
    )


def _code(case: Case) -> Code:
    return assemble(case.program(), maps=[MAP])


def _run(program: Program, engine: str, runs: Sequence[Run]) -> None:
    """All runs of a case in one batch."""
    hook = hook_on(program, engine, keep=True)
    try:
        done = hook.run(pack([each.packet() for each in runs]), checked=engine == "interpreter")
        assert done.frames is not None
        for at, each in enumerate(runs):
            assert done.frames.frame(at).hex(" ", 8) == each.packet_after().hex(" ", 8), each
            assert int(done.returned[at]) == each.result % (1 << 32), each
    finally:
        hook.close()


@pytest.mark.parametrize("engine", [*_ours, _kernel])
@_parametrised(refused=False)
def test_a_case_has_its_result(case: Case, engine: str) -> None:
    """Verified by us or by the kernel, the code does to registers and memory what RFC 9669 says."""
    with _object(case, _code(case), engine) as loaded:
        _run(loaded.program(), engine, case.runs)


@pytest.mark.parametrize("engine", _ours)
@_parametrised(refused=True)
def test_a_refused_case_has_its_result_too(case: Case, engine: str) -> None:
    """What a verifier turns away as a likely mistake still means what RFC 9669 says, when an engine is given it."""
    code = _code(case)
    with _object(case, code, engine) as loaded:
        loaded.program().__dict__["verified"] = _sealed(case, code)
        _run(loaded.program(), engine, case.runs)


def _sealed(case: Case, code: Code) -> VerifiedProgram:
    """The code with the facts of its twin, whose immediates are harmless."""
    twin = tuple(_harmless(each) for each in code)
    with _object(case, twin, "jit") as accepted:
        proof = accepted.program().verified
        return VerifiedProgram(
            verified._SEAL,
            spec=replace(proof.spec, code=code),
            program_type=proof.program_type,
            maps=proof.maps,
            facts=proof.facts,
        )


def _harmless(instruction: Instruction) -> Instruction:
    if isinstance(instruction, Alu) and instruction.dst == 1 and isinstance(instruction.src, Imm):
        return replace(instruction, src=Imm(1))
    return instruction


@_parametrised(refused=True)
def test_our_verifier_refuses_what_is_marked(case: Case) -> None:
    """Cases that are marked so are rejected by our verifier."""
    with _object(case, _code(case), "jit") as loaded:
        if "verifier" in case.refused:
            with pytest.raises(VerificationError):
                _ = loaded.program().verified
        else:
            assert loaded.program().verified


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
@_parametrised(refused=True)
def test_the_kernel_refuses_what_is_marked(case: Case) -> None:
    """Cases that are marked so are rejected by the running kernel."""
    assert "kernel" in case.refused
    with _object(case, _code(case), "kernel") as loaded, pytest.raises(Refused):
        hook_on(loaded.program(), "kernel").close()


def test_files_are_what_the_generator_writes() -> None:
    """The files hold what generate.py makes, and reading them gives the same cases."""
    assert set(_CASES) == set(FILES)
    for file, (title, cases) in FILES.items():
        assert (_FOLDER / f"{file}.data").read_text() == render(title, cases), f"run generate.py: {file}"
        assert [each.runs for each in _CASES[file]] == [each.runs for each in cases]


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    """At least 300 cases, and no two of a file with one name."""
    assert sum(map(len, _CASES.values())) >= 300
    for file, cases in _CASES.items():
        names = [each.name for each in cases]
        assert len(set(names)) == len(names), file


@pytest.mark.parametrize("engine", [*_ours, _kernel])
def test_a_wide_jump_reaches_far(engine: str) -> None:
    """`gotol` leads where the 16 bits of `goto` do not, forward and backward."""
    steps = "r0 += r1\n" * 35_000
    asm = f"r0 = 1\ngotol away\nback:\n{steps}gotol end\naway:\nr0 += 5\ngotol back"
    runs = [Run(arguments=(a,), result=(6 + 35_000 * a) % (1 << 64)) for a in (0, 1, (1 << 64) - 1)]
    case = Case(name="far", asm=asm, runs=tuple(runs))
    with _object(case, _code(case), engine) as loaded:
        _run(loaded.program(), engine, case.runs)


def test_every_form_of_every_instruction_has_a_case() -> None:
    """Each operation in each width with each kind of operand is in some case, but for packet loads and kernel functions."""
    covered = {_form(each) for cases in _CASES.values() for case in cases for each in _code(case)}
    wanted = {_form(each) for each in one_of_each() if not isinstance(each, LoadPacket | CallBtf)}
    assert wanted <= covered, wanted - covered


def _form(instruction: Instruction) -> tuple[Any, ...]:
    """The instruction without registers, offsets and numbers."""
    fields = ("op", "width", "bits", "kind", "size", "signed", "fetch", "wide")
    source = instruction.src if isinstance(instruction, Alu | Branch | Store) else None
    return type(instruction), type(source), *(getattr(instruction, each, None) for each in fields)
