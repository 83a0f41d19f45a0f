"""How much stack a chain of calls takes: the kernel's limits, over what the exploration saw of each function.

Not here: what a function uses of its own frame (memory.py judges, the notebook counts).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, final

from runtime.isa import CallHelper, CallLocal, Code, LoadFunction
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.flow import MAX_FRAMES, Graph
from runtime.verifier.platform import Notebook, Platform

__all__ = ["check_circles", "check_stack"]

_LIMIT: Final = 512
_TAIL_CALL_LIMIT: Final = 256
"""33 tail calls follow each other, and each may leave such a chain below."""
_GRAIN: Final = 16
_TAIL_CALL: Final = "tail_call"
_CIRCLE: Final = "functions call each other in a circle: use a loop"


def check_circles(code: Code, graph: Graph) -> None:
    """Raise Rejected where functions that calls lead to call each other in a circle, before any path is followed."""
    calls: dict[int, dict[int, int]] = {start: {} for start in graph.starts}  # callees, each with its first call
    for pc, each in enumerate(code):
        if isinstance(each, CallLocal):
            calls[graph.function[pc]].setdefault(pc + 1 + each.offset, pc)
    done: set[int] = set()
    around: dict[int, list[int]] = {0: sorted(calls[0])}  # the chain of calls, each with the callees that are left
    while around:
        start = next(reversed(around))
        if not around[start]:
            del around[start]
            done.add(start)
            continue
        callee = around[start].pop()
        if callee in around:
            raise Rejected(Failure(FailureCode.CALL, _CIRCLE), calls[start][callee])
        if callee not in done:
            around[callee] = sorted(calls[callee])


def check_stack(platform: Platform, graph: Graph, notebook: Notebook) -> None:
    """Raise Rejected where the frames of some chain of calls are too many, or together too large."""
    calls: dict[int, set[int]] = {start: set() for start in graph.starts}
    roots = {0}
    gone: dict[int, int] = {}
    for pc in sorted(notebook.visited):
        match platform.spec.code[pc]:
            case LoadFunction(_, offset) if pc + 1 + offset in notebook.later:
                roots.add(pc + 1 + offset)
            case CallLocal(offset) | LoadFunction(_, offset):
                calls[graph.function[pc]].add(pc + 1 + offset)
            case CallHelper(number):
                helper = platform.registry.helper(number)
                if helper is not None and helper.callback is not None and not helper.callback.later:
                    calls[graph.function[pc]].update(notebook.callbacks.get(pc, ()))
                if helper is not None and helper.builtin == _TAIL_CALL:
                    gone.setdefault(graph.function[pc], pc)
            case _:
                pass
    chains = _Chains(calls, notebook, gone)
    for root in sorted(roots):
        chains.follow((root,), 0)


@final
class _Chains:
    """All chains of calls: `calls` by function, `gone` the first tail call of functions that make some."""

    def __init__(self, calls: dict[int, set[int]], notebook: Notebook, gone: dict[int, int]) -> None:
        self._calls = calls
        self._stack = notebook.stack
        self._gone = gone
        self._seen: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def follow(self, chain: tuple[int, ...], above: int) -> None:
        """Follow the calls of the last function of a chain, whose callers take `above` bytes; raises Rejected."""
        start, frames = chain[-1], len(chain)
        if start in chain[:-1]:
            raise Rejected(Failure(FailureCode.CALL, _CIRCLE), start)
        if frames > MAX_FRAMES:
            message = f"more than {MAX_FRAMES} functions are active at once: inline some, or make recursion a loop"
            raise Rejected(Failure(FailureCode.CALL, message), start)
        if frames > 1 and start in self._gone and above >= _TAIL_CALL_LIMIT:
            message = (
                f"a tail call in a function whose callers need {above} bytes of stack, {_TAIL_CALL_LIMIT} or more: "
                "make it in the entry function, or keep large data in a map"
            )
            raise Rejected(Failure(FailureCode.STACK, message), self._gone[start])
        total = above + (self._stack[start] + _GRAIN - 1) // _GRAIN * _GRAIN
        if total > _LIMIT:
            message = f"the stacks of {frames} functions need {total} bytes together, more than {_LIMIT}: keep large data in a map"
            raise Rejected(Failure(FailureCode.STACK, message), start)
        if any(total <= deeper and frames <= longer for deeper, longer in self._seen[start]):
            return
        self._seen[start].append((total, frames))
        for callee in sorted(self._calls[start]):
            self.follow((*chain, callee), total)
