"""Bytes to instructions and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DecodeError
from runtime.isa import Code, Slot, WideTail, decode, encode
from tests.support.instructions import codes, one_of_each


@given(codes)
def test_what_is_encoded_is_decoded(code: Code) -> None:
    """Any instructions become bytes, 8 a slot, and the same instructions again."""
    data = encode(code)
    assert len(data) == 8 * len(code)
    assert decode(data) == code


def test_each_form_has_bytes_of_its_own() -> None:
    """No two forms share an encoding."""
    code = one_of_each()
    assert decode(encode(code)) == code
    single = [encode((each,)) for each in code if not isinstance(each, WideTail)]
    assert len(set(single)) == len(single)


@given(st.binary(max_size=64))
def test_any_bytes_are_instructions_or_an_error(data: bytes) -> None:
    """Bytes decode to something that encodes to them again, or they are a DecodeError that names the slot."""
    fault = None
    try:
        code = decode(data)
    except DecodeError as error:
        fault = error.pc
    if fault is None:
        assert decode(encode(code)) == code
    else:
        assert 0 <= fault <= len(data) // 8


@given(st.integers(0, 255), st.integers(0, 10), st.integers(0, 10), st.sampled_from([0, 1, 8]), st.integers(-2, 64))
def test_any_slot_is_an_instruction_or_an_error(opcode: int, dst: int, src: int, offset: int, imm: int) -> None:
    """A slot near the legal ones decodes to something that encodes to the same bytes, or is refused."""
    data = Slot(opcode, dst, src, offset, imm).pack() + bytes(8) * (opcode == 0x18)
    try:
        code = decode(data)
    except DecodeError:
        return
    pseudo = opcode == 0x18 and src in (5, 6)  # map indices are written as what they are read as: maps
    assert pseudo or encode(code) == data


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(7), "no whole number of 8-byte slots"),
        (Slot(0xB7, 11, 0, 0, 0).pack(), "register r11"),
        (Slot(0x18, 1, 0, 0, 0).pack(), "second half"),
        (Slot(0x18, 1, 0, 0, 0).pack() + Slot(0xB7, 0, 0, 0, 0).pack(), "opcode"),
        (Slot(0x18, 1, 9, 0, 0).pack() + bytes(8), "unknown kind 9"),
        (Slot(0x07, 1, 2, 0, 5).pack(), "src is 2"),
        (Slot(0x0F, 1, 2, 0, 5).pack(), "imm is 5"),
        (Slot(0x07, 1, 0, 1, 5).pack(), "offset is 1"),
        (Slot(0xBF, 1, 2, 24, 0).pack(), "sign-extend from 24"),
        (Slot(0xBC, 1, 2, 32, 0).pack(), "sign-extend from 32"),
        (Slot(0xD7, 1, 0, 0, 8).pack(), "byte swap of 8"),
        (Slot(0xDB, 1, 2, 0, 0x20).pack(), "atomic operation 0x20"),
        (Slot(0xDB, 1, 2, 0, 0xE0).pack(), "atomic operation 0xe0"),
        (Slot(0xD3, 1, 2, 0, 0).pack(), "unknown opcode"),
        (Slot(0x99, 1, 2, 0, 0).pack(), "unknown opcode"),
        (Slot(0x85, 0, 3, 0, 0).pack(), "unknown kind 3"),
        (Slot(0x8D, 0, 0, 0, 0).pack(), "unknown opcode"),
        (Slot(0x95, 0, 0, 0, 1).pack(), "imm is 1"),
        (Slot(0xE5, 0, 0, 0, 0).pack(), "unknown opcode"),
    ],
)
def test_bytes_at_fault_are_named(data: bytes, said: str) -> None:
    """Reserved fields, registers and opcodes that do not exist are refused, each with its reason."""
    with pytest.raises(DecodeError, match=said):
        decode(data)
