"""The compiled loops of live ports against the ones in plain Python: same job and memory before, same after."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netdev.backends import HEADER_SIZE, REFERENCE, Collect, Deliver, Gather, Loops, Send, Take
from netdev.capture import Job, address_of
from netdev.port import FrameBatch, pack
from xdp.natives import LOOPS

many = settings(deadline=None, max_examples=300)

_ETHERNETS = st.sampled_from([0x0800, 0x86DD, 0x8100, 0x88A8, 0x0806])


@st.composite
def packets(draw: st.DrawFn, most: int = 220) -> bytes:
    """Frames that are Ethernet, IP, TCP and UDP more often than chance would make them."""
    data = bytearray(draw(st.binary(max_size=most)))
    at = 12
    for _ in range(draw(st.integers(0, 3))):
        data[at : at + 2] = struct.pack(">H", draw(st.sampled_from([0x8100, 0x88A8])))
        at += 4
    kind = draw(_ETHERNETS)
    data[at : at + 2] = struct.pack(">H", kind)
    if len(data) > at + 24 and draw(st.booleans()):
        packet = at + 2
        if kind == 0x0800:
            data[packet] = 0x45 if draw(st.booleans()) else draw(st.integers(0, 255))
            data[packet + 6 : packet + 8] = draw(st.sampled_from([b"\0\0", b"\x40\0", b"\x20\0", b"\0\1"]))
            data[packet + 9] = draw(st.sampled_from([6, 17, 1]))
        else:
            data[packet + 6] = draw(st.sampled_from([6, 17, 58]))
    return bytes(data)


headers = st.builds(
    struct.pack,
    st.just("<BBHHHH"),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0x80, 1, 4, 5, 0x81, 3, 255]),
    st.integers(0, 300),
    st.sampled_from([0, 1, 100, 1448]),
    st.one_of(st.integers(0, 240), st.just(65535)),
    st.sampled_from([6, 8, 16, 0, 65535]),
)


@dataclass(frozen=True)
class _Frame:
    """What one entry of a block says and holds."""

    header: bytes
    data: bytes
    lost: int
    status: int
    tag: tuple[int, int]
    time: tuple[int, int]


frames = st.builds(
    _Frame,
    headers,
    packets(),
    st.sampled_from([0, 0, 0, 1, 5000]),
    st.sampled_from([1, 9, 1 | 0x10, 1 | 0x10 | 0x40, 0x40 | 1, 0x109]),
    st.tuples(st.integers(0, 0xFFFF), st.sampled_from([0x8100, 0x88A8, 0x1234])),
    st.tuples(st.integers(0, (1 << 32) - 1), st.integers(0, 10**9 - 1)),
)
_BLOCK = 4096


def _block(entries: list[_Frame]) -> bytes:
    """A block as the kernel fills it: its header, then entries with a header, a gap, an offload and a frame each."""
    body = b""
    for each in entries:
        size = (92 + len(each.data) + 15) & -16
        head = struct.pack("<IIIII", size, *each.time, len(each.data), len(each.data) + each.lost)
        head += struct.pack("<IHHIIH", each.status, 92, 106, 0, *each.tag)
        body += (head.ljust(82, b"\xee") + each.header + each.data).ljust(size, b"\xdd")
    return (bytes(8) + struct.pack("<III", 1, len(entries), 48)).ljust(48, b"\0") + body


def _columns(job: Job, kind: type[IntEnum], count: int) -> list[np.ndarray]:
    arrays = [np.zeros(count, each) for each in (np.uint64, np.uint32, np.uint32, np.uint64, np.uint64)]
    for name, array in zip(("OFFSETS", "CAPLENS", "LENGTHS", "TIMESTAMPS", "OFFLOADS"), arrays, strict=True):
        job[kind[name]] = address_of(array)
    return arrays


def _collected(loops: Loops, blocks: list[bytes], budgets: list[int]) -> list[object]:
    ring = np.zeros(_BLOCK * len(blocks), np.uint8)
    for at, block in enumerate(blocks):
        ring[at * _BLOCK : at * _BLOCK + len(block)] = np.frombuffer(block, np.uint8)
    base = address_of(ring)
    job = Job(Collect)
    job[Collect.RING], job[Collect.BLOCK_SIZE], job[Collect.BLOCKS] = base, _BLOCK, len(blocks)
    arrays = _columns(job, Collect, 64)
    seen: list[object] = []
    for budget in budgets:
        job[Collect.BUDGET] = budget
        count = loops.collect(job.address)
        offloads = [int(each) - base if each else 0 for each in arrays[4][:count]]
        seen += [count, job[Collect.CUT], [column[:count].tolist() for column in arrays[:4]], offloads, ring.tobytes()]
    return seen


@many
@given(
    st.lists(st.lists(frames, max_size=6), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
)
def test_blocks_are_collected_alike(blocks: list[list[_Frame]], budgets: list[int]) -> None:
    """Frames, offloads, finished checksums, tags put back and blocks given back are the same, whatever the budget."""
    ring = [_block(entries) for entries in blocks]
    assert _collected(LOOPS, ring, budgets) == _collected(REFERENCE, ring, budgets)


_SLOT = 512


def _slot(each: _Frame, *, copied: bool) -> bytes:
    """A slot as the kernel fills it; of a frame that is copied, it holds only the beginning."""
    status = each.status & ~2 | (2 if copied else 0)
    data = each.data[:20] if copied else each.data
    length = len(each.data) + (0 if copied else each.lost)
    head = struct.pack("<IIIHHII", status, length, len(data), 76, 90, *each.time)
    head += struct.pack("<HH", each.tag[0], each.tag[1])
    return (head.ljust(66, b"\xee") + each.header + data).ljust(_SLOT, b"\xdd")


def _gathered(
    loops: Loops,
    ends: tuple[socket.socket, socket.socket],
    ring: list[tuple[_Frame, bool]],
    budgets: list[int],
    room: int,
) -> list[object]:
    ours, theirs = ends
    _messages(ours)
    for each, copied in ring:
        if copied:
            theirs.send(each.header + each.data)
    memory = np.frombuffer(
        bytearray(b"".join(_slot(each, copied=copied) for each, copied in ring) + bytes(2048)), np.uint8
    )
    base = address_of(memory)
    job = Job(Gather)
    job[Gather.DESCRIPTOR], job[Gather.RING] = ours.fileno(), base
    job[Gather.SLOTS], job[Gather.SLOT_SIZE] = len(ring), _SLOT
    job[Gather.BUFFER], job[Gather.ROOM], job[Gather.MOST] = base + _SLOT * len(ring), room, 400
    job[Gather.BASE] = base - 64
    arrays = _columns(job, Gather, 64)
    seen: list[object] = []
    for budget in budgets:
        job[Gather.BUDGET] = budget
        count = loops.gather(job.address)
        offloads = [int(each) - base if each else 0 for each in arrays[4][:count]]
        seen += [count, job[Gather.CUT], [column[:count].tolist() for column in arrays[:4]], offloads, memory.tobytes()]
    return seen


@many
@given(
    st.lists(st.tuples(frames, st.booleans()), min_size=1, max_size=6),
    st.lists(st.integers(0, 4), min_size=1, max_size=6),
    st.sampled_from([400, 800, 2048]),
)
def test_slots_are_gathered_alike(
    ends: tuple[socket.socket, socket.socket], ring: list[tuple[_Frame, bool]], budgets: list[int], room: int
) -> None:
    """The same of a ring of slots, and of frames larger than those, which are read while there is room for them."""
    assert _gathered(LOOPS, ends, ring, budgets, room) == _gathered(REFERENCE, ends, ring, budgets, room)


@dataclass(frozen=True)
class _Batch:
    """A batch and what keeps its offloads alive."""

    batch: FrameBatch
    keep: object


def _batch(entries: list[tuple[bytes, bytes | None]]) -> _Batch:
    batch = pack([data for data, _ in entries])
    memory = np.frombuffer(b"".join(header or bytes(HEADER_SIZE) for _, header in entries) or b"\0", np.uint8)
    offloads = np.array(
        [address_of(memory) + HEADER_SIZE * at if header else 0 for at, (_, header) in enumerate(entries)], np.uint64
    )
    batch.offloads = offloads
    return _Batch(batch, memory)


def _describe(job: Job, kind: type[IntEnum], batch: FrameBatch, selection: np.ndarray) -> None:
    assert batch.offloads is not None
    job[kind["BASE"]] = batch.base
    job[kind["OFFSETS"]] = address_of(batch.offsets)
    job[kind["CAPLENS"]] = address_of(batch.caplens)
    job[kind["OFFLOADS"]] = address_of(batch.offloads)
    job[kind["SELECTION"]] = address_of(selection)
    job[kind["COUNT"]] = len(selection)


@pytest.fixture(scope="module")
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of sockets that keep messages apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    yield ours, theirs
    ours.close()
    theirs.close()


def _messages(theirs: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(theirs.recv(1 << 17))
        except BlockingIOError:
            return found


entries = st.lists(st.tuples(packets(), st.one_of(st.none(), headers)), min_size=1, max_size=8)


@many
@given(entries, st.lists(st.integers(0, 7), max_size=12), st.sampled_from([60, 100, 300]), st.integers(1, 6))
def test_slots_are_filled_alike(
    ends: tuple[socket.socket, socket.socket],
    made: list[tuple[bytes, bytes | None]],
    chosen: list[int],
    limit: int,
    slots: int,
) -> None:
    """Slots, messages of frames larger than a slot, and counts are the same; a ring that nobody empties fills up."""
    ours, theirs = ends
    selection = np.array([each % len(made) for each in chosen], np.uint32)

    def sent(loops: Loops) -> list[object]:
        held = _batch(made)
        ring = np.zeros(slots * 192, np.uint8)
        job = Job(Send)
        job[Send.DESCRIPTOR] = job[Send.LARGE] = ours.fileno()
        job[Send.RING], job[Send.SLOTS], job[Send.SLOT_SIZE], job[Send.LIMIT] = address_of(ring), slots, 192, limit
        _describe(job, Send, held.batch, selection)
        first = loops.send(job.address)
        filled = ring.tobytes()
        for slot in range(job[Send.TAIL]):
            ring[slot * 192 + 20] = 0  # as the kernel takes them
        seen = [first, filled, _messages(theirs), loops.send(job.address), ring.tobytes(), _messages(theirs)]
        return seen + [job[each] for each in (Send.HEAD, Send.TAIL, Send.TRANSMITTED, Send.REFUSED, Send.TOO_LONG)]

    assert sent(LOOPS) == sent(REFERENCE)


@many
@given(entries, st.lists(st.integers(0, 7), max_size=12), st.sampled_from([60, 100, 65536]))
def test_frames_are_delivered_alike(
    ends: tuple[socket.socket, socket.socket], made: list[tuple[bytes, bytes | None]], chosen: list[int], limit: int
) -> None:
    """The same messages are written, and counted the same."""
    ours, theirs = ends
    selection = np.array([each % len(made) for each in chosen], np.uint32)

    def delivered(loops: Loops) -> list[object]:
        held = _batch(made)
        before = [held.batch.frame(at) for at in range(len(held.batch))]
        job = Job(Deliver)
        job[Deliver.DESCRIPTOR], job[Deliver.LIMIT] = ours.fileno(), limit
        _describe(job, Deliver, held.batch, selection)
        done = loops.deliver(job.address)
        assert [held.batch.frame(at) for at in range(len(held.batch))] == before
        counts = [job[each] for each in (Deliver.TRANSMITTED, Deliver.REFUSED, Deliver.TOO_LONG)]
        return [done, _messages(theirs), *counts]

    assert delivered(LOOPS) == delivered(REFERENCE)


def test_large_frames_are_delivered_alike(ends: tuple[socket.socket, socket.socket]) -> None:
    """A frame that does not fit into the scratch memory arrives whole, its checksum begun anew and the batch unchanged."""
    ours, theirs = ends
    frame = bytes(12) + b"\x08\0\x45" + bytes(8) + b"\x06" + bytes(10) + bytes(12) + b"\x50" + bytes(range(256)) * 12
    held = _batch([(frame, struct.pack("<BBHHHH", 1, 1, 54, 1448, 34, 16)), (frame, None)])
    messages = []
    for loops in (LOOPS, REFERENCE):
        job = Job(Deliver)
        job[Deliver.DESCRIPTOR], job[Deliver.LIMIT] = ours.fileno(), 65536
        selection = np.array([0, 1], np.uint32)
        _describe(job, Deliver, held.batch, selection)
        assert loops.deliver(job.address) == 2
        messages.append(_messages(theirs))
    assert messages[0] == messages[1]
    assert messages[0][1] == struct.pack("<BBHHHH", 0, 0, len(frame), 0, 0, 0) + frame
    whole = messages[0][0][HEADER_SIZE:]
    assert (whole[:50], whole[52:]) == (frame[:50], frame[52:])
    assert held.batch.frame(0) == frame


@many
@given(st.lists(st.tuples(headers, packets()), max_size=8), st.integers(0, 10), st.sampled_from([64, 600, 4000]))
def test_frames_are_taken_alike(
    ends: tuple[socket.socket, socket.socket], made: list[tuple[bytes, bytes]], budget: int, room: int
) -> None:
    """What is read ends up in the same places, with the same checksums finished; what does not fit stays unread."""
    ours, theirs = ends

    def taken(loops: Loops) -> list[object]:
        _messages(ours)  # of a run before, if it failed
        for header, data in made:
            theirs.send(header + data)
        memory = np.zeros(room, np.uint8)
        base = address_of(memory)
        job = Job(Take)
        job[Take.DESCRIPTOR], job[Take.BUFFER], job[Take.ROOM] = ours.fileno(), base, room
        job[Take.MOST], job[Take.BUDGET] = 240, budget
        arrays = _columns(job, Take, 16)
        count = loops.take(job.address)
        offloads = [int(each) - base if each else 0 for each in arrays[4][:count]]
        columns = [arrays[at][:count].tolist() for at in (0, 1, 2)]
        assert all(arrays[3][:count])
        return [count, columns, offloads, memory.tobytes(), _messages(ours)]

    assert taken(LOOPS) == taken(REFERENCE)


def test_a_closed_descriptor_refuses_everything() -> None:
    """A device that is away takes nothing: every frame is counted as refused, none waits."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    held = _batch([(bytes(60), None)] * 5)
    selection = np.arange(5, dtype=np.uint32)
    for loops in (LOOPS, REFERENCE):
        ring = np.zeros(4 * 192, np.uint8)
        job = Job(Send)
        job[Send.DESCRIPTOR] = job[Send.LARGE] = writer
        job[Send.RING], job[Send.SLOTS], job[Send.SLOT_SIZE], job[Send.LIMIT] = address_of(ring), 4, 192, 1514
        _describe(job, Send, held.batch, selection)
        assert [loops.send(job.address) for _ in range(2)] == [5, 5]
        assert (job[Send.REFUSED], job[Send.TRANSMITTED]) == (10, 0)


def test_the_checksum_of_sctp_is_finished() -> None:
    """What is left at offset 8 is a CRC-32C (RFC 9260); the check value of the polynomial is known."""
    data = b"12345678" + bytes(4) + b"9"
    results = []
    for loops in (LOOPS, REFERENCE):
        frame = _Frame(struct.pack("<BBHHHH", 1, 0, 0, 0, 14, 8), bytes(14) + data, 0, 1, (0, 0), (0, 0))
        ring = _collected(loops, [_block([frame])], [1])[-1]
        assert isinstance(ring, bytes)
        results.append(ring[48 + 92 + 14 + 8 :][:4])
    assert results[0] == results[1]
    crc = ctypes.c_uint32(0xFFFFFFFF).value
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert int.from_bytes(results[0], "little") == crc ^ 0xFFFFFFFF
