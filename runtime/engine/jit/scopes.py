"""What LLVM is told of memory: accesses to regions that share no byte do not depend on each other.

Not here: which access reaches what; the verifier has recorded that (Facts.regions). Regions are apart for good, not only during a run,
so the scopes may be inlined, unrolled and moved freely. An access without a scope may be to anything.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from runtime.verifier.verified import Region

__all__ = ["CONTEXT_SCOPE", "SCOPES", "scope"]

_FIRST_LIST: Final = 10
_BITS: Final = {Region.STACK: 1, Region.PACKET: 2, Region.MAPS: 4}
_CONTEXT: Final = 8
_ALL: Final = 15


def _suffix(bits: int) -> str:
    apart = f", !noalias !{_FIRST_LIST + (_ALL ^ bits)}" if bits != _ALL else ""
    return f", !alias.scope !{_FIRST_LIST + bits}{apart}"


def _definitions() -> str:
    names = ("stack", "packet", "maps", "context")
    lines = ['!0 = distinct !{!0, !"regions"}']
    lines += [f'!{at} = distinct !{{!{at}, !0, !"{name}"}}' for at, name in enumerate(names, 1)]
    for bits in range(1, _ALL + 1):
        members = ", ".join(f"!{at + 1}" for at in range(len(names)) if bits >> at & 1)
        lines.append(f"!{_FIRST_LIST + bits} = !{{{members}}}")
    return "\n".join([*lines, ""])


SCOPES: Final = _definitions()
"""The metadata that the suffixes name, once in a module."""

CONTEXT_SCOPE: Final = _suffix(_CONTEXT)


def scope(regions: Collection[Region] | None) -> str:
    """The suffix of an instruction that reaches those regions; nothing where one is unknown."""
    if not regions or Region.OTHER in regions:
        return ""
    return _suffix(sum(_BITS[each] for each in regions))
