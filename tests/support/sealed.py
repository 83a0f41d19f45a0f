"""Programs out of instruction values, sealed without a verifier: for tests of engines alone.

Not here: any program that a user hands in. Facts are what the test says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from runtime.engine.environment import Environment
from runtime.engine.jit import JitEngine, JitExecutable
from runtime.isa import Code, Exit, Instruction
from runtime.spec import (
    ContextField,
    ContextLayout,
    FieldKind,
    MapKind,
    MapSpec,
    NativeFunction,
    ProgramSpec,
    ProgramType,
    Subprogram,
)
from runtime.verifier import verified
from runtime.verifier.verified import Facts, VerifiedProgram

RECORD_SIZE = 256
LAYOUT = ContextLayout(
    name="words",
    size=RECORD_SIZE,
    record_size=RECORD_SIZE,
    fields=(
        ContextField(name="start", offset=0, size=4, kind=FieldKind.REGION, reads=(4,), record_offset=0),
        ContextField(name="end", offset=4, size=4, kind=FieldKind.REGION_END, reads=(4,), record_offset=8),
        ContextField(name="number", offset=8, size=4, reads=(1, 2, 4), writes=(1, 2, 4), record_offset=16),
    ),
)


class BareMap:
    """What the JIT needs of a map: its shape and its address."""

    def __init__(self, spec: MapSpec, kind: MapKind, address: int) -> None:
        self.spec = spec
        self.kind = kind
        self.address = address


def seal(
    code: Sequence[Instruction],
    *,
    facts: Facts | None = None,
    starts: Sequence[int] = (0,),
    maps: Sequence[MapSpec] = (),
    driver: NativeFunction | None = None,
    name: str = "sample",
) -> VerifiedProgram:
    """A program whose functions start at those slots."""
    whole: Code = tuple(code)
    subprograms = tuple(Subprogram(start, f"{name}_{start}" if start else name) for start in starts)
    return VerifiedProgram(
        verified._SEAL,
        spec=ProgramSpec(name=name, section="test", code=whole, subprograms=subprograms),
        program_type=ProgramType(name="test", linux_type=None, context=LAYOUT, helpers=frozenset(), driver=driver),
        maps=tuple(maps),
        facts=facts or Facts(),
    )


class Runner:
    """Calls a program's native entry on a context record of words."""

    def __init__(self, program: VerifiedProgram, maps: Sequence[BareMap] = (), *, program_id: int = 0) -> None:
        self.executable: JitExecutable = JitEngine().load(program, maps, program_id=program_id)  # type: ignore[arg-type]
        self.record = (ctypes.c_uint64 * (RECORD_SIZE // 8))()
        self.environment = Environment()
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64)(self.executable.entry)

    def __call__(self, *words: int) -> int:
        """r0, after the record's first words were set."""
        for at, each in enumerate(words):
            self.record[at] = each % (1 << 64)
        return self._call(ctypes.addressof(self.record), self.environment.address)

    @property
    def address(self) -> int:
        """Where the record is."""
        return ctypes.addressof(self.record)

    def close(self) -> None:
        """Free the program."""
        self.executable.close()
        self.environment.close()


def run(code: Sequence[Instruction], *words: int) -> int:
    """r0 of a program without maps and helpers, whose r1 points to those words."""
    runner = Runner(seal([*code, Exit()]))
    try:
        return runner(*words)
    finally:
        runner.close()
