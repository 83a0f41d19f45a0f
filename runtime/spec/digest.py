"""A digest of rows: the same wherever and whenever the same is declared.

Not here: what is worth a digest. Functions count by their names, as their code is not what a row promises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

__all__ = ["described", "digest"]


def digest(value: Any) -> str:
    """SHA-256, in hex, of what `described` says; raises AttributeError for what has no name."""
    found = hashlib.sha256()
    for each in described(value):
        found.update(each)
    return found.hexdigest()


def described(value: Any) -> Iterable[bytes]:
    """Bytes that differ where values do; raises AttributeError for what has no name."""
    if isinstance(value, bytes):
        yield b"%d:" % len(value)
        yield value
    elif value is None or (isinstance(value, int | str | float) and not isinstance(value, Enum)):
        yield f"{value!r},".encode()
    elif isinstance(value, Enum):
        yield f"{type(value).__name__}.{value.value!r},".encode()
    elif is_dataclass(value):
        yield f"{type(value).__name__}(".encode()
        for field in fields(value):
            yield f"{field.name}=".encode()
            yield from described(getattr(value, field.name))
        yield b")"
    elif isinstance(value, tuple | list):
        yield b"["
        for each in value:
            yield from described(each)
        yield b"]"
    elif isinstance(value, frozenset | set):
        yield f"{sorted(value)!r},".encode()
    elif isinstance(value, Mapping):
        yield from described(sorted(((repr(key), each) for key, each in value.items()), key=lambda pair: pair[0]))
    else:
        yield f"{getattr(value, 'symbol', None) or f'{value.__module__}.{value.__qualname__}'},".encode()
