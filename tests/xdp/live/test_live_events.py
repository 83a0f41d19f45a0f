"""Events of live programs: read by another process while frames run, kept when the program is replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netdev.backends import MemoryPort
from tests.support.commands import ROOT, environment
from tests.support.live_links import frame, link_over
from tests.support.sources import compile_c, needs_clang

pytestmark = needs_clang

SOURCE = """
struct event { __u32 length; __u32 mark; };
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 65536); __type(value, struct event); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4); __uint(value_size, 4); } samples SEC(".maps");

SEC("xdp") int tell(struct xdp_md *ctx)
{
    struct event made = { .length = ctx->data_end - ctx->data, .mark = 7 };

    bpf_ringbuf_output(&events, &made, sizeof made, 0);
    bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU | 14ULL << 32, &made, sizeof made);
    return XDP_PASS;
}
"""
READER = """
import sys
from pathlib import Path
from xdp import open_map
from xdp.events import events_of

with open_map(Path(sys.argv[1])) as events:
    print("ready", flush=True)
    lengths = []
    for event in events.face.follow(30):
        lengths.append(event.length)
        if len(lengths) == int(sys.argv[2]):
            break
    print(*lengths)
"""


@pytest.mark.parametrize("engine", ["jit", "interpreter"])
def test_another_process_follows_what_a_live_program_says(tmp_path: Path, engine: str) -> None:
    """Every frame that passes makes an event, which a waiting reader in another process gets, in order and typed."""
    path = tmp_path / "tell.o"
    path.write_bytes(compile_c(SOURCE))
    near, far = MemoryPort(name="near", ifindex=3), MemoryPort(name="far", ifindex=4)
    with link_over(path, near, far, engine=engine) as link:
        arena = f"/proc/{os.getpid()}/fd/{link.maps['events'].arena.fd}"
        command = [sys.executable, "-c", READER, arena, "50"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for number in range(50):
                near.queue(frame(number, size=60 + number))
            assert reader.stdout.readline().split() == [str(60 + number) for number in range(50)]
        samples = link.maps["samples"].face.take()
        assert sorted(each.data[8] for each in samples) == list(range(50))
        assert all(each.time > 0 and each.cpu == each.index for each in samples)
