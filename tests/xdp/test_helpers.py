"""XDP helpers with arguments up to and past their limits: the JIT and the interpreter against the kernel's test run.

The first twelve bytes of each frame are the arguments; what the helper returned is the program's return value.
"""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, final

import pytest

from netdev.port import pack
from runtime.errors import MapError, VerificationError
from runtime.loader import LoadedObject
from tests.support.sources import as_root, needs_clang, open_c
from xdp.helpers import REDIRECT_INTERFACE
from xdp.hooks import hook_on
from xdp.verdict import Verdict

pytestmark = needs_clang

LENGTHS: Final = (14, 15, 20, 33, 64, 100, 255, 1500, 3300, 3392, 3393, 3500, 3520)
EDGES: Final = (
    *(0, 1, 2, 3, 4, 5, 8, 13, 14, 15, 40, 128, 129, 216, 217, 252, 255, 256, 257, 1500),
    *(-1, -2, -3, -4, -5, -8, -14, -36, -40, -64, -100, -128, -212, -215, -216, -217, -220, -252, -255, -256, -257),
    *(3776, -3776, 4096, 65535, 65536, -65536, 1 << 30, -(1 << 30), (1 << 31) - 1, -(1 << 31)),
)
engines = pytest.mark.parametrize("engine", ["interpreter", pytest.param("kernel", marks=[pytest.mark.root, as_root])])

ARGUMENTS: Final = """
#define ARGUMENTS(a, b, c) \\
	__u32 a, b, c; \\
	do { \\
		__u32 *frame = (void *)(long)ctx->data; \\
		if ((void *)(frame + 3) > (void *)(long)ctx->data_end) \\
			return 99; \\
		a = frame[0]; b = frame[1]; c = frame[2]; \\
	} while (0)
"""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What an engine made of frames, and what the object's maps hold afterwards."""

    returned: list[int]
    frames: list[bytes]
    maps: dict[str, dict[bytes, bytes]]


def _frame(length: int, *arguments: int, fill: int = 0) -> bytes:
    """A frame of that length with the arguments at its start; the rest is a pattern."""
    words = b"".join(struct.pack("<I", argument & 0xFFFFFFFF) for argument in (*arguments, 0, 0, 0)[:3])
    rest = bytes((fill + i * 7) % 251 + 1 for i in range(length - len(words)))
    return words + rest


def _run(loaded: LoadedObject, engine: str, frames: Sequence[bytes]) -> Answers:
    hook = hook_on(loaded.program(), engine, keep=True)
    try:
        done = hook.run(pack(frames), checked=engine == "interpreter")
        assert done.frames is not None
        return Answers(
            returned=[int(each) for each in done.returned],
            frames=[done.frames.frame(i) for i in range(len(frames))],
            maps={
                name: dict(each.items()) if engine != "kernel" else hook.map_items(name)  # type: ignore[union-attr]
                for name, each in loaded.maps.items()
            },
        )
    finally:
        hook.close()


def _agree(text: str, frames: Iterable[bytes], engine: str) -> Answers:
    """Run the frames on the JIT and on the other engine; the first difference is named with the frame's arguments."""
    chosen = list(frames)
    with open_c(ARGUMENTS + text) as one, open_c(ARGUMENTS + text) as other:
        first, second = _run(one, "jit", chosen), _run(other, engine, chosen)
    for frame, a, b in zip(chosen, _pairs(first), _pairs(second), strict=True):
        assert a == b, f"a frame of {len(frame)} bytes with the arguments {struct.unpack_from('<3i', frame)}"
    assert first.maps == second.maps
    return first


def _pairs(answers: Answers) -> list[tuple[int, int, bytes]]:
    return [(returned, len(frame), frame) for returned, frame in zip(answers.returned, answers.frames, strict=True)]


def _signed(answers: Answers) -> set[int]:
    """The return values that occurred."""
    return {each - (1 << 32) if each >> 31 else each for each in answers.returned}


def _shifts(length: int) -> set[int]:
    """Distances at which a frame of that length meets a limit, and what lies beside them."""
    near = {base + step for base in (length, length - 14, 3776 - 256 - length, 256 - 40) for step in (-1, 0, 1)}
    return {*EDGES, *near, *(-each for each in near)}


HEAD: Final = """
SEC("xdp") int head(struct xdp_md *ctx) { ARGUMENTS(delta, b, c); return bpf_xdp_adjust_head(ctx, (int)delta); }
"""
TAIL: Final = """
SEC("xdp") int tail(struct xdp_md *ctx) { ARGUMENTS(delta, b, c); return bpf_xdp_adjust_tail(ctx, (int)delta); }
"""


@engines
@pytest.mark.parametrize("length", LENGTHS)
def test_the_head_moves_as_in_the_kernel(length: int, engine: str) -> None:
    """adjust_head moves, or refuses, by the same distances, and the frame that comes out is the same."""
    found = _agree(HEAD, (_frame(length, delta) for delta in sorted(_shifts(length))), engine)
    assert _signed(found) == {0, -22}


@engines
@pytest.mark.parametrize("length", LENGTHS)
def test_the_tail_moves_as_in_the_kernel(length: int, engine: str) -> None:
    """adjust_tail grows with zeros and shrinks down to an Ethernet header, up to the same limits."""
    found = _agree(TAIL, (_frame(length, delta) for delta in sorted(_shifts(length))), engine)
    assert _signed(found) == {0, -22}


@engines
def test_head_and_tail_move_one_after_the_other(engine: str) -> None:
    """Both edges move, in both orders, and each limit knows what the other move did."""
    text = """
	SEC("xdp") int both(struct xdp_md *ctx)
	{
		ARGUMENTS(front, back, order);
		int first = order ? bpf_xdp_adjust_head(ctx, (int)front) : bpf_xdp_adjust_tail(ctx, (int)back);
		int second = order ? bpf_xdp_adjust_tail(ctx, (int)back) : bpf_xdp_adjust_head(ctx, (int)front);
		return (first ? 1 : 0) | (second ? 2 : 0);
	}
	"""
    moves = (-217, -216, -20, -1, 0, 1, 14, 46, 50, 51, 86, 87, 216)
    cases = itertools.product((14, 60, 100, 3500), moves, moves, (0, 1))
    found = _agree(text, (_frame(length, *rest) for length, *rest in cases), engine)
    assert _signed(found) == {0, 1, 2, 3}


META: Final = """
SEC("xdp") int meta(struct xdp_md *ctx)
{
	ARGUMENTS(delta, front, again);
	int made = bpf_xdp_adjust_meta(ctx, (int)delta);
	int moved = bpf_xdp_adjust_head(ctx, (int)front);
	int more = bpf_xdp_adjust_meta(ctx, (int)again);
	__u32 *meta = (void *)(long)ctx->data_meta;
	__u32 size = 0;
#pragma unroll
	for (int i = 1; i <= 63; i++)
		if ((void *)(meta + i) <= (void *)(long)ctx->data)
			size = i * 4;
	return (made & 0xff) | (moved & 0xff) << 8 | (more & 0xff) << 16 | size << 24;
}
"""


@engines
def test_metadata_is_made_and_taken_back_as_in_the_kernel(engine: str) -> None:
    """adjust_meta gives the same room and refusals, before and after the head moved, and metadata is not the frame."""
    deltas = [each for each in EDGES if abs(each) < 300 or each in (1 << 30, -(1 << 31), (1 << 31) - 1)]
    cases = [(delta, front, 0) for delta in deltas for front in (0, -4, 4, -180, 20, -217)]
    cases += [(-32, -8, again) for again in deltas]
    cases += [(-252, front, again) for front in (0, -1, 1, 30, 36, 40) for again in (-4, 0, 4, 252)]
    cases += [(0, front, again) for front in (35, 36, 40, 46) for again in (-248, -252, -256)]
    found = _agree(META, (_frame(length, *each) for length in (60, 400) for each in cases), engine)
    assert {each & 0xFF for each in found.returned} == {0, 256 - 22, 256 - 13}
    assert {each >> 24 for each in found.returned} >= {0, 32, 252}


@engines
def test_metadata_keeps_its_bytes_when_the_head_moves(engine: str) -> None:
    """What was written in front of the frame moves along with adjust_head, in both directions."""
    text = """
	SEC("xdp") int carry(struct xdp_md *ctx)
	{
		ARGUMENTS(front, value, c);
		if (bpf_xdp_adjust_meta(ctx, -8))
			return 1;
		__u32 *meta = (void *)(long)ctx->data_meta;
		if ((void *)(meta + 2) > (void *)(long)ctx->data)
			return 2;
		meta[0] = value;
		meta[1] = ~value;
		if (bpf_xdp_adjust_head(ctx, (int)front))
			return 3;
		meta = (void *)(long)ctx->data_meta;
		if ((void *)(meta + 2) > (void *)(long)ctx->data)
			return 4;
		return meta[0] ^ meta[1] ^ meta[0];
	}
	"""
    fronts = (0, -1, -3, -4, -7, -8, -9, -100, -208, -209, 1, 4, 7, 8, 9, 40, 46, 47)
    found = _agree(text, (_frame(60, front, 0xDEADBEEF + front) for front in fronts), engine)
    assert 3 in found.returned
    assert not {1, 2, 4} & set(found.returned)


@engines
def test_the_length_of_the_buffer_follows_the_edges(engine: str) -> None:
    """get_buff_len is the frame's length, before and after both edges moved."""
    text = """
	SEC("xdp") int length(struct xdp_md *ctx)
	{
		ARGUMENTS(front, back, c);
		__u32 before = bpf_xdp_get_buff_len(ctx);
		bpf_xdp_adjust_head(ctx, (int)front);
		bpf_xdp_adjust_tail(ctx, (int)back);
		return before | (__u32)bpf_xdp_get_buff_len(ctx) << 16;
	}
	"""
    cases = itertools.product(LENGTHS, (0, -20, 6, -300), (0, -6, 20, 4000))
    frames = [_frame(length, *rest) for length, *rest in cases]
    found = _agree(text, frames, engine)
    for frame, returned, out in zip(frames, found.returned, found.frames, strict=True):
        assert (returned & 0xFFFF, returned >> 16) == (len(frame), len(out))


def _offsets(length: int) -> tuple[int, ...]:
    near = (length - 33, length - 32, length - 31, length - 2, length - 1, length, length + 1)
    return (0, 1, 2, 13, *near, 0x7FFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)


LOAD: Final = """
SEC("xdp") int load(struct xdp_md *ctx)
{
	ARGUMENTS(offset, size, c);
	__u32 buffer[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	long done = bpf_xdp_load_bytes(ctx, offset, buffer, 1 + (size & 31));
	for (int i = 1; i < 8; i++)
		buffer[0] = buffer[0] * 31 + buffer[i];
	bpf_xdp_store_bytes(ctx, 0, buffer, 4);
	return done;
}
"""
STORE: Final = """
SEC("xdp") int store(struct xdp_md *ctx)
{
	ARGUMENTS(offset, size, c);
	__u8 buffer[32];
	for (int i = 0; i < 32; i++)
		buffer[i] = 0xe0 + i;
	return bpf_xdp_store_bytes(ctx, offset, buffer, 1 + (size & 31));
}
"""


@engines
@pytest.mark.parametrize("text", [LOAD, STORE], ids=["load", "store"])
def test_bytes_are_copied_within_the_frame_only(text: str, engine: str) -> None:
    """load_bytes and store_bytes copy the same bytes and refuse the same offsets and sizes."""
    cases = ((length, offset, size) for length in LENGTHS for offset in _offsets(length) for size in (0, 1, 7, 30, 31))
    found = _agree(text, (_frame(length, *rest) for length, *rest in cases), engine)
    assert _signed(found) == {0, -22, -14}


@engines
@pytest.mark.parametrize("helper", ["bpf_xdp_load_bytes", "bpf_xdp_store_bytes"])
def test_more_bytes_than_a_frame_has_are_refused(helper: str, engine: str) -> None:
    """Sizes around the frame's length and past 65,535 get the same answers, and the buffer holds the same afterwards."""
    text = f"""
	struct {{
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__type(key, __u32);
		__uint(value_size, 0x20000);
	}} buffers SEC(".maps");

	SEC("xdp") int large(struct xdp_md *ctx)
	{{
		ARGUMENTS(offset, size, c);
		__u32 zero = 0;
		void *buffer = bpf_map_lookup_elem(&buffers, &zero);
		if (!buffer || size > 0x20000)
			return 99;
		asm volatile("" : "+r"(size));
		if (size == 0)
			return 98;
		return {helper}(ctx, offset, buffer, size);
	}}
	"""
    sizes = (1, 99, 100, 101, 3519, 3520, 3521, 0xFFFE, 0xFFFF, 0x10000, 0x1FFFF, 0x20000)
    cases = itertools.product((100, 3520), (0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF), sizes)
    found = _agree(text, (_frame(length, *rest, fill=length) for length, *rest in cases), engine)
    assert _signed(found) == {0, -22, -14}


@engines
def test_redirect_takes_any_interface_and_no_flags(engine: str) -> None:
    """The helper answers XDP_REDIRECT for every index, and XDP_ABORTED when a flag is set."""
    text = """
	SEC("xdp") int send(struct xdp_md *ctx)
	{
		ARGUMENTS(index, low, high);
		return bpf_redirect(index, (__u64)high << 32 | low);
	}
	"""
    cases = itertools.product((0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF), (0, 1, 8, 0xFFFFFFFF), (0, 1, 0x80000000))
    found = _agree(text, (_frame(60, *each) for each in cases), engine)
    assert set(found.returned) == {Verdict.XDP_ABORTED, Verdict.XDP_REDIRECT}


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_redirect_leaves_the_interface_that_it_named(engine: str) -> None:
    """A single run tells where the frame goes; a run without redirect tells of none, also after one that did."""
    text = """
	SEC("xdp") int send(struct xdp_md *ctx)
	{
		ARGUMENTS(index, flags, skip);
		return skip ? XDP_PASS : bpf_redirect(index, flags);
	}
	"""
    with open_c(ARGUMENTS + text) as loaded:
        program = loaded.programs["send"]
        for index in (1, 9, 0xFFFFFFFF):
            assert program.run(_frame(60, index), engine=engine).redirect_ifindex == index
            assert program.run(_frame(60, index, 0, 1), engine=engine).redirect_ifindex is None
            assert program.run(_frame(60, index, 1, 0), engine=engine).redirect_ifindex is None
    assert REDIRECT_INTERFACE % 8 == 0


TARGETS: Final = """
struct {
	__uint(type, BPF_MAP_TYPE_KIND);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

SEC("xdp") int pick(struct xdp_md *ctx)
{
	ARGUMENTS(index, low, high);
	return bpf_redirect_map(&targets, index, (__u64)high << 32 | low);
}
"""


@engines
@pytest.mark.parametrize("kind", ["DEVMAP", "DEVMAP_HASH", "CPUMAP"])
def test_redirect_map_answers_by_slot_and_flags(kind: str, engine: str) -> None:
    """A slot that is set redirects, an empty one gives the action in the flags, unknown flags abort."""
    text = ARGUMENTS + TARGETS.replace("TYPE_KIND", f"TYPE_{kind}")
    flags = (0, 1, 2, 3, 4, 7, 8, 9, 11, 16, 24, 32, 0x80000000, 0xFFFFFFFF)
    indices = (0, 1, 2, 7, 8, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
    frames = [_frame(60, *each) for each in itertools.product(indices, flags, (0, 1))]
    answers = []
    for name in ("jit", engine):
        with open_c(text) as loaded:
            for index in (0, 2) if kind != "CPUMAP" else (0,):
                loaded.maps["targets"].update(struct.pack("<I", index), struct.pack("<I", 1))
            hook = hook_on(loaded.program(), name, keep=True)
            answers.append(hook.run(pack(frames), checked=name == "interpreter").returned.tolist())
            hook.close()
    for frame, first, second in zip(frames, *answers, strict=True):
        assert first == second, struct.unpack_from("<3I", frame)
    assert set(answers[0]) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("kind", ["DEVMAP", "DEVMAP_HASH", "CPUMAP", "XSKMAP"])
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_redirect_map_records_the_target(kind: str, engine: str) -> None:
    """A single run tells which target the slot named; slots can be set, replaced and emptied while running."""
    with open_c(ARGUMENTS + TARGETS.replace("TYPE_KIND", f"TYPE_{kind}")) as loaded:
        targets, program = loaded.maps["targets"], loaded.programs["pick"]
        targets[3] = 77
        assert program.run(_frame(60, 3), engine=engine).redirect_ifindex == 77
        targets[3] = 78
        assert program.run(_frame(60, 3, 2), engine=engine).redirect_ifindex == 78
        assert dict(targets.items()) == {struct.pack("<I", 3): struct.pack("<I", 78)}
        del targets[3]
        empty = program.run(_frame(60, 3, 2), engine=engine)
        assert (empty.verdict, empty.redirect_ifindex) == (Verdict.XDP_PASS, None)
        assert dict(targets.items()) == {}


@pytest.mark.parametrize("call", ["bpf_map_lookup_elem(&targets, &key)", "bpf_map_delete_elem(&targets, &key)"])
def test_targets_are_no_data_of_programs(call: str) -> None:
    """A program may redirect through a map of targets, and neither read nor change it."""
    text = f"""{TARGETS.replace("TYPE_KIND", "TYPE_CPUMAP")}
	SEC("xdp") int peek(struct xdp_md *ctx) {{ __u32 key = 0; return {call} ? 1 : 2; }}
	"""
    with open_c(ARGUMENTS + text) as loaded, pytest.raises(VerificationError, match="does not allow"):
        _ = loaded.program("peek").verified


SUM: Final = """
SEC("xdp") int sum(struct xdp_md *ctx)
{
	ARGUMENTS(seed, from, to);
	__be32 old[16] = {}, new[16] = {};
	bpf_xdp_load_bytes(ctx, 12, old, 64);
	bpf_xdp_load_bytes(ctx, 40, new, 64);
	__u32 from_size = from & 127, to_size = to & 127;
	if (from_size > 64 || to_size > 64)
		return 99;
	return bpf_csum_diff(from_size ? old : 0, from_size, to_size ? new : 0, to_size, seed);
}
"""


@engines
def test_checksum_differences_are_the_kernels(engine: str) -> None:
    """csum_diff of parts of frames, grown, shrunk, equal, empty and of sizes that are no multiple of 4."""
    picked = random.Random(4)
    sizes = (0, 1, 2, 3, 4, 8, 20, 60, 62, 63, 64)
    seeds = (0, 1, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x12345678)
    frames = []
    for seed, old, new in itertools.product(seeds, sizes, sizes):
        frames.append(struct.pack("<3I", seed, old, new) + picked.randbytes(92))
        frames.append(struct.pack("<3I", seed, old, new) + b"\xff" * 92)
    assert len(set(_agree(SUM, frames, engine).returned)) > len(frames) // 4


@pytest.mark.parametrize("keep", [True, False])
def test_bytes_in_front_of_a_frame_are_nobody_elses(keep: bool) -> None:
    """What adjust_head uncovers are zeros, as in a test run, whatever frames went before through the same memory."""
    text = """
	__u32 seen;

	SEC("xdp") int uncover(struct xdp_md *ctx)
	{
		ARGUMENTS(front, b, c);
		if (bpf_xdp_adjust_head(ctx, (int)front))
			return 99;
		__u32 *data = (void *)(long)ctx->data;
		if ((void *)(data + 54) > (void *)(long)ctx->data_end)
			return 98;
		__u32 sum = 0;
		for (int i = 0; i < 54; i++) {
			sum |= data[i];
			data[i] = 0x11111111;
		}
		return sum;
	}
	"""
    with open_c(ARGUMENTS + text) as loaded:
        hook = hook_on(loaded.program(), "jit", keep=keep)
        frame = _frame(60, -216)
        for frames in ([_frame(9000, -216), frame, frame], [frame, frame, frame], [frame, _frame(9000, -216), frame]):
            assert hook.run(pack(frames)).returned.tolist() == [0, 0, 0]
        hook.close()


@needs_clang
@pytest.mark.parametrize("kind", ["DEVMAP", "DEVMAP_HASH"])
def test_programs_for_the_way_out_are_refused_when_they_are_written(kind: str) -> None:
    """A value that names a program is EINVAL, at any time; without one it is taken."""
    text = f"""
    struct {{
        __uint(type, BPF_MAP_TYPE_{kind});
        __uint(max_entries, 4);
        __uint(key_size, 4);
        __uint(value_size, 8);
    }} ports SEC(".maps");
    SEC("xdp") int send(struct xdp_md *ctx) {{ return bpf_redirect_map(&ports, 1, 0); }}
    """
    with open_c(text) as loaded:
        ports = loaded.maps["ports"]
        for descriptor, fits in ((0, True), (-1, True), (7, False)):
            value = struct.pack("<Ii", 3, descriptor)
            if fits:
                ports.update(struct.pack("<I", 1), value)
            else:
                with pytest.raises(MapError):
                    ports.update(struct.pack("<I", 1), value)
        assert ports.lookup(struct.pack("<I", 1)) == struct.pack("<Ii", 3, -1)
