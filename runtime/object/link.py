"""Linking: each program becomes its entry function followed by every function that it reaches.

Not here: maps and global data (relocate.py). A function is appended when it is first referred to, and what it refers to
before the rest of its caller, which is libbpf's order: for the same object the kernel sees the same instructions.
"""

from __future__ import annotations

import posixpath
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, final

from runtime.errors import InputError, ObjectError, RelocationError, UnsupportedError
from runtime.object.btf import Btf, Kind
from runtime.object.btf_ext import InstructionInfo, between
from runtime.object.prototypes import Prototypes
from runtime.object.relocate import Reference, Relocator
from runtime.object.sections import SLOT, Function, Layout
from runtime.spec import LineInfo, Subprogram

__all__ = ["LinkedProgram", "UnlinkedProgram", "link"]

_MAX_PROGRAM: Final = 1_000_000
_MAX_OBJECT: Final = 1 << 20
_IMM: Final = struct.Struct("<i")
_IMM_AT: Final = 4
_GLOBAL: Final = 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LinkedProgram:
    """A program in raw slots, in which map references are indices and calls are distances."""

    name: str
    section: str
    code: bytes
    subprograms: tuple[Subprogram, ...]
    lines: tuple[LineInfo, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class UnlinkedProgram:
    """A program that asks for what is not at hand here, and why."""

    name: str
    error: UnsupportedError


def link(
    layout: Layout, relocator: Relocator, btf: Btf | None, info: InstructionInfo | None
) -> Iterator[LinkedProgram | UnlinkedProgram]:
    """The programs of an object in the order of the file; raises ObjectError and RelocationError."""
    linker = _Linker(layout, relocator, btf, info)
    seen: set[str] = set()
    slots = 0
    for function in layout.programs():
        if function.name in seen:
            raise ObjectError(f"two programs are called {function.name!r}")
        seen.add(function.name)
        try:
            linked = linker.link(function)
        except InputError as error:
            error.add_note(f"in program {function.name!r} of section {function.section.name!r}")
            if not isinstance(error, UnsupportedError):
                raise
            yield UnlinkedProgram(name=function.name, error=error)
            continue
        slots += len(linked.code) // SLOT
        if slots > _MAX_OBJECT:
            raise ObjectError(f"programs of more than {_MAX_OBJECT} instructions in all")
        yield linked


@final
class _Linker:
    def __init__(self, layout: Layout, relocator: Relocator, btf: Btf | None, info: InstructionInfo | None) -> None:
        self._layout = layout
        self._relocator = relocator
        self._btf = btf
        self._info = info
        self._prototypes = Prototypes(btf) if btf else None
        self._texts: dict[int, str] = {}
        self._files: dict[int, str] = {}

    def link(self, entry: Function) -> LinkedProgram:
        image = _Image(self._relocator)
        image.append(entry)
        while image.pending:
            function, references = image.pending[-1]
            reference = next(references, None)
            if reference is None:
                image.pending.pop()
                continue
            image.resolve(function, reference, self._function(function, reference))
        starts = sorted(image.bases.items(), key=lambda item: item[1])
        subprograms = [self._subprogram(function, base) for function, base in starts]
        subprograms += [Subprogram(start, name) for start, name in image.inner.items()]
        return LinkedProgram(
            name=entry.name,
            section=entry.section.name,
            code=bytes(image.code),
            subprograms=tuple(sorted(subprograms, key=lambda s: s.start)),
            lines=tuple(line for function, base in starts for line in self._lines(function, base)),
        )

    def _function(self, caller: Function, reference: Reference) -> Function:
        """The function that holds the slot that a reference means."""
        exact = self._layout.starts.get((reference.section, reference.target))
        if exact is not None:
            return exact
        if reference.section == caller.section.index and caller.start <= reference.target < caller.end:
            return caller
        candidates = self._layout.functions[reference.section]
        at = bisect_right(candidates, reference.target, key=lambda f: f.start) - 1
        if at < 0 or reference.target >= candidates[at].end:
            raise RelocationError(
                f"{caller.name}: instruction {reference.slot} refers to slot {reference.target} "
                f"of section {candidates[0].section.name!r}, where no function is"
            )
        return candidates[at]

    def _subprogram(self, function: Function, base: int) -> Subprogram:
        records = self._info.functions.get(function.section.name, ()) if self._info else ()
        found = between(records, function.start, function.start + 1)
        if not found or self._btf is None:
            return Subprogram(base, function.name)
        described = self._btf.type(found[0].type)
        if described.kind is not Kind.FUNC:
            raise ObjectError(f"{function.name}: BTF describes it by a {described.kind.name}, not a function")
        visible = described.count == _GLOBAL and not function.hidden
        signature = self._prototypes.signature(found[0].type) if visible and self._prototypes else None
        return Subprogram(base, function.name, is_global=visible, btf_id=found[0].type, signature=signature)

    def _lines(self, function: Function, base: int) -> Iterator[LineInfo]:
        if self._info is None or self._btf is None:
            return
        records = self._info.lines.get(function.section.name, ())
        for record in between(records, function.start, function.end):
            text = self._texts.get(record.text)
            if text is None:
                text = self._texts[record.text] = self._btf.string(record.text).strip()
            file = self._files.get(record.file)
            if file is None:
                file = self._files[record.file] = _tidy(self._btf.string(record.file))
            yield LineInfo(
                pc=base + record.slot - function.start, file=file, line=record.line, column=record.column, text=text
            )


def _tidy(path: str) -> str:
    """A path without the "./" that mapped prefixes leave in it."""
    return posixpath.normpath(path) if path else ""


@final
class _Image:
    """A program as it grows: its slots, where each function starts, and the functions whose references are open."""

    def __init__(self, relocator: Relocator) -> None:
        self._relocator = relocator
        self.code = bytearray()
        self.bases: dict[Function, int] = {}
        self.inner: dict[int, str] = {}
        self.pending: list[tuple[Function, Iterator[Reference]]] = []

    def append(self, function: Function) -> None:
        """Add a function at the end."""
        piece = self._relocator.piece(function)
        self.bases[function] = len(self.code) // SLOT
        self.code += piece.code
        if len(self.code) > _MAX_PROGRAM * SLOT:
            raise ObjectError(f"a program of more than {_MAX_PROGRAM} instructions, which the kernel does not take")
        self.pending.append((function, iter(piece.references)))

    def resolve(self, function: Function, reference: Reference, target: Function) -> None:
        """Write the distance from a reference to its target, which is appended when it is new."""
        if target not in self.bases:
            self.append(target)
        start = self.bases[target] + reference.target - target.start
        if reference.target != target.start:
            self.inner.setdefault(start, f"{target.name}+{reference.target - target.start}")
        place = self.bases[function] + reference.slot
        _IMM.pack_into(self.code, place * SLOT + _IMM_AT, start - place - 1)
