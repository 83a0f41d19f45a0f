"""Text to instructions."""

from __future__ import annotations

import pytest
from hypothesis import given

from runtime.errors import AssemblyError
from runtime.isa import (
    Alu,
    AluOp,
    Branch,
    CallHelper,
    CallLocal,
    Code,
    Exit,
    Imm,
    Jump,
    JumpOp,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    Reg,
    Size,
    WideTail,
    assemble,
    disassemble,
)
from tests.support.instructions import codes, one_of_each


@given(codes)
def test_what_is_printed_is_read(code: Code) -> None:
    """Whatever the disassembler prints, the assembler reads as the same instructions."""
    assert assemble(disassemble(code)) == code


@given(codes)
def test_blanks_do_not_matter(code: Code) -> None:
    """Signs and numbers may touch; words may be far apart."""
    text = disassemble(code)
    assert assemble(text.replace(" ", "   \t")) == code
    for sign in ("+", "(", ")", "*", ",", "["):
        text = text.replace(f" {sign}", sign).replace(f"{sign} ", sign)
    assert assemble(text.replace("goto+", "goto +").replace("gotol+", "gotol +")) == code


def test_names_of_maps_and_helpers_are_read() -> None:
    """Text with names for maps and helpers means the same."""
    code = (LoadMap(1, 1), WideTail(), LoadMapValue(dst=2, map=0, offset=4), WideTail(), CallHelper(1), Exit())
    maps = ["counters", ".rodata.str1.1"]
    text = disassemble(code, maps=maps, helper_name={1: "map_lookup_elem"})
    assert "map[.rodata.str1.1]" in text
    assert "call bpf_map_lookup_elem#1" in text
    assert assemble(text, maps=maps) == code


def test_labels_stand_for_slots() -> None:
    """Jumps, wide jumps, calls and function addresses lead to labels in front and behind; wide loads count twice."""
    text = """
    start:  ; a comment
        r1 = 1 ll           // two slots
        if r1 == 1 goto end # a comment
        gotol start
        call helper
        r2 = func[helper] ll
    end: last:
        goto last
    helper: exit
    """
    move = Branch(op=JumpOp.JEQ, width=64, dst=1, src=Imm(1), offset=4)
    assert assemble(text) == (
        LoadImm64(1, 1),
        WideTail(),
        move,
        Jump(-4, wide=True),
        CallLocal(3),
        LoadFunction(2, 2),
        WideTail(),
        Jump(-1),
        Exit(),
    )


def test_a_label_may_look_like_anything() -> None:
    """Labels that look like words of the language stay labels."""
    assert assemble("ll: goto ll\nexit: goto exit\nr1: pc: goto pc\nmap: exit") == (
        Jump(-1),
        Jump(-1),
        Jump(-1),
        Exit(),
    )


def test_dumps_are_read_as_they_are() -> None:
    """Slot numbers, symbols behind jumps and source lines of disassemblers are passed over."""
    text = """
    ; int main(void) {
           0:\tr0 = 0x1
           1:\tgoto +0x1 <main+0x18>
           2:\tr0 = -0x2
           3:\texit
    """
    move = Alu(op=AluOp.MOV, width=64, dst=0, src=Imm(1))
    other = Alu(op=AluOp.MOV, width=64, dst=0, src=Imm(-2))
    assert assemble(text) == (move, Jump(1), other, Exit())


def test_narrow_loads_have_two_names() -> None:
    """`w1 = *(u32 *)…`, as LLVM writes for its 32-bit subset, is the load that clears the upper half."""
    load = Load(size=Size.W, signed=False, dst=1, src=2, offset=0)
    assert assemble("w1 = *(u32 *)(r2 + 0)") == assemble("r1 = *(u32 *)(r2)") == (load,)


def test_unsigned_immediates_fit_where_32_bits_count() -> None:
    """0xffffffff is -1 to a 32-bit operation and an error to one of 64 bits, where it would become 2^64 - 1."""
    assert assemble("w1 = 0xffffffff") == (Alu(op=AluOp.MOV, width=32, dst=1, src=Imm(-1)),)
    with pytest.raises(AssemblyError, match="0xffffffff is outside"):
        assemble("r1 = 0xffffffff")


def test_nothing_is_no_code() -> None:
    """Empty text, blanks and comments are no instructions."""
    assert assemble("") == assemble(" \n# nothing\n; nothing\n// nothing\n") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("what is this", "no instruction reads like this"),
        ("exit now", "no instruction reads like this"),
        ("r1 =", "no instruction reads like this"),
        ("r1 ?= 5", "no instruction reads like this"),
        ("r1 = 5 ll ll", "no instruction reads like this"),
        ("r1 = " + "9" * 5000, "no instruction reads like this"),
        ("r11 = 5", "register r11 does not exist"),
        ("r1 = *(u8 *)(r12 + 0)", "register r12 does not exist"),
        ("w1 += r2", "r2 is no register of 32 bits"),
        ("if r1 == w2 goto +1", "w2 is no register of 64 bits"),
        ("*(u64 *)(r1 + 0) = w2", "w2 is no register of 64 bits"),
        ("w1 = *(u64 *)(r2 + 0)", "fills a register of 64 bits"),
        ("w1 = *(s8 *)(r2 + 0)", "fills a register of 64 bits"),
        ("r1 = *(s64 *)(r2 + 0)", "nothing to sign-extend"),
        ("*(s8 *)(r1 + 0) = 1", "stores have no sign"),
        ("r1 = *(u8 *)(r1 + 40000)", "40000 is outside -32768 … 32767"),
        ("r1 = 0x80000000", "0x80000000 is outside"),
        ("r1 = 0x1ffffffffffffffff ll", "no instruction reads like this"),
        ("r1 = 99999999999999999999 ll", "is outside"),
        ("w1 = 5 ll", "w1 is no register of 64 bits"),
        ("goto nowhere", "no label 'nowhere'"),
        ("call bpf_map_lookup_elem", "no label 'bpf_map_lookup_elem'"),
        ("goto +40000", "40000 is outside"),
        ("r1 = map[flows] ll", "no map 'flows'"),
        ("r1 = -r2", "r1 and r2 must be the same register"),
        ("r1 = be16 r2", "r1 and r2 must be the same register"),
        ("w1 = be16 w1", "w1 is no register of 64 bits"),
        ("r1 = atomic_fetch_add((u64 *)(r2 + 0), r3)", "r1 and r3 must be the same register"),
        ("r1 = xchg_64(r2 + 0, r0, r1)", "xchg_64 takes an address and a register"),
        ("r0 = cmpxchg_64(r2 + 0, r1)", "cmpxchg_64 takes an address, r0 and a register"),
        ("r1 = cmpxchg_64(r2 + 0, r1, r1)", "compares with r0 only"),
        ("w0 = cmpxchg_64(r2 + 0, w0, w1)", "w0 is no register of 64 bits"),
        ("lock *(u8 *)(r1 + 0) += r1", "atomics work on u32 and u64"),
        ("lock *(u32 *)(r1 + 0) += r1", "r1 is no register of 32 bits"),
        ("w1 = (s32)w2", "32 bits fill w1 whole"),
        ("r0 = *(u64 *)skb[0]", "packet loads have at most 32 bits"),
    ],
)
def test_text_at_fault_is_named(text: str, said: str) -> None:
    """Each mistake is one line that says where and what."""
    with pytest.raises(AssemblyError, match=said) as caught:
        assemble(f"exit\n{text}\n")
    assert caught.value.line == 2
    assert str(caught.value).startswith("line 2: ")


def test_labels_are_unique_and_near() -> None:
    """A label that is there twice, or that the offset's 16 bits cannot reach, is an error."""
    with pytest.raises(AssemblyError, match="label 'a' is there twice"):
        assemble("a: exit\na: exit")
    far = "a: exit\n" + "r0 = r0\n" * 40_000
    with pytest.raises(AssemblyError, match="line 40002: label 'a' is too far away"):
        assemble(far + "goto a")
    assert assemble(far + "gotol a")[-1] == Jump(-40_002, wide=True)


def test_one_of_each_is_read() -> None:
    """Every form with every kind of operand comes back from its text."""
    code = one_of_each()
    assert assemble(disassemble(code)) == code
    assert Reg(2) in [each.src for each in code if isinstance(each, Alu)]
