"""csum_diff against the kernel's, bit for bit."""

from __future__ import annotations

import ctypes
import os
import random
import struct

import pytest

from runtime.helpers import CORE_HELPERS
from runtime.native import memory
from runtime.spec import MapSpec
from tests.support.kernel_maps import KernelMap
from tests.support.kernel_programs import EXIT, call, instruction, load, map_value, move, run

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]

HALF = 512
SIZES = [0, 0, 1, 2, 3, 4, 5, 7, 8, 12, 20, 40, 64, HALF]
SEEDS = [0, 1, 0xFFFF, 0xFFFFFFFF, 0x12345678]


def _kernel(values: KernelMap, old_size: int, new_size: int) -> int:
    """The program that sums the two halves of the value behind result and seed, run once."""
    code = map_value(9, values, 0)
    code += (map_value(1, values, 16) if old_size else move(1, 0)) + move(2, old_size)
    code += (map_value(3, values, 16 + HALF) if new_size else move(3, 0)) + move(4, new_size)
    code += instruction(0x61, 5, 9, 8) + call(28) + instruction(0x7B, 9, 0, 0) + move(0, 0) + EXIT
    program = load(code)
    try:
        run(program)
    finally:
        os.close(program)
    return int.from_bytes(values.lookup(bytes(4))[:8], "little", signed=True)


@pytest.mark.parametrize("filler", ["random", "zeroes", "ones"])
def test_checksums_are_the_kernels(filler: str) -> None:
    """Random sizes, seeds and bytes give the same 64 bits in r0."""
    if tuple(int(part) for part in os.uname().release.split(".")[:2]) < (6, 13):
        pytest.skip("older kernels return sums that are not folded")
    native = next(row.native for row in CORE_HELPERS if row.name == "csum_diff")
    assert native is not None
    draw = random.Random(filler)
    buffer = ctypes.create_string_buffer(2 * HALF)
    base = ctypes.addressof(buffer)
    spec = MapSpec(name="values", kind=2, key_size=4, value_size=16 + 2 * HALF, max_entries=1)
    with KernelMap(spec, cpus=1, per_cpu=False) as values, memory.registered(base, 2 * HALF, buffer):
        for _ in range(80):
            old_size, new_size, seed = draw.choice(SIZES), draw.choice(SIZES), draw.choice(SEEDS)
            data = {"random": draw.randbytes(2 * HALF), "zeroes": bytes(2 * HALF), "ones": b"\xff" * 2 * HALF}[filler]
            values.update(bytes(4), struct.pack("<QQ", 0, seed) + data)
            buffer.raw = data
            old, new = (base if old_size else 0), (base + HALF if new_size else 0)
            assert native(0, old, old_size, new, new_size, seed) == _kernel(values, old_size, new_size)
