"""What limits an example, from two more measurements: the loop around it, and itself with nothing left to learn.

Not here: the kernel, and the rounds of the main figures.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

import xdp
from netdev.port import FrameBatch
from runtime.isa import assemble
from runtime.loader import LoadedObject, Program
from runtime.maps import possible_cpus
from runtime.spec import ObjectSpec, ProgramSpec, Subprogram
from runtime.verifier import Policy
from xdp.hooks import Hook
from xdp.source import select

__all__ = ["hot_time", "is_copied", "limited_by", "loop_time"]

_LOOPS = 49
_MUCH = 0.4

_PASS = """
r0 = 2
exit
"""
# The store is on a path that no frame takes: to the loop it is a program that may change frames.
_PASS_OF_A_COPY = """
r0 = 2
r2 = *(u32 *)(r1 +12)
if r2 != 0x7fffffff goto +6
r2 = *(u32 *)(r1 +0)
r3 = *(u32 *)(r1 +4)
r4 = r2
r4 += 1
if r4 > r3 goto +1
*(u8 *)(r2 +0) = 0
exit
"""


def loop_time(frames: FrameBatch, *, copied: bool) -> float:
    """Nanoseconds per packet of the loop alone, where frames lie or with copies of them."""
    code = assemble(_PASS_OF_A_COPY if copied else _PASS)
    spec = ProgramSpec(name="pass", section="xdp", code=code, subprograms=(Subprogram(name="pass", start=0),))
    whole = ObjectSpec(name="pass", programs=(spec,), maps=())
    with LoadedObject(whole, xdp.default_registry(), engine="jit", policy=Policy(), cpus=possible_cpus()) as loaded:
        return _time(loaded.program(), [frames])


def is_copied(program: Program) -> bool:
    """Whether the hook runs this program's frames in slots, because it, or what it calls, may change them."""
    facts = program.verified.facts
    calls_others = any(helper.builtin == "tail_call" for helper in facts.helpers.values())
    return facts.writes_packet or facts.moves_packet or calls_others


def hot_time(program: Program, frames: FrameBatch, chosen: Sequence[int]) -> float:
    """Nanoseconds per packet with the chosen frames, each by itself, as often as there are frames."""
    return _time(program, [select(frames, np.full(len(frames), i, np.intp)) for i in chosen])


def limited_by(*, whole: float, loop: float, hot: float) -> str:
    """The largest of three parts, when it is a large one."""
    hot = min(hot, whole)  # a frame may lie where repeating it is slow
    parts = {
        "the loop around the program": loop,
        "the program's instructions": hot - loop,
        "caches and branches that differ from frame to frame": whole - hot,
    }
    name, most = max(parts.items(), key=lambda each: each[1])
    return f"{name} ({most / whole:.0%})" if most > _MUCH * whole else "no single part"


def _time(program: Program, batches: Sequence[FrameBatch]) -> float:
    hook = Hook(program, engine="jit")
    means = []
    for batch in batches:
        hook.run(batch)
        means.append(statistics.median(hook.run(batch).run_ns for _ in range(_LOOPS)) / len(batch))
    hook.close()
    return statistics.mean(means)
