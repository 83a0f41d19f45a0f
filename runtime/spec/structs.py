"""Kernel objects that programs hold pointers to, as rows: their names, and the fields that may be read.

Not here: any object; extensions declare them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from runtime.spec.context import ContextLayout

__all__ = ["KernelStruct"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class KernelStruct:
    """An object of the kernel that is read through a pointer, and never written.

    `name` is what fields, arguments and results call it (the value of a FieldKind or ArgType, or Prototype.struct); `words` name
    it in a sentence. `passes_as` are the values of the ArgTypes that take such a pointer, beside those that ask for it by name.
    """

    name: str
    words: str
    layout: ContextLayout
    passes_as: frozenset[str] = frozenset()
