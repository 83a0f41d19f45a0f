"""What a proof found out about a program, for people in a line and for machines whole.

Not here: verdicts and loops, which rows of `xdpsim verify` carry themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from runtime.spec import FieldKind, MapSpec
from runtime.verifier import VerifiedProgram

__all__ = ["document", "sentence"]


def document(verified: VerifiedProgram) -> dict[str, Any]:
    """The facts under names that last; slots and bytes are numbers."""
    facts, functions = verified.facts, {each.start: each.name for each in verified.spec.subprograms}
    return {
        "reads_packet": facts.reads_packet,
        "writes_packet": facts.writes_packet,
        "moves_packet": facts.moves_packet,
        "reads_clock": facts.reads_clock,
        "reads_random": facts.reads_random,
        "reads_uninitialised_stack": facts.reads_uninitialised_stack,
        "maps": _names(verified.maps, facts.maps),
        "maps_written": _names(verified.maps, facts.maps_written),
        "helpers": sorted(each.name for each in facts.helpers.values()),
        "stack": {functions.get(start, str(start)): size for start, size in sorted(facts.stack.items())},
        "loops": [{"pc": each.pc, "iterations": each.iterations} for each in facts.loops],
        "branches": [{"pc": pc, "taken": taken} for pc, taken in sorted(facts.branches.items())],
        "constants": [{"pc": pc, "value": value} for pc, value in sorted(facts.constants.items())],
        "unreachable": sorted(facts.unreachable),
        "regions": [
            {"pc": pc, "reaches": sorted(each.name.lower() for each in regions)}
            for pc, regions in sorted(facts.regions.items())
        ],
        "steps": facts.steps,
    }


def sentence(verified: VerifiedProgram) -> str:
    """What matters most of it: the packet, maps, time and chance, stack."""
    facts = verified.facts
    packet = [
        word
        for word, holds in (
            ("reads", facts.reads_packet),
            ("writes", facts.writes_packet),
            ("moves the edges of", facts.moves_packet),
        )
        if holds
    ]
    what = verified.program_type.context.region
    has_packet = any(each.kind is FieldKind.REGION for each in verified.program_type.context.fields)
    parts = [f"{' and '.join(packet)} the {what}"] if packet else [f"leaves the {what} alone"] if has_packet else []
    written = _names(verified.maps, facts.maps_written)
    read = [name for name in _names(verified.maps, facts.maps) if name not in written]
    parts += [f"writes {', '.join(written)}"] if written else []
    parts += [f"reads {', '.join(read)}"] if read else []
    parts += ["asks for the time"] if facts.reads_clock else []
    parts += ["draws random numbers"] if facts.reads_random else []
    return "; ".join([*parts, f"{sum(facts.stack.values())} bytes of stack"])


def _names(maps: Sequence[MapSpec], indices: Collection[int]) -> list[str]:
    """The names of maps; those inside maps of maps come behind the object's own."""
    outer = [each for each in maps if each.inner is not None]
    names = [each.name for each in maps] + [f"{each.name}[]" for each in outer]
    return [names[index] for index in sorted(indices)]
