"""Programs for a live chain: loaded, held to what this wire can give, and kept until nothing runs them any more.

Not here: the chain (chain.py) and verification.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from runtime.errors import InputError, UnsupportedError
from runtime.isa import encode
from runtime.loader import LoadedObject, Program, load
from xdp.extension import default_registry
from xdp.hooks import XdpProgram
from xdp.live.maps import arena_folder

if TYPE_CHECKING:
    from runtime.maps import Map

__all__ = ["Loaded", "Source", "open_program", "tag"]

Source = str | Path | XdpProgram | Program

_REFUSED: Final = {
    "cpu": "frames are run by the workers of this process, not handed to CPUs of the kernel",
    "socket": "AF_XDP sockets take frames from the kernel's driver, which this filter is not",
}
_KINDS: Final = {"cpu": "CPUMAP", "socket": "XSKMAP"}


@final
@dataclass(frozen=True, slots=True)
class Loaded:
    """A program and its object; `owned`: nobody else closes the object."""

    program: Program
    owned: bool

    @property
    def object(self) -> LoadedObject:
        """Where it comes from."""
        return self.program.owner

    def close(self) -> None:
        """Close the object if it is ours."""
        if self.owned:
            self.object.close()


def open_program(
    source: Source,
    prog: str | None,
    *,
    engine: str | None,
    cpus: int,
    maps: Mapping[str, Map] | None = None,
) -> Loaded:
    """A program that is verified, compiled and fit for the wire; `maps` are those of the object that it replaces.

    Raises ObjectError, VerificationError, InputError, UnsupportedError.
    """
    match source:
        case XdpProgram():
            loaded = Loaded(source.program, owned=False)
        case Program():
            loaded = Loaded(source, owned=False)
        case _:
            rows, folder = default_registry(), arena_folder()
            found = load(source, registry=rows, engine=engine or "jit", cpus=cpus, maps=maps, folder=folder)
            try:
                loaded = Loaded(found.program(prog), owned=True)
            except (InputError, UnsupportedError):
                found.close()
                raise
    fit = False
    try:
        _check(loaded.program)
        loaded.program.executable(engine, origins=True)
        fit = True
    finally:
        if not fit:
            loaded.close()
    return loaded


def _check(program: Program) -> None:
    """Raises UnsupportedError for what this wire cannot give."""
    kind = program.type
    if kind.name != "xdp" or (kind.attach is not None and kind.attach.name != "xdp"):
        what = kind.name if kind.attach is None else f"{kind.name}/{kind.attach.name}"
        raise UnsupportedError(
            f"program {program.name!r} is of type {what}: only XDP programs for interfaces are attached"
        )
    for each in (program, *program.owner.tail_call_targets()):
        _check_maps(each)


def _check_maps(program: Program) -> None:
    for index in sorted(program.facts.maps):
        if index >= len(program.maps):
            continue
        found = program.maps[index]
        reason = _REFUSED.get(found.kind.value_is)
        if reason is not None:
            raise UnsupportedError(
                f"program {program.name!r} redirects through map {found.name!r} ({_KINDS[found.kind.value_is]}): {reason}"
            )
        wide = found.kind.value_is == "device" and found.spec.value_size > 4
        if wide and any(value[4:8] != bytes(4) for _, value in found.items()):
            raise UnsupportedError(
                f"map {found.name!r} names programs for the way out (egress programs of a DEVMAP): they are not run here"
            )


def tag(program: Program) -> str:
    """16 hex digits that stand for the program's instructions."""
    return hashlib.sha1(encode(program.spec.code), usedforsecurity=False).hexdigest()[:16]


def describe_program(program: Program, priority: int) -> dict[str, Any]:
    """What another process may know of a program."""
    return {
        "id": program.id,
        "name": program.name,
        "tag": tag(program),
        "priority": priority,
        "object": program.owner.spec.name,
    }
