"""Every program of an object, judged by us and by the running kernel.

Not here: either judge.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runtime.errors import InputError
from runtime.verifier import Policy
from tests.kernel.verdicts.libbpf import Libbpf
from tests.kernel.verdicts.ours import judge, read, type_of
from tests.kernel.verdicts.verdict import Pair, Verdict
from xdp.extension import default_registry

__all__ = ["compare"]


def compare(path: Path, library: Libbpf, *, policy: Policy) -> Iterator[Pair]:
    """The pairs of an object, in libbpf's order; one pair named after the file when libbpf cannot open it."""
    registry = default_registry()
    try:
        programs = library.programs(path)
    except OSError as error:
        none = Verdict(accepted=None, message=str(error))
        yield Pair(name=path.stem, section="", ours=Verdict(accepted=None, message="not asked"), kernel=none)
        return
    read_here = read(path)
    for name, section in programs:
        kernel = library.verdict(path, name)
        if isinstance(read_here, InputError):
            ours = Verdict(accepted=None, message=str(read_here).splitlines()[0])
            yield Pair(name=name, section=section, ours=ours, kernel=kernel)
            continue
        spec = next((each for each in read_here.programs if each.name == name), None)
        kind = type_of(spec, registry) if spec else None
        if spec is None or kind is None:
            ours = Verdict(accepted=None, message=f"section {section!r} names no type that is known here")
        else:
            ours = judge(spec, kind, read_here.maps, registry, policy=policy)
        yield Pair(name=name, section=section, ours=ours, kernel=kernel, kind=kind, spec=spec)
