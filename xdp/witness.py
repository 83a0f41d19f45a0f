"""A witness of a rejection: a packet, and what maps hold, with which the program does what the verifier fears.

Not here: the guarded run (runtime.engine.interpreter.trial). The search follows the verifier's path decision by decision; where
a run leaves it, the bytes that the decision came from are changed, or the packet's length, or a missed key is inserted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Final, final

from netdev.port import pack
from runtime.engine.interpreter.trial import ENDLESS, STEP_LIMIT, Course, Decision, Origin, Trial
from runtime.errors import MapError, UnsupportedError, VerificationError, XdpsimError
from runtime.loader import LoadedObject
from runtime.maps import possible_cpus
from runtime.spec import ObjectSpec, Registry
from runtime.verifier import Facts, FailureCode, Policy, Suspect
from xdp.driver import drive
from xdp.hooks import Hook

__all__ = ["Witness", "find_witness", "unseen"]

_LENGTHS: Final = (60, 14, 0, 1, 34, 42, 54, 128, 1514)
_RUNS: Final = 600
_RUNS_REACHED: Final = 200  # so many when the instruction was reached, and only the harm is missing
_RUNS_BLIND: Final = 60  # so many when the verifier followed no path, so that none is known to lead there
_STEPS: Final = 400_000  # of all runs together
_STEPS_ENDLESS: Final = 4 * STEP_LIMIT  # the same, where a loop without an end is looked for
_HARMS: Final = frozenset({
    FailureCode.PACKET_OOB, FailureCode.MAP_OOB, FailureCode.NULL_DEREF, FailureCode.UNINIT_REG, FailureCode.STACK,
    FailureCode.LOOP, FailureCode.BUDGET, FailureCode.STRUCTURE,
})  # fmt: skip
"""Failures that are not a matter of getting to the instruction: it does harm there, or nothing was shown."""
_RULES: Final[Mapping[str, str]] = {
    FailureCode.HELPER: "which helpers a program may call is a matter of its type and its license",
    FailureCode.CONTEXT: "which bytes of the context are read and written, and how, is an agreement with the system",
    FailureCode.INSTRUCTION: "the instruction is refused for what it is",
    FailureCode.BAD_DEREF: "the instruction does not work on memory of this kind, whatever is in it",
    FailureCode.POINTER_ARITHMETIC: "such arithmetic is refused, even where the result lies in the program's memory",
    FailureCode.ALIGNMENT: "some processors carry it out, and others do not",
    FailureCode.HELPER_ARG: "the helper does not take an argument of this kind, whatever its value",
}
_MERE: Final = frozenset({FailureCode.HELPER, FailureCode.CONTEXT, FailureCode.INSTRUCTION})
"""Failures of which getting to the instruction is all that a run can show."""
_LIMITS: Final[Mapping[str, str]] = {
    FailureCode.BUDGET: "the proof ran out of steps, which says nothing against the program: it may be safe",
    FailureCode.LOOP: "no input was found with which the loop goes on for ever; it may end by chance, or by what others do, "
    "and nothing bounds it",
}
_FIELDS: Final = {"ingress_ifindex": 1, "rx_queue_index": 0}
"""Fields of the context that a run can be given, and what they are otherwise."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """`packet`, the `entries` of maps (by name, key → value bytes) and fields of the `context` that lead there; `text` says
    what happens.

    `pc` is the slot where it happens. `harm` is whether the run did something that no program may; otherwise it only got to
    the instruction, which is rejected for what it is or for what it could do with other inputs. `rule` says why no run shows
    harm, where that is so, and is empty otherwise.
    """  # noqa: D205

    packet: bytes
    entries: dict[str, dict[bytes, bytes]]
    context: dict[str, int]
    text: str
    pc: int
    harm: bool
    rule: str = ""


@final
@dataclass(slots=True)
class _Input:
    packet: bytearray
    entries: dict[str, dict[bytes, bytes]] = field(default_factory=dict)
    context: dict[str, int] = field(default_factory=dict)

    def copy(self) -> _Input:
        entries = {name: dict(held) for name, held in self.entries.items()}
        return _Input(bytearray(self.packet), entries, dict(self.context))


def unseen(error: VerificationError) -> str:
    """Why no witness was found, as far as that is known."""
    suspect = error.suspect
    if isinstance(suspect, Suspect) and suspect.program_type.driver is None:
        return f"nothing here runs programs of type {suspect.program_type.name}"
    if isinstance(suspect, Suspect) and suspect.program_type.driver is not drive:
        return f"no frame is the input of programs of type {suspect.program_type.name}"
    return _LIMITS.get(error.code, "no input was found that does it, and this may be a limit of the analysis")


def find_witness(error: VerificationError, spec: ObjectSpec, registry: Registry) -> Witness | None:
    """Look for inputs that confirm a rejection, within a few hundred guarded runs; None where none was found."""
    suspect = error.suspect
    if not isinstance(suspect, Suspect) or suspect.program_type.driver is not drive:
        return None
    if not all(_is_made_here(registry, each.kind) for each in spec.maps):
        return None
    return _Search(suspect, spec, registry).run()


def _is_made_here(registry: Registry, number: int) -> bool:
    """Whether maps of that type can be made, and not only verified."""
    try:
        return not registry.map_kind(number).verified_only
    except UnsupportedError:
        return False


@final
class _OnTrial:
    """What the hook runs: direct, so that the packet lies alone in its memory, unless the program moves its edges."""

    def __init__(self, trial: Trial, facts: Facts) -> None:
        self._trial = trial
        self.facts = facts

    def executable(self, _engine: str | None = None, *, origins: bool = False) -> Trial:
        """The trial itself."""
        del origins
        return self._trial


@final
class _Search:
    def __init__(self, suspect: Suspect, spec: ObjectSpec, registry: Registry) -> None:
        self._suspect = suspect
        self._spec = spec
        self._registry = registry
        self._runs = self._steps = 0
        self._reached: Witness | None = None
        self._seen: set[tuple[object, ...]] = set()

    def run(self) -> Witness | None:
        """Try lengths of zeroes first, then whatever brings the best run nearer to the failure."""
        best: tuple[int, _Input, Course] | None = None
        for length, fill in itertools.product(_LENGTHS, (0, 0xFF)):
            start = _Input(bytearray([fill]) * length)
            course = self._try(start)
            found = self._judge(start, course)
            if found is not None:
                return found
            score = self._score(course)
            if best is None or score > best[0]:
                best = score, start, course
        while best is not None and self._goes_on():
            better = self._improve(*best)
            if isinstance(better, Witness):
                return better
            best = better
        return self._reached

    def _goes_on(self) -> bool:
        limit = _RUNS if self._reached is None else _RUNS_REACHED
        if self._suspect.code == FailureCode.STRUCTURE:
            limit = _RUNS_BLIND
        steps = _STEPS_ENDLESS if self._suspect.code in ENDLESS else _STEPS
        return self._runs < limit and self._steps < steps

    def _improve(self, score: int, old: _Input, course: Course) -> Witness | tuple[int, _Input, Course] | None:
        """The first change that leads further along the path; None when there is none."""
        for changed in self._changes(old, course, score):
            mark = (bytes(changed.packet), str(changed.entries), str(changed.context))
            if mark in self._seen:
                continue
            if not self._goes_on():
                return None
            self._seen.add(mark)
            tried = self._try(changed)
            found = self._judge(changed, tried)
            if found is not None:
                return found
            if self._score(tried) > score:
                return self._score(tried), changed, tried
        return None

    def _try(self, given: _Input) -> Course:
        self._runs += 1
        with LoadedObject(
            self._spec, self._registry, engine="interpreter", policy=Policy(), cpus=possible_cpus()
        ) as loaded:
            for name, held in given.entries.items():
                for key, value in held.items():
                    try:
                        loaded.maps[name].update(key, value)
                    except MapError:
                        continue
            trial = Trial(self._suspect, tuple(loaded.maps.values()))
            ifindex, queue = (given.context.get(name, usual) for name, usual in _FIELDS.items())
            hook = Hook(_OnTrial(trial, self._suspect.facts), keep=False, ifindex=ifindex, queue=queue)
            with closing(hook), suppress(XdpsimError):
                hook.run(pack([bytes(given.packet)], timestamps=[0]), checked=True)
            self._steps += trial.course.steps
            return trial.course

    def _score(self, course: Course) -> int:
        """How many decisions of the path were taken as on it."""
        same = 0
        for decision, (pc, taken) in zip(course.decisions, self._suspect.trail, strict=False):
            if (decision.pc, decision.taken) != (pc, taken):
                break
            same += 1
        return same

    def _judge(self, given: _Input, course: Course) -> Witness | None:
        """What the run shows, if that ends the search; that the instruction was reached is kept."""
        if course.violation is not None and course.at is not None:
            found = self._witness(given, course.at, course.violation, harm=True)
            if not course.lesser:
                return found
            self._reached = found
            return None
        code, pc = self._suspect.code, self._suspect.pc
        if code in _HARMS or pc not in course.reached or self._reached is not None:
            return None
        self._reached = self._witness(given, pc, "gets to the instruction", harm=False)
        return self._reached if code in _MERE else None

    def _witness(self, given: _Input, pc: int, text: str, *, harm: bool) -> Witness:
        rule = "" if harm else _RULES.get(self._suspect.code, "")
        packet = bytes(given.packet)
        return Witness(
            packet=packet, entries=given.entries, context=given.context, text=text, pc=pc, harm=harm, rule=rule
        )

    def _changes(self, old: _Input, course: Course, score: int) -> Iterator[_Input]:
        """Inputs that may decide otherwise where the run left the path, or the last decisions when it did not."""
        if score < len(course.decisions):
            yield from self._turns(old, course.decisions[score], course)
        for origin, word in course.feared:
            yield from self._values(old, origin, word)
        for name, key in reversed(course.missed):
            yield self._with_entry(old, name, key, None)
        for length in sorted({0, *range(len(old.packet)), *(len(old.packet) + n for n in (1, 2, 4, 8, 16, 40, 64))}):
            yield _resized(old, length)
        for decision in reversed(course.decisions):
            yield from self._turns(old, decision, course)

    def _turns(self, old: _Input, decision: Decision, course: Course) -> Iterator[_Input]:
        start, end = course.edges
        for mine, other in ((decision.left, decision.right), (decision.right, decision.left)):
            if other == end and start <= mine <= start + (1 << 16):
                for length in (mine - start, mine - start - 1, mine - start + 1):
                    if length >= 0:
                        yield _resized(old, length)
        for origin, word in ((decision.left_from, decision.right), (decision.right_from, decision.left)):
            if origin is not None:
                yield from self._values(old, origin, word)

    def _values(self, old: _Input, origin: Origin, word: int) -> Iterator[_Input]:
        top = (1 << 8 * origin.size) - 1
        wanted = dict.fromkeys(
            each & top
            for base in (word, ~word)
            for each in (base, base + 1, base - 1, base << 2, base >> 2, base << 8, base >> 8, base << 12)
        )
        wanted |= dict.fromkeys((0, 1, top, top >> 1))
        if origin.size == 1:
            wanted |= dict.fromkeys(range(256))
        for value in wanted:
            for order in ("little", "big") if origin.size > 1 else ("little",):
                yield self._with_bytes(old, origin, value.to_bytes(origin.size, "big" if order == "big" else "little"))

    def _with_bytes(self, old: _Input, origin: Origin, data: bytes) -> _Input:
        if origin.field:
            changed = old.copy()
            if origin.field in _FIELDS:
                changed.context[origin.field] = int.from_bytes(data, "little")
            return changed
        if origin.map is not None:
            return self._with_entry(old, origin.map, origin.key, (origin.offset, data))
        changed = old.copy()
        changed.packet[origin.offset : origin.offset + origin.size] = data
        return changed

    def _with_entry(self, old: _Input, name: str, key: bytes, part: tuple[int, bytes] | None) -> _Input:
        changed = old.copy()
        size = next(each.value_size for each in self._spec.maps if each.name == name)
        value = bytearray(changed.entries.setdefault(name, {}).get(key, bytes(size)))
        if part is not None:
            value[part[0] : part[0] + len(part[1])] = part[1]
        changed.entries[name][key] = bytes(value)
        return changed


def _resized(old: _Input, length: int) -> _Input:
    changed = old.copy()
    changed.packet = changed.packet[:length] + bytearray(max(0, length - len(changed.packet)))
    return changed
