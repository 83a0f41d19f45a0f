"""Hooks: where frames meet programs.

Not here: sources of frames, and what is done with verdicts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.errors import UnsupportedError
from xdp.driver import drive
from xdp.hooks.xdp import BatchResult, Hook, Result, XdpProgram, may_write

if TYPE_CHECKING:
    from runtime.loader import Program
    from xdp.hooks.kernel import KernelHook

__all__ = ["BatchResult", "Hook", "Result", "XdpProgram", "hook_on", "may_write", "require_frames"]

_ABOUT_SOCKETS = ("bind", "cgroup_sock_addr", "sock_ops")


def require_frames(program: Program) -> None:
    """Raises UnsupportedError for programs that nothing here runs, and for those that another hook runs."""
    program.require_driver()
    if program.type.driver is not drive:
        what = f"program {program.name!r} is of type {program.type.name}"
        hint = "; xdpsim run attaches it to the calls of a command" if program.type.name in _ABOUT_SOCKETS else ""
        raise UnsupportedError(f"{what}: a hook of its own runs it, and frames do not{hint}")


def hook_on(
    program: Program,
    engine: str,
    *,
    ifindex: int = 1,
    queue: int = 0,
    seed: int = 0,
    wall: bool = False,
    keep: bool = False,
) -> Hook | KernelHook:
    """A hook of that program on that engine. `wall`: clocks are the machine's; `keep`: outputs stay.

    Raises UnsupportedError for programs that no frames run.
    """
    require_frames(program)
    from runtime.spec import ClockMode

    if engine == "kernel":
        from xdp.hooks.kernel import KernelHook

        if wall:
            raise UnsupportedError("the kernel runs frames with the clock of the capture only: leave --clock wall away")
        return KernelHook(program, ifindex=ifindex, queue=queue, seed=seed)
    clock = ClockMode.WALL if wall else ClockMode.PACKET
    return Hook(program, engine=engine, ifindex=ifindex, queue=queue, seed=seed, clock=clock, keep=keep)
