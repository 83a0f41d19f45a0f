"""Random programs as machine code and interpreted: the same bytes, the same 64-bit result."""

from __future__ import annotations

import ctypes

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.engine import Environment, engine_named
from runtime.isa import Instruction
from runtime.native import memory
from runtime.verifier import Facts
from tests.support.jit_natives import packet_driver
from tests.support.random_code import FRAME, PACKET, programs
from tests.support.sealed import LAYOUT, seal


def _run(engine: str, code: tuple[Instruction, ...], packet: bytes) -> tuple[int, bytes]:
    facts = Facts(context_fields={0: LAYOUT.fields[0], 1: LAYOUT.fields[1]}, stack={0: FRAME})
    executable = engine_named(engine).load(seal(code, facts=facts, driver=packet_driver), [])
    data = ctypes.create_string_buffer(packet, len(packet))
    start = ctypes.addressof(data)
    batch = (ctypes.c_uint64 * 3)(start, start + len(packet), 0)
    environment = Environment()
    with (
        memory.registered(start, len(packet), data),
        memory.registered(ctypes.addressof(batch), ctypes.sizeof(batch), batch),
    ):
        assert executable.drive(ctypes.addressof(batch), environment.address) == 1
    executable.close()
    environment.close()
    return batch[2], data.raw


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.binary(min_size=PACKET, max_size=PACKET))
def test_the_same_as_the_interpreter(code: tuple[Instruction, ...], packet: bytes) -> None:
    """Whatever the program computes, both engines leave the same bytes and return the same word."""
    assert _run("jit", code, packet) == _run("interpreter", code, packet)


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs(), st.binary(min_size=PACKET, max_size=PACKET))
def test_a_run_repeats(code: tuple[Instruction, ...], packet: bytes) -> None:
    """The same program on the same bytes gives the same again."""
    assert _run("jit", code, packet) == _run("jit", code, packet)
