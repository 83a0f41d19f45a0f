"""Objects made of C that stands in a test, by the clang at hand; programs of the examples.

Not here: fixtures that several tests share (objects.py).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest

from runtime.loader import LoadedObject, load
from tests.support.captures import ROOT
from xdp.extension import default_registry

EXAMPLES: Final = tuple(sorted(each.stem for each in (ROOT / "examples").glob("*.o")))
PROGRAMS: Final = {"dispatcher": "xdp_dispatch"}

PRELUDE: Final = """
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";
"""

as_root: Final = pytest.mark.skipif(os.geteuid() != 0, reason="needs root and the kernel")


def clang() -> str | None:
    """The path of some clang."""
    return next((found for name in ("clang", "clang-19") if (found := shutil.which(name))), None)


needs_clang: Final = pytest.mark.skipif(clang() is None, reason="clang is not installed")


@functools.cache
def compile_c(text: str) -> bytes:
    """The object that clang makes of PRELUDE and the text; the test is skipped without clang."""
    command = clang()
    if command is None:
        pytest.skip("clang is not installed")
    machine = f"/usr/include/{os.uname().machine}-linux-gnu"
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "test.c", Path(folder) / "test.o"
        source.write_text(PRELUDE + text)
        flags = ["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-Wall", "-idirafter", machine]
        done = subprocess.run(
            [command, *flags, "-c", str(source), "-o", str(target)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return target.read_bytes()


def open_example(name: str, engine: str = "jit") -> LoadedObject:
    """An example, with empty maps."""
    return load(ROOT / "examples" / f"{name}.o", registry=default_registry(), engine=engine)


def open_c(text: str, engine: str = "jit", name: str = "test") -> LoadedObject:
    """An object made of C, with the maps that it says."""
    return load(compile_c(text), registry=default_registry(), engine=engine, name=name)
