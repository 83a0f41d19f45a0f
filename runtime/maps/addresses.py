"""Internet addresses and prefixes as map keys and values.

Not here: other types (values.py). On the wire, and in maps, addresses are big-endian bytes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from runtime.errors import InputError

__all__ = ["address_bytes", "decode_prefix", "encode_prefix"]

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_PREFIX_HEAD = 4


def address_bytes(value: object, size: int) -> bytes | None:
    """The bytes of an address (an object, or text) that has that size; None when the value is no such address."""
    if isinstance(value, str):
        try:
            value = ip_address(value)
        except ValueError:
            return None
    if isinstance(value, Address) and len(value.packed) == size:
        return value.packed
    return None


def encode_prefix(value: object, key_size: int) -> bytes:
    """The key of an LPM trie for a network, an address (all its bits), their text, or (bits, data bytes).

    Raises InputError.
    """
    size = key_size - _PREFIX_HEAD
    match value:
        case bytes() | bytearray() if len(value) == key_size:
            return bytes(value)
        case (int() as bits, data):
            packed = bytes(data) if isinstance(data, bytes | bytearray) else address_bytes(data, size)
            if packed is None or len(packed) != size or not 0 <= bits <= 8 * size:
                raise InputError(f"{value!r} is no prefix of {size} bytes of data")
            return bits.to_bytes(_PREFIX_HEAD, "little") + packed
        case str() | IPv4Address() | IPv6Address() | IPv4Network() | IPv6Network():
            network = _network(value)
            packed = network.network_address.packed
            if len(packed) == size:
                return network.prefixlen.to_bytes(_PREFIX_HEAD, "little") + packed
            raise InputError(f"{value} does not fit a key with {size} bytes of data")
        case _:
            raise InputError(f"{value!r} is no prefix: give a network, an address, or (bits, data)")


def decode_prefix(key: bytes) -> Network | tuple[int, bytes]:
    """An IPv4 or IPv6 network for 4 and 16 bytes of data, else (bits, data)."""
    bits = int.from_bytes(key[:_PREFIX_HEAD], "little")
    data = key[_PREFIX_HEAD:]
    if len(data) == 4 and bits <= 32:
        return IPv4Network((data, bits), strict=False)
    if len(data) == 16 and bits <= 128:
        return IPv6Network((data, bits), strict=False)
    return bits, data


def _network(value: str | Address | Network) -> Network:
    try:
        return ip_network(value, strict=False)
    except ValueError as error:
        raise InputError(f"{value!r} is no address or prefix") from error
