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
from typing import TYPE_CHECKING, Final, Self, final

from runtime.errors import InputError, UnsupportedError, VerificationError, XdpsimError
from runtime.spec import Extension, MapKind, Registry
from runtime.vetting import faults

if TYPE_CHECKING:
    from runtime.loader import LoadedObject, Program
    from runtime.verifier import VerifiedProgram
    from runtime.verifier.uses import Difference

__all__ = ["Attachment", "Catalogue", "Change", "State"]

_AGAIN: Final = ": load the object again"


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
            held.attachments.append(made)
            try:
                held.follow(self._registry)
                if made.state is not State.ATTACHED:
                    raise UnsupportedError(f"program {program.name!r} cannot be attached: {made.reason}")
                program.executable(engine)
            except XdpsimError:
                held.attachments.remove(made)
                raise
            made.note()
            if held not in self._held:
                self._held.append(held)
            return made

    def _turn_to(self, registry: Registry) -> Change:
        self._registry = registry
        resumed: list[str] = []
        waiting: list[str] = []
        refused: list[str] = []
        for held in self._held:
            before = {each: (each.state, each.reason) for each in held.attachments}
            held.follow(registry)
            for each, old in before.items():
                line = f"program {each.program.name!r} of {held.owner.spec.name!r}: {each.reason}"
                if (each.state, each.reason) == old:
                    continue
                if each.state is State.ATTACHED:
                    resumed.append(each.program.name)
                else:
                    (waiting if each.state is State.WITHDRAWN else refused).append(line)
        return Change(resumed=tuple(resumed), waiting=tuple(waiting), refused=tuple(refused))

    def _let_go(self, attachment: Attachment, held: _Held) -> None:
        with self._lock:
            attachment.state, attachment.reason = State.DETACHED, ""
            if attachment in held.attachments:
                held.attachments.remove(attachment)
            if not held.attachments and held in self._held:
                self._held.remove(held)


@final
class Attachment:
    """A program at a hook. `drive` runs it while all is there that it was verified with; several threads may."""

    def __init__(self, catalogue: Catalogue, held: _Held, program: Program, engine: str | None) -> None:
        self.program = program
        self.engine = engine
        self.state = State.ATTACHED
        """Whether it runs, and if not, why."""
        self.reason = ""
        """In one line, why it does not run; "" while it does."""
        self.proofs: tuple[tuple[Program, VerifiedProgram], ...] = ()
        """What it was verified as, and what its tail calls lead to: a change is compared with this."""
        self._catalogue = catalogue
        self._held = held
        self.note()

    def note(self) -> None:
        """Keep the proofs that there are."""
        own = self.program.proof
        if own is None:
            return
        calls = any(each.builtin == "tail_call" for each in own.facts.helpers.values())
        every = (self.program, *(self.program.owner.tail_call_targets() if calls else ()))
        self.proofs = tuple((each, each.proof) for each in every if each.proof is not None)

    def drive(self, batch: int, environment: int) -> int | None:
        """Run the type's driver over the batch record at that address; None, and nothing was run, unless it is attached."""
        with self._held.inside(self) as ready:
            return self.program.executable(self.engine).drive(batch, environment) if ready else None

    def detach(self) -> None:
        """End it. Twice is harmless."""
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
    """An object some programs of which are attached: what is done to it is done while none of them runs."""

    def __init__(self, owner: LoadedObject) -> None:
        self.owner = owner
        self.attachments: list[Attachment] = []
        self._gate = Condition()
        self._running = 0

    @contextmanager
    def inside(self, attachment: Attachment) -> Iterator[bool]:
        """While a program runs: True, and no change of the registry passes; or False, and it must not."""
        with self._gate:
            ready = attachment.state is State.ATTACHED
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
        if all(each.state is State.ATTACHED for each in self.attachments) and self._is_same(registry):
            self.owner.registry = registry
            return
        kinds = _of_maps(self.owner, registry)
        found = {each: (*_of_proofs(each, registry), *kinds) for each in self.attachments}
        self._shut(found)
        self.owner.stop()
        if kinds:
            return
        self.owner.adopt(registry)
        for attachment, different in found.items():
            if not different:
                self._resume(attachment)

    def _is_same(self, registry: Registry) -> bool:
        """Whether the rows that the object uses are the very rows that it was made with."""
        before = self.owner.registry
        if before is registry:
            return True
        try:
            kinds = all(registry.map_kind(each.kind.id) is each.kind for each in self.owner.maps.values())
            return (
                kinds
                and before.structs == registry.structs
                and all(
                    program.type_in(registry) == proof.program_type
                    and all(registry.helper(number) == before.helper(number) for number in proof.facts.helpers)
                    for each in self.attachments
                    for program, proof in each.proofs
                )
            )
        except InputError:
            return False

    def _shut(self, found: dict[Attachment, tuple[Difference, ...]]) -> None:
        """Let nobody in any more, say why, and wait for those who are inside."""
        with self._gate:
            for each, different in found.items():
                gone = next((one for one in different if one.gone), None)
                each.state = State.REFUSED if gone is None else State.WITHDRAWN
                each.reason = str(gone) if gone is not None else "".join(f"{one}{_AGAIN}" for one in different[:1])
            while self._running:
                self._gate.wait()

    def _resume(self, attachment: Attachment) -> None:
        try:
            if attachment.proofs:
                attachment.program.executable(attachment.engine)
        except (InputError, VerificationError) as error:
            attachment.reason = f"{error}{_AGAIN}"
            return
        with self._gate:
            attachment.state, attachment.reason = State.ATTACHED, ""


def _of_proofs(attachment: Attachment, registry: Registry) -> tuple[Difference, ...]:
    """What the proofs of an attached program rely on and the registry does not say, once each."""
    from runtime.verifier.uses import Difference, differences

    found: dict[str, Difference] = {}
    for program, proof in attachment.proofs:
        try:
            kind = program.type_in(registry)
        except InputError:
            what = f"program type {proof.program_type.name}"
            found[what] = Difference(what=what, gone=True)
            continue
        for each in differences(proof, kind, registry):
            found.setdefault(each.what, each)
    return tuple(found.values())


def _of_maps(owner: LoadedObject, registry: Registry) -> tuple[Difference, ...]:
    """Kinds of the object's maps that are gone, or whose code is another."""
    from runtime.verifier.uses import Difference

    found: dict[str, Difference] = {}
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
