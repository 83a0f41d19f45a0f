"""The mapping face of a map: keys and values as Python values.

Not here: the types themselves (values.py, addresses.py, view.py), and bytes (map.py).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from errno import ENOENT
from typing import TYPE_CHECKING, Any, Final, final

from runtime.errors import InputError, MapError
from runtime.maps.addresses import address_bytes, decode_prefix, encode_prefix
from runtime.maps.values import decode, encode
from runtime.spec import CType, StructType

if TYPE_CHECKING:
    from runtime.maps.map import Map

__all__ = ["TypedMap"]

_LPM_TRIE: Final = 11
_PREFIX_MEMBERS: Final = 2


@final
class TypedMap(MutableMapping[Any, Any]):
    """A map as a MutableMapping.

    With BTF, keys and values are what the table in runtime.maps.values says; without it, keys and values come out as
    bytes, and go in as bytes, ints (little-endian) or addresses. Keys of LPM tries are IPv4Network and IPv6Network
    where the data has 4 or 16 bytes, and go in as networks, addresses or text like "10.0.0.0/8". A per-CPU value is a
    list with one value for each CPU; a single value is stored on all of them. Missing keys are KeyError, values that do
    not fit InputError, everything else MapError.
    """

    def __init__(self, raw: Map) -> None:
        self._raw = raw
        types = raw.types
        self._key = _usable(types.ctype(raw.spec.btf_key) if types else None, raw.spec.key_size)
        self._value = _usable(types.ctype(raw.spec.btf_value) if types else None, raw.spec.value_size)
        self._is_trie = raw.spec.kind == _LPM_TRIE and (
            not isinstance(self._key, StructType) or len(self._key.members) == _PREFIX_MEMBERS
        )

    @property
    def key_type(self) -> CType | None:
        """The type of keys, or None without BTF."""
        return self._key

    @property
    def value_type(self) -> CType | None:
        """The type of values (of one CPU), or None without BTF."""
        return self._value

    def encode_key(self, key: Any) -> bytes:
        """The bytes of a key; raises InputError."""
        size = self._raw.spec.key_size
        if isinstance(key, bytes | bytearray) and len(key) == size:
            return bytes(key)
        if self._is_trie and not isinstance(key, dict):
            return encode_prefix(key, size)
        if self._key is not None:
            return encode(self._key, key, "key")
        return _encode_untyped(key, size, "key")

    def encode_value(self, value: Any) -> bytes:
        """The bytes of a value, of all CPUs; raises InputError."""
        raw = self._raw
        if isinstance(value, bytes | bytearray) and len(value) == raw.value_stride:
            return bytes(value)
        if not raw.kind.per_cpu:
            return self._encode_one(value)
        slot = raw.value_stride // raw.cpus
        if isinstance(value, list | tuple):
            if len(value) != raw.cpus:
                raise InputError(f"value: a list of {len(value)} for {raw.cpus} CPUs")
            return b"".join(self._encode_one(each).ljust(slot, b"\0") for each in value)
        return self._encode_one(value).ljust(slot, b"\0") * raw.cpus

    def decode_key(self, key: bytes) -> Any:
        """The key that those bytes are."""
        if self._is_trie:
            return decode_prefix(key)
        return key if self._key is None else decode(self._key, key)

    def decode_value(self, value: bytes) -> Any:
        """The value that those bytes are; a list when the map is per CPU."""
        raw = self._raw
        if not raw.kind.per_cpu:
            return self._decode_one(value)
        slot, size = raw.value_stride // raw.cpus, raw.spec.value_size
        return [self._decode_one(value[cpu * slot : cpu * slot + size]) for cpu in range(raw.cpus)]

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.decode_value(self._raw.lookup(self.encode_key(key)))
        except MapError as error:
            if error.errno == ENOENT:
                raise KeyError(key) from None
            raise

    def __setitem__(self, key: Any, value: Any) -> None:
        self._raw.update(self.encode_key(key), self.encode_value(value))

    def __delitem__(self, key: Any) -> None:
        try:
            self._raw.delete(self.encode_key(key))
        except MapError as error:
            if error.errno == ENOENT:
                raise KeyError(key) from None
            raise

    def __contains__(self, key: object) -> bool:
        try:
            self._raw.lookup(self.encode_key(key))
        except (MapError, InputError):
            return False
        return True

    def __iter__(self) -> Iterator[Any]:
        return (self.decode_key(key) for key in self._raw.keys())  # noqa: SIM118 - raw keys, not these

    def __len__(self) -> int:
        return len(self._raw)

    def clear(self) -> None:
        """Delete all keys; the elements of an array become zero."""
        self._raw.clear()

    def _encode_one(self, value: Any) -> bytes:
        if self._value is not None:
            return encode(self._value, value)
        return _encode_untyped(value, self._raw.spec.value_size, "value")

    def _decode_one(self, value: bytes) -> Any:
        return value if self._value is None else decode(self._value, value)


def _usable(ctype: CType | None, size: int) -> CType | None:
    """The type, if it has the size that the map says."""
    return ctype if ctype is not None and ctype.size == size else None


def _encode_untyped(value: Any, size: int, what: str) -> bytes:
    if isinstance(value, bytes | bytearray):
        if len(value) != size:
            raise InputError(f"{what}: {len(value)} bytes, not {size}")
        return bytes(value)
    if size == 0:
        raise InputError(f"{what}: {value!r} for a map that has none")
    packed = address_bytes(value, size)
    if packed is not None:
        return packed
    if isinstance(value, str):
        try:
            value = int(value, 0)
        except ValueError as error:
            raise InputError(f"{what}: {value!r} is neither a number nor an address of {size} bytes") from error
    if not isinstance(value, int) or not -(1 << (8 * size - 1)) <= value < 1 << (8 * size):
        raise InputError(f"{what}: {value!r} does not fit in {size} bytes")
    return (value & ((1 << (8 * size)) - 1)).to_bytes(size, "little")
