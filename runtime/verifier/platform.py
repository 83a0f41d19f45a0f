"""What a program is judged against: its type, its maps, the helpers, the policy; and a notebook for what is learnt.

Not here: judgement.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, final

from runtime.errors import InternalError, UnsupportedError
from runtime.spec import (
    ContextField,
    Helper,
    KernelStruct,
    MapFlag,
    MapKind,
    MapSpec,
    ProgramSpec,
    ProgramType,
    Registry,
)
from runtime.verifier.policy import Policy
from runtime.verifier.values import MAX_LENGTH, Kind

__all__ = ["Notebook", "Platform"]

_ALL_ARGUMENTS: Final = 5


@final
class Platform:
    """The surroundings of one program; immutable.

    `maps` are those of the object, `own` in number, and behind them what the maps inside maps of maps are like.
    """

    __slots__ = (
        "_inner", "_structs", "kinds", "maps", "own", "policy", "program_type", "registry", "spec", "structs",
    )  # fmt: skip

    def __init__(
        self,
        spec: ProgramSpec,
        program_type: ProgramType,
        maps: tuple[MapSpec, ...],
        registry: Registry,
        policy: Policy,
    ) -> None:
        if program_type.context.region_max > MAX_LENGTH:
            raise InternalError(f"{program_type.context.region} of more than {MAX_LENGTH} bytes are not foreseen")
        self.spec = spec
        self.program_type = program_type
        self.own = len(maps)
        outer = [index for index, each in enumerate(maps) if each.inner is not None]
        self._inner = {index: self.own + place for place, index in enumerate(outer)}
        self.maps = (*maps, *(each.inner for each in maps if each.inner is not None))
        self.structs: tuple[KernelStruct, ...] = registry.structs
        self._structs = {each.name: index for index, each in enumerate(self.structs)}
        self.registry = registry
        self.policy = policy
        self.kinds: tuple[MapKind | None, ...] = tuple(_kind(registry, each) for each in self.maps)

    def helper(self, number: int) -> Helper | None:
        """The helper, if programs of this type may call it, with the prototype and the native that it has for them."""
        if number not in self.program_type.helpers:
            return None
        helper = self.registry.helper(number)
        return None if helper is None else self.program_type.own(helper)

    def arguments(self, number: int) -> int:
        """How many arguments a helper takes; all five when it is not known."""
        helper = self.registry.helper(number)
        return _ALL_ARGUMENTS if helper is None else len(helper.prototype.args)

    def inner(self, index: int) -> int | None:
        """The index of what the maps inside a map are like; None where the object does not say."""
        return self._inner.get(index)

    def struct(self, name: str) -> int | None:
        """The index of a kernel object's row, or None for objects without one."""
        return self._structs.get(name)

    def lockable(self, index: int) -> bool:
        """Whether values of the map have a lock."""
        return any(each.type == "bpf_spin_lock" for each in self.maps[index].special)

    def constant_bytes(self, index: int, offset: int, size: int) -> bytes | None:
        """What a frozen map's only value holds there, or None where it is no constant, as in maps inside maps."""
        spec = self.maps[index]
        if index >= self.own or not spec.frozen or spec.max_entries != 1 or len(spec.initial) != 1:
            return None
        value = spec.initial[0][1]
        return value[offset : offset + size] if offset >= 0 and offset + size <= len(value) else None

    def map_readable(self, index: int) -> bool:
        """Whether programs may load from values of the map."""
        return not self.maps[index].flags & MapFlag.WRONLY_PROG

    def map_writable(self, index: int) -> bool:
        """Whether programs may store into values of the map."""
        kind = self.kinds[index]
        fixed = self.maps[index].frozen or self.maps[index].flags & MapFlag.RDONLY_PROG
        return not fixed and (kind is None or kind.value_is != "device")


def _kind(registry: Registry, spec: MapSpec) -> MapKind | None:
    try:
        return registry.map_kind(spec.kind)
    except UnsupportedError:
        return None


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, set | dict) else value


@final
@dataclass(slots=True)
class Notebook:
    """What the exploration learns, by slot; the source of `Facts`."""

    visited: set[int] = field(default_factory=set)
    context_fields: dict[int, ContextField] = field(default_factory=dict)
    reached: defaultdict[int, set[Kind]] = field(default_factory=lambda: defaultdict(set))
    call_maps: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    callbacks: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    later: set[int] = field(default_factory=set)
    constants: dict[int, int | None] = field(default_factory=dict)
    outcomes: defaultdict[int, set[bool]] = field(default_factory=lambda: defaultdict(set))
    stack: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    helpers: dict[int, Helper] = field(default_factory=dict)
    maps: set[int] = field(default_factory=set)
    maps_written: set[int] = field(default_factory=set)
    reads_packet: bool = False
    writes_packet: bool = False
    moves_packet: bool = False
    reads_uninitialised_stack: bool = False
    leaves_stack_unwritten: bool = False
    warnings: dict[str, None] = field(default_factory=dict)
    loops: dict[int, int] = field(default_factory=dict)
    rounds: dict[int, int] = field(default_factory=dict)
    steps: int = 0
    next_id: int = 1

    def copy(self) -> Notebook:
        """A copy that shares nothing mutable."""
        twin = replace(self)
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, defaultdict):
                setattr(twin, each.name, defaultdict(value.default_factory, {k: _copied(v) for k, v in value.items()}))
            else:
                setattr(twin, each.name, _copied(value))
        return twin

    def fresh_id(self) -> int:
        """An id that was not used before."""
        self.next_id += 1
        return self.next_id

    def deepen(self, start: int, low: int) -> None:
        """The function that begins at `start` uses its stack down to r10 + low."""
        self.stack[start] = max(self.stack[start], -low)

    def constant(self, pc: int, value: int | None) -> None:
        """A load gave this constant, or something else (None): only one answer on all paths is a fact."""
        if self.constants.setdefault(pc, value) != value:
            self.constants[pc] = None
