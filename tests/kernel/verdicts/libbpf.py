"""The running kernel's verdict on every program of an object, with libbpf (by ctypes) as the loader.

Not here: our verdict. libbpf makes maps, loads BTF, relocates and attaches types as it does for everybody; each program is
loaded alone, so that one that is refused does not hide the others.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, final

from tests.kernel.verdicts.verdict import Verdict

__all__ = ["Libbpf", "last_words"]

_LOG_SIZE: Final = 1 << 20
_STATISTICS: Final = 4  # BPF_LOG_STATS: the reason of a refusal and the count of steps, no states
_SIZED: Final = frozenset({1, 2, 5, 6, 9, 10, 14, 16, 17, 25})
"""Types of maps that must have entries: hashes, arrays, and the maps of targets that are like them."""

_ENTRIES: Final = 64
_PROCESSED: Final = re.compile(r"processed (\d+) insns")
_Printer: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_HANDLE: Final = ctypes.c_void_p
_NOISE: Final = ("processed ", "verification time", "stack depth", "-- ", "libbpf:", "insns_cnt", "Func#", "arg#")


def last_words(log: str) -> str:
    """The line of a verifier's log that says why it ended; empty where it only has statistics."""
    lines = (each.strip() for each in reversed(log.splitlines()))
    return next((each for each in lines if each and not each.startswith(_NOISE)), "")


@final
class Libbpf:
    """The library; `programs` names those of an object, `verdict` judges one of them. Raises OSError without it."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("bpf")
        if name is None:
            raise OSError("libbpf is not installed")
        self._bpf = ctypes.CDLL(name, use_errno=True)
        self._libc = ctypes.CDLL(None)
        for function, result, arguments in (
            ("bpf_object__open_file", _HANDLE, (ctypes.c_char_p, _HANDLE)),
            ("bpf_object__next_program", _HANDLE, (_HANDLE, _HANDLE)),
            ("bpf_object__next_map", _HANDLE, (_HANDLE, _HANDLE)),
            ("bpf_object__load", ctypes.c_int, (_HANDLE,)),
            ("bpf_object__close", None, (_HANDLE,)),
            ("bpf_map__type", ctypes.c_int, (_HANDLE,)),
            ("bpf_map__max_entries", ctypes.c_uint, (_HANDLE,)),
            ("bpf_map__set_max_entries", ctypes.c_int, (_HANDLE, ctypes.c_uint)),
            ("bpf_map__set_pin_path", ctypes.c_int, (_HANDLE, ctypes.c_char_p)),
            ("bpf_program__name", ctypes.c_char_p, (_HANDLE,)),
            ("bpf_program__section_name", ctypes.c_char_p, (_HANDLE,)),
            ("bpf_program__set_autoload", ctypes.c_int, (_HANDLE, ctypes.c_bool)),
            ("bpf_program__set_log_buf", ctypes.c_int, (_HANDLE, _HANDLE, ctypes.c_size_t)),
            ("bpf_program__set_log_level", ctypes.c_int, (_HANDLE, ctypes.c_uint)),
        ):
            entry = getattr(self._bpf, function)
            entry.restype, entry.argtypes = result, arguments
        self._said: list[str] = []
        self._printer = _Printer(self._print)
        self._bpf.libbpf_set_print(self._printer)
        self._log = ctypes.create_string_buffer(_LOG_SIZE)

    def programs(self, path: Path) -> list[tuple[str, str]]:
        """Name and section of each program; raises OSError with what libbpf complains about."""
        handle = self._open(path)
        try:
            return [(self._name(each), self._section(each)) for each in self._each(handle)]
        finally:
            self._bpf.bpf_object__close(handle)

    def verdict(self, path: Path, name: str) -> Verdict:
        """What the kernel says to one program of the object."""
        handle = self._open(path)
        try:
            return self._load(handle, name)
        finally:
            self._bpf.bpf_object__close(handle)

    def _load(self, handle: int, name: str) -> Verdict:
        for each in self._each(handle):
            self._bpf.bpf_program__set_autoload(each, self._name(each) == name)
            self._bpf.bpf_program__set_log_buf(each, self._log, _LOG_SIZE)
            self._bpf.bpf_program__set_log_level(each, _STATISTICS)
        self._prepare_maps(handle)
        self._log[0] = b"\0"
        self._said.clear()
        started = time.process_time()
        result = self._bpf.bpf_object__load(handle)
        seconds = time.process_time() - started
        log = self._log.value.decode("utf-8", "replace")
        found = _PROCESSED.search(log)
        steps = int(found[1]) if found else 0
        reason = last_words(log)
        if result == 0 or (steps and not reason):  # the object may still fail for another program's sake
            return Verdict(accepted=True, steps=steps, seconds=seconds)
        if reason:
            return Verdict(accepted=False, message=reason, steps=steps, seconds=seconds)
        words = next((each for each in self._said if "failed" in each or "error" in each), os.strerror(-result))
        refused = any("BPF program load failed" in each for each in self._said)
        return Verdict(accepted=False if refused else None, message=words, seconds=seconds)

    def _open(self, path: Path) -> int:
        self._said.clear()
        handle = self._bpf.bpf_object__open_file(os.fsencode(path), None)
        if not handle:
            raise OSError(ctypes.get_errno(), f"{path.name}: {'; '.join(self._said) or 'libbpf cannot open it'}")
        return int(handle)

    def _prepare_maps(self, handle: int) -> None:
        """No map is to be left in the BPF file system; maps whose size the user sets before loading get one."""
        each = self._bpf.bpf_object__next_map(handle, None)
        while each:
            self._bpf.bpf_map__set_pin_path(each, None)
            if self._bpf.bpf_map__type(each) in _SIZED and not self._bpf.bpf_map__max_entries(each):
                self._bpf.bpf_map__set_max_entries(each, _ENTRIES)
            each = self._bpf.bpf_object__next_map(handle, each)

    def _each(self, handle: int) -> Iterator[int]:
        each = self._bpf.bpf_object__next_program(handle, None)
        while each:
            yield each
            each = self._bpf.bpf_object__next_program(handle, each)

    def _name(self, program: int) -> str:
        return str(self._bpf.bpf_program__name(program).decode())

    def _section(self, program: int) -> str:
        return str(self._bpf.bpf_program__section_name(program).decode())

    def _print(self, level: int, form: bytes, arguments: int) -> int:
        """What libbpf says, warnings only; a va_list is handed on as it came."""
        if level == 0:
            line = ctypes.create_string_buffer(1024)
            self._libc.vsnprintf(line, ctypes.c_size_t(1024), form, ctypes.c_void_p(arguments))
            self._said.append(line.value.decode("utf-8", "replace").strip())
        return 0
