"""What a helper function takes and gives, and what carries it out.

Not here: any helper. Rows live with their natives, in runtime/helpers and in extensions.
The vocabulary is that of the kernel's `struct bpf_func_proto`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, final

__all__ = ["Arg", "ArgType", "Callback", "Given", "Helper", "MapOp", "NativeFunction", "Prototype", "ReturnType"]


class NativeFunction(Protocol):
    """A function made by `@native`: callable from Python, compilable to LLVM IR."""

    @property
    def symbol(self) -> str:
        """The name under which the function is linked."""
        ...

    def __call__(self, *args: int) -> int:
        """Run under the Python interpreter, on the memory that is registered."""
        ...


class ArgType(Enum):
    """What an argument register must hold (the kernel's ARG_*)."""

    ANYTHING = "anything"
    CONTEXT = "ctx"
    CONST_MAP = "map_ptr"
    MAP_KEY = "map_key"
    MAP_VALUE = "map_value"
    MEMORY = "mem"
    UNINIT_MEMORY = "uninit_mem"
    FIXED_MEMORY = "fixed_size_mem"
    CONST_SIZE = "const_size"
    CONST_SIZE_OR_ZERO = "const_size_or_zero"
    CONST_ALLOC_SIZE = "const_alloc_size_or_zero"
    ALLOC_MEMORY = "ringbuf_mem"
    STACK = "stack"
    CALLBACK = "func"
    SPIN_LOCK = "spin_lock"
    TIMER = "timer"
    INT = "int"
    LONG = "long"
    CONST_STRING = "const_str"
    SOCKET = "sock"
    SOCK_COMMON = "sock_common"
    ANY_SOCK_COMMON = "any_sock_common"
    BTF_ID = "btf_id"
    KPTR = "kptr"
    DYNPTR = "dynptr"
    PERCPU_BTF_ID = "percpu_btf_id"


class ReturnType(Enum):
    """What r0 holds after the call (the kernel's RET_*)."""

    INTEGER = "integer"
    VOID = "void"
    MAP_VALUE = "map_value"
    MAP_VALUE_OR_NULL = "map_value_or_null"
    ALLOC_MEMORY_OR_NULL = "ringbuf_mem_or_null"
    SOCKET_OR_NULL = "sock_or_null"
    SOCK_COMMON_OR_NULL = "sock_common_or_null"
    TCP_SOCK_OR_NULL = "tcp_sock_or_null"
    BTF_ID = "btf_id"
    BTF_ID_OR_NULL = "btf_id_or_null"
    MEMORY_OR_BTF_ID = "mem_or_btf_id"
    MEMORY_OR_BTF_ID_OR_NULL = "mem_or_btf_id_or_null"
    DYNPTR_MEMORY_OR_NULL = "dynptr_mem_or_null"


class MapOp(Enum):
    """An operation that every map kind may implement under its own native."""

    LOOKUP = "lookup"
    UPDATE = "update"
    DELETE = "delete"
    LOOKUP_PERCPU = "lookup_percpu"
    REDIRECT = "redirect"
    PUSH = "push"
    POP = "pop"
    PEEK = "peek"


@final
@dataclass(frozen=True, slots=True)
class Arg:
    """One argument; `size` in bytes is for FIXED_MEMORY; `writes` says the helper stores through it.

    `address`: the helper reads there, and fails where nothing is, so that a pointer is as good as a number.
    `releases`: what it holds is a reference, which the call gives back. `struct` names the object that a BTF_ID points to.
    """

    type: ArgType
    nullable: bool = False
    writes: bool = False
    size: int = 0
    releases: bool = False
    struct: str = ""
    address: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prototype:
    """Up to five arguments and a return, with what a call does to the state of the program.

    `packet_access`: memory arguments may point into the packet.
    `invalidates_packet`: every packet pointer is void afterwards.
    `acquires`: the returned pointer is a reference that must be released. `casts`: the result is the object of the first
    argument, and void when that is released. `struct` names the object that a BTF_ID result points to.
    `locks`, `unlocks`: a lock is held from, or until, this call.
    `returns`: inclusive signed bounds of an INTEGER result, where the helper promises some. `at_most`: the number of the
    argument that an INTEGER result does not exceed, a size; what is less than 0 is an errno.
    """

    args: tuple[Arg, ...] = ()
    ret: ReturnType = ReturnType.INTEGER
    packet_access: bool = False
    invalidates_packet: bool = False
    gpl_only: bool = False
    acquires: bool = False
    casts: bool = False
    struct: str = ""
    locks: bool = False
    unlocks: bool = False
    returns: tuple[int, int] | None = None
    at_most: int = 0


class Given(Enum):
    """What a helper makes for a callback, besides what it was itself given; MAP, KEY and VALUE are of the map in its r1.

    OBJECT is something of the kernel that is only handed on.
    """

    INDEX = "index"
    MAP = "map"
    KEY = "key"
    VALUE = "value"
    OBJECT = "object"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """The contract of a function that a helper calls.

    `function` is the helper's argument (1 to 5) that says which. `given` are what the function gets in r1, r2, …: a number n
    stands for argument n of the helper. `returns` are the inclusive bounds of its result. `count`: the argument that says how
    often it is called at most; `elements`: the argument that is the map whose elements it is called for. `later`: it is
    called after the program has ended, on a stack of its own.
    """

    function: int
    given: tuple[Given | int, ...]
    returns: tuple[int, int] = (0, 1)
    count: int = 0
    elements: int = 0
    later: bool = False


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Helper:
    """A helper: its UAPI number, its name without `bpf_`, its prototype, and what runs.

    Exactly one of these carries it out: `native`, called as native(env, ctx, r1, …) with as many words
    as the prototype has arguments; `map_op`, which dispatches to the native of the map's kind, called as
    op(map, key_size, value_size, max_entries, flags, env, r2, …); `builtin`, a name that every engine
    implements itself ("tail_call", "loop", "for_each_map_elem"). A row with none of them is known to
    the verifier and cannot be run.

    `reads_clock`, `reads_random`, `reads_cpu` mark results that differ between machines: the kernel engine
    feeds them from the same source as ours. `moves_packet`: changes where the packet starts or ends.
    `writes_packet`: stores into the packet on the program's behalf. `map_types` are the UAPI numbers of the map types
    that a helper without a `map_op` takes; a `native` without any takes all. `callback` is the contract of the function
    that the helper takes.
    """

    id: int
    name: str
    prototype: Prototype
    native: NativeFunction | None = None
    map_op: MapOp | None = None
    builtin: str = ""
    reads_clock: bool = False
    reads_random: bool = False
    reads_cpu: bool = False
    moves_packet: bool = False
    writes_packet: bool = False
    map_types: tuple[int, ...] = ()
    callback: Callback | None = None
