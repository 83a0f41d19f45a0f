"""Objects made by the clang at hand, and what libbpf and the kernel make of them."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

TESTS = Path(__file__).parents[1]
FIXTURES = TESTS / "runtime" / "object" / "fixtures"
EXAMPLES = TESTS.parent / "examples"
BPFFS = Path("/sys/fs/bpf")


class Compile(Protocol):
    """compile_object("linking.c", "-DX", debug=True) gives the bytes of the object."""

    def __call__(self, name: str, *flags: str, debug: bool = True) -> bytes:
        """The object of a fixture."""
        ...


def tool(*names: str) -> str:
    """The first of the commands that is installed; the test is skipped without any."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    pytest.skip(f"{names[0]} is not installed")


@functools.cache
def compiled(clang: str, name: str, flags: tuple[str, ...]) -> bytes:
    """The object that clang makes of a fixture."""
    machine = f"/usr/include/{os.uname().machine}-linux-gnu"
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "out.o"
        command = [clang, "-O2", "-target", "bpf", "-mcpu=v3", "-idirafter", machine, *flags]
        subprocess.run([*command, "-c", name, "-o", str(target)], check=True, cwd=FIXTURES)
        return target.read_bytes()


def answer(*command: str) -> str:
    """What a command prints; fails with what it complains about."""
    done = subprocess.run([tool(command[0]), *command[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def bpftool(*arguments: str) -> Any:
    """The answer of bpftool, read from JSON."""
    return json.loads(answer("bpftool", "-j", *arguments) or "null")


@dataclass(frozen=True)
class Loaded:
    """What the kernel holds after libbpf loaded an object: programs by name, maps by id, pins in a folder."""

    programs: dict[str, dict[str, Any]]
    maps: dict[int, dict[str, Any]]
    pins: Path


@contextmanager
def loaded(data: bytes, name: str) -> Iterator[Loaded]:
    """Load an object, as a file of that name, through libbpf into the running kernel; all goes at the end."""
    pins = BPFFS / f"xdpsim-test-{os.getpid()}"
    maps_folder = BPFFS / f"xdpsim-test-{os.getpid()}-maps"
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.o"
            path.write_bytes(data)
            answer("bpftool", "prog", "loadall", str(path), str(pins), "pinmaps", str(maps_folder))
        programs = [bpftool("prog", "show", "pinned", str(each)) for each in sorted(pins.iterdir())]
        numbers = {number for program in programs for number in program.get("map_ids", ())}
        maps = {number: bpftool("map", "show", "id", str(number)) for number in numbers}
        yield Loaded({each["name"]: each for each in programs}, maps, pins)
    finally:
        shutil.rmtree(pins, ignore_errors=True)
        shutil.rmtree(maps_folder, ignore_errors=True)
