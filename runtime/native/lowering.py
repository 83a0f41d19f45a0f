"""The intrinsics as LLVM IR: one small function each, inlined wherever a native calls it.

Not here: their meaning (intrinsics.py has the same names under Python).

An address argument arrives as two words, base and offset (rewrite.py splits them), and becomes a
`getelementptr`: LLVM can then tell two fields of one record apart and keep records in registers.
"""

from __future__ import annotations

import errno
import platform
import select
from typing import Final

__all__ = ["ATTRIBUTES", "DECLARATIONS", "PREFIX", "SHAPES", "definition"]

PREFIX: Final = "xi_"
PIDFD_OPEN: Final = 434  # the same on all architectures
POLLIN: Final = select.POLLIN

ATTRIBUTES: Final = "nounwind null_pointer_is_valid"
"""Of every function that we make: LLVM inlines only between functions that agree about null."""

_PAUSE: Final = {"x86_64": "pause", "aarch64": "yield"}.get(platform.machine(), "")

_LOAD: Final = """
%v = load i{n}, ptr %p0, align 1
%r = zext i{n} %v to i64
"""
_STORE: Final = """
%v = trunc i64 %w1 to i{n}
store i{n} %v, ptr %p0, align 1
"""
_ACQUIRE: Final = """
%v = load atomic i{n}, ptr %p0 acquire, align {bytes}
%r = zext i{n} %v to i64
"""
_RELEASE: Final = """
%v = trunc i64 %w1 to i{n}
store atomic i{n} %v, ptr %p0 release, align {bytes}
"""
_UPDATE: Final = """
%v = trunc i64 %w1 to i{n}
%o = atomicrmw {op} ptr %p0, i{n} %v seq_cst, align {bytes}
%r = zext i{n} %o to i64
"""
_COMPARE_AND_SWAP: Final = """
%e = trunc i64 %w1 to i{n}
%v = trunc i64 %w2 to i{n}
%s = cmpxchg ptr %p0, i{n} %e, i{n} %v seq_cst seq_cst, align {bytes}
%o = extractvalue {{ i{n}, i1 }} %s, 0
%r = zext i{n} %o to i64
"""
_SWAP: Final = """
%v = trunc i64 %w0 to i{n}
%s = call i{n} @llvm.bswap.i{n}(i{n} %v)
%r = zext i{n} %s to i64
"""
_ORDER: Final = """
%c = icmp {op} i64 %w0, %w1
%r = zext i1 %c to i64
"""
_BITS: Final = "%r = call i64 @llvm.{op}.i64(i64 %w0, i1 false)"
_EXPECT: Final = "%r = call i64 @llvm.expect.i64(i64 %w0, i64 {op})"
_COPY: Final = "call void @llvm.{op}.p0.p0.i64(ptr align 1 %p0, ptr align 1 %p1, i64 %w2, i1 false)"
_DIVIDE: Final = """
%z = icmp eq i64 %w1, 0
%d = select i1 %z, i64 1, i64 %w1
%q = {op} i64 %w0, %d
%r = select i1 %z, i64 {zero}, i64 %q
"""
_MULTIPLY: Final = """
%a = zext i64 %w0 to i128
%b = zext i64 %w1 to i128
%m = mul i128 %a, %b
%h = lshr i128 %m, 64
%r = trunc i128 %h to i64
"""
# A process that has ended and waits to be collected by its parent still answers to kill, and its pidfd is readable.
_ALIVE: Final = f"""
%poll = alloca i64
%d = call i64 (i64, ...) @syscall(i64 {PIDFD_OPEN}, i64 %w0, i64 0)
%opened = icmp sge i64 %d, 0
br i1 %opened, label %look, label %ask
look:
%low = and i64 %d, 4294967295
%events = or i64 %low, {POLLIN << 32}
store i64 %events, ptr %poll
%ready = call i32 @poll(ptr %poll, i64 1, i32 0)
%fd = trunc i64 %d to i32
%closed = call i32 @close(i32 %fd)
%running = icmp eq i32 %ready, 0
br label %end
ask:
%n = trunc i64 %w0 to i32
%k = call i32 @kill(i32 %n, i32 0)
%e = call ptr @__errno_location()
%v = load i32, ptr %e
%a = icmp eq i32 %k, 0
%b = icmp eq i32 %v, {errno.EPERM}
%c = or i1 %a, %b
br label %end
end:
%alive = phi i1 [ %running, %look ], [ %c, %ask ]
%r = zext i1 %alive to i64
"""
# As the kernel answers: the error with a minus, not in errno.
_SYSTEM: Final = """
%v = call i64 (i64, ...) @syscall(i64 %w0, i64 %w1, i64 %w2, i64 %w3, i64 %w4, i64 %w5, i64 %w6)
%failed = icmp eq i64 %v, -1
%place = call ptr @__errno_location()
%number = load i32, ptr %place
%word = zext i32 %number to i64
%error = sub i64 0, %word
%r = select i1 %failed, i64 %error, i64 %v
"""
_CLOCK: Final = """
%t = alloca [2 x i64]
%c = trunc i64 {op} to i32
%x = call i32 @clock_gettime(i32 %c, ptr %t)
%s = load i64, ptr %t
%np = getelementptr i8, ptr %t, i64 8
%n = load i64, ptr %np
%m = mul i64 %s, 1000000000
%r = add i64 %m, %n
"""


def _widths(name: str, parameters: str, body: str, widths: tuple[int, ...], op: str = "") -> dict[str, tuple[str, str]]:
    rows = {}
    for n in widths:
        text = body.format(n=n, bytes=n // 8, op=op)
        if n == 64:  # no conversion from a word to itself
            for line in ("%v = trunc i64 %w1", "%v = trunc i64 %w2", "%e = trunc i64 %w1", "%v = trunc i64 %w0"):
                text = text.replace(f"{line} to i64", line.replace("trunc i64", "add i64 0,"))
            text = text.replace("zext i64 %v to i64", "add i64 0, %v").replace("zext i64 %o to i64", "add i64 0, %o")
            text = text.replace("zext i64 %s to i64", "add i64 0, %s")
        rows[f"{name}{n}"] = (parameters, text)
    return rows


# Name → its parameters (p: an address, w: a word) and its body; %p0 and %w1 are the arguments by position,
# %r is the result. A body without %r gives 0.
_ROWS: Final[dict[str, tuple[str, str]]] = {
    **_widths("load", "p", _LOAD, (8, 16, 32, 64)),
    **_widths("store", "pw", _STORE, (8, 16, 32, 64)),
    **_widths("load_acquire", "p", _ACQUIRE, (32, 64)),
    **_widths("store_release", "pw", _RELEASE, (32, 64)),
    **_widths("atomic_add", "pw", _UPDATE, (32, 64), "add"),
    **_widths("atomic_and", "pw", _UPDATE, (32, 64), "and"),
    **_widths("atomic_or", "pw", _UPDATE, (32, 64), "or"),
    **_widths("atomic_xor", "pw", _UPDATE, (32, 64), "xor"),
    **_widths("xchg", "pw", _UPDATE, (32, 64), "xchg"),
    **_widths("cas", "pww", _COMPARE_AND_SWAP, (32, 64)),
    **_widths("bswap", "w", _SWAP, (16, 32, 64)),
    "memcpy": ("ppw", _COPY.format(op="memcpy")),
    "memmove": ("ppw", _COPY.format(op="memmove")),
    "memzero": ("pw", "call void @llvm.memset.p0.i64(ptr align 1 %p0, i8 0, i64 %w1, i1 false)"),
    "memeq": ("ppw", "%x = call i32 @bcmp(ptr %p0, ptr %p1, i64 %w2)\n%c = icmp eq i32 %x, 0\n%r = zext i1 %c to i64"),
    "shr": ("ww", "%n = and i64 %w1, 63\n%r = lshr i64 %w0, %n"),
    "ult": ("ww", _ORDER.format(op="ult")),
    "ule": ("ww", _ORDER.format(op="ule")),
    "udiv": ("ww", _DIVIDE.format(op="udiv", zero="0")),
    "urem": ("ww", _DIVIDE.format(op="urem", zero="%w0")),
    "mulhi": ("ww", _MULTIPLY),
    "clz64": ("w", _BITS.format(op="ctlz")),
    "ctz64": ("w", _BITS.format(op="cttz")),
    "popcount64": ("w", "%r = call i64 @llvm.ctpop.i64(i64 %w0)"),
    "sext32": ("w", "%v = trunc i64 %w0 to i32\n%r = sext i32 %v to i64"),
    "zext32": ("w", "%r = and i64 %w0, 4294967295"),
    "max": ("ww", "%r = call i64 @llvm.smax.i64(i64 %w0, i64 %w1)"),
    "min": ("ww", "%r = call i64 @llvm.smin.i64(i64 %w0, i64 %w1)"),
    "fence": ("", "fence seq_cst"),
    "pause": ("", f'call void asm sideeffect "{_PAUSE}", "~{{memory}}"()'),
    "prefetch": ("p", "call void @llvm.prefetch.p0(ptr %p0, i32 0, i32 3, i32 1)"),
    "clock_ns": ("w", _CLOCK.format(op="%w0")),
    "monotonic_ns": ("", _CLOCK.format(op="1")),
    "process_alive": ("w", _ALIVE),
    "syscall": ("wwwwwww", _SYSTEM),
    "likely": ("w", _EXPECT.format(op=1)),
    "unlikely": ("w", _EXPECT.format(op=0)),
    "call_program": ("ww", "%r = call i64 @xs_call_program(i64 %w0, i64 %w1)"),
    "call_entry": ("www", "%f = inttoptr i64 %w0 to ptr\n%r = call i64 %f(i64 %w1, i64 %w2)"),
}

SHAPES: Final = {name: row[0] for name, row in _ROWS.items()}
"""For each intrinsic but stack_alloc its parameters: p an address, w a word."""

DECLARATIONS: Final = """
declare i16 @llvm.bswap.i16(i16)
declare i32 @llvm.bswap.i32(i32)
declare i64 @llvm.bswap.i64(i64)
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)
declare i64 @llvm.ctpop.i64(i64)
declare i64 @llvm.expect.i64(i64, i64)
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
declare i32 @bcmp(ptr, ptr, i64)
declare i32 @clock_gettime(i32, ptr)
declare i32 @kill(i32, i32)
declare i32 @close(i32)
declare i32 @poll(ptr, i64, i32)
declare i64 @syscall(i64, ...)
declare ptr @__errno_location()
declare i64 @xs_call_program(i64, i64)
"""
"""What the bodies call."""


def definition(name: str) -> str:
    """The IR of an intrinsic: i64 @xi_NAME(words), two words for an address."""
    kinds, body = _ROWS[name]
    parameters, lines = [], []
    for at, kind in enumerate(kinds):
        if kind == "p":
            parameters += [f"i64 %base{at}", f"i64 %offset{at}"]
            lines += [
                f"%at{at} = inttoptr i64 %base{at} to ptr",
                f"%p{at} = getelementptr i8, ptr %at{at}, i64 %offset{at}",
            ]
        else:
            parameters.append(f"i64 %w{at}")
    lines.append(body.strip())
    lines.append("ret i64 %r" if "%r =" in body else "ret i64 0")
    text = "\n".join(lines)
    return f"define internal i64 @{PREFIX}{name}({', '.join(parameters)}) alwaysinline {{\n{text}\n}}\n"
