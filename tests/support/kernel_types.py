"""What the running kernel lets each program type do: tiny programs, loaded to see what becomes of them.

`python -m tests.support.kernel_types` writes xdp/linux/helper_sets.py. Not here: comparisons.
"""

from __future__ import annotations

import ctypes
import os
import struct
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.support.kernel_maps import SYSCALL, libc
from tests.support.kernel_programs import EXIT, call, instruction, move

__all__ = ["NOT_AVAILABLE", "accepts", "helpers_of", "ranges"]

_PROG_LOAD: Final = 5
_LOG_SIZE: Final = 1 << 14
_LAST_HELPER: Final = 211
_LICENCE: Final = ctypes.create_string_buffer(b"GPL")
_LOG: Final = ctypes.create_string_buffer(_LOG_SIZE)

NOT_AVAILABLE: Final = (
    "cannot use helper",  # since 6.9
    "unknown func",  # before
    "invalid func",  # a number that the kernel has no helper for
    "might sleep in a non-sleepable prog",
    "not supported for program type",
    "helper call is not allowed",
)
"""How the kernel's log says that a program may not call a helper, whatever its arguments."""


def accepts(linux_type: int, attach_type: int, code: bytes, *, log: bool = False) -> tuple[bool, str]:
    """Whether the kernel accepts the program, and its log when that is asked for."""
    text = ctypes.create_string_buffer(code, len(code))
    _LOG[0] = b"\0"
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        linux_type,
        len(code) // 8,
        ctypes.addressof(text),
        ctypes.addressof(_LICENCE),
        1 if log else 0,
        _LOG_SIZE if log else 0,
        ctypes.addressof(_LOG) if log else 0,
        0,
        0,
        b"probe",
        0,
        attach_type,
    )
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    program = libc.syscall(SYSCALL, _PROG_LOAD, buffer, 144)
    if program >= 0:
        os.close(program)
        return True, ""
    return False, _LOG.value.decode("utf-8", "replace")


def helpers_of(linux_type: int, attach_type: int) -> frozenset[int]:
    """The helpers that such programs may call."""
    found = set()
    for number in range(1, _LAST_HELPER + 1):
        _, text = accepts(linux_type, attach_type, call(number) + move(0, 1) + EXIT, log=True)
        if not any(words in text for words in NOT_AVAILABLE):
            found.add(number)
    return frozenset(found)


def load_context(opcode: int, offset: int) -> bytes:
    """r0 = the context's bytes at the offset, then return 1."""
    return instruction(opcode, 0, 1, offset) + move(0, 1) + EXIT


def ranges(numbers: Iterable[int]) -> str:
    """Numbers in order, runs of them as first-last."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] + 1 == number:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return " ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in runs)


_HEAD: Final = '''"""Which helpers each program type of Linux may call, as Linux {release} says when it is asked.

Not here: what reads it (helpers.py). Written by `python -m tests.support.kernel_types`; tests/kernel asks again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BY_ATTACH_TYPE", "BY_TYPE", "EVERYWHERE"]

'''


def _text(numbers: frozenset[int], indent: int) -> str:
    """A string literal of at most 100 characters a line."""
    lines = textwrap.wrap(ranges(numbers), 96)
    if len(lines) == 1:
        return f'"{lines[0]}"'
    space = "\n" + " " * (indent + 4)
    parts = [f'"{line} "' for line in lines[:-1]] + [f'"{lines[-1]}"']
    return f"({space}{space.join(parts)}{space[:-4]})"


def _lines(name: str, table: dict[str, frozenset[int]], words: str) -> str:
    rows = "".join(f'    "{key}": {_text(numbers, 4)},\n' for key, numbers in table.items())
    return f'{name}: Final = {{\n{rows}}}\n"""{words}"""\n'


def _main() -> None:
    from xdp.linux import LINUX_PROGRAM_TYPES
    from xdp.sockets import NOT_LINUX, SOCKET_PROGRAM_TYPES

    kinds = [each for each in (*LINUX_PROGRAM_TYPES, *SOCKET_PROGRAM_TYPES) if each.linux_type is not None]
    by_way = {
        (kind.name, way.name if way else ""): helpers_of(kind.linux_type or 0, way.linux if way else 0)
        for kind in kinds
        for way in kind.attach_types or (None,)
        if way is None or way.linux < NOT_LINUX
    }
    everywhere = frozenset.intersection(*by_way.values())
    by_type = {
        kind.name: frozenset.intersection(*(each for (name, _), each in by_way.items() if name == kind.name))
        for kind in kinds
    }
    by_attach = {way: each - by_type[kind] for (kind, way), each in by_way.items() if each != by_type[kind]}
    text = _HEAD.format(release=".".join(os.uname().release.split(".")[:2]))
    text += f'EVERYWHERE: Final = {_text(everywhere, 0)}\n"""All types."""\n\n'
    text += _lines("BY_TYPE", {k: v - everywhere for k, v in by_type.items()}, "Beyond that, by program type.") + "\n"
    text += _lines("BY_ATTACH_TYPE", by_attach, "Beyond both, by attach type.")
    path = Path(__file__).parents[2] / "xdp" / "linux" / "helper_sets.py"
    path.write_text(text)


if __name__ == "__main__":
    _main()
