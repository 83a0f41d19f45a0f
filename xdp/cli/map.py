"""`xdpsim map …`: maps of live programs, and pinned ones, read and written from any terminal.

Not here: the words (map_words.py) and the shapes of what is printed (map_text.py).
"""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from errno import E2BIG, EEXIST, ENOENT, ENOSPC, EPERM, EXDEV
from pathlib import Path
from typing import Any, Final

from runtime.errors import InputError, MapError
from runtime.maps import Map
from runtime.spec import MapFlag
from xdp.cli.exits import Exit
from xdp.cli.map_text import (
    Element,
    element_record,
    element_text,
    elements_text,
    header_record,
    hexes,
    map_record,
    map_text,
    rows,
)
from xdp.cli.map_words import Handle, Words, data_words, find, handle
from xdp.cli.output import Output
from xdp.live.maps import FoundMap, live_maps, open_found, open_map

__all__ = ["delete", "dump", "event_pipe", "freeze", "getnext", "lookup", "pin", "show", "update"]

_SLOTS: Final = ("device", "cpu", "socket")
_ENOTSUPP: Final = 524


def show(arguments: Namespace, output: Output) -> int:
    """List maps."""
    words = Words(arguments.words)
    wanted = handle(words) if words.next is not None else Handle()
    words.end()
    records = []
    for found, opener in _chosen(wanted):
        with opener as opened:
            records.append(map_record(_number(found, opened), opened, found.holders if found else ()))
    single = len(records) == 1 and not wanted.several
    output.emit(records[0] if single else records, "\n".join(map(map_text, records)))
    return Exit.OK


def dump(arguments: Namespace, output: Output) -> int:
    """All elements of a map, or of several under their headers."""
    words = Words(arguments.words)
    wanted = handle(words)
    words.end()
    documents: list[Any] = []
    texts = []
    chosen = _chosen(wanted)
    alone = len(chosen) == 1 and not wanted.several
    for found, opener in chosen:
        with opener as opened:
            elements = list(_elements(opened))
            records = [element_record(opened, key, value) for key, value in elements] if output.json else []
            text = "" if output.json else elements_text(opened, elements)
            if alone:
                output.emit(records, text)
                return Exit.OK
            header = header_record(_number(found, opened), opened)
            documents.append({**header, "elements": records})
            texts.append(f"{header['id']}: {header['type']}  name {header['name']}  flags {header['flags']:#x}\n{text}")
    output.emit(documents, "\n".join(texts))
    return Exit.OK


def lookup(arguments: Namespace, output: Output) -> int:
    """The value of a key; exit code 1 when there is none."""
    with _one(arguments) as (words, opened):
        key, _, _ = data_words(words, opened, key=True)
        assert key is not None
        try:
            value = opened.lookup(key)
        except MapError as error:
            if error.errno != ENOENT:
                raise _explained("lookup", opened, error) from error
            output.emit(None, f"key:\n{rows(key)}\n\nNot found")
            return Exit.REJECTED
        output.emit(element_record(opened, key, value), "" if output.json else element_text(opened, key, value))
    return Exit.OK


def update(arguments: Namespace, output: Output) -> int:
    """Store a value."""
    with _one(arguments) as (words, opened):
        key, value, flags = data_words(words, opened, key=True, value=True)
        assert key is not None
        assert value is not None
        if opened.kind.per_cpu:
            value = value.ljust(opened.value_stride // opened.cpus, b"\0") * opened.cpus
        try:
            opened.update(key, value, flags)
        except MapError as error:
            raise _explained("update", opened, error, key) from error
    output.emit(None, "")
    return Exit.OK


def delete(arguments: Namespace, output: Output) -> int:
    """Delete a key."""
    with _one(arguments) as (words, opened):
        key, _, _ = data_words(words, opened, key=True)
        assert key is not None
        try:
            opened.delete(key)
        except MapError as error:
            raise _explained("delete", opened, error, key) from error
    output.emit(None, "")
    return Exit.OK


def getnext(arguments: Namespace, output: Output) -> int:
    """The key after a key, or the first."""
    with _one(arguments) as (words, opened):
        key, _, _ = data_words(words, opened, key=True, optional=True)
        try:
            found = opened.next_key(key)
        except MapError as error:
            raise _explained("getnext", opened, error) from error
        if found is None:
            raise InputError(f"can't get next key: {'the map is empty' if key is None else 'that was the last'}")
        record = {"key": hexes(key) if key is not None else None, "next_key": hexes(found)}
        before = "key: None" if key is None else f"key:\n{rows(key)}"
        output.emit(record, f"{before}\nnext key:\n{rows(found)}")
    return Exit.OK


def pin(arguments: Namespace, output: Output) -> int:
    """Give a map a file name, under which it outlives its attachment."""
    with _one(arguments) as (words, opened):
        path = Path(words.take("the file"))
        words.end()
        try:
            opened.pin(path)
        except MapError as error:
            raise InputError(f"{path}: {_why_not_pinned(error.errno)}") from error
    output.emit(None, "")
    return Exit.OK


def event_pipe(arguments: Namespace, output: Output) -> int:
    """Print events as they come."""
    from xdp.cli.event_pipe import pipe

    with _one(arguments) as (words, opened):
        return pipe(words, opened, output)


def freeze(arguments: Namespace, output: Output) -> int:
    """Let nobody but programs write a map any more."""
    with _one(arguments) as (words, opened):
        words.end()
        if opened.frozen:
            raise InputError(f"map {opened.name!r} is frozen already")
        opened.freeze()
    output.emit(None, "")
    return Exit.OK


def _why_not_pinned(errno: int) -> str:
    match errno:
        case _ if errno == EEXIST:
            return "there is a file already"
        case _ if errno == EXDEV:
            return "a pin must lie on the file system of the map's memory: /dev/shm, or the state folder where that is a tmpfs"
        case _:
            return "the map's memory can have no name, or there is no such folder"


@contextmanager
def _one(arguments: Namespace) -> Iterator[tuple[Words, Map]]:
    """The rest of the words, and the one map that they begin with."""
    words = Words(arguments.words)
    wanted = handle(words)
    if wanted.several:
        raise InputError(f"{wanted}: choose one map by 'id' or 'name'")
    chosen = _chosen(wanted)
    if len(chosen) > 1:
        numbers = ", ".join(str(found.live.id) for found, _ in chosen if found)
        raise InputError(f"several maps match this handle: choose one by its id ({numbers})")
    with chosen[0][1] as opened:
        yield words, opened


def _chosen(wanted: Handle) -> list[tuple[FoundMap | None, Any]]:
    """The maps that the handle names, each with what opens it."""
    if wanted.pinned is not None:
        return [(None, open_map(Path(wanted.pinned)))]
    return [(each, _opening(each)) for each in find(wanted)]


@contextmanager
def _opening(found: FoundMap) -> Iterator[Map]:
    with open_found(found) as opened:
        yield opened


def _number(found: FoundMap | None, opened: Map) -> int:
    """The number of a map: of a pinned one that of the live map in the same memory, or 0."""
    if found is not None:
        return found.live.id
    for each in live_maps():
        try:
            same = Path(each.live.path).samefile(f"/proc/self/fd/{opened.arena.fd}")
        except OSError:
            continue
        if same:
            return each.live.id
    return 0


def _elements(opened: Map) -> Iterator[Element]:
    """All elements; of arrays of targets also the slots that are empty, and of events that they are not looked up, as in Linux."""
    if opened.kind.value_is == "event":
        yield from _without_values(opened)
        return
    if opened.kind.value_is not in _SLOTS or opened.kind.snapshot is not None:
        yield from opened.items()
        return
    key = opened.next_key()
    while key is not None:
        try:
            yield key, opened.lookup(key)
        except MapError as error:
            if error.errno != ENOENT:
                raise
            yield key, None
        key = opened.next_key(key)


def _without_values(opened: Map) -> Iterator[Element]:
    try:
        key = opened.next_key()
        while key is not None:
            yield key, os.strerror(_ENOTSUPP)
            key = opened.next_key(key)
    except MapError as error:
        if error.errno != _ENOTSUPP:
            raise


def _explained(what: str, opened: Map, error: MapError, key: bytes = b"") -> InputError:
    """The failure in one line that says what was asked and what stands against it."""
    spec = opened.spec
    index = int.from_bytes(key, "little")
    match error.errno:
        case errno if errno == EPERM and opened.frozen:
            reason = "the map is frozen: it can only be read"
        case errno if errno == EPERM:
            side = "read" if spec.flags & MapFlag.WRONLY else "written"
            reason = f"the map's flags ({int(spec.flags):#x}) do not let user space {'read' if side == 'read' else 'write'} it"
        case errno if errno == EEXIST:
            reason = f"there is such a key ({key.hex(' ')}): File exists"
        case errno if errno == ENOENT:
            reason = f"there is no such key ({key.hex(' ')}): No such file or directory"
        case errno if errno == E2BIG and opened.kind.fixed_key_size == 4 and index >= spec.max_entries:
            reason = f"index {index} is out of range: the map has {spec.max_entries} entries"
        case errno if errno in (E2BIG, ENOSPC):
            reason = f"the map is full ({spec.max_entries} entries)"
        case errno if errno == _ENOTSUPP:
            reason = f"events have no keys, 'map event_pipe' prints them: {os.strerror(errno)}"
        case _ if what == "delete" and opened.kind.bounded_array:
            reason = "elements of arrays cannot be deleted: Invalid argument"
        case _:
            return InputError(f"{what} failed: {error}")
    return InputError(f"{what} failed: map {spec.name!r}: {reason}")
