"""LLVM knows which accesses cannot meet, and only of those."""

from __future__ import annotations

import pytest

from runtime.engine.jit import JitExecutable
from runtime.isa import assemble
from runtime.loader import LoadedObject
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, Subprogram
from runtime.verifier import Policy
from runtime.verifier.verified import Region
from xdp.extension import default_registry

_MAP = MapSpec(name="m", kind=2, key_size=4, value_size=8, max_entries=1)
_HEAD = """
r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +4)
r0 = 0
r4 = r2
r4 += 8
if r4 > r3 goto +{skip}
r6 = map_value[0] ll
"""
_BODY = """
r0 = *(u64 *)(r2 +0)
*(u64 *)(r6 +0) = 7
r5 = *(u64 *)(r2 +0)
r0 ^= r5
exit
"""
_EITHER = """
r0 = *(u8 *)(r2 +0)
if r0 == 3 goto +1
r6 = r2
"""


def _ir(text: str) -> tuple[str, frozenset[Region]]:
    """The optimised program, and what its only store reaches."""
    spec = ProgramSpec(name="p", section="xdp", code=assemble(text), subprograms=(Subprogram(start=0, name="p"),))
    whole = ObjectSpec(name="p", programs=(spec,), maps=(_MAP,))
    with LoadedObject(whole, default_registry(), engine="jit", policy=Policy(), cpus=1) as loaded:
        program = loaded.program()
        executable = program.executable()
        assert isinstance(executable, JitExecutable)
        store = max(program.facts.regions, key=lambda pc: program.facts.regions[pc] >= {Region.MAPS})
        return executable.ir(), program.facts.regions[store]


@pytest.mark.parametrize(
    ("text", "reached", "folded"),
    [
        (_HEAD.format(skip=6) + _BODY, {Region.MAPS}, True),
        (_HEAD.format(skip=9) + _EITHER + _BODY, {Region.MAPS, Region.PACKET}, False),
    ],
    ids=["a map", "a map or the packet"],
)
def test_a_store_hides_only_what_it_may_change(text: str, reached: set[Region], folded: bool) -> None:
    """A packet's bytes are read again after a store that may be to the packet, and not after one to a map."""
    ir, regions = _ir(text)
    assert regions == reached
    assert (" xor " not in ir) is folded
