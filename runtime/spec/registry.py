"""An immutable union of extensions that refuses conflicts, and answers what a name or number means.

Not here: any global instance. Whoever loads an object says with which registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, final

from runtime.errors import InputError, UnsupportedError
from runtime.spec.extension import Extension
from runtime.spec.maps import MapKind
from runtime.spec.program import ProgramType, Section
from runtime.spec.prototype import Helper
from runtime.spec.structs import KernelStruct

__all__ = ["Registry"]

_K = TypeVar("_K")
_V = TypeVar("_V")


@final
class Registry:
    """What the engine has been taught; `with_extension` and `without` make new ones."""

    __slots__ = ("_extensions", "_helpers", "_helpers_by_name", "_kinds", "_sections", "_structs", "_types")

    def __init__(self, extensions: Iterable[Extension] = ()) -> None:
        self._extensions = tuple(extensions)
        self._types: dict[str, ProgramType] = {}
        self._helpers: dict[int, Helper] = {}
        self._helpers_by_name: dict[str, Helper] = {}
        self._kinds: dict[int, MapKind] = {}
        self._sections: dict[str, Section] = {}
        self._structs: dict[str, KernelStruct] = {}
        for extension in self._extensions:
            for kind in extension.map_kinds:
                _claim(self._kinds, kind.id, kind, f"map kind {kind.id}", self._extensions)
            for helper in extension.helpers:
                _claim(self._helpers, helper.id, helper, f"helper {helper.id}", self._extensions)
                _claim(self._helpers_by_name, helper.name, helper, f"helper {helper.name}", self._extensions)
            for row in extension.program_types:
                _claim(self._types, row.name, row, f"program type {row.name}", self._extensions)
            for section in extension.sections:
                _claim(self._sections, section.prefix, section, f"section {section.prefix}", self._extensions)
            for struct in extension.structs:
                _claim(self._structs, struct.name, struct, f"struct {struct.name}", self._extensions)

    def owner(self, row: ProgramType | Helper | MapKind) -> Extension:
        """The extension that brought a row; raises InputError for rows that are not of this registry."""
        for each in self._extensions:
            if _has(each, row):
                return each
        raise InputError(f"no extension here brings {row.name!r}")

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The extensions, in order of registration."""
        return self._extensions

    @property
    def program_types(self) -> tuple[ProgramType, ...]:
        """All program types, in order of registration."""
        return tuple(self._types.values())

    @property
    def helpers(self) -> tuple[Helper, ...]:
        """All helpers, in order of registration."""
        return tuple(self._helpers.values())

    @property
    def map_kinds(self) -> tuple[MapKind, ...]:
        """All map kinds, in order of registration."""
        return tuple(self._kinds.values())

    @property
    def structs(self) -> tuple[KernelStruct, ...]:
        """All kernel objects, in order of registration."""
        return tuple(self._structs.values())

    def with_extension(self, extension: Extension) -> Registry:
        """A registry that knows one extension more; raises InputError on a conflict."""
        return Registry((*self._extensions, extension))

    def without(self, name: str) -> Registry:
        """A registry that has forgotten the extension of that name."""
        return Registry(e for e in self._extensions if e.name != name)

    def program_type(self, name: str, attach_type: str = "") -> ProgramType:
        """The program type of that name, for programs attached in that way (the usual one by default).

        Raises UnsupportedError.
        """
        found = self._types.get(name)
        if found is None:
            known = ", ".join(sorted(self._types)) or "none"
            raise UnsupportedError(f"program type {name!r} is not known here (known: {known})")
        return found.attached(attach_type)

    def helper(self, number: int) -> Helper | None:
        """The helper with that number."""
        return self._helpers.get(number)

    def helper_named(self, name: str) -> Helper | None:
        """The helper of that name, with or without `bpf_`."""
        return self._helpers_by_name.get(name.removeprefix("bpf_"))

    def map_kind(self, number: int) -> MapKind:
        """The map kind with that UAPI number; raises UnsupportedError."""
        found = self._kinds.get(number)
        if found is None:
            known = ", ".join(k.name for k in self._kinds.values()) or "none"
            raise UnsupportedError(f"map type {number} is not known here (known: {known})")
        return found

    def section(self, name: str) -> Section | None:
        """The row that a section name matches: the longest prefix wins."""
        bare = name.removeprefix("?")
        exact = self._sections.get(bare)
        if exact is not None:
            return exact
        head = bare
        while "/" in head:
            head = head.rpartition("/")[0]
            row = self._sections.get(head)
            if row is not None and row.parameter:
                return row
        return None


def _claim(table: dict[_K, _V], key: _K, row: _V, what: str, extensions: tuple[Extension, ...]) -> None:
    if key not in table:
        table[key] = row
        return
    old, new = (
        next(each.name for each in order if _has(each, mine))
        for order, mine in ((extensions, table[key]), (extensions[::-1], row))
    )
    raise InputError(
        f"extension {new!r} registers {what}, which is already taken by {old!r}: choose another number or name"
    )


def _has(extension: Extension, row: object) -> bool:
    bundle = (extension.program_types, extension.helpers, extension.map_kinds, extension.sections, extension.structs)
    return any(row is each for rows in bundle for each in rows)
