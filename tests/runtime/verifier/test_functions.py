"""Global functions on their own: what a call of one may change, and what it must be given."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest

from runtime.errors import VerificationError
from runtime.spec import Parameter, ProgramSpec, Signature, Subprogram
from runtime.verifier import Policy, VerifiedProgram, verify
from runtime.verifier.explore import Explorer
from runtime.verifier.flow import graph_of
from runtime.verifier.platform import Platform
from tests.runtime.verifier.rules import MAPS, program_of
from xdp.extension import default_registry

CONTEXT: Final = Parameter(pointer=True, tags=frozenset({"ctx"}))
NUMBER: Final = Parameter(pointer=False)
BYTES: Final = Parameter(pointer=True, size=8, tags=frozenset({"nonnull"}))

_BOUNDED: Final = """
r6 = r1
r7 = *(u32 *)(r6 + 0)
r8 = *(u32 *)(r6 + 4)
r1 = r7
r1 += 14
if r1 > r8 goto out
"""

_MOVED_BY_A_CALLBACK: Final = (
    _BOUNDED
    + """
r1 = r6
r2 = 0
call moves
r0 = *(u8 *)(r7 + 0)
out:
r0 = 0
exit
moves:
*(u64 *)(r10 - 8) = r1
r1 = 3
r2 = func[body] ll
r3 = r10
r3 += -8
r4 = 0
call 181
r0 = 0
exit
body:
r1 = *(u64 *)(r2 + 0)
r2 = 4
call 44
r0 = 0
exit
"""
)

_LENT_AND_MOVED: Final = (
    _BOUNDED
    + """
r1 = r6
r2 = r7
call shortens
out:
r0 = 0
exit
shortens:
r6 = r2
r2 = -14
call 65
r0 = *(u64 *)(r6 + 0)
exit
"""
)

_WRITTEN: Final = """
r1 = map_value[small] ll
call writes
r0 = 0
exit
writes:
*(u64 *)(r1 + 0) = 1
r0 = 0
exit
"""


def _typed(text: str, *parameters: Parameter) -> ProgramSpec:
    """A program whose first function has that signature."""
    program = program_of(text)
    entry, function, *others = program.subprograms
    typed = Subprogram(
        function.start, "function", is_global=True, btf_id=1, signature=Signature(parameters=parameters, scalar=True)
    )
    return replace(program, subprograms=(entry, typed, *others))


def _judged(text: str, *parameters: Parameter) -> VerifiedProgram:
    """Its proof."""
    registry = default_registry()
    return verify(_typed(text, *parameters), registry.program_type("xdp"), MAPS, registry)


def test_a_callback_moves_the_packet_for_its_function() -> None:
    """Where a function hands a helper a callback that moves the packet, pointers of its callers are void."""
    with pytest.raises(VerificationError) as caught:
        _judged(_MOVED_BY_A_CALLBACK, CONTEXT, NUMBER)
    assert caught.value.code == "stale_pointer"


def test_a_function_that_moves_the_packet_is_lent_none_of_it() -> None:
    """A parameter that points into the packet would be used after the packet moved."""
    with pytest.raises(VerificationError) as caught:
        _judged(_LENT_AND_MOVED, CONTEXT, BYTES)
    assert caught.value.code == "stale_pointer"


def test_what_a_function_is_lent_counts_as_written() -> None:
    """A function may store into the map value that it got."""
    program, registry = _typed(_WRITTEN, BYTES), default_registry()
    platform = Platform(program, registry.program_type("xdp"), MAPS, registry, Policy())
    graph = graph_of(program.code, program.subprograms, platform.arguments)
    notebook = Explorer(platform, graph, own=True).run()
    assert [MAPS[each].name for each in notebook.maps_written] == ["small"]
