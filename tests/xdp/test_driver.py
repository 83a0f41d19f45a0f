"""The batch loop: every frame is copied whole, and every frame that a program changes is counted, whichever byte it is."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Final

import pytest

from netdev.port import pack
from tests.support.sources import needs_clang, open_c
from xdp.driver import RING
from xdp.hooks import hook_on

pytestmark = needs_clang

FLIP: Final = """
SEC("xdp") int flip(struct xdp_md *ctx) {
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u16 at;
	if (data + 2 > end)
		return XDP_ABORTED;
	at = *(__u16 *)data;
	if (at >= 4096 || data + at + 1 > end)
		return XDP_PASS;
	data[at] ^= 1;
	return XDP_TX;
}
"""
NOWHERE: Final = 0xFFFF


def _frame(length: int, at: int) -> bytes:
    return struct.pack("<H", at) + random.Random(length).randbytes(length - 2)


def _flipped(frame: bytes, at: int) -> bytes:
    changed = bytearray(frame)
    if at != NOWHERE:
        changed[at] ^= 1
    return bytes(changed)


CASES: Final = [
    (length, at)
    for length in (*range(14, 100), 127, 128, 129, 255, 256, 257, 1500, 4000)
    for at in {NOWHERE, 2, 13, length // 2, length - 2, length - 1}
]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_changed_frames_are_counted(engine: str, keep: bool) -> None:
    """One byte at any place in frames of any length counts; frames that stay as they were do not."""
    frames = [_frame(*case) for case in CASES]
    with open_c(FLIP) as loaded:
        hook = hook_on(loaded.program(), engine, keep=keep)
        done = hook.run(pack(frames), checked=engine == "interpreter")
        assert done.modified == sum(at != NOWHERE for _, at in CASES)
        if keep:
            assert done.frames is not None
            for i, (frame, (_, at)) in enumerate(zip(frames, CASES, strict=True)):
                assert done.frames.frame(i) == _flipped(frame, at)
        hook.close()


@pytest.mark.parametrize("count", [0, 1, RING - 1, RING, RING + 1, 5 * RING + 3])
def test_batches_of_any_size_are_counted(count: int) -> None:
    """The frames behind the last full turn count too, with sizes that vary from batch to batch."""
    cases = list(itertools.islice(itertools.cycle([(60, 59), (4000, NOWHERE), (33, 32)]), count))
    with open_c(FLIP) as loaded:
        hook = hook_on(loaded.program(), "jit")
        for batch in (cases, cases[::3], cases):
            done = hook.run(pack([_frame(*case) for case in batch]))
            assert done.modified == sum(at != NOWHERE for _, at in batch)
        hook.close()
