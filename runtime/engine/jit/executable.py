"""Compiled programs in memory, and the engine that makes them.

Not here: compilation (lower.py, link.py).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Final, final

from runtime.engine.jit.link import Image, image, listing
from runtime.engine.jit.lower_origins import NUMBER
from runtime.engine.jit.operations import address_of
from runtime.engine.jit.unit import MapShape
from runtime.engine.programs import PROGRAMS
from runtime.errors import InternalError
from runtime.native import llvm

if TYPE_CHECKING:
    from runtime.maps import Map
    from runtime.verifier import VerifiedProgram

__all__ = ["JitEngine", "JitExecutable"]

_DRIVE: Final = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


@final
class JitExecutable:
    """A program as machine code, bound to its maps. Threads may drive it at the same time, each with its environment."""

    def __init__(
        self, program: VerifiedProgram, maps: Sequence[Map], program_id: int, *, origins: bool = False
    ) -> None:
        self._program = program
        self._origins = origins
        self._shapes = tuple(MapShape(each.spec, each.kind) for each in maps)
        self._maps = tuple(maps)  # compiled code holds their addresses
        self._lock = Lock()
        self._loaded: list[llvm.Loaded] = []
        self._entry = 0
        self._id = program_id
        self._drive: Callable[[int, int], int] | None = None
        first = image(program, self._shapes, driven=program.program_type.driver is not None, origins=origins)
        address = self._load(first)
        if program.program_type.driver is None:
            self._entry = address
        else:
            self._drive = _DRIVE(address)
        if program_id:
            PROGRAMS.add(program_id, lambda: self.entry)
        self._tail_calls = first.tail_calls
        if first.tail_calls:
            PROGRAMS.publish()

    def _load(self, unit: Image) -> int:
        imports = {f"map{index}": self._maps[index].address for index in unit.maps}
        imports |= {each.symbol: address_of(each) for each in unit.operations}
        imports |= {NUMBER: self._id << 32} if unit.numbered else {}
        loaded = llvm.load(unit.data, imports=imports, exports=[unit.symbol])
        self._loaded.append(loaded)
        return loaded.address(unit.symbol)

    def drive(self, batch: int, environment: int) -> int:
        """Run the type's driver over the batch record at that address; returns what the driver returns.

        One native call, without the interpreter's lock. Raises InternalError for a type that has no driver.
        """
        if self._drive is None:
            raise InternalError(
                f"program type {self._program.program_type.name} has no driver, or the program is closed"
            )
        if self._tail_calls:
            PROGRAMS.bind(environment)
        return self._drive(batch, environment)

    @property
    def entry(self) -> int:
        """Where the program alone starts, a C function u64 (context*, environment*); compiled when first asked for."""
        with self._lock:
            if not self._entry:
                self._entry = self._load(image(self._program, self._shapes, driven=False, origins=self._origins))
            return self._entry

    def ir(self) -> str:
        """The program alone as LLVM IR, optimised, helpers and map operations inlined."""
        return listing(self._program, self._shapes)[0]

    def assembly(self) -> str:
        """The program alone as native assembly."""
        return listing(self._program, self._shapes)[1]

    def close(self) -> None:
        """Free the code; nothing may be running in it."""
        if self._id:
            PROGRAMS.remove(self._id)
        self._drive = None
        self._entry = 0
        for each in self._loaded:
            each.close()
        self._loaded.clear()


@final
class JitEngine:
    """LLVM through llvmlite, with objects cached on disk."""

    name = "jit"

    def load(
        self, program: VerifiedProgram, maps: Sequence[Map], *, program_id: int = 0, origins: bool = False
    ) -> JitExecutable:
        """Compile a program, or find it in the cache, and bind it to its maps, given by index.

        `program_id` is the process-wide number under which tail calls reach it; 0: none do. `origins`: it leaves in the
        environment where its result came from (Env.ORIGIN). Raises UnsupportedError for what this engine cannot run.
        """
        return JitExecutable(program, maps, program_id, origins=origins)
