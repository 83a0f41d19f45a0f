"""Global functions that we accept on their own, the kernel accepts too.

`XDPSIM_FUZZ_PROGRAMS=20000 XDPSIM_FUZZ_SEED=1` makes a run longer or different; `-s` shows what was counted.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

import pytest

from runtime.engine import bpf
from runtime.engine.functions import INFO_SIZE
from runtime.engine.kernel import kernel_verdict
from runtime.errors import VerificationError
from runtime.loader import program_type
from runtime.verifier import Policy
from runtime.verifier.prove import prove
from tests.kernel.verdicts.weaker import with_signatures
from tests.support.global_programs import GlobalProgram, function_types, global_program
from tests.xdp.linux.cases import MAPS
from xdp.extension import default_registry

PROGRAMS: Final = int(os.environ.get("XDPSIM_FUZZ_PROGRAMS", "200"))
SEED: Final = int(os.environ.get("XDPSIM_FUZZ_SEED", "0"))
BUDGET: Final = Policy(steps=20_000)


@contextmanager
def _typed(program: GlobalProgram) -> Iterator[bytes]:
    """The attributes of a load that say what the functions are."""
    types, info = (ctypes.create_string_buffer(each, len(each)) for each in function_types(program))
    fd, _ = bpf._bpf(bpf._Command.BTF_LOAD, struct.pack("<QQII", ctypes.addressof(types), 0, len(types), 0))
    try:
        yield struct.pack("<IIQI", fd, INFO_SIZE, ctypes.addressof(info), len(program.spec.subprograms))
    finally:
        os.close(fd)


def _fault(program: GlobalProgram) -> str:
    """Empty for what we accept with each global function on its own, else the code of the failure."""
    registry = default_registry()
    try:
        with with_signatures():
            prove(program.spec, program_type(registry, program.spec), MAPS, registry, policy=BUDGET)
    except VerificationError as error:
        return error.code
    return ""


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)")
def test_the_kernel_accepts_functions_that_we_accept() -> None:
    """What a global function is lent, and may do with it, is never more than with the kernel."""
    counted: Counter[str] = Counter()
    for seed in range(SEED, SEED + PROGRAMS):
        program = global_program(seed)
        fault = _fault(program)
        with patch.object(bpf, "_functions", lambda _, each=program: _typed(each)):
            kind = program_type(default_registry(), program.spec)
            accepted, log = kernel_verdict(program.spec, kind, MAPS)
        counted[f"we {'reject' if fault else 'accept'}, the kernel {'accepts' if accepted else 'rejects'}"] += 1
        assert fault or accepted, f"seed {seed}: {log[-600:]}"
    sys.stdout.write(f"\nglobal functions: {dict(counted)}\n")
    assert counted["we accept, the kernel accepts"] > PROGRAMS // 20
