"""Verdicts on disk: what was proven, or why not, as JSON under the digest of the question.

Not here: files (runtime.native.cache, which keeps compiled programs in the same folder) and what the digest covers (question.py).
An entry that does not read as an answer to its question is as good as none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from runtime.errors import VerificationError
from runtime.native import cache as disk
from runtime.spec import Helper
from runtime.verifier.question import Question, unedited
from runtime.verifier.suspect import Suspect
from runtime.verifier.uses import uses_of
from runtime.verifier.verified import _SEAL, Facts, LoopBound, Region, VerifiedProgram
from runtime.verifier.warned import Warned

__all__ = ["known", "remember"]

_LARGEST: Final = 8 << 20
_ERROR_FIELDS: Final = frozenset({"code", "pc", "source", "log", "suspect", "fix", "known"})

Verdict = VerifiedProgram | VerificationError


def known(question: Question) -> Verdict | None:
    """The verdict that is on disk, if it can be read whole."""
    name = _entry(question)
    body = None if name is None else disk.load(name)
    if body is None:
        return None
    try:
        document = json.loads(body)
        if document["question"] != question.digest:
            return None
        if "facts" in document:
            facts = _facts(question, document["facts"])
            if facts.uses != uses_of(facts, question.program_type, question.maps, question.registry):
                return None
            return VerifiedProgram(
                _SEAL,
                spec=question.spec,
                program_type=question.program_type,
                maps=question.maps,
                facts=facts,
                warnings=tuple(map(Warned.read, document["warnings"])),
            )
        return _error(question, document)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return None


def remember(question: Question, verdict: Verdict) -> None:
    """Put a verdict on disk; one that cannot be kept, or that edited source may have made, is left out."""
    name = _entry(question)
    if name is None or not unedited() or _READERS.keys() != {each.name for each in fields(Facts)}:
        return
    if isinstance(verdict, VerifiedProgram):
        warnings = [asdict(each) for each in verdict.warnings]
        document: dict[str, Any] = {"facts": _facts_document(question, verdict.facts), "warnings": warnings}
    elif set(vars(verdict)) <= _ERROR_FIELDS:
        document = _error_document(question, verdict)
    else:
        return
    body = json.dumps({"question": question.digest, **document}, separators=(",", ":")).encode()
    if len(body) <= _LARGEST:
        disk.store(name, body)


def _entry(question: Question) -> str | None:
    return None if question.digest is None else f"{question.digest}.verdict"


def _error_document(question: Question, error: VerificationError) -> dict[str, Any]:
    suspect = error.suspect
    assert suspect is None or isinstance(suspect, Suspect)
    return {
        "message": str(error),
        "code": str(error.code),
        "pc": error.pc,
        "source": error.source,
        "log": error.log,
        "fix": error.fix,
        "known": error.known,
        "suspect": suspect
        and {
            "facts": _facts_document(question, suspect.facts),
            "trail": suspect.trail,
            "pc": suspect.pc,
            "code": str(suspect.code),
        },
    }


def _error(question: Question, document: Mapping[str, Any]) -> VerificationError:
    found = document["suspect"]
    suspect = found and Suspect(
        spec=question.spec,
        program_type=question.program_type,
        maps=question.maps,
        facts=_facts(question, found["facts"]),
        trail=tuple((pc, taken) for pc, taken in found["trail"]),
        pc=found["pc"],
        code=found["code"],
    )
    return VerificationError(
        document["message"],
        code=document["code"],
        pc=document["pc"],
        source=document["source"],
        log=document["log"],
        fix=document["fix"],
        known=tuple((name, value) for name, value in document["known"]),
        suspect=suspect,
    )


def _facts_document(question: Question, facts: Facts) -> dict[str, Any]:
    """Facts as JSON has them; every field of Facts has a form, as a test asserts."""
    document: dict[str, Any] = {}
    for field in fields(facts):
        value = getattr(facts, field.name)
        match field.name:
            case "context_fields":
                places = {each: at for at, each in enumerate(question.program_type.context.fields)}
                document[field.name] = {pc: places[each] for pc, each in value.items()}
            case "helpers":
                rows = {number: helper == question.helper(number) for number, helper in value.items()}
                document[field.name] = sorted(rows.items())
            case "loops":
                document[field.name] = [[each.pc, each.iterations] for each in value]
            case _:
                document[field.name] = _plain(value)
    return document


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _plain(each) for key, each in value.items()}
        case frozenset():
            return sorted(value)
        case _:
            return value


def _facts(question: Question, document: Mapping[str, Any]) -> Facts:
    return Facts(**{name: read(question, document[name]) for name, read in _READERS.items()})


def _context_fields(question: Question, document: Mapping[str, int]) -> dict[int, Any]:
    rows = question.program_type.context.fields
    return {int(pc): rows[at] for pc, at in document.items()}


def _helpers(question: Question, document: list[tuple[int, bool]]) -> dict[int, Helper]:
    """Each as this type has it, or, with False, as the registry has it."""
    rows = {}
    for number, own in document:
        helper = question.helper(number) if own else question.registry.helper(number)
        if helper is None:
            raise KeyError(number)
        rows[number] = helper
    return rows


def _sets(_question: Question, document: Mapping[str, list[int]]) -> dict[int, frozenset[int]]:
    return {int(pc): frozenset(each) for pc, each in document.items()}


def _regions(_question: Question, document: Mapping[str, list[int]]) -> dict[int, frozenset[Region]]:
    return {int(pc): frozenset(map(Region, each)) for pc, each in document.items()}


def _values(_question: Question, document: Mapping[str, Any]) -> dict[int, Any]:
    return {int(pc): each for pc, each in document.items()}


def _set(_question: Question, document: list[int]) -> frozenset[int]:
    return frozenset(document)


def _loops(_question: Question, document: list[tuple[int, int]]) -> tuple[LoopBound, ...]:
    return tuple(LoopBound(pc=pc, iterations=iterations) for pc, iterations in document)


def _pairs(_question: Question, document: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple((what, found) for what, found in document)


def _flag(_question: Question, document: Any) -> bool:
    if not isinstance(document, bool):
        raise TypeError(document)
    return document


def _count(_question: Question, document: Any) -> int:
    return int(document)


_READERS: Final[Mapping[str, Callable[[Question, Any], Any]]] = {
    "branches": _values,
    "call_maps": _sets,
    "callbacks": _sets,
    "constants": _values,
    "context_fields": _context_fields,
    "helpers": _helpers,
    "loops": _loops,
    "maps": _set,
    "maps_written": _set,
    "moves_packet": _flag,
    "reads_clock": _flag,
    "reads_packet": _flag,
    "reads_random": _flag,
    "reads_uninitialised_stack": _flag,
    "regions": _regions,
    "stack": _values,
    "steps": _count,
    "unreachable": _set,
    "uses": _pairs,
    "writes_packet": _flag,
}
