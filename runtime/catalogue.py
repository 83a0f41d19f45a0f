"""The extensions of a process while they come and go, and the attached programs that follow.

Not here: hooks, which ask an `Attachment` to run, and how extensions are found.

A registry is immutable; a catalogue holds the present one and puts another in its place with each change. Whether an attached
program runs depends on two things only, what its proof took for granted (Facts.uses) and what the registry says now: where a row
is gone, it waits; where one says something else, it is refused; where all are the same, it runs, linked anew to natives that may
be other ones. A change returns when no program runs any more that must not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from threading import Condition, RLock
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from runtime.errors import InputError, UnsupportedError, VerificationError
from runtime.spec import Extension, MapKind, Registry
from runtime.vetting import faults

if TYPE_CHECKING:
    from runtime.loader import LoadedObject, Program
    from runtime.verifier.uses import Difference

__all__ = ["Attachment", "Catalogue", "Change", "State"]


class State(StrEnum):
    """Of an attached program. ATTACHED: it runs. WITHDRAWN: a row that it uses is gone. REFUSED: one says something else now."""

    ATTACHED = "attached"
    WITHDRAWN = "extension withdrawn"
    REFUSED = "refused"
    DETACHED = "detached"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of attached programs: names of those that run again, a line for each that waits, and for each that is refused."""

    resumed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


@final
class Catalogue:
    """The extensions of a process. `registry` is what they say now."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._held: list[_Held] = []
        self._lock = RLock()

    @property
    def registry(self) -> Registry:
        """All rows, as they are now."""
        return self._registry

    def register(self, extension: Extension) -> Change:
        """Teach an extension; programs that waited for it run again, unless a row that they use has changed.

        Raises InputError, one line, for an extension that conflicts or does not hold together; nothing has changed then.
        """
        with self._lock:
            if extension.name in {each.name for each in self._registry.extensions}:
                raise InputError(f"extension {extension.name!r} is registered already: withdraw it first")
            registry = self._registry.with_extension(extension)
            for fault in faults(extension, registry):
                raise InputError(f"extension {extension.name!r}: {fault}")
            return self._turn_to(registry)

    def withdraw(self, name: str) -> Change:
        """Forget an extension; attached programs that use its rows have stopped when this returns. Raises InputError."""
        with self._lock:
            names = [each.name for each in self._registry.extensions]
            if name not in names:
                raise InputError(f"extension {name!r} is not registered (there is {', '.join(names) or 'none'})")
            return self._turn_to(self._registry.without(name))

    def attach(self, program: Program, *, engine: str | None = None) -> Attachment:
        """Verify a program, make it ready, and let it follow the catalogue; raises what `Program.executable` raises."""
        with self._lock:
            held = next((each for each in self._held if each.owner is program.owner), None) or _Held(program.owner)
            made = Attachment(self, held, program, engine)
            if held not in self._held:
                held.follow(self._registry)
            if held.state is not State.ATTACHED:
                raise UnsupportedError(f"program {program.name!r} cannot be attached: {held.reason}")
            program.executable(engine)
            held.attachments.append(made)
            if held not in self._held:
                self._held.append(held)
            return made

    def _turn_to(self, registry: Registry) -> Change:
        self._registry = registry
        resumed, waiting, refused = [], [], []
        for held in self._held:
            before = held.state, held.reason
            held.follow(registry)
            if (held.state, held.reason) == before:
                continue
            names = [each.program.name for each in held.attachments]
            lines = [f"program {name!r} of {held.owner.spec.name!r}: {held.reason}" for name in names]
            match held.state:
                case State.ATTACHED:
                    resumed += names
                case State.WITHDRAWN:
                    waiting += lines
                case _:
                    refused += lines
        return Change(resumed=tuple(resumed), waiting=tuple(waiting), refused=tuple(refused))

    def _let_go(self, attachment: Attachment, held: _Held) -> None:
        with self._lock:
            if attachment in held.attachments:
                held.attachments.remove(attachment)
            if not held.attachments and held in self._held:
                self._held.remove(held)


@final
class Attachment:
    """A program at a hook. `drive` runs it while all is there that it was verified with; several threads may."""

    def __init__(self, catalogue: Catalogue, held: _Held, program: Program, engine: str | None) -> None:
        self.program = program
        self._catalogue = catalogue
        self._held = held
        self._engine = engine
        self._detached = False

    @property
    def state(self) -> State:
        """Whether it runs, and if not, why."""
        return State.DETACHED if self._detached else self._held.state

    @property
    def reason(self) -> str:
        """In one line, why it does not run; "" while it does."""
        return "" if self._detached else self._held.reason

    def drive(self, batch: int, environment: int) -> int | None:
        """Run the type's driver over the batch record at that address; None, and nothing was run, unless it is attached."""
        if self._detached:
            return None
        with self._held.inside() as ready:
            return self.program.executable(self._engine).drive(batch, environment) if ready else None

    def detach(self) -> None:
        """End it. Twice is harmless."""
        self._detached = True
        self._catalogue._let_go(self, self._held)  # noqa: SLF001  an attachment is a part of its catalogue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def __repr__(self) -> str:
        return f"<attachment of {self.program.name!r}: {self.state}>"


@final
class _Held:
    """An object some programs of which are attached: they share maps, so they wait and return together."""

    def __init__(self, owner: LoadedObject) -> None:
        self.owner = owner
        self.attachments: list[Attachment] = []
        self.state = State.ATTACHED
        self.reason = ""
        self._gate = Condition()
        self._running = 0

    @contextmanager
    def inside(self) -> Iterator[bool]:
        """While a program runs: True, and no change of the registry passes; or False, and it must not."""
        with self._gate:
            ready = self.state is State.ATTACHED
            self._running += ready
        try:
            yield ready
        finally:
            if ready:
                with self._gate:
                    self._running -= 1
                    self._gate.notify_all()

    def follow(self, registry: Registry) -> None:
        """Become what the registry makes of it; returns when nothing runs that must not."""
        for program in self.owner.bare_programs.values():
            if program.proof is None:
                program.forget()  # a type that was looked up in another registry
        if self.state is State.ATTACHED and _is_same(self.owner, registry):
            self.owner.registry = registry
            return
        found = _differences(self.owner, registry)
        gone = any(each.gone for each in found)
        self._shut(State.WITHDRAWN if gone else State.REFUSED)
        self.owner.stop()
        if found:
            first = next(each for each in found if each.gone == gone)
            self.reason = str(first) if gone else f"{first}: load the object again"
            return
        try:
            self.owner.adopt(registry)
            for each in self.attachments:
                each.program.executable(each._engine)  # noqa: SLF001
        except (InputError, VerificationError) as error:
            self.reason = f"{error}: load the object again"
            return
        with self._gate:
            self.state, self.reason = State.ATTACHED, ""

    def _shut(self, state: State) -> None:
        with self._gate:
            self.state = state
            while self._running:
                self._gate.wait()


def _is_same(owner: LoadedObject, registry: Registry) -> bool:
    """Whether the rows that an object uses are the very rows that it was made with."""
    if owner.registry is registry:
        return True
    try:
        if any(registry.map_kind(each.kind.id) is not each.kind for each in owner.maps.values()):
            return False
        for program in owner.bare_programs.values():
            if program.proof is None:
                continue
            used = program.proof.facts.helpers
            if program.type_in(registry) != program.proof.program_type or any(
                registry.helper(number) != owner.registry.helper(number) for number in used
            ):
                return False
    except InputError:
        return False
    return True


def _differences(owner: LoadedObject, registry: Registry) -> tuple[Difference, ...]:
    """What the maps and the proofs of an object rely on and the registry does not say, once each."""
    from runtime.verifier.uses import Difference, differences

    found: dict[str, Difference] = {}
    for program in owner.bare_programs.values():
        if program.proof is None:
            continue
        try:
            kind = program.type_in(registry)
        except InputError:
            what = f"program type {program.proof.program_type.name}"
            found[what] = Difference(what=what, gone=True)
            continue
        for each in differences(program.proof, kind, registry):
            found.setdefault(each.what, each)
    for made in owner.maps.values():
        try:
            now = registry.map_kind(made.kind.id)
        except UnsupportedError:
            what = f"map type {made.kind.id}"
            found[what] = Difference(what=what, gone=True)
            continue
        if now is not made.kind and _code(now) != _code(made.kind):
            what = f"the code of map type {now.id} ({now.name})"
            found[what] = Difference(what=what, gone=False)
    return tuple(found.values())


def _code(kind: MapKind) -> tuple[str, ...]:
    """What decides how elements lie in memory: live maps are not handed to other code."""
    from runtime.native.library import natives
    from runtime.native.references import closure, own_digest

    optional = [each for each in (kind.fill, kind.snapshot) if each is not None]
    every = natives([kind.size, kind.init, kind.next_key, *kind.ops.values(), *optional, *kind.natives])
    return tuple(own_digest(each) for each in closure(every))
