"""LLVM's back half behind a small face: parse, link, optimise, emit, load.

Not here: where IR comes from (compiler.py for natives, the JIT for programs). Everything takes one lock: the target
machine and the JIT are shared. $XDPSIM_DEBUG=native,ir,asm prints those stages on stderr.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from threading import RLock
from typing import Any, Final, final

from runtime.errors import InternalError

__all__ = [
    "EXTERNALS",
    "Loaded",
    "assembly",
    "debug",
    "emit",
    "header",
    "host",
    "internalise",
    "link",
    "load",
    "optimise",
    "parse",
    "unresolved",
]

EXTERNALS: Final = (
    "__errno_location",
    "bcmp",
    "clock_gettime",
    "close",
    "kill",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "poll",
    "syscall",
)
"""Functions of the C library that compiled code may call."""

Module = Any
_lock: Final = RLock()
_SESSION_UNITS: Final = 256


def debug(stage: str, title: str, text: Callable[[], str]) -> None:
    """Print a stage on stderr when $XDPSIM_DEBUG names it."""
    if stage in os.environ.get("XDPSIM_DEBUG", "").split(","):
        print(f"; {stage}: {title}\n{text()}", file=sys.stderr)  # noqa: T201 - the knob's whole purpose


@cache
def _binding() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmparser()  # inline assembly
    binding.initialize_native_asmprinter()
    return binding


@cache
def host() -> str:
    """The processor that code is compiled for, its name and features."""
    binding = _binding()
    return f"{binding.get_process_triple()} {binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}"


@cache
def _machine() -> Any:
    binding = _binding()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=2,
        reloc="pic",
        codemodel="small",
        jit=True,
    )


@final
class _Session:
    """One LLJIT, for a number of units; it goes with the last of them.

    An LLJIT keeps some memory for everything that it ever loaded.
    """

    current: _Session | None = None

    def __init__(self) -> None:
        self.jit = _binding().create_lljit_compiler(_machine())
        self.made = 0
        self.live = 0

    @classmethod
    def take(cls) -> _Session:
        session = cls.current
        if session is None or session.made == _SESSION_UNITS:
            session = cls.current = _Session()
        session.made += 1
        session.live += 1
        return session

    def give(self) -> None:
        self.live -= 1
        if self.live == 0 and self is not _Session.current:
            self.jit.close()


@cache
def header() -> str:
    """The first lines of any module for this processor."""
    machine = _machine()
    return f'target datalayout = "{machine.target_data}"\ntarget triple = "{machine.triple}"\n'


def parse(source: str | bytes) -> Module:
    """A module in a context of its own, from IR text or bitcode; raises InternalError with LLVM's words."""
    binding = _binding()
    try:
        with _lock:
            context = binding.create_context()
            read = binding.parse_assembly if isinstance(source, str) else binding.parse_bitcode
            return read(source, context)
    except RuntimeError as error:
        raise InternalError(f"LLVM does not accept its input: {error}") from error


def link(module: Module, parts: Iterable[bytes]) -> None:
    """Link bitcode into a module."""
    try:
        with _lock:
            for part in parts:
                module.link_in(_binding().parse_bitcode(part, module._context))  # noqa: SLF001 - modules link in one context
    except RuntimeError as error:
        raise InternalError(f"LLVM cannot link: {error}") from error


def internalise(module: Module, public: Collection[str]) -> None:
    """Keep definitions for the module itself, except those of the given names."""
    with _lock:
        for each in (*module.functions, *module.global_variables):
            if not each.is_declaration and each.name not in public:
                each.linkage = "internal"


def optimise(module: Module, *, level: int = 2, vectorise: bool = True) -> None:
    """Verify a module and run LLVM's pipeline of that level on it."""
    binding = _binding()
    with _lock:
        try:
            module.verify()
        except RuntimeError as error:
            raise InternalError(f"LLVM rejects the module: {error}") from error
        options = binding.create_pipeline_tuning_options(level)
        options.loop_vectorization = vectorise
        options.slp_vectorization = vectorise
        builder = binding.create_pass_builder(_machine(), options)
        builder.getModulePassManager().run(module, builder)


def emit(module: Module) -> bytes:
    """The module as a relocatable object file; the module is spent, since code generation rewrites it."""
    with _lock:
        return bytes(_machine().emit_object(module))


def assembly(module: Module) -> str:
    """The module as assembly text; the module stays as it is, which `emit` does not promise."""
    with _lock:
        return str(_machine().emit_assembly(module.clone()))


def unresolved(module: Module) -> frozenset[str]:
    """Names that the module uses and does not define, without LLVM's own and the permitted externals."""
    with _lock:
        values = [*module.functions, *module.global_variables]
        names = {each.name for each in values if each.is_declaration and not each.name.startswith("llvm.")}
    return frozenset(names.difference(EXTERNALS))


@cache
def _external_addresses() -> Mapping[str, int]:
    library = ctypes.CDLL(None)
    return {name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0 for name in EXTERNALS}


@final
class Loaded:
    """An object file in memory, bound to addresses. Its code may run until `close`."""

    __slots__ = ("_exports", "_session", "_tracker")

    def __init__(self, session: _Session, tracker: Any, exports: frozenset[str]) -> None:
        self._session = session
        self._tracker = tracker
        self._exports = exports

    def address(self, name: str) -> int:
        """The address of an exported symbol; raises InternalError."""
        if self._tracker is None or name not in self._exports:
            raise InternalError(f"no address for {name}")
        return int(self._tracker[name])

    def close(self) -> None:
        """Free the code."""
        with _lock:
            if self._tracker is not None:
                self._tracker.close()
                self._session.give()
                self._tracker = None


def load(data: bytes, *, imports: Mapping[str, int], exports: Iterable[str]) -> Loaded:
    """Bring an object file into memory and bind its undefined symbols; raises InternalError."""
    wanted = frozenset(exports)
    with _lock:
        builder = _binding().JITLibraryBuilder().add_object_img(data)
        for name, address in {**_external_addresses(), **imports}.items():
            builder.import_symbol(name, address)
        for name in wanted:
            builder.export_symbol(name)
        session = _Session.take()
        try:
            return Loaded(session, builder.link(session.jit, f"unit{session.made}"), wanted)
        except RuntimeError as error:
            session.give()
            raise InternalError(f"LLVM cannot load compiled code: {error}") from error
