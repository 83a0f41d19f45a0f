"""`xdpsim feature`: what is known here, and what of it runs, in the shapes of `bpftool feature`.

Not here: where the rows come from (xdp.features).
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any, Final

from xdp.cli.exits import Exit
from xdp.cli.output import Output
from xdp.extension import default_registry
from xdp.features import Features, TypeRow, features

__all__ = ["builtins", "markdown", "probe", "table"]

_HEAD: Final = """\
# What is supported

Made by `xdpsim feature table`, from the rows that the verifier and the engines read; `xdpsim feature probe` says the same of an
installation with its extensions. What is *verified* is proven safe, or not, as the other program types are, and nothing here runs it.
"""


def probe(_arguments: Namespace, output: Output) -> int:
    """Say of every program type, map type and helper whether it runs here."""
    found = features(default_registry())
    output.emit(_document(found), "\n".join(_lines(found)))
    return Exit.OK


def builtins(arguments: Namespace, output: Output) -> int:
    """List the names of one group."""
    found = features(default_registry())
    groups = {
        "prog_types": [each.name for each in found.program_types],
        "map_types": [each.name for each in found.map_types],
        "attach_types": [name for each in found.program_types for name in each.attach_types],
        "helpers": [each.name for each in found.helpers],
    }
    names = groups[arguments.group]
    output.emit(names, "\n".join(names))
    return Exit.OK


def table(_arguments: Namespace, output: Output) -> int:
    """Print all rows as Markdown; docs/support.md is what this prints without extensions of other packages."""
    found = features(default_registry())
    output.emit(_document(found), markdown(found))
    return Exit.OK


def _document(found: Features) -> dict[str, Any]:
    """The keys of bpftool, where true says that it runs here; and behind them, what bpftool has no words for."""
    return {
        "program_types": {f"have_{each.name}_prog_type": each.runs for each in found.program_types},
        "map_types": {f"have_{each.name}_map_type": each.made for each in found.map_types},
        "helpers": {f"{each.name}_available_helpers": _helpers(each, runs=True) for each in found.program_types},
        "verified_only": {
            "program_types": [each.name for each in found.program_types if not each.runs],
            "map_types": [each.name for each in found.map_types if not each.made],
            "helpers": {each.name: _helpers(each, runs=False) for each in found.program_types},
        },
        "extensions": {
            name: {
                "program_types": [each.name for each in found.program_types if each.extension == name],
                "map_types": [each.name for each in found.map_types if each.extension == name],
                "helpers": [each.name for each in found.helpers if each.extension == name],
            }
            for name in _extensions(found)
        },
    }


def _helpers(row: TypeRow, *, runs: bool) -> list[str]:
    """The helpers that run, or that are only verified; where the type does not run, none of its helpers does."""
    return [name for name, carried in row.helpers if (carried and row.runs) == runs]


def _extensions(found: Features) -> list[str]:
    names = [each.extension for each in found.program_types]
    names += [each.extension for each in found.map_types]
    names += [each.extension for each in found.helpers]
    return list(dict.fromkeys(names))


def _lines(found: Features) -> Iterator[str]:
    yield "Scanning eBPF program types..."
    for each in found.program_types:
        yield f"eBPF program_type {each.name} is {_word(runs=each.runs)}{_of(each.extension)}"
    yield ""
    yield "Scanning eBPF map types..."
    for kind in found.map_types:
        yield f"eBPF map_type {kind.name} is {_word(runs=kind.made)}{_of(kind.extension)}"
    yield ""
    yield "Scanning eBPF helper functions..."
    for each in found.program_types:
        yield f"eBPF helpers supported for program type {each.name}:"
        for name, runs in each.helpers:
            yield f"\t- {name}" if runs and each.runs else f"\t- {name} (verified only)"


def _word(*, runs: bool) -> str:
    return "available" if runs else "verified only"


def _of(extension: str) -> str:
    return f" (extension {extension})"


def markdown(found: Features) -> str:
    """All rows as a document."""
    return "\n".join([_HEAD, *_type_table(found), "", *_map_table(found), "", *_helper_table(found)])


def _type_table(found: Features) -> Iterator[str]:
    yield "## Program types"
    yield ""
    yield "| type | extension | here | context | sections | attach types | helpers that run | helpers verified |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for each in found.program_types:
        cells = (
            f"`{each.name}`",
            each.extension,
            "runs" if each.runs else "verified",
            f"`{each.context}`",
            " ".join(f'`"{name}"`' for name in each.sections),
            " ".join(f"`{name}`" for name in each.attach_types) or "one",
            str(len(_helpers(each, runs=True))),
            str(len(_helpers(each, runs=False))),
        )
        yield f"| {' | '.join(cells)} |"


def _map_table(found: Features) -> Iterator[str]:
    yield "## Map types"
    yield ""
    yield "| number | type | extension | here |"
    yield "| --- | --- | --- | --- |"
    for each in found.map_types:
        yield f"| {each.number} | `{each.name}` | {each.extension} | {'made' if each.made else 'verified'} |"


def _helper_table(found: Features) -> Iterator[str]:
    """Of each helper that something carries out, the types that run and may call it; the others are only counted."""
    callers: dict[str, list[str]] = {}
    for row in found.program_types:
        for name in _helpers(row, runs=True):
            callers.setdefault(name, []).append(f"`{row.name}`")
    yield "## Helpers that run"
    yield ""
    yield "| number | helper | extension | program types |"
    yield "| --- | --- | --- | --- |"
    shown = [each for each in found.helpers if each.name in callers]
    for each in shown:
        yield f"| {each.number} | `{each.name}` | {each.extension} | {' '.join(callers[each.name])} |"
    yield ""
    yield f"The other {len(found.helpers) - len(shown)} helpers are known to the verifier."
