"""`xdpsim prog dump`: a program as bytecode with its source lines, as LLVM IR, as native assembly.

Not here: printing an instruction (runtime.isa) or making machine code (runtime.engine).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtime.errors import InputError
from runtime.isa import WideTail, disassemble_one, encode
from runtime.loader import LoadedObject, Program, load
from runtime.object import read_object
from runtime.spec import ObjectSpec, ProgramSpec, Registry
from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.cli.source import blaming, object_bytes
from xdp.extension import default_registry

__all__ = ["run"]


def run(arguments: Namespace, output: Output) -> int:
    """Dump one program, or all of them."""
    data = object_bytes(arguments.object)
    name = Path(arguments.object).stem
    registry = default_registry()
    if arguments.form == "xlated":
        with blaming(arguments.object):
            spec = read_object(data, name=name)
        _xlated(spec, _chosen(spec, arguments.prog), registry, set(arguments.extras), output)
        return Exit.OK
    if arguments.extras:
        raise InputError(f"{' and '.join(arguments.extras)}: only with 'xlated'")
    with blaming(arguments.object):
        loaded = load(data, registry=registry, name=name)
    with loaded:
        _native(loaded, arguments.form, arguments.prog, output)
    return Exit.OK


def _chosen(spec: ObjectSpec, name: str | None) -> tuple[ProgramSpec, ...]:
    found = tuple(each for each in spec.programs if name in (None, each.name))
    if not found:
        raise InputError(
            f"{spec.name}: no program {name!r}; there is {', '.join(p.name for p in spec.programs) or 'none'}"
        )
    return found


def _xlated(
    spec: ObjectSpec, programs: tuple[ProgramSpec, ...], registry: Registry, extras: set[str], output: Output
) -> None:
    document: list[dict[str, Any]] = [
        {"name": p.name, "section": p.section, "insns": list(_records(spec, p, registry, extras))} for p in programs
    ]
    texts = []
    for program in document:
        texts.append(f"{program['name']}: # section {program['section']}")
        for row in program["insns"]:
            if "label" in row:
                texts.append(f"{row['label']}:")
            if (line := row.get("src")) is not None:
                texts.append(f"; {line}" + (f" [{row['file_name']}:{row['line_num']}]" if "linum" in extras else ""))
            texts.append(f"{row['pc']:4}: {row['disasm']}")
            if "opcodes" in row:
                texts.append(f"      {row['opcodes']}")
    output.emit(document, "\n".join(texts))


def _records(spec: ObjectSpec, program: ProgramSpec, registry: Registry, extras: set[str]) -> Iterator[dict[str, Any]]:
    names = [each.name for each in spec.maps]
    starts = {each.start: each.name for each in program.subprograms if each.start}
    lines = {each.pc: each for each in program.lines if each.line}
    slots = encode(program.code)
    for pc, instruction in enumerate(program.code):
        if isinstance(instruction, WideTail):
            continue
        row: dict[str, Any] = {"pc": pc}
        if pc in starts:
            row["label"] = starts[pc]
        if pc in lines:
            row["src"] = lines[pc].text.strip()
            row["file_name"], row["line_num"] = lines[pc].file, lines[pc].line
        row["disasm"] = disassemble_one(instruction, pc, maps=names, helper_name=_helper_names(registry))
        if "opcodes" in extras:
            wide = pc + 1 < len(program.code) and isinstance(program.code[pc + 1], WideTail)
            row["opcodes"] = slots[pc * 8 : pc * 8 + (16 if wide else 8)].hex(" ")
        yield row


def _helper_names(registry: Registry) -> dict[int, str]:
    return {each.id: each.name for each in registry.helpers}


def _native(loaded: LoadedObject, form: str, name: str | None, output: Output) -> None:
    programs: list[Program] = [loaded.program(name)] if name else list(loaded.bare_programs.values())
    document = []
    for program in programs:
        executable: Any = program.executable("jit")
        document.append({"name": program.name, form: executable.ir() if form == "ir" else executable.assembly()})
    output.emit(document, "\n".join(each[form] for each in document))
