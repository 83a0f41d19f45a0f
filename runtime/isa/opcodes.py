"""The numbers of RFC 9669: every enum's value is its encoding.

Not here: which combinations are legal (legality.py) and how bytes are cut (codec.py).

    one slot, 8 bytes, little-endian:
    +--------+----+----+----------------+--------------------------------+
    | opcode | dst| src| offset (s16)   | immediate (s32)                |
    +--------+----+----+----------------+--------------------------------+
     opcode, arithmetic and jumps:  4 bits operation · 1 bit source · 3 bits class
     opcode, loads and stores:      3 bits mode · 2 bits size · 3 bits class
"""

from __future__ import annotations

from enum import IntEnum

__all__ = ["AluOp", "AtomicOp", "CallKind", "Class", "JumpOp", "Mode", "PseudoLoad", "Size", "Source", "SwapKind"]


class Class(IntEnum):
    """The low three bits of an opcode (RFC 9669 §3.1)."""

    LD = 0
    LDX = 1
    ST = 2
    STX = 3
    ALU = 4
    JMP = 5
    JMP32 = 6
    ALU64 = 7


class Source(IntEnum):
    """Where the second operand comes from."""

    K = 0x00
    X = 0x08


class AluOp(IntEnum):
    """Arithmetic (RFC 9669 §4.1); SDIV and SMOD are DIV and MOD with offset 1."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0
    END = 0xD0
    SDIV = 0x130
    SMOD = 0x190


class SwapKind(IntEnum):
    """Byte order operations (RFC 9669 §4.2)."""

    LE = 0
    BE = 1
    SWAP = 2


class JumpOp(IntEnum):
    """Jumps (RFC 9669 §4.3)."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0
    JLE = 0xB0
    JSLT = 0xC0
    JSLE = 0xD0


class CallKind(IntEnum):
    """The source field of a call."""

    HELPER = 0
    LOCAL = 1
    BTF = 2


class Size(IntEnum):
    """Access width bits; `.bytes` gives the width."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18

    @property
    def bytes(self) -> int:
        """The width in bytes: 1, 2, 4 or 8."""
        return {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}[self.value]


class Mode(IntEnum):
    """Addressing modes (RFC 9669 §5)."""

    IMM = 0x00
    ABS = 0x20
    IND = 0x40
    MEM = 0x60
    MEMSX = 0x80
    ATOMIC = 0xC0


class AtomicOp(IntEnum):
    """The immediate of an atomic without its FETCH bit (RFC 9669 §5.3)."""

    ADD = 0x00
    OR = 0x40
    AND = 0x50
    XOR = 0xA0
    XCHG = 0xE0
    CMPXCHG = 0xF0


class PseudoLoad(IntEnum):
    """The source field of a 64-bit immediate load (RFC 9669 §5.4)."""

    IMM = 0
    MAP_FD = 1
    MAP_VALUE = 2
    VARIABLE = 3
    FUNCTION = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6
