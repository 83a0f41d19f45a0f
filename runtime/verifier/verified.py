"""The proof object: a program that was proven safe, with what was learnt on the way.

Not here: the proof. Only `runtime.verifier.verify` makes one; engines accept nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, final

from runtime.errors import InternalError
from runtime.spec import ContextField, Helper, MapSpec, ProgramSpec, ProgramType, digest
from runtime.verifier.warned import Warned

__all__ = ["Facts", "LoopBound", "Region", "VerifiedProgram"]

_SEAL: Final = object()


class Region(IntEnum):
    """Memory that shares no byte with memory of another region, whenever and in whichever program; OTHER may be anything."""

    OTHER = 0
    STACK = 1
    PACKET = 2
    MAPS = 3


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LoopBound:
    """The loop whose head is slot `pc` ends after at most `iterations`."""

    pc: int
    iterations: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What holds on every execution; slots are keys.

    `context_fields`: loads and stores through the context, by slot. `regions`: what the other loads, stores and atomic
    operations reach, of each all regions that it reaches on some path. `call_maps`: for calls with a map argument, the indices
    of the maps that it can be. `callbacks`: for calls with a function argument, the slots where those functions start.
    `constants`: loads whose result is always that value (frozen data). `unreachable`: slots that no
    execution visits. `branches`: conditional jumps that always go one way. `stack`: bytes used below r10, by function start.
    `maps` are those that the code names, `maps_written` those whose elements it changes, by index; from the number of the
    object's maps on, those inside its maps of maps. `uses` is what the proof took for granted of extensions, in words, each with the
    SHA-256 of its row: exactly the prototypes, context fields and kinds that the program uses (uses.py).
    """

    context_fields: Mapping[int, ContextField] = field(default_factory=dict)
    regions: Mapping[int, frozenset[Region]] = field(default_factory=dict)
    call_maps: Mapping[int, frozenset[int]] = field(default_factory=dict)
    callbacks: Mapping[int, frozenset[int]] = field(default_factory=dict)
    constants: Mapping[int, int] = field(default_factory=dict)
    unreachable: frozenset[int] = frozenset()
    branches: Mapping[int, bool] = field(default_factory=dict)
    stack: Mapping[int, int] = field(default_factory=dict)
    helpers: Mapping[int, Helper] = field(default_factory=dict)
    maps: frozenset[int] = frozenset()
    maps_written: frozenset[int] = frozenset()
    loops: tuple[LoopBound, ...] = ()
    reads_packet: bool = False
    writes_packet: bool = False
    moves_packet: bool = False
    reads_clock: bool = False
    reads_random: bool = False
    reads_uninitialised_stack: bool = False
    steps: int = 0
    uses: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, in hex, over all of `uses`."""
        return digest(self.uses)


@final
class VerifiedProgram:
    """A program, its type, the maps of its object, and the facts."""

    __slots__ = ("facts", "maps", "program_type", "spec", "warnings")

    def __init__(
        self,
        seal: object,
        *,
        spec: ProgramSpec,
        program_type: ProgramType,
        maps: tuple[MapSpec, ...],
        facts: Facts,
        warnings: tuple[Warned, ...] = (),
    ) -> None:
        if seal is not _SEAL:
            raise InternalError("a VerifiedProgram is made by the verifier only")
        self.spec = spec
        self.program_type = program_type
        self.maps = maps
        self.facts = facts
        self.warnings = warnings
