"""LLVM as the oracle: its disassembler prints our bytes as we do, its assembler makes our bytes of our text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.isa import (
    CallBtf,
    CallLocal,
    Code,
    Instruction,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    WideTail,
    assemble,
    disassemble,
    disassemble_one,
    encode,
)
from tests.support.instructions import one_of_each


def _tool(name: str) -> str | None:
    return shutil.which(f"{name}-19") or shutil.which(name)


_OBJDUMP = _tool("llvm-objdump")
_MC = _tool("llvm-mc")
_OBJCOPY = _tool("llvm-objcopy")
needs_llvm = pytest.mark.skipif(
    None in (_OBJDUMP, _MC, _OBJCOPY), reason="needs llvm-mc, llvm-objdump and llvm-objcopy (package llvm-19)"
)
# What LLVM leaves to relocations, and prints and reads without their meaning.
_OURS = (LoadMap, LoadMapValue, LoadFunction, CallLocal, CallBtf)


def _shared() -> Code:
    code = one_of_each()
    kept: list[Instruction] = []
    for pc, each in enumerate(code):
        head = code[pc - 1] if isinstance(each, WideTail) else each
        if not isinstance(head, _OURS):
            kept.append(each)
    return tuple(kept)


def _object(source: str, folder: Path) -> Path:
    text, made = folder / "sample.s", folder / "sample.o"
    text.write_text(source)
    subprocess.run(
        [str(_MC), "-triple", "bpfel", "-mcpu=v4", "-filetype=obj", str(text), "-o", str(made)], check=True, timeout=60
    )
    return made


def _objdump(code: Code, folder: Path) -> dict[int, str]:
    """Text by slot."""
    made = _object(".byte " + ", ".join(map(str, encode(code))) + "\n", folder)
    done = subprocess.run(
        [str(_OBJDUMP), "-d", "--no-show-raw-insn", "--mcpu=v4", str(made)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return {int(pc): text for pc, text in re.findall(r"^\s*(\d+):\s+(.*)$", done.stdout, re.MULTILINE)}


def _plain(text: str) -> str:
    """One blank between words, no symbols, numbers decimal, 64-bit constants unsigned, registers of narrow moves whole."""
    text = re.sub(r"\s+", " ", re.sub(r" <[^<>]*>$", "", text)).strip()
    text = re.sub(r"0x[0-9a-f]+", lambda found: str(int(found[0], 16)), text)
    text = re.sub(r"^w(\d+ = \*\(u)", r"r\1", text)
    text = re.sub(r"^(\*\(u.*\) = )w", r"\1r", text)
    return re.sub(r"-(\d+) ll", lambda found: f"{(1 << 64) - int(found[1])} ll", text)


@needs_llvm
def test_objdump_prints_the_same(tmp_path: Path) -> None:
    """Every form that LLVM knows is printed as llvm-objdump prints it, but for the base of numbers."""
    code = _shared()
    theirs = _objdump(code, tmp_path)
    for pc, each in enumerate(code):
        if not isinstance(each, WideTail):
            assert _plain(disassemble_one(each, pc)) == _plain(theirs[pc]), pc


@needs_llvm
def test_what_objdump_prints_is_read(tmp_path: Path) -> None:
    """The assembler takes llvm-objdump's own text."""
    code = _shared()
    assert assemble("\n".join(_objdump(code, tmp_path).values())) == code


@needs_llvm
def test_the_assembler_makes_the_same_bytes(tmp_path: Path) -> None:
    """llvm-mc makes the bytes of our text that we do."""
    code = _shared()
    made = _object(disassemble(code) + "\n", tmp_path)
    raw = tmp_path / "sample.bin"
    subprocess.run([str(_OBJCOPY), "-O", "binary", "--only-section=.text", str(made), str(raw)], check=True, timeout=60)
    assert raw.read_bytes() == encode(code)


def test_what_llvm_does_not_know_is_little() -> None:
    """All that is left out of the comparison are references and the constants' tails."""
    left_out = {type(each) for each in one_of_each()} - {type(each) for each in _shared()}
    assert left_out == set(_OURS)
    assert LoadImm64 in {type(each) for each in _shared()}
