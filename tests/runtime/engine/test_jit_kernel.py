"""Random programs as machine code of ours and of the running kernel: the same packet bytes, the same result."""

from __future__ import annotations

import ctypes
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.engine.bpf import load_program
from runtime.isa import Instruction
from runtime.verifier import Facts
from tests.support.random_code import FRAME, PACKET, programs
from tests.support.sealed import LAYOUT, Runner, seal

_XDP = 6

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: bpf(2)"),
]


def _ours(code: tuple[Instruction, ...], packet: bytes) -> tuple[int, bytes]:
    facts = Facts(context_fields={0: LAYOUT.fields[0], 1: LAYOUT.fields[1]}, stack={0: FRAME})
    runner = Runner(seal(code, facts=facts))
    memory = ctypes.create_string_buffer(packet, len(packet))
    start = ctypes.addressof(memory)
    result = runner(start, start + len(packet)) & 0xFFFF_FFFF
    runner.close()
    return result, memory.raw


def _kernels(code: tuple[Instruction, ...], packet: bytes) -> tuple[int, bytes]:
    program = load_program(_XDP, code, license_text="GPL", name="sample")
    try:
        done = program.test_run(packet)
    finally:
        program.close()
    return done.retval, done.data


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.binary(min_size=PACKET, max_size=PACKET))
def test_the_same_as_the_kernel(code: tuple[Instruction, ...], packet: bytes) -> None:
    """Whatever the program computes, both leave the same bytes in the packet and return the same number."""
    assert _ours(code, packet) == _kernels(code, packet)
