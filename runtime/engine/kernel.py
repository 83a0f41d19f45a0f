"""The running Linux kernel as an engine: the oracle for everything that it also does.

Not here: the system call (bpf.py). What differs from run to run is taken from where our engines take it: calls that read
the clock or random numbers become loads from one more map, which user space writes before each run.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Final, final

from runtime.engine.bpf import KernelMap, KernelProgram, Refused, load_program
from runtime.engine.expand import expand
from runtime.engine.map_types import KEY_TYPE, VALUE_TYPE, map_btf, wants_types
from runtime.errors import UnsupportedError
from runtime.isa import (
    Alu,
    AluOp,
    CallHelper,
    Code,
    Imm,
    Instruction,
    Load,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    Reg,
    Size,
    Store,
    WideTail,
)
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, ProgramType, Registry

__all__ = ["KernelObject", "kernel_verdict"]

Contents = Iterable[tuple[bytes, bytes]]

_ARRAY: Final = 2
_MMAPABLE: Final = 1 << 10
_STAR: Final = 0x2545F4914F6CDD1D
_CLOCK: Final = 0
_RANDOM: Final = 8


def _value_bytes(spec: MapSpec, *, per_cpu: bool, cpus: int) -> int:
    return (spec.value_size + 7) // 8 * 8 * cpus if per_cpu else spec.value_size


@final
class KernelObject:
    """The maps and programs of an object, in the kernel.

    `contents` are the maps' first contents by name (per-CPU values whole); program arrays are filled from the object's own
    initialisers. `programs` are loaded with what their program arrays hold.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        registry: Registry,
        types: Callable[[ProgramSpec], ProgramType],
        *,
        contents: Mapping[str, Contents],
        programs: Iterable[str],
        cpus: int,
    ) -> None:
        self.maps: dict[str, KernelMap] = {}
        self.programs: dict[str, KernelProgram] = {}
        self._spec = spec
        self._registry = registry
        self._types = types
        self._clock = KernelMap(
            kind=_ARRAY, key_size=4, value_size=16, max_entries=1, flags=_MMAPABLE, name="environment"
        )
        self._environment = mmap.mmap(self._clock.fd, mmap.PAGESIZE)
        for each in spec.maps:
            self._make(each, contents.get(each.name, ()), cpus)
        wanted = list(programs) + [name for each in spec.maps for _, name in each.programs]
        for name in dict.fromkeys(wanted):
            self._load(next(p for p in spec.programs if p.name == name))
        for each in spec.maps:
            for index, name in each.programs:
                self.maps[each.name].update(struct.pack("<I", index), struct.pack("<I", self.programs[name].fd))

    def _make(self, spec: MapSpec, contents: Contents, cpus: int) -> None:
        kind = self._registry.map_kind(spec.kind)
        made = self.maps[spec.name] = KernelMap(
            kind=spec.kind,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            flags=spec.flags,
            name=spec.name,
            total=_value_bytes(spec, per_cpu=kind.per_cpu, cpus=cpus),
        )
        if kind.value_is in ("program", "map"):
            return
        for key, value in contents:
            made.update(key, value)
        if spec.frozen:
            made.freeze()

    def _load(self, spec: ProgramSpec) -> None:
        kind = self._types(spec)
        if kind.linux_type is None:
            raise UnsupportedError(f"Linux has no program type like {kind.name}")
        code = _steady(spec.code, self._registry, len(self._spec.maps))
        fds = [self.maps[each.name].fd for each in self._spec.maps] + [self._clock.fd]
        self.programs[spec.name] = load_program(
            kind.linux_type, _bound(code, fds), license_text=self._spec.license, name=spec.name
        )

    def set_clock(self, nanoseconds: int) -> None:
        """What clock helpers return from now on."""
        self._environment[_CLOCK : _CLOCK + 8] = struct.pack("<Q", nanoseconds)

    def seed(self, state: int) -> None:
        """The random generator's state."""
        self._environment[_RANDOM : _RANDOM + 8] = struct.pack("<Q", state)

    def close(self) -> None:
        """Let go of everything."""
        self._environment.close()
        for program in self.programs.values():
            program.close()
        for each in (*self.maps.values(), self._clock):
            each.close()


def kernel_verdict(
    spec: ProgramSpec, program_type: ProgramType, maps: tuple[MapSpec, ...], *, cpus: int | None = None
) -> tuple[bool, str]:
    """Whether the kernel's verifier accepts the program as it is, and its log when it does not."""
    made = [_verdict_map(each, cpus or os.cpu_count() or 1) for each in maps]
    try:
        for spec_map, kernel_map in zip(maps, made, strict=True):
            for key, value in spec_map.initial:
                kernel_map.update(key, value)
            if spec_map.frozen:
                kernel_map.freeze()
        code = _bound(spec.code, [each.fd for each in made])
        assert program_type.linux_type is not None
        attach = program_type.attach.linux if program_type.attach else 0
        load_program(
            program_type.linux_type, code, license_text=spec.license, name=spec.name, attach_type=attach
        ).close()
    except Refused as refused:
        return False, refused.log
    finally:
        for each in made:
            each.close()
    return True, ""


def _verdict_map(spec: MapSpec, cpus: int) -> KernelMap:
    """A map of the kernel as the object defines it, with what is inside and what its values are."""
    inner = None if spec.inner is None else _verdict_map(spec.inner, cpus)
    try:
        return KernelMap(
            kind=spec.kind,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            flags=spec.flags,
            name=spec.name,
            total=spec.value_size + 8 * cpus,
            inner=0 if inner is None else inner.fd,
            types=(map_btf(spec), KEY_TYPE, VALUE_TYPE) if wants_types(spec) else None,
        )
    finally:
        if inner is not None:
            inner.close()


def _bound(code: Code, fds: list[int]) -> Code:
    """Map indices become file descriptors."""

    def bind(instruction: Instruction) -> Instruction:
        match instruction:
            case LoadMap(dst, index):
                return LoadMap(dst, fds[index])
            case LoadMapValue(dst=dst, map=index, offset=offset):
                return LoadMapValue(dst=dst, map=fds[index], offset=offset)
            case _:
                return instruction

    return tuple(bind(each) for each in code)


def _steady(code: Code, registry: Registry, environment: int) -> Code:
    """Calls that read the clock or random numbers, replaced by code over the environment map."""
    replacements: dict[int, Code] = {}
    for pc, instruction in enumerate(code):
        if isinstance(instruction, CallHelper):
            helper = registry.helper(instruction.helper)
            if helper is not None and helper.reads_clock:
                replacements[pc] = _read_clock(environment)
            elif helper is not None and helper.reads_random:
                replacements[pc] = _draw(environment)
    return expand(code, replacements)


def _read_clock(environment: int) -> Code:
    return (
        LoadMapValue(dst=0, map=environment, offset=_CLOCK),
        WideTail(),
        Load(size=Size.DW, signed=False, dst=0, src=0, offset=0),
    )


def _alu(op: AluOp, dst: int, src: Reg | Imm) -> Alu:
    return Alu(op=op, width=64, dst=dst, src=src)


def _draw(environment: int) -> Code:
    """The generator of runtime.helpers.time over the map's second word; r1 to r3 are free after a call."""

    def mixed(op: AluOp, by: int) -> Code:
        return _alu(AluOp.MOV, 3, Reg(0)), _alu(op, 3, Imm(by)), _alu(AluOp.XOR, 0, Reg(3))

    return (
        LoadMapValue(dst=1, map=environment, offset=_RANDOM),
        WideTail(),
        Load(size=Size.DW, signed=False, dst=0, src=1, offset=0),
        *mixed(AluOp.RSH, 12),
        *mixed(AluOp.LSH, 25),
        *mixed(AluOp.RSH, 27),
        Store(size=Size.DW, dst=1, offset=0, src=Reg(0)),
        LoadImm64(2, _STAR),
        WideTail(),
        _alu(AluOp.MUL, 0, Reg(2)),
        _alu(AluOp.RSH, 0, Imm(32)),
    )
