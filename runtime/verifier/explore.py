"""Depth-first exploration of all paths, with pruning where paths meet.

Not here: what instructions demand (obligations.py, checker.py) and do (transfer*.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, assert_never, final

from runtime.errors import InternalError
from runtime.isa import (
    Alu,
    Atomic,
    Branch,
    ByteSwap,
    CallBtf,
    CallHelper,
    CallLocal,
    Exit,
    Instruction,
    Jump,
    Load,
    LoadFunction,
    LoadImm64,
    LoadMap,
    LoadMapValue,
    LoadPacket,
    MoveSigned,
    Negate,
    Store,
    WideTail,
)
from runtime.verifier.checker import check
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.flow import Graph
from runtime.verifier.obligations import Obligation, obligations_of
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.prune import Visited
from runtime.verifier.state import Path, State, entry_state
from runtime.verifier.transfer import step
from runtime.verifier.transfer_branch import split
from runtime.verifier.transfer_call import call_function, call_helper, leave, tail_called

__all__ = ["Explorer"]

_END: Final = -1
_TAIL_CALL: Final = "tail_call"

Watcher = Callable[[int, State], None]


@final
class Explorer:
    """One exploration of one program. `watcher`, for tests and logs, sees every state before its instruction."""

    def __init__(self, platform: Platform, graph: Graph, watcher: Watcher | None = None) -> None:
        self.platform = platform
        self.graph = graph
        self.notebook = Notebook()
        self.state = entry_state()
        self._watcher = watcher
        self._visited = Visited()
        self._work: list[tuple[State, int]] = []
        self._live = tuple(tuple(r for r in range(10) if bits >> r & 1) for bits in graph.live)
        self._obligations: dict[int, tuple[Obligation, ...]] = {}

    def run(self) -> Notebook:
        """Explore everything; raises Rejected with the slot at fault. `state` is then the state that failed."""
        self._work.append((self.state, 0))
        while self._work:
            state, pc = self._work.pop()
            self.state = state
            while pc != _END:
                if self._ends_here(state, pc):
                    break
                pc = self._advance(state, pc)
            if state.checkpoint is not None:
                state.checkpoint.finish()
        return self.notebook

    def _ends_here(self, state: State, pc: int) -> bool:
        """At a merge point: whether what follows is known already."""
        if pc not in self.graph.merges or not self.platform.policy.prune:
            return False
        live = self._live[pc]
        if self._visited.repeats(state, pc, live):
            raise Rejected(Failure(FailureCode.LOOP, "comes back here with nothing changed: the loop never ends"), pc)
        return self._visited.covered(state, pc, live)

    def _advance(self, state: State, pc: int) -> int:
        notebook = self.notebook
        notebook.steps += 1
        if notebook.steps > self.platform.policy.steps:
            message = f"is still not proven after {self.platform.policy.steps} steps: bound its loops more tightly"
            raise Rejected(Failure(FailureCode.BUDGET, message), pc)
        notebook.visited.add(pc)
        instruction = self.platform.spec.code[pc]
        if self._watcher is not None:
            self._watcher(pc, state)
        self._judge(state, pc, instruction)
        match instruction:
            case Branch():
                return self._branch(state, pc, instruction)
            case Jump(offset):
                return pc + 1 + offset
            case CallLocal(offset):
                return call_function(state, pc, pc + 1 + offset)
            case CallHelper(number):
                return self._helper(state, pc, number)
            case Exit():
                resume = leave(state, pc)
                return _END if resume is None else resume
            case LoadImm64() | LoadMap() | LoadMapValue() | LoadFunction():
                step(self.platform, notebook, state, pc, instruction)
                return pc + 2
            case Alu() | MoveSigned() | Negate() | ByteSwap() | Load() | Store() | Atomic():
                step(self.platform, notebook, state, pc, instruction)
                return pc + 1
            case LoadPacket() | CallBtf() | WideTail():
                raise InternalError(f"instruction {pc} was let through: {instruction}")
            case _:
                assert_never(instruction)

    def _judge(self, state: State, pc: int, instruction: Instruction) -> None:
        wanted = self._obligations.get(pc)
        if wanted is None:
            wanted = self._obligations[pc] = obligations_of(instruction)
        for obligation in wanted:
            failure = check(self.platform, state, obligation)
            if failure is not None:
                raise Rejected(failure, pc)

    def _push(self, state: State, pc: int) -> None:
        if state.checkpoint is not None:
            state.checkpoint.open += 1
        self._work.append((state, pc))

    def _branch(self, state: State, pc: int, branch: Branch) -> int:
        taken, not_taken = split(state, branch)
        target = pc + 1 + branch.offset
        outcomes = self.notebook.outcomes[pc]
        if taken is not None:
            outcomes.add(True)
            taken.path = Path(pc, True, state.path)
        if not_taken is not None:
            outcomes.add(False)
            not_taken.path = Path(pc, False, not_taken.path)
        if taken is None:
            return _END if not_taken is None else pc + 1
        if not_taken is None:
            return target
        self._push(taken, target)
        return pc + 1

    def _helper(self, state: State, pc: int, number: int) -> int:
        helper = self.platform.helper(number)
        assert helper is not None
        if helper.builtin == _TAIL_CALL:
            gone = tail_called(state, pc)
            if gone is not None:
                resume = leave(gone, pc)
                assert resume is not None
                self._push(gone, resume)
        callback = call_helper(self.platform, self.notebook, state, pc, helper)
        if callback is not None:
            self._push(*callback)
        return pc + 1
