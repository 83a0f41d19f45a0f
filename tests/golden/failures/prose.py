"""What is to be said of each code of failure, whatever the program.

Not here: messages and programs; the document is put together by make_document.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple, final

from runtime.verifier import FailureCode, WarningCode

__all__ = ["PROSE", "WARNINGS", "Prose"]


@final
class Prose(NamedTuple):
    """In Markdown, a paragraph each."""

    meaning: str
    cause: str
    fix: str


PROSE: Final[Mapping[FailureCode, Prose]] = {
    FailureCode.PACKET_OOB: Prose(
        "An access to the packet, or to its metadata, that no comparison has shown to lie inside.",
        "A frame may have any length. Bytes count as present on a path only after a comparison of a pointer with `data_end` "
        "(of metadata: with `data`) whose outcome on that path says so. The message tells which bytes are touched and how "
        "many are proven. A comparison of the wrong pointer, with too small an amount, or behind the access proves nothing "
        "that helps. A pointer that was moved by a number which is not a constant starts with no bytes proven.",
        "Compare before the access, and leave when the last byte would lie behind the end: the message gives the amount. "
        "The compiler may read one member only; the size of the whole header is the better amount.",
    ),
    FailureCode.MAP_OOB: Prose(
        "An access outside the value of a map.",
        "The message gives all the bytes that the access may touch over all values of the index, and the size of the value. "
        "An index from the packet or from a map may have any value of its type; a signed one may be negative.",
        "Compare the index with both limits, mask it with a power of two less one, or make it unsigned. Where no index is "
        "involved, the pointer's type does not fit the map's value.",
    ),
    FailureCode.NULL_DEREF: Prose(
        "The result of a lookup is used where it may be null.",
        "`bpf_map_lookup_elem` gives null for a key that is not there. Arrays are no exception, unless the key is a "
        "constant below the number of entries. A test counts on the paths behind it only.",
        "Leave, or take another branch, when the pointer is null, on every path and before it is moved.",
    ),
    FailureCode.BAD_DEREF: Prose(
        "An access through something that is no pointer, or no pointer that allows it.",
        "Numbers are not addresses: not fields of the context other than `data`, `data_end` and `data_meta`, not values "
        "that were read from a packet or a map, and not a null. Pointers to maps and to the end of the packet exist to "
        "be passed and compared. Atomic operations work on the stack and on map values.",
        "Take the pointer from the context, from a lookup or from a variable. If the message says that it is null, the "
        "test of a lookup is the wrong way round.",
    ),
    FailureCode.STALE_POINTER: Prose(
        "A packet pointer is used that was loaded before the packet moved.",
        "`bpf_xdp_adjust_head`, `bpf_xdp_adjust_tail`, `bpf_xdp_adjust_meta` and other helpers that change the frame may move it or "
        "cut it. Every packet pointer from before is void, whether the call succeeds or not, in the functions that called "
        "this one too; so is every comparison.",
        "Read `ctx->data` and `ctx->data_end` again after the call and compare again, or do what needs the packet before.",
    ),
    FailureCode.UNINIT_REG: Prose(
        "A register is read that was not written on this path.",
        "In C: a variable without a value on some path, or a function without `return`. In assembly: r1 to r5 "
        "after a call, which leaves them unset. At the start of a program only r1, the context, and r10 are set.",
        "Give the variable a value where it is declared, return on every path. The compiler tells with `-Wall`.",
    ),
    FailureCode.STACK: Prose(
        "An access outside the stack, pointers on it that would be cut or overwritten, or too much of it.",
        "A function's stack is the bytes [-512, 0) below r10, and all functions that are active at once share 512 bytes, each "
        "rounded up to 16. An index or a size that is not limited reaches beyond. A pointer on the stack is "
        "stored and loaded whole, at a known place.",
        "Limit the index or the size. Move large buffers to the value of a per-CPU array.",
    ),
    FailureCode.POINTER_ARITHMETIC: Prose(
        "Arithmetic that makes no pointer that can be followed.",
        "Pointers into the packet, the stack and map values are moved by adding and subtracting numbers in 64 bits; the "
        "number must be limited. Two packet pointers may be subtracted. Nothing else is possible with a "
        "pointer, and nothing at all with `data_end`.",
        "Check or mask the number before it is added. Calculate with differences of pointers, and start from `data` instead of "
        "from the end: `bpf_xdp_get_buff_len` tells how long a frame is, and `bpf_xdp_load_bytes` reads at an offset.",
    ),
    FailureCode.CONTEXT: Prose(
        "An access to the context that the program's type does not have.",
        "Each program type has a struct of its own as context, with fields that may be read or written in certain widths. "
        "What another type has, or what this type has for another attach type, does not exist here.",
        "Use the struct of the program type (`struct xdp_md` for XDP) and read whole fields.",
    ),
    FailureCode.HELPER: Prose(
        "A helper that this program may not call.",
        "Every program type has a set of helpers. Some are for programs with a GPL-compatible license only, `bpf_printk` "
        "among them. A map of an unknown type cannot be passed to any helper.",
        "Use the helper that this type has for the purpose, or declare the license: "
        '`char LICENSE[] SEC("license") = "GPL";`.',
    ),
    FailureCode.HELPER_ARG: Prose(
        "A helper gets an argument that it does not take.",
        "The message counts arguments from 1. Sizes are limited above, not negative and, for most helpers, not 0; the "
        "memory must have as many bytes as the largest possible size. Keys and values are passed by "
        "address. The context is passed as the program got it. A helper takes certain kinds of maps.",
        "Check a size against the buffer before the call, or mask it; make it unsigned. Pass addresses of variables that are set.",
    ),
    FailureCode.LEAK: Prose(
        "An address would become visible outside the program, or decide what the program does.",
        "Addresses of the kernel are secret. A pointer that is stored in a map or a packet, returned, passed as a number, "
        "or compared with a number gives it away. The kernel tolerates this from root; here it is rejected by default "
        '(`Policy(leaks="warn")` tolerates it too).',
        "Store, return and compare numbers: offsets, or differences of two pointers.",
    ),
    FailureCode.LOOP: Prose(
        "A loop that may go on for ever.",
        "A path comes back to the beginning of a loop with everything as it was that decides how it goes on. This is so when the loop "
        "waits for something that others change, and when it moves on by an amount that may be 0.",
        "Count the rounds and leave after a constant number of them.",
    ),
    FailureCode.BUDGET: Prose(
        "The proof was not finished within its budget of steps.",
        "Each path is followed until it meets one that is known to be safe. Paths that differ in a number that matters later do not "
        "meet; decisions in a row double them, and loops multiply them. The place that the message names is where the budget "
        "ran out, not where the mistake is. The kernel has the same limit of a million instructions.",
        "Take fewer decisions in a loop, count instead of collecting, forget a number (mask it, or keep it in a map) before the next "
        "decision, or put the body in a function for `bpf_loop`.",
    ),
    FailureCode.RETURN: Prose(
        "A return value outside what is allowed.",
        "Some program types, and callbacks of helpers, may return certain numbers only: callbacks of `bpf_loop` 0 to go on "
        "and 1 to stop. XDP programs may return any number; unknown ones are treated as `XDP_ABORTED`.",
        "Return a constant, on every path.",
    ),
    FailureCode.INSTRUCTION: Prose(
        "An instruction that is wrong by itself, whatever the values.",
        "The kernel refuses division by the constant 0, shifts by the width or more, and writing r10. Compilers emit none of "
        "these for C that is defined; they come from assembly. Division by a variable is allowed: division by 0 gives 0.",
        "Change the operand.",
    ),
    FailureCode.STRUCTURE: Prose(
        "The code is no program: control leaves it.",
        "Every function ends in an exit or a jump, and every jump leads to an instruction of the same function. Compilers "
        "break this where the C has no defined behaviour, such as after `__builtin_unreachable()`.",
        "Return where the function ends.",
    ),
    FailureCode.READ_ONLY: Prose(
        "A write to memory that programs may only read, or a read of what they may only write.",
        "Constants (`const volatile` variables are in the map `.rodata`) are frozen when the object is loaded. Maps with "
        "`BPF_F_RDONLY_PROG` or `BPF_F_WRONLY_PROG` are for one direction. Some program types may not write packets.",
        "Keep what changes in a variable that is not `const`, or in another map.",
    ),
    FailureCode.ALIGNMENT: Prose(
        "An access at an address that is no multiple of its size, where that is necessary.",
        "Atomic operations, and all instructions on the stack, need aligned addresses. Packets and map values may be "
        "accessed at any address otherwise.",
        "Leave out `packed`, or order the members so that each stands at a multiple of its size.",
    ),
    FailureCode.CALL: Prose(
        "Functions call each other too deeply.",
        "At most eight functions may be active at once, the program itself included. Recursion has no limit that the "
        "verifier could see.",
        "Let the compiler inline functions (`static` without `noinline`), or write recursion as a loop.",
    ),
    FailureCode.REFERENCE: Prose(
        "Something that a helper handed out is not given back, or is used after that.",
        "Some helpers give a pointer that the program owns (a socket, a reserved piece of a ring buffer) until it hands it to "
        "the helper that releases it. Every path has to release it once before the program, or the callback, ends.",
        "Release it on every path, also on those that leave early, and only where it is not null.",
    ),
    FailureCode.LOCK: Prose(
        "A spin lock is held where it may not be, or not held where it has to be.",
        "`bpf_spin_lock` and `bpf_spin_unlock` come in pairs on every path, for the same lock, one at a time. Between them "
        "programs call no helper and no function, and do not end.",
        "Unlock on every path before the next call or the return.",
    ),
    FailureCode.SPECIAL: Prose(
        "An access to a part of a map value that belongs to the system.",
        "A `struct bpf_spin_lock`, a `struct bpf_timer` and the like lie inside of values, and only their helpers touch them.",
        "Use the helpers, and copy the other members one by one.",
    ),
}

WARNINGS: Final[Mapping[WarningCode, str]] = {
    WarningCode.LEAK: 'With `--leaks warn` (`Policy(leaks="warn")`): an address becomes visible outside the program, as under `leak` '
    "above. Without it the program is rejected.",
    WarningCode.UNINIT_STACK: "Stack is read that no path, or not every path, has written. Frames start as zeroes here, and hold what "
    "was there before on other systems. Set all of a structure, its padding included. `--uninitialised-stack allow` keeps quiet.",
    WarningCode.UNREACHABLE: "No jump leads to some code. It is often left from a mistake in a condition. `--unreachable allow` keeps quiet.",
    WarningCode.DIVISION: "With `--division-by-zero warn`: a divisor may be 0. The result is defined (0, and for a remainder the dividend), "
    "and seldom what was meant. Leave when the divisor is 0.",
}
