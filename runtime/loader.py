"""The pipeline on one screen: bytes → object → program types → verified programs → maps → executables.

Not here: any stage of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, final

from runtime.errors import InputError, ObjectError, UnsupportedError
from runtime.inventory import next_map_id, next_program_id
from runtime.object import read_object
from runtime.spec import MapSpec, ObjectSpec, ProgramSpec, ProgramType, Registry, Section
from runtime.verifier import Facts, Policy, VerifiedProgram, verify

if TYPE_CHECKING:
    from runtime.maps import Map

__all__ = ["Executable", "LoadedObject", "Program", "load"]


class Executable(Protocol):
    """A program that an engine made ready to run."""

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver over the batch record at that address; returns what the driver returns."""
        ...

    def close(self) -> None:
        """Free what the engine holds for it."""
        ...


def load(
    source: str | Path | bytes,
    *,
    registry: Registry,
    engine: str = "jit",
    policy: Policy | None = None,
    cpus: int | None = None,
    name: str = "",
    maps: Mapping[str, Map] | None = None,
    folder: Path | None = None,
) -> LoadedObject:
    """Read an object and create its maps; its programs are verified and compiled when first asked for.

    `source` is a path or the bytes of an ELF object; `cpus` how many slots per-CPU values have (the machine's
    possible CPUs by default). `maps` are maps of a loaded object that this one replaces: where a definition of the same
    name matches, the object shares that map (its `kept` names them). Global data and program arrays begin anew.
    `folder` is where new maps lie, so that they can be pinned (runtime.maps.create). Raises
    ObjectError and UnsupportedError; asking for a program raises VerificationError.
    """
    from runtime.maps import possible_cpus  # who only verifies needs no maps

    data, label = (source, name or "object") if isinstance(source, bytes) else _read(Path(source))
    spec = read_object(data, name=label)
    rules, slots = policy or Policy(), cpus or possible_cpus()
    return LoadedObject(spec, registry, engine=engine, policy=rules, cpus=slots, maps=maps or {}, folder=folder)


def _read(path: Path) -> tuple[bytes, str]:
    try:
        return path.read_bytes(), path.stem
    except OSError as error:
        raise ObjectError(f"{path}: cannot be read: {error.strerror}") from error


@final
class LoadedObject:
    """An object in memory: `maps` by name, `programs` by name, both in the order of the file."""

    def __init__(
        self,
        spec: ObjectSpec,
        registry: Registry,
        *,
        engine: str,
        policy: Policy,
        cpus: int,
        maps: Mapping[str, Map] | None = None,
        folder: Path | None = None,
    ) -> None:
        defined = (_defined(each, registry, cpus) for each in spec.maps)
        self.spec = replace(spec, maps=tuple(defined))
        self.registry = registry
        self.engine = engine
        self.policy = policy
        self._closed = False
        self._kept: set[str] = set()
        self._maps = self._make_maps(maps or {}, cpus, folder)
        self._programs = {p.name: Program(self, p) for p in spec.programs}
        self._fill_program_arrays()

    def _make_maps(self, old: Mapping[str, Map], cpus: int, folder: Path | None) -> dict[str, Map]:
        """One arena each, or that of the map that is kept."""
        from runtime.maps import create

        made: dict[str, Map] = {}
        with ExitStack() as undo:
            for spec in self.spec.maps:
                kind = self.registry.map_kind(spec.kind)
                found = old.get(spec.name)
                plain = "." not in spec.name and kind.value_is != "program"  # a name with a dot is of global data
                if found is not None and plain and found.matches(spec, kind, cpus):
                    made[spec.name] = found.share()
                    self._kept.add(spec.name)
                else:
                    types = self.spec.types
                    made[spec.name] = create(spec, kind, cpus=cpus, types=types, number=next_map_id(), folder=folder)
                undo.callback(made[spec.name].close)
            undo.pop_all()
        return made

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps, by name."""
        return self._maps

    @property
    def kept(self) -> frozenset[str]:
        """Names of the maps that came from the object before."""
        return frozenset(self._kept)

    def take_over(self) -> None:
        """Give the maps that were kept the types of this object: it has replaced the one before."""
        for spec in self.spec.maps:
            if spec.name in self._kept:
                self._maps[spec.name].retype(spec, self.spec.types)

    @cached_property
    def programs(self) -> Mapping[str, Any]:
        """The programs by name, each with the face that its type gives it."""
        return _Faces(self._programs)

    @property
    def bare_programs(self) -> Mapping[str, Program]:
        """The programs by name, without a face."""
        return self._programs

    def program(self, name: str | None = None) -> Program:
        """The program of that name, or the only one; raises InputError that lists the choices."""
        if name is not None:
            found = self._programs.get(name)
            if found is None and name in (reasons := dict(self.spec.unsupported)):
                raise UnsupportedError(f"{self.spec.name}: {reasons[name]}")
            if found is None:
                raise InputError(f"{self.spec.name}: no program {name!r}; there is {_choices(self._programs)}")
            return found
        if len(self._programs) == 1:
            return next(iter(self._programs.values()))
        if not self._programs:
            raise InputError(f"{self.spec.name}: the object holds no program")
        raise InputError(f"{self.spec.name}: several programs, choose one with --prog: {_choices(self._programs)}")

    def program_by_id(self, number: int) -> Program | None:
        """The program with that process-wide id, if it is one of ours."""
        return next((p for p in self._programs.values() if p.id == number), None)

    def _fill_program_arrays(self) -> None:
        for spec in self.spec.maps:
            for index, name in spec.programs:
                target = self._programs.get(name)
                if target is None:
                    raise ObjectError(f"{self.spec.name}: map {spec.name!r} refers to an unknown program {name!r}")
                self._maps[spec.name].update(index.to_bytes(4, "little"), target.id.to_bytes(4, "little"))

    def tail_call_targets(self) -> Iterator[Program]:
        """Programs that some program array of the object holds now."""
        for spec in self.spec.maps:
            if self.registry.map_kind(spec.kind).value_is != "program":
                continue
            for _key, value in self._maps[spec.name].items():  # noqa: PERF102  maps have no values()
                target = self.program_by_id(int.from_bytes(value, "little"))
                if target is not None:
                    yield target

    @property
    def closed(self) -> bool:
        """Whether maps and programs are gone."""
        return self._closed

    def stop(self) -> None:
        """Free what engines hold of the programs, none of which may be running; they are made ready again when asked for."""
        for program in self._programs.values():
            program.close()

    def adopt(self, registry: Registry) -> None:
        """Stop, and go on with the rows of another registry: programs are verified and linked anew, maps stay as they are.

        Whoever calls this knows that the kinds of the maps lay out elements as before. Raises UnsupportedError.
        """
        kinds = {spec.name: registry.map_kind(spec.kind) for spec in self.spec.maps}
        self.stop()
        self.registry = registry
        for name, kind in kinds.items():
            self._maps[name].adopt(kind)
        for program in self._programs.values():
            program.forget()
        self.__dict__.pop("programs", None)

    def close(self) -> None:
        """Free programs, then maps that no other object shares. Twice is harmless."""
        if self._closed:
            return
        self._closed = True
        for program in self._programs.values():
            program.close()
        for each in self._maps.values():
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@final
class Program:
    """One program of a loaded object: verified when first needed, compiled once per engine."""

    def __init__(self, owner: LoadedObject, spec: ProgramSpec) -> None:
        self.owner = owner
        self.spec = spec
        self.id = next_program_id()
        self._executables: dict[tuple[str, bool], Executable] = {}

    @property
    def name(self) -> str:
        """The name of the entry function."""
        return self.spec.name

    @cached_property
    def type(self) -> ProgramType:
        """The program type that the section name stands for."""
        return self.type_in(self.owner.registry)

    def type_in(self, registry: Registry) -> ProgramType:
        """The program type that the section name stands for in a registry; raises InputError."""
        return program_type(registry, self.spec)

    @cached_property
    def verified(self) -> VerifiedProgram:
        """The proof; raises VerificationError."""
        owner = self.owner
        return verify(self.spec, self.type, owner.spec.maps, owner.registry, policy=owner.policy, cached=True)

    @property
    def proof(self) -> VerifiedProgram | None:
        """The proof, where it was asked for before."""
        found: VerifiedProgram | None = self.__dict__.get("verified")
        return found

    def forget(self) -> None:
        """Find type and proof again when they are next asked for: the rows are others."""
        self.__dict__.pop("type", None)
        self.__dict__.pop("verified", None)

    @property
    def facts(self) -> Facts:
        """What the proof found; raises VerificationError."""
        return self.verified.facts

    @property
    def maps(self) -> tuple[Map, ...]:
        """The maps of the object, in the order that the code's map indices mean."""
        return tuple(self.owner.maps.values())

    def require_driver(self) -> None:
        """Raises UnsupportedError for a program that can be verified, and that nothing here runs."""
        if self.type.driver is None:
            raise UnsupportedError(
                f"program {self.name!r} is of type {self.type.name}: it can be verified, and no hook here runs it"
            )

    def _require_natives(self) -> None:
        for helper in self.verified.facts.helpers.values():
            if not (helper.native or helper.map_op or helper.builtin):
                raise UnsupportedError(
                    f"program {self.name!r} calls bpf_{helper.name}: it is verified, and nothing here carries out that helper"
                )

    def executable(self, engine: str | None = None, *, origins: bool = False) -> Executable:
        """The program, ready to run on that engine; what its tail calls may reach is made ready too.

        `origins`: made so that it leaves in the environment where its result came from (Env.ORIGIN).
        """
        self.require_driver()
        if self.owner.closed:
            raise InputError(f"program {self.name!r}: its object is closed")
        from runtime.engine import engine_named  # engines are heavy: only who runs a program pays for one

        wanted = engine or self.owner.engine
        ready = self._executables.get((wanted, origins))
        if ready is None:
            self._require_natives()
            ready = engine_named(wanted).load(self.verified, self.maps, program_id=self.id, origins=origins)
            self._executables[wanted, origins] = ready
            for target in self.owner.tail_call_targets():
                target.executable(wanted, origins=origins)
        return ready

    def close(self) -> None:
        """Free the executables."""
        for each in self._executables.values():
            each.close()
        self._executables.clear()


@final
class _Faces(Mapping[str, Any]):
    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            program = self._programs[name]
            face = program.type.face
            self._made[name] = program if face is None else face(program)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)


def program_type(registry: Registry, spec: ProgramSpec, override: str | None = None) -> ProgramType:
    """The type of a program by its section's name, or by `override`: a type's name, or what a section is called.

    A type's name keeps the attach type that the section says, where it says one of that type. Raises InputError.
    """
    row = registry.section(spec.section)
    if override is not None and (row is None or row.program_type != override):
        named = registry.section(override)
        known = any(each.name == override for each in registry.program_types)
        row = Section(prefix=override, program_type=override) if known or named is None else named
    if row is None:
        raise InputError(f"section {spec.section!r} of program {spec.name!r} names no known program type; use --type")
    return registry.program_type(row.program_type, row.attach_type)


def _defined(spec: MapSpec, registry: Registry, cpus: int) -> MapSpec:
    """The definition as its kind wants it; raises UnsupportedError for kinds that are not known."""
    define = registry.map_kind(spec.kind).define
    return spec if define is None else define(spec, cpus)


def _choices(programs: Mapping[str, Program]) -> str:
    return ", ".join(programs)
