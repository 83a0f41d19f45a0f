"""Depth-first exploration of all paths, with pruning where paths meet.

Not here: what instructions demand (obligations.py, checker.py) and do (transfer*.py).
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from runtime.spec import Subprogram
from runtime.verifier.callbacks import call_back, callers, rounds
from runtime.verifier.checker import check
from runtime.verifier.compiled import GENERIC, compile_program
from runtime.verifier.demand import ROOMS, every_slot, need, read, slot_bit, slot_needs
from runtime.verifier.failure import Failure, FailureCode, Rejected
from runtime.verifier.flow import Graph
from runtime.verifier.functions import alone, call_by_signature, check_unlocked, global_functions, movers
from runtime.verifier.join import Stack, Waiting, nests
from runtime.verifier.loops import ATTEMPTS, MAX_NESTING, MAX_ROUNDS, Loop, NotProven, Widening, thresholds
from runtime.verifier.match import EVERYTHING, covers, kept
from runtime.verifier.obligations import Obligation, obligations_of
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.prune import Checkpoint, Tally, Visited, begin, hides_pointer, repeats, rest_on
from runtime.verifier.state import Path, State, entry_state
from runtime.verifier.transfer import step
from runtime.verifier.transfer_branch import Sides, split
from runtime.verifier.transfer_call import call_function, call_helper, leave, load_packet, tail_called

__all__ = ["Explorer"]

_END: Final = -1
_TAIL_CALL: Final = "tail_call"
_TRIES: Final = 6
_ROUNDS: Final = 28
_PATIENT_ROUNDS: Final = 9
_ATTEMPT_STEPS: Final = 40_000
_ANY: Final = 1 << 30
_MANY_ROOMS: Final = 24

Watcher = Callable[[int, State], None]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of cycles: states make none, and walking over all of them takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@final
class Explorer:
    """One exploration of one program. `watcher`, for tests and logs, sees every state before its instruction."""

    def __init__(
        self, platform: Platform, graph: Graph, watcher: Watcher | None = None, *, joins: bool = False, own: bool = False,
        speculates: bool = True,
    ) -> None:  # fmt: skip
        """`joins`: states that wait at the same place become one (join.py), and none is compared with what was explored.

        Without `speculates` loops are followed round by round.
        `own`: global functions are verified on their own (functions.py), not with each of their calls.
        """
        self.platform = platform
        self.graph = graph
        self.notebook = Notebook()
        self.state = entry_state()
        self._watcher = watcher
        self._own = global_functions(graph) if own else {}
        self._movers = movers(platform, graph) if own else frozenset()
        self._called: dict[int, Subprogram] = {}
        self._around = nests(graph) if joins else None
        self._speculates = speculates and platform.policy.speculate
        self._prunes = platform.policy.prune and not joins
        self.forks = False  # whether there was more than one path, outside attempts
        self.tally = Tally()
        self._visited = Visited(self.tally)
        self._loops: list[Loop] = []
        self._too_long: Loop | None = None
        self._tries: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._bounds = thresholds(platform.spec.code)
        self._callers = callers(platform.spec.code, platform.helper)
        self._merges = graph.merges | self._callers | {pc + 1 for pc in self._callers}
        self._stops = self._merges | {_END}
        self._live = tuple(tuple(r for r in range(10) if bits >> r & 1) for bits in graph.live)
        self._work = self._nothing_waits()
        self._obligations: dict[int, tuple[Obligation, ...]] = {}
        self._closures = compile_program(self)

    def run(self, steps: int | None = None) -> Notebook:
        """Explore everything, in so many steps (the policy's); raises Rejected with the slot at fault. `state` is then the state that failed."""
        with _uncollected():
            self._explore(self.state, 0, steps or self.platform.policy.steps)
            done = 0
            while done < len(self._called):  # they may call others
                self._function(list(self._called.values())[done])
                done += 1
            self._visited = Visited(self.tally)  # many states: better freed now than walked over by the collector
        return self.notebook

    def _function(self, function: Subprogram) -> None:
        """Explore a global function from what is known of its parameters."""
        try:
            self.state = alone(self.platform, self.notebook, function)
            self._explore(self.state, function.start, self.platform.policy.steps)
        except Rejected as rejected:
            message = f"{rejected.failure.message} (in the global function {function.name}, verified on its own)"
            raise Rejected(Failure(rejected.failure.code, message), rejected.pc) from None

    def _call(self, state: State, pc: int, start: int) -> int:
        check_unlocked(state, pc, self.graph.starts[start])
        function = self._own.get(start)
        if function is None:
            return call_function(state, pc, start)
        self._called[start] = function
        call_by_signature(self.platform, self.notebook, state, pc, function, moves=start in self._movers)
        return pc + 1

    def _explore(self, state: State, pc: int, limit: int) -> None:
        """Follow every path from a state, until the notebook counts `limit` steps."""
        self._work.append((state, pc), self.notebook)
        first = bool(self._loops)
        while self._work:
            state, pc = self._work.pop()
            self.state = state
            arrived = True
            while pc != _END:
                if not first and pc in self._merges:
                    if not arrived and self._around is not None:
                        self._push(state, pc)  # there may be others there
                        break
                    if self._ends_here(state, pc):
                        break
                first = arrived = False
                pc = self._follow(state, pc, limit)
            if state.checkpoint is not None:
                state.checkpoint.finish()

    def _nothing_waits(self) -> Waiting | Stack:
        return Stack() if self._around is None else Waiting(self._around, self._live, self._callers)

    def _exhausted(self, pc: int) -> Rejected:
        if self._too_long is not None:
            rounds_in_all = f"up to {self._too_long.rounds} rounds with the loops inside it"
            message = f"this loop ends, but only after {rounds_in_all}; {MAX_ROUNDS} are allowed: bound it more tightly"
            return Rejected(Failure(FailureCode.LOOP, message), self._too_long.pc)
        message = f"is still not proven after {self.platform.policy.steps} steps: bound its loops more tightly"
        return Rejected(Failure(FailureCode.BUDGET, message), pc)

    def _ends_here(self, state: State, pc: int) -> bool:
        """At a merge point: whether what follows is known already."""
        live = self._live[pc]
        for loop in reversed(self._loops):
            if loop.begins_at(state, pc):
                loop.back(state, live, self.notebook)
                return True
        if pc in self._callers:
            return self._at_caller(state, pc, live)
        if pc in self.graph.heads:
            return self._at_head(state, pc, live)
        if not self._prunes:
            return False
        return self._visited.covered(state, pc, live, step=self.notebook.steps, force=False)

    def _at_head(self, state: State, pc: int, live: tuple[int, ...]) -> bool:
        """Where a loop begins a round."""
        place = (pc, len(state.frames))
        before = state.heads.get(place)
        visits = 0
        if before is not None:
            visits = before.visits + 1
            self.notebook.rounds[pc] = max(self.notebook.rounds.get(pc, 0), visits)
            anchor = before.anchor
            if repeats(before, state, live) or (anchor is not None and repeats(anchor, state, live)):
                message = "comes back here with nothing changed, so the loop never ends: count its rounds and leave after so many"
                raise Rejected(Failure(FailureCode.LOOP, message), pc)
            if self._speculates and self._proves_loop(state, pc, before):
                return True
        return self._goes_round(state, pc, before, visits)

    def _goes_round(self, state: State, pc: int, before: Checkpoint | None, visits: int) -> bool:
        """Begin a round, unless one like it was explored."""
        if len(state.room) > _MANY_ROOMS:
            state.forget_rooms()
        if self._prunes:
            live = self._live[pc]
            made = visits if pc in self._callers else _ANY
            if self._visited.covered(state, pc, live, step=self.notebook.steps, force=True, visits=made):
                return True
        else:
            begin(state, Checkpoint(state, pc))
        assert state.checkpoint is not None
        state.checkpoint.visits = visits
        if before is not None:
            state.checkpoint.follows(before)
        around = state.heads if before is None else before.heads  # loops inside this one start anew
        state.heads = {**around, (pc, len(state.frames)): state.checkpoint}
        return False

    def _at_caller(self, state: State, pc: int, live: tuple[int, ...]) -> bool:
        """Where a helper begins to call back, or goes on with it: its rounds end, so one that was there before is enough."""
        before = state.heads.get((pc, len(state.frames)))
        visits = 0
        if before is not None:
            visits = before.visits + 1
            if covers(before, state, live, EVERYTHING, EVERYTHING) and not hides_pointer(before, state):
                self._settle(state, live, every_slot(state.depth))
                rest_on(state, (before,))
                return True
            if self._proves_loop(state, pc, before):
                return True
        return self._goes_round(state, pc, before, visits)

    def _proves_loop(self, state: State, pc: int, before: Checkpoint) -> bool:
        """Whether all further rounds of the loop are proven at once."""
        visits = before.visits + 1
        if visits not in ATTEMPTS or len(self._loops) >= MAX_NESTING:
            return False
        if pc not in self._callers and self._tries[pc, visits] >= _TRIES:
            return False
        if any(self._proves(state, pc, before, needed) for needed in (before.needed, EVERYTHING)):
            return True
        self._tries[pc, visits] += 1
        return False

    def _proves(self, state: State, pc: int, before: Checkpoint, needed: int) -> bool:
        """The same, where numbers that were not needed so far become unknown."""
        live, visits = self._live[pc], before.visits + 1
        ident = self.notebook.fresh_id()
        counted = 0 if pc in self._callers else ident  # a helper ends by itself
        found = Widening(before, state, live, counted, self._bounds, needed=needed, notebook=self.notebook)
        widened = found.state
        limit = min(self.notebook.steps + _ATTEMPT_STEPS, self.platform.policy.steps)
        for turn in range(_ROUNDS):
            if widened is None or not found.changed:
                return False
            loop, failure = self._attempt(widened, state, pc, ident, limit)
            if failure is None:
                if self._is_too_long(loop):
                    return False
                self._settle(state, live, loop.checkpoint.read)  # also slots where nothing was written
                rest_on(state, loop.checkpoint.pending)
                self._visited.remember(loop.proven(), widened, live)
                iterations = visits + (loop.iterations or 0)
                self.notebook.loops[pc] = max(self.notebook.loops.get(pc, 0), iterations)
                return True
            if failure.grown is None:
                return False
            found = Widening(
                widened, failure.grown, live, counted, self._bounds,
                needed=EVERYTHING, notebook=self.notebook, again=turn >= _PATIENT_ROUNDS,
            )  # fmt: skip
            widened = found.state
        return False

    def _is_too_long(self, loop: Loop) -> bool:
        """Whether a proven loop, with those inside it, takes more rounds than anybody waits for."""
        if loop.rounds > MAX_ROUNDS:
            self._too_long = loop
            return True
        if self._loops:
            self._loops[-1].inside = max(self._loops[-1].inside, loop.rounds)
        return False

    def _attempt(self, widened: State, state: State, pc: int, ident: int, limit: int) -> tuple[Loop, NotProven | None]:
        """Explore from the widened state on, apart from everything else; what was learnt stays only if it is a proof."""
        start = widened.fork()
        start.checkpoint = None
        start.heads = {place: head for place, head in state.heads.items() if self._is_tried(head)}
        checkpoint = Checkpoint(start, pc)
        checkpoint.open = 1 << 30
        begin(start, checkpoint)
        if pc in self._callers:
            start.heads = {**start.heads, (pc, len(start.frames)): checkpoint}
        loop = Loop(ident, pc, checkpoint, self._most(state, pc))
        if not loop.takes(state, self._live[pc], self.notebook):
            return loop, NotProven(loop)
        saved = self._work, self._visited, self.notebook.copy()
        self._work, self._visited = self._nothing_waits(), Visited(self.tally)
        self._loops.append(loop)
        failure: NotProven | None = None
        try:
            self._explore(start, pc, limit)
            if not loop.sound or loop.iterations is None:
                failure = NotProven(loop)
        except Rejected:
            failure = NotProven(loop)
        except NotProven as error:
            failure = error
        finally:
            self._loops.pop()
            self._work, self._visited, notebook = saved
        self.state = state
        if failure is not None:
            notebook.steps, notebook.next_id = self.notebook.steps, self.notebook.next_id
            self.notebook = notebook
            if failure.loop is not loop and failure.loop is not None:
                raise failure
        return loop, failure

    def _is_tried(self, head: Checkpoint) -> bool:
        """Whether rounds of a helper are being proven from that state on."""
        return head.pc in self._callers and any(loop.checkpoint is head for loop in self._loops)

    def _most(self, state: State, pc: int) -> int | None:
        """How many rounds there are at most, where the loop is a helper's."""
        if pc not in self._callers:
            return None
        call = self.platform.spec.code[pc]
        assert isinstance(call, CallHelper)
        helper = self.platform.helper(call.helper)
        assert helper is not None
        return rounds(self.platform, state, helper)

    def _settle(self, state: State, live: tuple[int, ...], slots: int) -> None:
        """Everything of the state counts as needed and read: the proof does not say what it used."""
        needs = ROOMS
        read(state, slots)
        for r in live:
            needs |= state.registers[r].needs
        for frame in state.frames:
            for r in kept(frame):
                needs |= frame.registers[r].needs
        for frame_number, stack in enumerate(state.every_stack()):
            for index, slot in stack.items():
                needs |= slot_needs(state, frame_number, index, slot)
                read(state, slot_bit(frame_number, index))
        need(state, needs)

    def _follow(self, state: State, pc: int, limit: int) -> int:
        """Carry out instructions up to a merge point, which is returned, or to the end of the path."""
        notebook, closures, stops, watcher = self.notebook, self._closures, self._stops, self._watcher
        visit, steps = notebook.visited.add, notebook.steps
        try:
            while True:
                if steps >= limit:
                    raise NotProven(None) if self._loops else self._exhausted(pc)
                steps += 1
                visit(pc)
                if watcher is not None:
                    watcher(pc, state)
                following = closures[pc](state)
                pc = self._carry_out(state, pc, notebook) if following == GENERIC else following
                if pc in stops:
                    return pc
        finally:
            notebook.steps = steps

    def _carry_out(self, state: State, pc: int, notebook: Notebook) -> int:
        """The generic way: judge every obligation, then change the state."""
        instruction = self.platform.spec.code[pc]
        self.judge(state, pc)
        match instruction:
            case Branch():
                return self.goes(state, pc, split(state, instruction), pc + 1 + instruction.offset)
            case Jump(offset):
                return pc + 1 + offset
            case CallLocal(offset):
                return self._call(state, pc, pc + 1 + offset)
            case CallHelper(number):
                return self._helper(state, pc, number)
            case Exit():
                resume = leave(self.platform, state)
                return _END if resume is None else resume
            case LoadImm64() | LoadMap() | LoadMapValue() | LoadFunction():
                step(self.platform, notebook, state, pc, instruction)
                return pc + 2
            case Alu() | MoveSigned() | Negate() | ByteSwap() | Load() | Store() | Atomic():
                step(self.platform, notebook, state, pc, instruction)
                return pc + 1
            case LoadPacket():
                ended = load_packet(notebook, state, instruction)
                resume = leave(self.platform, ended)
                if resume is not None:
                    self._push(ended, resume)
                return pc + 1
            case CallBtf() | WideTail():
                raise InternalError(f"instruction {pc} was let through: {instruction}")
            case _:
                assert_never(instruction)

    def judge(self, state: State, pc: int) -> None:
        """Raise Rejected unless every obligation of the instruction holds."""
        wanted = self._obligations.get(pc)
        if wanted is None:
            wanted = self._obligations[pc] = obligations_of(self.platform.spec.code[pc])
        for obligation in wanted:
            failure = check(self.platform, state, obligation)
            if failure is not None:
                raise Rejected(failure, pc)

    def _push(self, state: State, pc: int) -> None:
        if state.checkpoint is not None:
            state.checkpoint.open += 1
        self._work.append((state, pc), self.notebook)

    def goes(self, state: State, pc: int, sides: Sides, target: int) -> int:
        """Note which sides of a branch are possible; returns the slot to go on at, or _END."""
        taken, not_taken = sides
        outcomes = self.notebook.outcomes[pc]
        if taken is not None:
            outcomes.add(True)
            taken.path = tuple.__new__(Path, (pc, True, state.path))
        if not_taken is not None:
            outcomes.add(False)
            not_taken.path = tuple.__new__(Path, (pc, False, not_taken.path))
        if taken is None:
            return _END if not_taken is None else pc + 1
        if not_taken is None:
            return target
        self.forks = self.forks or not self._loops
        self._push(taken, target)
        return pc + 1

    def _helper(self, state: State, pc: int, number: int) -> int:
        helper = self.platform.helper(number)
        assert helper is not None
        if helper.builtin == _TAIL_CALL:
            gone = tail_called(state, pc)
            if gone is not None:
                resume = leave(self.platform, gone)
                assert resume is not None
                self._push(gone, resume)
        if pc in self._callers:
            place = (pc, len(state.frames))
            head = state.heads.get(place)
            made = 0 if head is None else head.visits
            callback = call_back(self.platform, self.notebook, state, pc, helper, made=made)
            state.heads = {key: each for key, each in state.heads.items() if key != place}  # the next call is another
            if callback is not None and self._loops and self._loops[-1].checkpoint is head:
                call_helper(self.platform, self.notebook, state, pc, helper)
                self._push(state, pc + 1)  # what follows waits until the rounds are proven
                self._push(*callback)
                return _END
            if callback is not None:
                self._push(*callback)
        call_helper(self.platform, self.notebook, state, pc, helper)
        return pc + 1
