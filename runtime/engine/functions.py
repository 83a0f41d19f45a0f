"""The least BTF that the kernel wants of programs that take the address of a function: a name and a type for each.

Not here: reading BTF (runtime.object). Types are all the same, static int (void): callbacks are checked by what they do.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from runtime.isa import CallLocal, Code, LoadFunction

__all__ = ["INFO_SIZE", "function_btf", "function_info", "function_starts"]

INFO_SIZE: Final = 8
"""Bytes of one struct bpf_func_info."""

_MAGIC: Final = 0xEB9F
_HEADER: Final = "<HBBIIIII"
_INT, _FUNC, _FUNC_PROTO = 1 << 24, 12 << 24, 13 << 24
_SIGNED_32: Final = 1 << 24 | 32
_FIRST: Final = 3  # after the int and the prototype


def function_starts(code: Code) -> tuple[int, ...]:
    """The slots where functions start, in order, when the code takes the address of one; otherwise nothing."""
    if not any(isinstance(each, LoadFunction) for each in code):
        return ()
    inner = {pc + 1 + each.offset for pc, each in enumerate(code) if isinstance(each, CallLocal | LoadFunction)}
    return tuple(sorted({0} | inner))


def function_btf(starts: Sequence[int]) -> bytes:
    """BTF with a function type for each start, from type id 3 on."""
    names = [b"int", *(b"f%d" % each for each in starts)]
    strings = b"\0" + b"".join(name + b"\0" for name in names)
    offsets = [1]
    for name in names:
        offsets.append(offsets[-1] + len(name) + 1)
    types = struct.pack("<IIII", offsets[0], _INT, 4, _SIGNED_32) + struct.pack("<III", 0, _FUNC_PROTO, 1)
    types += b"".join(struct.pack("<III", offsets[1 + i], _FUNC, _FIRST - 1) for i in range(len(starts)))
    header = struct.calcsize(_HEADER)
    return struct.pack(_HEADER, _MAGIC, 1, 0, header, 0, len(types), len(types), len(strings)) + types + strings


def function_info(starts: Sequence[int]) -> bytes:
    """An array of struct bpf_func_info: slot and type id of each start."""
    return b"".join(struct.pack("<II", start, _FIRST + i) for i, start in enumerate(starts))
