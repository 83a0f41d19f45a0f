"""Text to instructions: the inverse of text.py, with labels and comments.

Not here: the signs and words of the language (text.py) and the bits (codec.py).

A line holds labels (`name:`), at most one instruction, and a comment from `;`, `//` or `#` (the last one at the start of a
word, so that `call bpf_redirect#23` stays whole). What disassemblers print around an instruction, a slot number before it
and `<symbol+0x10>` behind it, is passed over. Jumps and calls lead to a label or to `+3`, counted in slots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, final

from runtime.errors import AssemblyError
from runtime.isa.instruction import (
    Alu,
    Atomic,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Code,
    Exit,
    Imm,
    Instruction,
    Jump,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    MoveSigned,
    Negate,
    Operand,
    Reg,
    Store,
    WideTail,
    Width,
)
from runtime.isa.opcodes import AtomicOp, Size
from runtime.isa.text import ALU_SIGNS, ATOMIC_SIGNS, EXCHANGE_WORDS, JUMP_SIGNS, SWAP_WORDS

__all__ = ["assemble"]

_LABEL: Final = r"[A-Za-z_.$][\w.$]*"
# Texts, not patterns: `re` compiles them when the first line of text comes, and remembers.
_COMMENT: Final = r"(?:;|//|(?:^|(?<=\s))#).*"
_BEFORE: Final = rf"\s*(?:\d+|({_LABEL}))\s*:"
_BEHIND: Final = r"\s*<[^<>]*>$"
_WIDE: Final = r"r[0-9]+ ?=.* ll"
_LAST_REGISTER: Final = 10
_SIZES: Final = {size.bytes * 8: size for size in Size}


def assemble(text: str, *, maps: Sequence[str] = ()) -> Code:
    """The code of a program, indexed by slot; `maps` are the names that `map[…]` may use, in the order of their indices.

    Raises AssemblyError with the line and what is wrong there.
    """
    labels: dict[str, int] = {}
    statements: list[_Statement] = []
    pc = 0
    for line, names, instruction in _lines(text):
        for name in names:
            if name in labels:
                raise AssemblyError(f"label {name!r} is there twice", line=line)
            labels[name] = pc
        if instruction:
            statements.append(_Statement(instruction, line=line, pc=pc, labels=labels, maps=maps))
            pc += 2 if re.fullmatch(_WIDE, instruction) else 1
    code: list[Instruction] = []
    for statement in statements:
        code.append(_read(statement))
        if isinstance(code[-1], LoadImm64 | LoadMap | LoadMapValue | LoadFunction):
            code.append(WideTail())
    return tuple(code)


def _lines(text: str) -> Iterator[tuple[int, list[str], str]]:
    """Line number, labels and the instruction, its words one blank apart."""
    for line, whole in enumerate(text.splitlines(), 1):
        rest = re.sub(_COMMENT, "", whole)
        names: list[str] = []
        while found := re.match(_BEFORE, rest):
            names += [found[1]] if found[1] else []
            rest = rest[found.end() :]
        yield line, names, re.sub(_BEHIND, "", " ".join(rest.split()))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What stands in parentheses: a register and an offset, and what is there."""

    size: Size
    signed: bool
    base: int
    offset: int


@final
@dataclass(frozen=True, slots=True)
class _Statement:
    """An instruction's text and what its names mean."""

    text: str
    line: int
    pc: int
    labels: dict[str, int]
    maps: Sequence[str]

    def error(self, message: str) -> AssemblyError:
        """What is wrong in this line."""
        return AssemblyError(f"{message}: {self.text!r}", line=self.line)

    def number(self, text: str, low: int, high: int) -> int:
        """An integer, decimal or hexadecimal, within those bounds."""
        plain = text.replace(" ", "")
        value = int(plain, 16 if "x" in plain else 10)
        if not low <= value <= high:
            raise self.error(f"{plain} is outside {low} … {high}")
        return value

    def signed(self, text: str, bits: int) -> int:
        """An integer that fits a signed field of so many bits."""
        return self.number(text, -(1 << bits - 1), (1 << bits - 1) - 1)

    def immediate(self, text: str, width: int) -> Imm:
        """A 32-bit immediate; where only 32 bits count it may be written unsigned."""
        value = self.number(text, -(1 << 31), (1 << 31) - 1 if width == 64 else (1 << 32) - 1)
        return Imm(value - (1 << 32) if value >> 31 == 1 else value)

    def index(self, text: str) -> int:
        """The number of a register, without its width."""
        index = int(text[1:])
        if index > _LAST_REGISTER:
            raise self.error(f"register {text} does not exist")
        return index

    def register(self, text: str, width: int) -> int:
        """The number of a register that must be named at that width."""
        if text[0] != ("r" if width == 64 else "w"):
            raise self.error(f"{text} is no register of {width} bits")
        return self.index(text)

    def same(self, text: str, other: str) -> None:
        """Refuse two registers where the instruction has room for one."""
        if text != other:
            raise self.error(f"{text} and {other} must be the same register")

    def operand(self, text: str, width: int) -> Operand:
        """A register of that width, or an immediate."""
        return Reg(self.register(text, width)) if text[0] in "rw" else self.immediate(text, width)

    def target(self, text: str, bits: int) -> int:
        """The distance from the next slot to a label, or the distance itself."""
        bare = text.removeprefix("pc").strip()
        if bare[:1] in ("+", "-"):
            return self.signed(bare, bits)
        if text not in self.labels:
            raise self.error(f"no label {text!r}")
        distance = self.labels[text] - self.pc - 1
        if not -(1 << bits - 1) <= distance < 1 << bits - 1:
            raise self.error(f"label {text!r} is too far away")
        return distance

    def map(self, text: str) -> int:
        """A map's index, from its name or as it is."""
        if text in self.maps:
            return self.maps.index(text)
        if not re.fullmatch(f"-?{_DIGITS}", text):
            raise self.error(f"no map {text!r}")
        return self.signed(text, 32)

    def place(self, match: re.Match[str]) -> _Place:
        """The memory operand of a form."""
        found = match.groupdict()
        bits = int(found.get("bits") or 0)
        offset = self.signed(found["offset"], 16) if found["offset"] else 0
        return _Place(
            size=_SIZES.get(bits, Size.DW),
            signed=found.get("sign") == "s",
            base=self.index(found["base"]),
            offset=offset,
        )

    def atomic(self, place: _Place, op: AtomicOp, source: str, *, fetch: bool) -> Atomic:
        """An atomic on a place of 32 or 64 bits."""
        if place.signed or place.size not in (Size.W, Size.DW):
            raise self.error("atomics work on u32 and u64")
        register = self.register(source, place.size.bytes * 8)
        return Atomic(op=op, size=place.size, fetch=fetch, dst=place.base, src=register, offset=place.offset)


def _read(statement: _Statement) -> Instruction:
    for pattern, build in _forms():
        if match := pattern.fullmatch(statement.text):
            return build(statement, match)
    raise statement.error("no instruction reads like this")


def _width(register: str) -> Width:
    return 64 if register[0] == "r" else 32


def _goto(at: _Statement, found: re.Match[str]) -> Instruction:
    wide = found["word"] == "gotol"
    return Jump(at.target(found["target"], 32 if wide else 16), wide=wide)


def _branch(at: _Statement, found: re.Match[str]) -> Instruction:
    width = _width(found["dst"])
    source = at.operand(found["src"], width)
    target = at.target(found["target"], 16)
    return Branch(op=_JUMPS[found["op"]], width=width, dst=at.index(found["dst"]), src=source, offset=target)


def _call_helper(at: _Statement, found: re.Match[str]) -> Instruction:
    return CallHelper(at.signed(found["imm"], 32))


def _call_btf(at: _Statement, found: re.Match[str]) -> Instruction:
    return CallBtf(at.signed(found["imm"], 32), at.signed(found["module"] or "0", 16))


def _call_local(at: _Statement, found: re.Match[str]) -> Instruction:
    return CallLocal(at.target(found["target"], 32))


def _lock(at: _Statement, found: re.Match[str]) -> Instruction:
    return at.atomic(at.place(found), _ATOMICS[found["op"]], found["src"], fetch=False)


def _fetch(at: _Statement, found: re.Match[str]) -> Instruction:
    at.same(found["dst"], found["src"])
    return at.atomic(at.place(found), AtomicOp[found["op"].upper()], found["src"], fetch=True)


def _exchange(at: _Statement, found: re.Match[str]) -> Instruction:
    op, width = _EXCHANGES[found["word"]]
    if (op is AtomicOp.CMPXCHG) != (found["old"] is not None):
        raise at.error(
            f"{found['word']} takes {'an address, r0 and' if op is AtomicOp.CMPXCHG else 'an address and'} a register"
        )
    at.same(found["dst"], found["old"] or found["src"])
    if op is AtomicOp.CMPXCHG and at.register(found["dst"], width) != 0:
        raise at.error(f"{found['word']} compares with r0 only")
    place, source = at.place(found), at.register(found["src"], width)
    return Atomic(op=op, size=_SIZES[width], fetch=True, dst=place.base, src=source, offset=place.offset)


def _store(at: _Statement, found: re.Match[str]) -> Instruction:
    place = at.place(found)
    if place.signed:
        raise at.error("stores have no sign")
    source = found["src"]
    width = 64 if place.size is Size.DW or source[0] == "r" else 32
    return Store(size=place.size, dst=place.base, offset=place.offset, src=at.operand(source, width))


def _load(at: _Statement, found: re.Match[str]) -> Instruction:
    place = at.place(found)
    if _width(found["dst"]) == 32 and (place.signed or place.size is Size.DW):
        raise at.error("this load fills a register of 64 bits")
    if place.signed and place.size is Size.DW:
        raise at.error("64 bits leave nothing to sign-extend")
    dst = at.index(found["dst"])
    return Load(size=place.size, signed=place.signed, dst=dst, src=place.base, offset=place.offset)


def _packet(at: _Statement, found: re.Match[str]) -> Instruction:
    source = found.groupdict().get("src")
    if found["bits"] == "64":
        raise at.error("packet loads have at most 32 bits")
    index = None if source is None else at.register(source, 64)
    return LoadPacket(size=_SIZES[int(found["bits"])], src=index, imm=at.signed(found["imm"] or "0", 32))


def _constant(at: _Statement, found: re.Match[str]) -> Instruction:
    value = at.number(found["imm"], -(1 << 63), (1 << 64) - 1)
    return LoadImm64(at.register(found["dst"], 64), value % (1 << 64))


def _map(at: _Statement, found: re.Match[str]) -> Instruction:
    return LoadMap(at.register(found["dst"], 64), at.map(found["map"]))


def _map_value(at: _Statement, found: re.Match[str]) -> Instruction:
    offset = at.number(found["imm"] or "0", 0, (1 << 32) - 1)
    return LoadMapValue(dst=at.register(found["dst"], 64), map=at.map(found["map"]), offset=offset)


def _function(at: _Statement, found: re.Match[str]) -> Instruction:
    return LoadFunction(at.register(found["dst"], 64), at.target(found["target"], 32))


def _move_signed(at: _Statement, found: re.Match[str]) -> Instruction:
    width, bits = _width(found["dst"]), int(found["bits"])
    if bits >= width:
        raise at.error(f"{bits} bits fill {found['dst']} whole")
    return MoveSigned(width=width, bits=bits, dst=at.index(found["dst"]), src=at.register(found["src"], width))


def _negate(at: _Statement, found: re.Match[str]) -> Instruction:
    at.same(found["dst"], found["src"])
    return Negate(_width(found["dst"]), at.index(found["dst"]))


def _swap(at: _Statement, found: re.Match[str]) -> Instruction:
    at.same(found["dst"], found["src"])
    return ByteSwap(kind=_SWAPS[found["word"]], bits=int(found["bits"]), dst=at.register(found["dst"], 64))


def _alu(at: _Statement, found: re.Match[str]) -> Instruction:
    width = _width(found["dst"])
    return Alu(op=_ALU[found["op"]], width=width, dst=at.index(found["dst"]), src=at.operand(found["src"], width))


_ALU: Final = {sign: op for op, sign in ALU_SIGNS.items()}
_JUMPS: Final = {sign: op for op, sign in JUMP_SIGNS.items()}
_ATOMICS: Final = {sign: op for op, sign in ATOMIC_SIGNS.items()}
_SWAPS: Final = {word: kind for kind, word in SWAP_WORDS.items()}
_EXCHANGES: Final[dict[str, tuple[AtomicOp, int]]] = {word: what for what, word in EXCHANGE_WORDS.items()}


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


# In parts and templates a blank may be left out, `~` is a blank that may not, and capitals name a part.
_DIGITS: Final = "(?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20})"
_OFFSET: Final = f"[+-] {_DIGITS}"
_REGISTER: Final = "[rw][0-9]{1,2}"
_ADDRESS: Final = f"(?P<base>r[0-9]{{1,2}}) (?P<offset>{_OFFSET})?"
_PARTS: Final = {
    "DST": f"(?P<dst>{_REGISTER})",
    "SRC": f"(?P<src>{_REGISTER})",
    "OLD": f"(?P<old>{_REGISTER})",
    "OPERAND": f"(?P<src>{_REGISTER}|[+-]? {_DIGITS})",
    "NUMBER": f"(?P<imm>[+-]? {_DIGITS})",
    "OFFSET": f"(?P<imm>{_OFFSET})",
    "BITS": "(?P<bits>8|16|32|64)",
    "PLACE": rf"\( (?P<sign>[us])(?P<bits>8|16|32|64) \* \) \( {_ADDRESS} \)",
    "ADDRESS": _ADDRESS,
    "TARGET": f"(?P<target>(?:pc)? {_OFFSET}|{_LABEL})",
    "MAP": r"(?P<map>[^\]]+)",
    "ALU": f"(?P<op>{_any(_ALU)})",
    "JUMP": f"(?P<op>{_any(_JUMPS)})",
    "ATOMIC": f"(?P<op>{_any(_ATOMICS)})",
    "FETCH": f"(?P<op>{_any(op.name.lower() for op in ATOMIC_SIGNS)})",
    "EXCHANGE": f"(?P<word>{_any(_EXCHANGES)})",
    "SWAP": f"(?P<word>{_any(_SWAPS)})",
}
_Builder = Callable[[_Statement, re.Match[str]], Instruction]
_TEMPLATES: Final[tuple[tuple[str, _Builder], ...]] = (
    ("exit", lambda _at, _found: Exit()),
    ("(?P<word>gotol?)~TARGET", _goto),
    ("if~DST JUMP OPERAND~goto~TARGET", _branch),
    ("call~NUMBER", _call_helper),
    (f"call~{_LABEL}#NUMBER", _call_helper),
    ("call~kernel-function#NUMBER(?:@(?P<module>-?[0-9]{1,5}))?", _call_btf),
    ("call~TARGET", _call_local),
    (r"lock \* PLACE ATOMIC SRC", _lock),
    (r"DST = atomic_fetch_FETCH \( PLACE , SRC \)", _fetch),
    (r"DST = EXCHANGE \( ADDRESS ,(?: OLD ,)? SRC \)", _exchange),
    (r"\* PLACE = OPERAND", _store),
    (r"DST = \* PLACE", _load),
    (r"r0 = \* \( uBITS \* \) skb \[ NUMBER \]", _packet),
    (r"r0 = \* \( uBITS \* \) skb \[ SRC OFFSET? \]", _packet),
    ("DST = NUMBER~ll", _constant),
    (r"DST = map \[MAP\]~ll", _map),
    (r"DST = map_value \[MAP\] OFFSET?~ll", _map_value),
    (r"DST = func \[ TARGET \]~ll", _function),
    (r"DST = \( sBITS \) SRC", _move_signed),
    ("DST = - SRC", _negate),
    ("DST = (?:SWAP)(?:BITS)~SRC", _swap),
    ("DST ALU OPERAND", _alu),
)


@cache
def _forms() -> tuple[tuple[re.Pattern[str], _Builder], ...]:
    return tuple((_form(template), build) for template, build in _TEMPLATES)


def _form(template: str) -> re.Pattern[str]:
    whole = re.sub("[A-Z]{2,}", lambda found: _PARTS[found[0]], template)
    return re.compile(whole.replace(" ", " ?").replace("~", " "))
