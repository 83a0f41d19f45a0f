"""Maps as JSON in the shape of `bpftool map dump -j`, and back.

Not here: files, and JSON's text. An entry is {"key": ["0x0a", …], "value": ["0x00", …]}, with "values": [{"cpu": 0,
"value": […]}, …] when the map is per CPU, and with "formatted" beside them when BTF says what the bytes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from runtime.errors import InputError
from runtime.maps.formatted import formatted, formatted_section, is_section
from runtime.maps.map import Map
from runtime.spec import CType

__all__ = ["dump", "dump_one", "fill", "format_one", "format_value"]

_TEXT: Final = tuple(f"0x{byte:02x}" for byte in range(256))
_BYTE: Final = {text: byte for byte in range(256) for text in (f"0x{byte:02x}", f"0x{byte:02X}", f"{byte:#x}")}


def dump(raw: Map) -> list[dict[str, Any]]:
    """All elements, in the map's order."""
    return [dump_one(raw, key, value) for key, value in raw.items()]


def dump_one(raw: Map, key: bytes, value: bytes) -> dict[str, Any]:
    """One element."""
    entry: dict[str, Any] = {"key": _hex(key)}
    slots = _slots(raw, value)
    if raw.kind.per_cpu:
        entry["values"] = [{"cpu": cpu, "value": _hex(each)} for cpu, each in enumerate(slots)]
    else:
        entry["value"] = _hex(value)
    if (value_type := raw.typed.value_type) is not None:
        entry["formatted"] = _formatted(raw.typed.key_type, value_type, key, slots, per_cpu=raw.kind.per_cpu)
    return entry


def format_one(raw: Map, key: bytes, value: bytes) -> dict[str, Any] | None:
    """One element as bpftool writes it for people, where BTF says what the bytes are: pointers as text, no bytes."""
    if (value_type := raw.typed.value_type) is None:
        return None
    slots = _slots(raw, value)
    return _formatted(raw.typed.key_type, value_type, key, slots, per_cpu=raw.kind.per_cpu, plain=True)


def format_value(ctype: CType, data: bytes, *, plain: bool = False) -> Any:
    """Bytes as bpftool writes what BTF says of them: for JSON, or, when `plain`, for people."""
    return formatted(ctype, data, plain=plain)


def _slots(raw: Map, value: bytes) -> list[bytes]:
    """What each CPU holds, or the one value."""
    if not raw.kind.per_cpu:
        return [value]
    slot, size = raw.value_stride // raw.cpus, raw.spec.value_size
    return [value[cpu * slot : cpu * slot + size] for cpu in range(raw.cpus)]


def fill(raw: Map, entries: Iterable[Any]) -> None:
    """Store what a dump, or a list of typed {"key": …, "value": …}, says; all in one native call.

    Keys and values are lists of bytes as `dump` makes them, or anything that the map's mapping face takes (numbers,
    objects, addresses as text; for per-CPU maps also "values"). "formatted" is ignored. Raises InputError
    that names the entry, and MapError.
    """
    keys: list[bytes] = []
    values: list[bytes] = []
    for at, entry in enumerate(entries):
        try:
            key, value = _entry(raw, entry)
        except InputError as error:
            raise InputError(f"entry {at}: {error}") from error
        keys.append(key)
        values.append(value)
    raw.fill(b"".join(keys), b"".join(values))


def _hex(data: bytes) -> list[str]:
    return [_TEXT[byte] for byte in data]


def _formatted(
    key_type: CType | None, value_type: CType, key: bytes, slots: Sequence[bytes], *, per_cpu: bool, plain: bool = False
) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if key_type is not None:
        shown["key"] = formatted(key_type, key, plain=plain)
    if per_cpu:
        shown["values"] = [
            {"cpu": cpu, "value": formatted(value_type, each, plain=plain)} for cpu, each in enumerate(slots)
        ]
    elif is_section(value_type):
        shown["value"] = formatted_section(value_type, slots[0], plain=plain)
    else:
        shown["value"] = formatted(value_type, slots[0], plain=plain)
    return shown


def _entry(raw: Map, entry: Any) -> tuple[bytes, bytes]:
    if not isinstance(entry, Mapping) or "key" not in entry:
        raise InputError('expected {"key": …, "value": …}')
    if "value" not in entry and "values" not in entry:
        raise InputError('there is no "value"')
    key = _bytes(entry["key"])
    if key is None or len(key) != raw.spec.key_size:
        key = raw.typed.encode_key(entry["key"])
    if "values" in entry:
        return key, _per_cpu(raw, entry["values"])
    value = _bytes(entry["value"])
    if value is None or len(value) != raw.value_stride:
        value = raw.typed.encode_value(entry["value"] if value is None else value)
    return key, value


def _per_cpu(raw: Map, values: Any) -> bytes:
    if not raw.kind.per_cpu:
        raise InputError('"values" is for per-CPU maps')
    slots: dict[Any, Any] = {}
    for each in values if isinstance(values, list) else ():
        if not isinstance(each, Mapping) or "cpu" not in each or "value" not in each:
            raise InputError('expected {"cpu": …, "value": …}')
        data = _bytes(each["value"])
        slots[each["cpu"]] = each["value"] if data is None else data
    if set(slots) != set(range(raw.cpus)):
        raise InputError(f'"values" must be a list with one value for each of {raw.cpus} CPUs')
    return raw.typed.encode_value([slots[cpu] for cpu in range(raw.cpus)])


def _bytes(value: Any) -> bytes | None:
    """The bytes of a list of text like "0x0a"; None for anything else."""
    if not isinstance(value, list):
        return None
    try:
        return bytes([_BYTE[each] for each in value])
    except (KeyError, TypeError):
        return None
