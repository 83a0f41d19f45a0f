"""Program types as rows, and programs as object files hold them.

Not here: any program type; extensions declare them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, final

from runtime.errors import UnsupportedError
from runtime.isa import Code
from runtime.spec.context import ContextLayout
from runtime.spec.prototype import Helper, NativeFunction, Prototype

__all__ = ["AttachType", "LineInfo", "Parameter", "ProgramSpec", "ProgramType", "Section", "Signature", "Subprogram"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttachType:
    """A place where programs of a type are attached, where places differ in what programs may do.

    `linux` is the UAPI number (enum bpf_attach_type). `returns` and `helpers` stand in place of those of the program type.
    """

    name: str
    linux: int
    helpers: frozenset[int]
    returns: tuple[int, int] | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramType:
    """A type of program.

    `linux_type` is the UAPI number, or None where Linux has no such type. `helpers` are the numbers that its
    programs may call. `returns` are the inclusive bounds that r0 must keep at exit, or None for any 32-bit value.
    `driver` runs a batch: driver(batch, env) → count, a native that calls `call_program(ctx, env)` for each
    element; None for types that are only verified. `origin_driver` does the same and notes the Env.ORIGIN of each element; None: there
    is none. `verdicts` names return values, for messages and reports.
    `legacy_packet_loads`: the packet loads of classic BPF are allowed. `prototypes` stand in place of those of the
    helpers with these numbers, `natives` in place of what carries them out. `attach_types` are the places to attach to,
    the default first; a row that `attached` made is for one of them, named by `attach`. `refuses` are types of special
    fields (MapSpec.special) that no map of its programs has.
    """

    name: str
    linux_type: int | None
    context: ContextLayout
    helpers: frozenset[int]
    returns: tuple[int, int] | None = None
    driver: NativeFunction | None = None
    origin_driver: NativeFunction | None = None
    verdicts: tuple[tuple[int, str], ...] = ()
    legacy_packet_loads: bool = False
    face: Callable[[Any], Any] | None = None
    prototypes: tuple[tuple[int, Prototype], ...] = ()
    natives: tuple[tuple[int, NativeFunction], ...] = ()
    attach_types: tuple[AttachType, ...] = ()
    attach: AttachType | None = None
    refuses: tuple[str, ...] = ()

    def own(self, helper: Helper) -> Helper:
        """The helper as programs of this type have it."""
        changes: dict[str, Any] = {}
        for number, prototype in self.prototypes:
            if number == helper.id:
                changes["prototype"] = prototype
        for number, native in self.natives:
            if number == helper.id:
                changes["native"] = native
        return replace(helper, **changes) if changes else helper

    def attached(self, name: str = "") -> ProgramType:
        """This type for programs attached in that way, the first way when `name` is empty; raises UnsupportedError.

        Its context has the fields that this way allows, its helpers and return values are those of the way.
        """
        if not self.attach_types:
            return self
        chosen = next((each for each in self.attach_types if name in ("", each.name)), None)
        if chosen is None:
            known = ", ".join(each.name for each in self.attach_types)
            raise UnsupportedError(f"{self.name} programs are not attached to {name!r} (known: {known})")
        fields = tuple(each for each in self.context.fields if chosen.name in (each.attach_types or (chosen.name,)))
        return replace(
            self,
            context=replace(self.context, fields=fields),
            helpers=chosen.helpers,
            returns=chosen.returns,
            attach=chosen,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A section name (libbpf's grammar) and what it stands for.

    `prefix` matches the whole name, or, when `parameter` is set, also "prefix/anything".
    """

    prefix: str
    program_type: str
    attach_type: str = ""
    parameter: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter of a function: a number, or a pointer to `size` bytes (0 when not known), to the struct of that name.

    `tags` are what declaration tags say of it ("ctx", "nonnull", …), without their prefix "arg:".
    """

    pointer: bool
    size: int = 0
    struct: str = ""
    tags: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What BTF says of a function; `scalar`: it returns a number or nothing."""

    parameters: tuple[Parameter, ...]
    scalar: bool


@final
@dataclass(frozen=True, slots=True)
class Subprogram:
    """A function inside a program: the slot where it starts, its name, and whether BTF calls it global."""

    start: int
    name: str
    is_global: bool = False
    btf_id: int = 0
    signature: Signature | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LineInfo:
    """From slot `pc` up to the next record: the place in the source and its text."""

    pc: int
    file: str
    line: int
    column: int
    text: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """A program, relocated and linked: the entry function first, then every function that it reaches.

    `code` is indexed by slot; `LoadMap.map` indexes the maps of the object. `subprograms` are in order of `start`;
    the first is the entry (start 0). `lines` are in order of pc.
    """

    name: str
    section: str
    code: Code = field(repr=False)
    subprograms: tuple[Subprogram, ...]
    lines: tuple[LineInfo, ...] = field(default=(), repr=False)
    license: str = ""

    def line_at(self, pc: int) -> LineInfo | None:
        """The line record that covers slot `pc`; compiler-made records (line 0) yield to the one before."""
        best: LineInfo | None = None
        for line in self.lines:
            if line.pc > pc:
                break
            if line.line:
                best = line
        return best
