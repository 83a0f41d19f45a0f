"""From a program to its proof, pass by pass.

Not here: any pass, and verdicts that are known from before (verify.py).

    graph_of        the code is a program: jumps, functions, reachability, live registers
    Explorer.run    every path is safe: obligations judged by the checker, trusted by the transfer functions
    check_stack     the frames of every chain of calls fit together
    _facts          what was learnt, for engines and users
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from runtime.errors import VerificationError
from runtime.isa import CallHelper, Code
from runtime.spec import MapSpec, ProgramSpec, ProgramType, Registry
from runtime.verifier.domains import DOMAIN
from runtime.verifier.explore import Explorer, Watcher
from runtime.verifier.failure import FailureCode, Rejected
from runtime.verifier.flow import Graph, graph_of
from runtime.verifier.functions import global_functions
from runtime.verifier.notice import warnings_of
from runtime.verifier.platform import Notebook, Platform
from runtime.verifier.policy import Policy
from runtime.verifier.stack import check_circles, check_stack
from runtime.verifier.suspect import Suspect
from runtime.verifier.uses import uses_of
from runtime.verifier.values import Kind
from runtime.verifier.verified import _SEAL, Facts, LoopBound, Region, VerifiedProgram

__all__ = ["prove"]

_SHARE: Final = 8  # of the budget, before global functions are tried on their own
_REGIONS: Final = {
    Kind.STACK: Region.STACK,
    Kind.PACKET: Region.PACKET,
    Kind.PACKET_META: Region.PACKET,
    Kind.MAP_VALUE: Region.MAPS,
}


def prove(
    spec: ProgramSpec,
    program_type: ProgramType,
    maps: tuple[MapSpec, ...],
    registry: Registry,
    *,
    policy: Policy | None = None,
    watcher: Watcher | None = None,
) -> VerifiedProgram:
    """Prove a program safe, or raise VerificationError with the first cause.

    `maps` are those of the object, in the order that the code's indices mean.
    """
    DOMAIN.trim()
    platform = Platform(spec, program_type, maps, registry, policy or Policy())
    tiers: list[Explorer] = []
    graph: Graph | None = None
    try:
        graph = graph_of(spec.code, spec.subprograms, platform.arguments)
        check_circles(spec.code, graph)
        tiers.append(Explorer(platform, graph, watcher, joins=platform.policy.joins == "always"))
        notebook = _explored(tiers, platform, graph, watcher)
        check_stack(platform, graph, notebook)
    except Rejected as rejected:
        explorer = tiers[-1] if tiers else None
        raise _error(platform, graph, explorer, rejected) from None
    facts = _facts(spec.code, graph, notebook)
    return VerifiedProgram(
        _SEAL,
        spec=spec,
        program_type=program_type,
        maps=maps,
        facts=replace(facts, uses=uses_of(facts, program_type, maps, registry)),
        warnings=warnings_of(platform, graph, notebook),
    )


def _explored(tiers: list[Explorer], platform: Platform, graph: Graph, watcher: Watcher | None) -> Notebook:
    """What is learnt by the first tier that accepts the program; raises Rejected, whose explorer is then the last of `tiers`.

    Path by path; where there are global functions, with these on their own (decision 7), before much is spent on their calls;
    where paths are too many, with every round of loops, and with states joined.
    """
    steps = platform.policy.steps
    alone = bool(global_functions(graph))
    try:
        return tiers[0].run(steps // _SHARE if alone else steps)
    except Rejected as rejected:
        failed, first = rejected, tiers[0]
    spent = failed.failure.code is FailureCode.BUDGET
    if alone:
        try:
            return Explorer(platform, graph, watcher, own=True).run(steps)
        except Rejected:
            pass
    if alone and spent:
        try:
            tiers.append(Explorer(platform, graph, watcher))
            return tiers[-1].run(steps)
        except Rejected as rejected:
            failed, first = rejected, tiers[-1]
            spent = failed.failure.code is FailureCode.BUDGET
    spent = spent and first.forks  # of a single path, nothing else is learnt in another way
    if spent and platform.policy.speculate:
        tiers.append(Explorer(platform, graph, watcher, speculates=False))
        try:
            return tiers[-1].run(steps)
        except Rejected as rejected:
            if rejected.failure.code is not FailureCode.BUDGET:
                raise
    if spent and platform.policy.joins == "beyond":
        try:
            return Explorer(platform, graph, watcher, joins=True).run(steps)
        except Rejected:
            pass
    tiers.append(first)
    raise failed


def _error(platform: Platform, graph: Graph | None, explorer: Explorer | None, rejected: Rejected) -> VerificationError:
    from runtime.verifier.report import error_of, trail  # who is accepted does without

    spec = platform.spec
    numbers = {each.helper for each in spec.code if isinstance(each, CallHelper)}
    helpers = {number: helper for number in numbers if (helper := platform.registry.helper(number)) is not None}
    facts = _facts(spec.code, graph, explorer.notebook) if graph and explorer else Facts()
    suspect = Suspect(
        spec=spec,
        program_type=platform.program_type,
        maps=platform.maps,
        facts=replace(facts, helpers=helpers),
        trail=trail(explorer.state.path) if explorer else (),
        pc=rejected.pc,
        code=rejected.failure.code,
    )
    return error_of(spec, rejected, explorer.state if explorer else None, suspect)


def _facts(code: Code, graph: Graph, notebook: Notebook) -> Facts:
    helpers = notebook.helpers.values()
    return Facts(
        context_fields=dict(notebook.context_fields),
        regions={
            pc: frozenset(_REGIONS.get(each, Region.OTHER) for each in seen) for pc, seen in notebook.reached.items()
        },
        call_maps={pc: frozenset(maps) for pc, maps in notebook.call_maps.items()},
        callbacks={pc: frozenset(starts) for pc, starts in notebook.callbacks.items()},
        constants={pc: value for pc, value in notebook.constants.items() if value is not None},
        unreachable=frozenset(pc for pc in range(len(code)) if pc not in notebook.visited and graph.successors[pc]),
        branches={pc: next(iter(seen)) for pc, seen in notebook.outcomes.items() if len(seen) == 1},
        stack={start: notebook.stack[start] for start in graph.starts},
        helpers=dict(notebook.helpers),
        maps=frozenset(notebook.maps),
        maps_written=frozenset(notebook.maps_written),
        loops=_bounds(notebook),
        reads_packet=notebook.reads_packet,
        writes_packet=notebook.writes_packet,
        moves_packet=notebook.moves_packet,
        reads_clock=any(helper.reads_clock for helper in helpers),
        reads_random=any(helper.reads_random for helper in helpers),
        reads_uninitialised_stack=notebook.reads_uninitialised_stack or notebook.leaves_stack_unwritten,
        steps=notebook.steps,
    )


def _bounds(notebook: Notebook) -> tuple[LoopBound, ...]:
    """Of each loop that was gone round, how often at most."""
    heads = notebook.loops.keys() | notebook.rounds.keys()
    return tuple(
        LoopBound(pc=pc, iterations=max(notebook.loops.get(pc, 0), notebook.rounds.get(pc, 0))) for pc in sorted(heads)
    )
