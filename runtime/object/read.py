"""From the bytes of an ELF object to what it says: sections → types → maps → programs.

Not here: any of these stages, files, and which program type a section name stands for.
"""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import DecodeError, InputError
from runtime.isa import decode
from runtime.object.btf import Btf
from runtime.object.btf_ext import read_btf_ext
from runtime.object.elf import SymbolType, read_elf
from runtime.object.link import LinkedProgram, UnlinkedProgram, link
from runtime.object.mapdefs import read_maps
from runtime.object.relocate import Relocator
from runtime.object.sections import Layout, survey, takes_relocations
from runtime.object.typetable import BtfTypes, SectionShape
from runtime.spec import ObjectSpec, ProgramSpec

__all__ = ["read_object"]


def read_object(data: bytes, *, name: str) -> ObjectSpec:
    """Read an object that clang made for BPF; `name`, usually the file's without ".o", is what libbpf names data maps by.

    Raises ObjectError for what does not hold together, RelocationError for references that lead nowhere, DecodeError for
    bytes that are no instruction and UnsupportedError when every program needs a running kernel.
    """
    try:
        return _read(data, name)
    except InputError as error:
        error.add_note(f"in object {name!r}")
        raise


def _read(data: bytes, name: str) -> ObjectSpec:
    layout = survey(read_elf(data, relocated=takes_relocations))
    btf = None if layout.btf is None else Btf(layout.btf)
    info = None if btf is None or layout.btf_ext is None else read_btf_ext(layout.btf_ext, btf)
    maps = read_maps(layout, btf, object_name=name)
    relocator = Relocator(layout, maps, btf, info)
    linked = tuple(link(layout, relocator, btf, info))  # all sizes are judged before anything is decoded
    unlinked = [each for each in linked if isinstance(each, UnlinkedProgram)]
    if unlinked and len(unlinked) == len(linked):
        raise unlinked[0].error
    programs = tuple(_program(each, layout.license) for each in linked if isinstance(each, LinkedProgram))
    unsupported = tuple((each.name, str(each.error)) for each in unlinked)
    types = None if btf is None else BtfTypes(btf, dict(_shapes(layout)))
    return ObjectSpec(
        name=name, programs=programs, maps=maps.specs, license=layout.license, types=types, unsupported=unsupported
    )


def _program(linked: LinkedProgram, license_text: str) -> ProgramSpec:
    try:
        code = decode(linked.code)
    except DecodeError as error:
        error.add_note(f"in program {linked.name!r} of section {linked.section!r}")
        raise
    return ProgramSpec(
        name=linked.name,
        section=linked.section,
        code=code,
        subprograms=linked.subprograms,
        lines=linked.lines,
        license=license_text,
    )


def _shapes(layout: Layout) -> Iterator[tuple[str, SectionShape]]:
    """Where the variables of each data section are; BTF leaves that to the symbols."""
    for data in layout.data:
        symbols = layout.symbols.get(data.section.index, ())
        offsets = {s.name: s.value for s in symbols if s.type is SymbolType.OBJECT}
        yield data.section.name, SectionShape(data.section.size, offsets)
