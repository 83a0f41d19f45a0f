"""Every program of an object, judged by us and by the running kernel.

Not here: either judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.errors import InputError
from runtime.spec import ObjectSpec
from runtime.verifier import Policy
from tests.kernel.verdicts.libbpf import Libbpf
from tests.kernel.verdicts.ours import judge, read, type_of
from tests.kernel.verdicts.verdict import Pair, Verdict
from xdp.extension import default_registry

__all__ = ["compare"]


def compare(path: Path, library: Libbpf, *, policy: Policy, only: str = "") -> Iterator[Pair]:
    """The pairs of an object, in libbpf's order; one pair named after the file when libbpf cannot open it.

    `only` is the name of the program to judge; empty for all.
    """
    try:
        programs = library.programs(path)
    except OSError as error:
        none = Verdict(accepted=None, message=str(error))
        yield Pair(name=path.stem, section="", ours=Verdict(accepted=None, message="not asked"), kernel=none)
        return
    found = read(path)
    for name, section in programs:
        if only in ("", name):
            yield _pair(found, name, section, library.verdict(path, name), policy)


def _pair(found: ObjectSpec | InputError, name: str, section: str, kernel: Verdict, policy: Policy) -> Pair:
    if isinstance(found, InputError):
        ours = Verdict(accepted=None, message=str(found).splitlines()[0])
        return Pair(name=name, section=section, ours=ours, kernel=kernel)
    registry = default_registry()
    spec = next((each for each in found.programs if each.name == name), None)
    kind = type_of(spec, registry) if spec else None
    if name in (reasons := dict(found.unsupported)):
        ours = Verdict(accepted=None, message=reasons[name])
    elif spec is None or kind is None:
        ours = Verdict(accepted=None, message=f"section {section!r} names no type that is known here")
    else:
        ours = judge(spec, kind, found.maps, registry, policy=policy)
    return Pair(name=name, section=section, ours=ours, kernel=kernel, kind=kind, spec=spec, maps=found.maps)
