"""Members of map values that only helpers may touch, as BTF shows them: locks, timers, pointers that the kernel counts.

Not here: what may be done with them (runtime.verifier). Names and tags are those that the kernel looks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from runtime.errors import ObjectError
from runtime.object.btf import Btf, BtfType, Kind
from runtime.spec import SpecialField

__all__ = ["special_fields"]

_STRUCTS: Final = frozenset({
    "bpf_spin_lock", "bpf_res_spin_lock", "bpf_timer", "bpf_wq", "bpf_task_work", "bpf_list_head", "bpf_list_node", "bpf_rb_root",
    "bpf_rb_node", "bpf_refcount",
})  # fmt: skip
_TAGS: Final = frozenset({"kptr", "kptr_untrusted", "percpu_kptr", "uptr"})
_MAX_FIELDS: Final = 64
_POINTER: Final = 8


def special_fields(btf: Btf, value: int) -> tuple[SpecialField, ...]:
    """Those of a value whose type has this id, in order; raises ObjectError when there are too many to be meant."""
    found = _fields(btf, value, {})
    if len(found) > _MAX_FIELDS:
        raise ObjectError(f".BTF: type {value} has more than {_MAX_FIELDS} members that only helpers may touch")
    return tuple(sorted(found, key=lambda each: each.offset))


def _fields(btf: Btf, number: int, known: dict[int, list[SpecialField]]) -> list[SpecialField]:
    """Those of a type, from its start; each type is looked at once."""
    resolved = btf.resolve(number)
    if resolved not in known:
        known[resolved] = []  # what a type that contains itself has inside
        known[resolved] = list(islice(_inside(btf, btf.type(resolved), known), _MAX_FIELDS + 1))
    return known[resolved]


def _inside(btf: Btf, described: BtfType, known: dict[int, list[SpecialField]]) -> Iterator[SpecialField]:
    match described.kind:
        case Kind.STRUCT if described.name in _STRUCTS:
            yield SpecialField(described.name, 0, described.value)
        case Kind.STRUCT | Kind.UNION:
            for member in btf.members(described):
                if not member.bits:
                    yield from _moved(_fields(btf, member.type, known), member.bit_offset // 8)
        case Kind.ARRAY:
            first = _fields(btf, described.words[0], known)
            for index in range(described.words[2] if first else 0):
                yield from _moved(first, index * btf.size(described.words[0]))
        case Kind.PTR:
            tag = btf.type(described.value)
            if tag.kind is Kind.TYPE_TAG and tag.name in _TAGS:
                yield SpecialField(tag.name, 0, _POINTER)
        case _:
            pass


def _moved(fields: list[SpecialField], offset: int) -> Iterator[SpecialField]:
    for each in fields:
        yield SpecialField(each.type, each.offset + offset, each.size)
