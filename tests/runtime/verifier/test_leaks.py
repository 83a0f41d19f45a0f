"""Where memory lies is not for programs to tell: what would make them behave by addresses is a leak."""

from __future__ import annotations

import pytest

from runtime.errors import VerificationError
from runtime.isa import Alu, AluOp, Branch, Exit, Imm, Instruction, JumpOp, Load, Reg, Size
from runtime.spec import ProgramSpec, Subprogram
from runtime.verifier import Policy, verify
from xdp.extension import default_registry

_DATA = (
    Load(size=Size.W, signed=False, dst=2, src=1, offset=0),
    Load(size=Size.W, signed=False, dst=3, src=1, offset=4),
    Alu(op=AluOp.MOV, width=64, dst=4, src=Imm(5)),
    Alu(op=AluOp.MOV, width=64, dst=0, src=Imm(2)),
)


def _branch(op: JumpOp, width: int, dst: int, src: Reg | Imm) -> Branch:
    return Branch(op=op, width=64 if width == 64 else 32, dst=dst, src=src, offset=0)


def _verify(policy: Policy, *instructions: Instruction) -> None:
    code = (*_DATA, *instructions, Exit())
    spec = ProgramSpec(name="leak", section="xdp", code=code, subprograms=(Subprogram(0, "leak"),), license="GPL")
    registry = default_registry()
    verify(spec, registry.program_type("xdp"), (), registry, policy=policy)


LEAKS = {
    "pointer against a number": _branch(JumpOp.JGT, 64, 2, Reg(4)),
    "number against a pointer": _branch(JumpOp.JLE, 64, 4, Reg(3)),
    "pointer against a constant": _branch(JumpOp.JGT, 64, 2, Imm(4096)),
    "low half of a pointer against a number": _branch(JumpOp.JSGT, 32, 2, Reg(4)),
    "low half of the packet against one": _branch(JumpOp.JNE, 32, 2, Imm(1)),
    "low half of the stack against null": _branch(JumpOp.JNE, 32, 10, Imm(0)),
    "order of the low half and null": _branch(JumpOp.JGT, 32, 2, Imm(0)),
    "low halves of two pointers": _branch(JumpOp.JGT, 32, 2, Reg(3)),
    "packet against stack": _branch(JumpOp.JGT, 64, 2, Reg(10)),
    "packet against context": _branch(JumpOp.JEQ, 64, 2, Reg(1)),
    "low half of a pointer as a number": Alu(op=AluOp.MOV, width=32, dst=0, src=Reg(2)),
    "low half of a stack pointer": Alu(op=AluOp.MOV, width=32, dst=5, src=Reg(10)),
}
FINE = {
    "packet against its end": _branch(JumpOp.JGT, 64, 2, Reg(3)),
    "packet against null": _branch(JumpOp.JEQ, 64, 2, Imm(0)),
    "low half of the packet against null": _branch(JumpOp.JNE, 32, 2, Imm(0)),
    "two places of the packet": _branch(JumpOp.JEQ, 64, 2, Reg(2)),
    "two places of the stack": _branch(JumpOp.JEQ, 64, 10, Reg(10)),
    "numbers": _branch(JumpOp.JGT, 32, 4, Imm(4)),
}


@pytest.mark.parametrize("name", LEAKS)
def test_behaviour_by_address_is_a_leak(name: str) -> None:
    """The default policy rejects it with the code of its class."""
    with pytest.raises(VerificationError) as caught:
        _verify(Policy(), LEAKS[name])
    assert caught.value.code == "leak"


@pytest.mark.parametrize("name", LEAKS)
def test_a_policy_that_only_warns_lets_it_pass(name: str) -> None:
    """With leaks="warn" the same programs are accepted, as the kernel accepts them from root."""
    _verify(Policy(leaks="warn"), LEAKS[name])


def test_a_distance_of_32_bits_is_a_number() -> None:
    """What clang makes of `__u32 size = data_end - data`, from whole pointers or from their low halves, is no leak."""
    whole = Alu(op=AluOp.SUB, width=32, dst=3, src=Reg(2))
    halves = [Alu(op=AluOp.MOV, width=32, dst=dst, src=Reg(src)) for dst, src in ((5, 3), (6, 2))]
    shifted = Alu(op=AluOp.ADD, width=32, dst=5, src=Imm(-1))
    _verify(Policy(), whole, Alu(op=AluOp.MOV, width=64, dst=0, src=Reg(3)))
    _verify(
        Policy(), *halves, shifted, Alu(op=AluOp.SUB, width=32, dst=5, src=Reg(6)), _branch(JumpOp.JGT, 32, 5, Imm(9))
    )


def test_the_half_of_a_pointer_is_good_for_distances_only() -> None:
    """It is neither compared, nor stored, nor multiplied, nor returned."""
    half = Alu(op=AluOp.MOV, width=32, dst=5, src=Reg(2))
    uses = (
        _branch(JumpOp.JGT, 32, 5, Imm(9)),
        _branch(JumpOp.JGT, 64, 5, Reg(5)),
        Alu(op=AluOp.MUL, width=32, dst=5, src=Imm(3)),
        Alu(op=AluOp.MOV, width=64, dst=0, src=Reg(5)),
        Alu(op=AluOp.SUB, width=64, dst=5, src=Reg(2)),
    )
    for use in uses:
        with pytest.raises(VerificationError):
            _verify(Policy(), half, use)


@pytest.mark.parametrize("name", FINE)
def test_comparisons_inside_one_memory_are_fine(name: str) -> None:
    """Pointers into the same memory, null tests and numbers are compared freely."""
    _verify(Policy(), FINE[name])
