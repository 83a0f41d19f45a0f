"""The compiled capture kernels against the ones in plain Python, and against memory that must not be touched."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from netdev.capture import REFERENCE, CaptureFile, Interface, Kernels, PcapngWriter, PcapWriter, Row, Walk, open_capture
from netdev.capture.format import FormatError
from netdev.capture.index import build
from netdev.capture.kernels import Job, address_of
from netdev.errors import CaptureError
from netdev.port import FrameBatch, pack
from runtime.native import memory
from tests.netdev.capture.test_fuzz import BLOCKS, CLASSIC, bent
from tests.netdev.capture.test_writers import batches
from tests.support.captures import ON_DISK, enhanced, interface, obsolete, option, pcap, record, section, simple
from xdp.natives import NATIVE
from xdp.natives.walk import walk_pcap, walk_pcapng

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)


def _opened(path: Path, kernels: Kernels, *, wrap: bool) -> CaptureFile | str:
    try:
        return open_capture(path, wrap=wrap, kernels=kernels)
    except CaptureError as error:
        return str(error)


def _facts(capture: CaptureFile) -> tuple[object, ...]:
    return (len(capture), capture.bytes, capture.interfaces, capture.damage)


def _columns(batch: FrameBatch) -> list[list[int]]:
    columns = (batch.offsets, batch.caplens, batch.lengths, batch.timestamps, batch.interfaces)
    return [column.tolist() for column in columns]


def _same(path: Path, *, wrap: bool, size: int = 1000) -> None:
    """Both kinds of kernels refuse the file with the same words, or make the same batches of it."""
    slow, fast = (_opened(path, kernels, wrap=wrap) for kernels in (REFERENCE, NATIVE))
    if isinstance(slow, str) or isinstance(fast, str):
        assert fast == slow
        return
    assert _facts(fast) == _facts(slow)
    for ours, theirs in zip(fast.batches(size), slow.batches(size), strict=True):
        assert _columns(ours) == _columns(theirs)
        if wrap:
            assert [ours.frame(at) for at in range(len(ours))] == [theirs.frame(at) for at in range(len(theirs))]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize("path", ON_DISK, ids=lambda path: path.name)
def test_captures_on_disk_are_the_same_to_both(path: Path, wrap: bool) -> None:
    """Index, batches, wrapped frames and errors are equal."""
    _same(path, wrap=wrap)


@in_one_folder
@given(data=bent(), wrap=st.booleans(), size=st.integers(1, 5))
@example(data=CLASSIC, wrap=False, size=2)
@example(data=BLOCKS, wrap=True, size=2)
def test_bent_captures_are_the_same_to_both(tmp_path: Path, data: bytes, wrap: bool, size: int) -> None:
    """So are captures that were changed at random, damage included."""
    path = tmp_path / "bent"
    path.write_bytes(data)
    _same(path, wrap=wrap, size=size)


@in_one_folder
@given(
    sizes=st.lists(st.tuples(st.integers(0, 300), st.integers(1, 6)), max_size=12),
    order=st.sampled_from("<>"),
    size=st.integers(1, 9),
)
def test_runs_of_one_length_are_the_same_to_both(
    tmp_path: Path, sizes: list[tuple[int, int]], order: str, size: int
) -> None:
    """Runs begin, end and are cut by a batch anywhere."""
    lengths = [length for length, run in sizes for _ in range(run)]
    path = tmp_path / "runs"
    path.write_bytes(
        pcap(*(record(bytes(n), seconds=at, fraction=at, order=order) for at, n in enumerate(lengths)), order=order)
    )
    _same(path, wrap=False, size=size)
    blocks = [
        (enhanced, obsolete)[at % 5 == 4](bytes(n), order, number=at % 2, time=at << 31)
        if at % 7 != 6
        else simple(bytes(n), order)
        for at, n in enumerate(lengths)
    ]
    path.write_bytes(section(order) + interface(order) + interface(order, option(9, b"\x8a", order)) + b"".join(blocks))
    _same(path, wrap=False, size=size)


@in_one_folder
@given(
    resolution=st.integers(0, 255), units=st.integers(0, (1 << 64) - 1), offset=st.integers(-(1 << 63), (1 << 63) - 1)
)
@example(resolution=0x80 + 63, units=(1 << 64) - 1, offset=0)
@example(resolution=0x80 + 64, units=(1 << 64) - 1, offset=0)
@example(resolution=28, units=(1 << 64) - 1, offset=0)
def test_units_of_time_are_the_same_to_both(tmp_path: Path, resolution: int, units: int, offset: int) -> None:
    """Any unit, any number of them, any offset."""
    path = tmp_path / "time"
    described = interface("<", option(9, bytes([resolution])), option(14, offset.to_bytes(8, "little", signed=True)))
    path.write_bytes(section() + described + enhanced(b"", time=units))
    _same(path, wrap=False)


@in_one_folder
@given(
    batch=batches(),
    chosen=st.lists(st.integers(0, 11), max_size=15),
    options=st.integers(0, 7),
    texts=st.lists(st.text(max_size=9), min_size=1, max_size=3),
)
def test_files_are_written_the_same_by_both(
    tmp_path: Path, batch: FrameBatch, chosen: list[int], options: int, texts: list[str]
) -> None:
    """Byte by byte: pcap in both units, pcapng with any of the options."""
    selection = np.array([at for at in chosen if at < len(batch)], np.uint32)
    count = len(batch)
    written = []
    for kernels in (REFERENCE, NATIVE):
        with PcapngWriter(tmp_path / "a", kernels=kernels) as writer:
            for _ in range(5):
                writer.interface(Interface())
            numbers = [writer.comment(text) for text in texts]
            writer.write(
                batch,
                selection,
                first_interface=2,
                packet_ids=np.arange(count, dtype=np.uint64) if options & 1 else None,
                verdicts=np.arange(count) - 3 if options & 2 else None,
                comments=np.array([numbers[at % len(numbers)] for at in range(count)], np.uint32)
                if options & 4
                else None,
            )
        with PcapWriter(tmp_path / "b", nanoseconds=bool(options & 1), kernels=kernels) as classic:
            classic.write(batch, selection)
        written.append((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    assert written[0] == written[1]


def test_a_large_batch_is_written_in_several_pieces(tmp_path: Path) -> None:
    """More than the writer's buffer holds comes out whole."""
    frames = [bytes([n % 251]) * (n % 1500) for n in range(3000)]
    with PcapngWriter(tmp_path / "out", kernels=NATIVE) as writer:
        writer.interface(Interface())
        writer.write(pack(frames))
    with open_capture(tmp_path / "out", kernels=NATIVE) as capture:
        assert [b.frame(at) for b in capture.batches() for at in range(len(b))] == frames


def _found(data: NDArray[np.uint8], kernels: Kernels) -> tuple[object, ...] | None:
    """What an index says, or None where there can be none."""
    try:
        index = build(data, kernels)
    except FormatError:
        return None
    return index.frames, index.captured, index.interfaces, index.damage


def _checked(native: Callable[..., int]) -> Callable[[int], int]:
    """A walk under Python, on which every access outside of the job, the file and the tables is a MemoryFault."""

    def walk(job: int) -> int:
        words = (ctypes.c_int64 * len(Walk)).from_address(job)
        regions = [(job, 8 * len(Walk), True), (words[Walk.DATA >> 3], words[Walk.SIZE >> 3], False)]
        if words[Walk.ROWS >> 3]:
            regions += [(words[Walk.ROWS >> 3], 16 * Row.SIZE, False), (words[Walk.USED >> 3], 16, True)]
        with ExitStack() as stack:
            for address, size, writable in regions:
                stack.enter_context(memory.registered(address, size, writable=writable))
            return native(job)

    return walk


CHECKED = replace(REFERENCE, walk_pcap=_checked(walk_pcap), walk_pcapng=_checked(walk_pcapng))


@settings(deadline=None, max_examples=200)
@given(data=bent().filter(len))
@example(data=BLOCKS)
def test_no_byte_outside_the_file_is_read(data: bytes) -> None:
    """The natives under Python fault on any byte that is not registered, and find what the reference finds."""
    array = np.frombuffer(bytearray(data), np.uint8)
    assert _found(array, CHECKED) == _found(array, REFERENCE)


@pytest.mark.parametrize("data", [CLASSIC, BLOCKS], ids=["pcap", "pcapng"])
def test_compiled_walks_stop_at_the_last_byte(data: bytes) -> None:
    """A file that ends where the memory ends, cut at every length: the next page may not be touched."""
    page = mmap.PAGESIZE
    whole = mmap.mmap(-1, 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    view = np.frombuffer(whole, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    guard = ctypes.c_void_p(address_of(view) + page)
    assert libc.mprotect(guard, ctypes.c_size_t(page), 0) == 0
    for size in range(1, len(data) + 1):
        place = view[page - size : page]
        place[:] = np.frombuffer(data[:size], np.uint8)
        assert _found(place, NATIVE) == _found(place, REFERENCE)


def test_a_walk_that_may_meet_nothing_meets_nothing() -> None:
    """A count of 0 is done at once, for both kinds of files."""
    job = Job(Walk)
    assert NATIVE.walk_pcap(job.address) == NATIVE.walk_pcapng(job.address) == 0
