"""Small programs run by the running kernel, written as raw instructions: an oracle for helpers."""

from __future__ import annotations

import ctypes
import os
import struct

from tests.support.kernel_maps import SYSCALL, KernelMap, bpf, libc

_PROG_LOAD = 5
_TEST_RUN = 10
_SCHED_CLS = 3
_LOG_SIZE = 1 << 16


def instruction(opcode: int, destination: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """One slot of eBPF."""
    return struct.pack("<BBhI", opcode, source << 4 | destination, offset, immediate & 0xFFFF_FFFF)


def map_value(register: int, values: KernelMap, offset: int) -> bytes:
    """Register = the address of a byte in the first value of an array."""
    return instruction(0x18, register, 2, 0, values.fd) + instruction(0, 0, 0, 0, offset)


def map_address(register: int, each: KernelMap) -> bytes:
    """Register = a map."""
    return instruction(0x18, register, 1, 0, each.fd) + instruction(0)


def move(register: int, immediate: int) -> bytes:
    """Register = a constant."""
    return instruction(0xB7, register, 0, 0, immediate)


def call(helper: int) -> bytes:
    """r0 = helper(r1, …)."""
    return instruction(0x85, 0, 0, 0, helper)


EXIT = instruction(0x95)


def load(code: bytes) -> int:
    """A file descriptor of the classifier program; fails with the kernel's log."""
    text = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    attributes = struct.pack(
        "<IIQQIIQ",
        _SCHED_CLS,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(licence),
        1,
        _LOG_SIZE,
        ctypes.addressof(log),
    )
    try:
        return bpf(_PROG_LOAD, attributes)
    except Exception as error:
        error.add_note(log.value.decode())
        raise


def run(program: int, packet: bytes = bytes(64)) -> int:
    """What the program returns for a packet."""
    data = ctypes.create_string_buffer(packet, len(packet))
    attributes = bytearray(struct.pack("<IIIIQQII", program, 0, len(packet), 0, ctypes.addressof(data), 0, 1, 0))
    buffer = (ctypes.c_char * 128).from_buffer(attributes.ljust(128, b"\0"))
    assert libc.syscall(SYSCALL, _TEST_RUN, buffer, 128) >= 0, os.strerror(ctypes.get_errno())
    return int.from_bytes(bytes(buffer)[4:8], "little")
