"""How many steps proofs take: pruning keeps them in proportion to the program."""

from __future__ import annotations

from pathlib import Path

from benchmarks.synthetic import source
from runtime.isa import assemble
from runtime.object import read_object
from runtime.spec import ProgramSpec, Subprogram
from runtime.verifier import verify
from tests.support.sources import needs_clang
from xdp.cli.source import object_bytes
from xdp.extension import default_registry


def _steps(spec: ProgramSpec) -> int:
    registry = default_registry()
    return verify(spec, registry.program_type("xdp"), (), registry).facts.steps


@needs_clang
def test_a_thousand_instructions_take_tens_of_steps_each(tmp_path: Path) -> None:
    """Forty stages with three ways or more through each are explored in tens of steps for each instruction."""
    path = tmp_path / "synthetic.c"
    path.write_text(source((42,), 1))
    spec = read_object(object_bytes(str(path)), name="synthetic")
    registry = default_registry()
    program = spec.programs[0]
    found = verify(program, registry.program_type("xdp"), spec.maps, registry)
    assert found.facts.steps < 40 * len(program.code)


def test_a_name_that_nothing_else_has_keeps_no_paths_apart() -> None:
    """Whether needed numbers were once copied to a register that is dead makes no difference: their ways are not multiplied."""
    registers = (2, 3, 4, 5, 7, 8)
    stage = """
        r0 = *(u32 *)(r6 + 12)
        r{0} = *(u32 *)(r6 + 16)
        r{0} &= 15
        if w0 > 9 goto behind_{0}
        r9 = r{0}
    behind_{0}:
    """
    use = """
        r9 = r10
        r9 += -64
        r9 += r{0}
        r0 = *(u8 *)(r9 + 0)
    """
    lines = ["r6 = r1", *(stage.format(r) for r in registers), *(use.format(r) for r in registers), "r0 = 0", "exit"]
    code = assemble("\n".join(lines))
    spec = ProgramSpec(name="names", section="xdp", code=code, subprograms=(Subprogram(0, "names"),), license="GPL")
    assert _steps(spec) < 2 * len(code)
