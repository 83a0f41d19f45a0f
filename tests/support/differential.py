"""One program on several engines, each with maps of its own: what they return, leave in the frames and in the maps.

Not here: programs. The interpreter goes first: where the verifier erred, it says so instead of crashing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from netdev.port import pack
from runtime.loader import LoadedObject
from runtime.maps import possible_cpus
from runtime.spec import ObjectSpec
from runtime.verifier import Policy
from xdp.extension import default_registry
from xdp.hooks import hook_on
from xdp.hooks.kernel import KernelHook

__all__ = ["Outcome", "outcome"]

_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Outcome:
    """Return values and frames in order, and the contents of every map."""

    returned: tuple[int, ...]
    frames: tuple[bytes, ...]
    maps: dict[str, dict[bytes, bytes]]


def outcome(spec: ObjectSpec, engine: str, frames: Sequence[bytes]) -> Outcome:
    """Run the object's first program on frames. Raises VerificationError, and Refused on the kernel."""
    loaded = LoadedObject(spec, default_registry(), engine="jit", policy=Policy(), cpus=possible_cpus())
    try:
        hook = hook_on(next(iter(loaded.bare_programs.values())), engine, seed=_SEED, keep=True)
        try:
            batch = pack(list(frames), timestamps=list(range(1000, 1000 + len(frames))))
            done = hook.run(batch, checked=engine == "interpreter")
            assert done.frames is not None
            kept = tuple(done.frames.frame(i) for i in range(len(frames)))
            contents = {
                each.name: hook.map_items(each.name)
                if isinstance(hook, KernelHook)
                else dict(loaded.maps[each.name].items())
                for each in spec.maps
            }
            return Outcome(tuple(int(each) for each in done.returned), kept, contents)
        finally:
            hook.close()
    finally:
        loaded.close()
