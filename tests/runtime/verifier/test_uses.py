"""What a proof takes for granted of extensions: exactly the rows that the program uses, each by its digest."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from runtime.errors import VerificationError
from runtime.isa import assemble
from runtime.maps import CORE_MAP_KINDS
from runtime.spec import (
    Arg,
    ArgType,
    ContextField,
    ContextLayout,
    Extension,
    FieldKind,
    Helper,
    KernelStruct,
    MapKind,
    MapOp,
    MapSpec,
    ProgramSpec,
    ProgramType,
    Prototype,
    Registry,
    ReturnType,
    Subprogram,
)
from runtime.verifier import VerifiedProgram, verify
from runtime.verifier.question import Question
from runtime.verifier.uses import differences
from runtime.verifier.verdicts import known, remember

NUMBER = Helper(id=70_001, name="number", prototype=Prototype(args=(Arg(ArgType.ANYTHING),)))
MAPPED = Helper(id=70_002, name="mapped", prototype=Prototype(args=(Arg(ArgType.CONST_MAP),)), map_types=(1,))
OTHER = Helper(id=70_003, name="other", prototype=Prototype())
FIELDS = (
    ContextField(name="used", offset=0, size=4, reads=(4,)),
    ContextField(name="unused", offset=4, size=4, reads=(4,), record_offset=8),
    ContextField(name="link", offset=8, size=8, kind=FieldKind.SOCKET, reads=(8,), record_offset=16),
)
LAYOUT = ContextLayout(name="thing", size=16, record_size=24, fields=FIELDS)
KIND = ProgramType(
    name="thing", linux_type=None, context=LAYOUT, helpers=frozenset({70_001, 70_002, 70_003}), returns=(0, 9)
)
SOCK = KernelStruct(name="sock", words="a socket", layout=replace(LAYOUT, name="sock", fields=FIELDS[:2]))
EXTENSION = Extension(
    name="things",
    program_types=(KIND,),
    helpers=(NUMBER, MAPPED, OTHER),
    map_kinds=CORE_MAP_KINDS,
    structs=(SOCK,),
)
MAPS = (
    MapSpec(name="table", kind=1, key_size=4, value_size=8, max_entries=1),
    MapSpec(name="row", kind=2, key_size=4, value_size=8, max_entries=1),
)
TEXT = "r6 = *(u32 *)(r1 +0)\nr1 = r6\ncall 70001\nr1 = map[table] ll\ncall 70002\nr0 = 1\nexit"


def _program(text: str) -> ProgramSpec:
    code = assemble(text, maps=[each.name for each in MAPS])
    return ProgramSpec(name="p", section="thing", code=code, subprograms=(Subprogram(0, "p"),), license="GPL")


def _verified(text: str = TEXT, extension: Extension = EXTENSION) -> VerifiedProgram:
    registry = Registry((extension,))
    return verify(_program(text), registry.program_type("thing"), MAPS, registry)


def _changed(**rows: object) -> list[str]:
    """What the proof of TEXT says to an extension with other rows."""
    registry = Registry((replace(EXTENSION, **rows),))
    return [str(each) for each in differences(_verified(), registry.program_type("thing"), registry)]


def _type(**changes: object) -> tuple[ProgramType]:
    return (replace(KIND, **changes),)


def _fields(*fields: ContextField) -> tuple[ProgramType]:
    return _type(context=replace(LAYOUT, fields=fields, size=64, record_size=64))


def test_a_proof_names_what_it_uses_and_nothing_else() -> None:
    """The type, one field of three, two helpers of three, one kind of map of two."""
    facts = _verified().facts
    assert [what for what, _ in facts.uses] == [
        "program type thing",
        "context field thing.used",
        "helper bpf_number",
        "helper bpf_mapped",
        "map type 1",
    ]
    assert all(len(found) == 64 for _, found in facts.uses)
    assert len(facts.digest) == 64


def test_the_same_rows_are_no_difference() -> None:
    """A registry of equal rows, made anew, is what was verified."""
    assert _changed() == []
    assert _changed(name="another name") == []


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ({"helpers": (replace(NUMBER, prototype=Prototype()), MAPPED)}, "helper bpf_number has changed"),
        ({"helpers": (MAPPED,)}, "helper bpf_number is gone"),
        ({"helpers": (NUMBER, replace(MAPPED, map_types=(1, 2)))}, "helper bpf_mapped has changed"),
        ({"helpers": (replace(NUMBER, moves_packet=True), MAPPED)}, "helper bpf_number has changed"),
        ({"program_types": _type(helpers=frozenset({70_002}))}, "helper bpf_number is gone"),
        ({"program_types": _type(prototypes=((70_001, Prototype()),))}, "helper bpf_number has changed"),
        ({"program_types": _type(returns=(0, 1))}, "program type thing has changed"),
        ({"program_types": _fields(replace(FIELDS[0], reads=(2, 4)))}, "context field thing.used has changed"),
        ({"program_types": _fields(replace(FIELDS[0], record_offset=8))}, "context field thing.used has changed"),
        ({"program_types": _fields(*FIELDS[1:])}, "context field thing.used is gone"),
        ({"map_kinds": (replace(CORE_MAP_KINDS[0], per_cpu=True),)}, "map type 1 has changed"),
        ({"map_kinds": CORE_MAP_KINDS[1:]}, "map type 1 is gone"),
    ],
)
def test_a_row_that_is_used_and_changes_is_named(rows: dict[str, object], line: str) -> None:
    """Prototypes, permissions, places, bounds, kinds of maps: one line each."""
    (found,) = _changed(**rows)
    assert found.startswith(line)


@pytest.mark.parametrize(
    "rows",
    [
        {"helpers": (NUMBER, MAPPED, replace(OTHER, prototype=Prototype(gpl_only=True)))},
        {"helpers": (NUMBER, MAPPED)},
        {"helpers": (NUMBER, MAPPED, OTHER, replace(OTHER, id=70_004, name="new"))},
        {"program_types": _fields(FIELDS[0], replace(FIELDS[1], reads=()))},
        {"program_types": _fields(FIELDS[0], ContextField(name="new", offset=16, size=8, reads=(8,)))},
        {"program_types": _type(helpers=KIND.helpers | {70_004}, verdicts=((0, "NO"),))},
        {"map_kinds": (CORE_MAP_KINDS[0], replace(CORE_MAP_KINDS[1], per_cpu=True))},
        {"structs": ()},
    ],
)
def test_what_is_not_used_may_change(rows: dict[str, object]) -> None:
    """Rows that come, go or change beside those of the program are no concern of the proof."""
    assert _changed(**rows) == []


def test_a_struct_that_a_field_leads_to_is_used() -> None:
    """Who loads a pointer to a kernel object relies on what may be read through it."""
    text = "r6 = *(u64 *)(r1 +8)\nr0 = *(u32 *)(r6 +4)\nr0 &= 7\nexit"
    verified = _verified(text)
    other = replace(SOCK, layout=replace(SOCK.layout, fields=FIELDS[:1]))
    registry = Registry((replace(EXTENSION, structs=(other,)),))
    (found,) = differences(verified, registry.program_type("thing"), registry)
    assert found.what == "struct sock"


def test_a_verdict_on_disk_answers_for_its_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed prototype or field is another question; a verdict that was kept under the wrong name is not taken."""
    from runtime.native import cache

    monkeypatch.setenv("XDPSIM_CACHE", str(tmp_path))
    asked = []
    for extension in (
        EXTENSION,
        replace(EXTENSION, helpers=(replace(NUMBER, moves_packet=True), MAPPED)),
        replace(EXTENSION, program_types=_fields(replace(FIELDS[0], reads=(2, 4)))),
    ):
        registry = Registry((extension,))
        kind = registry.program_type("thing")
        question = Question(_program(TEXT), kind, MAPS, registry, _policy())
        remember(question, verify(question.spec, kind, MAPS, registry))
        asked.append(question)
    assert len({each.digest for each in asked}) == len(asked)
    assert all(known(each) is not None for each in asked)
    body = cache.load(f"{asked[1].digest}.verdict") or b""
    wrong = body.replace(str(asked[1].digest).encode(), str(asked[0].digest).encode())
    cache.store(f"{asked[0].digest}.verdict", wrong)
    assert known(asked[0]) is None


def _policy() -> object:
    from runtime.verifier import Policy

    return Policy()


def test_a_native_helper_takes_only_the_maps_of_its_row() -> None:
    """A native that is written for one layout is never handed a map of another."""
    from runtime.helpers import CORE_HELPERS

    native = next(each.native for each in CORE_HELPERS if each.native is not None)
    extension = replace(EXTENSION, helpers=(NUMBER, replace(MAPPED, native=native)))
    assert _verified(TEXT, extension)
    with pytest.raises(VerificationError, match=r"bpf_mapped does not take a map of type array, which 'row' is"):
        _verified(TEXT.replace("table", "row"), extension)


PROMISED = {
    ProgramType: {"returns", "legacy_packet_loads", "refuses", "context"},
    ContextLayout: {"region", "region_max", "region_writable", "region_in_helpers", "fields"},
    MapKind: {
        "id", "name", "per_cpu", "bounded_array", "value_is", "fixed_key_size", "fixed_value_size", "program_writable",
        "verified_only", "struct", "acquires", "ops", "changed_by",
    },
}  # fmt: skip
"""What of a row a proof takes for granted."""

NOT_PROMISED = {
    ProgramType: {
        *(
            "name",
            "linux_type",
            "driver",
            "origin_driver",
            "verdicts",
            "face",
            "natives",
            "attach",
        ),  # no matter of safety
        *("helpers", "prototypes", "attach_types"),  # by the helper that is called, by the way of attachment
    },
    ContextLayout: {"name", "size", "record_size"},  # fields have their places
    MapKind: {"size", "init", "next_key", "fill", "snapshot", "define", "face", "natives"},  # code, and what it makes
}


@pytest.mark.parametrize("row", PROMISED, ids=lambda row: row.__name__)
def test_every_field_of_a_row_is_decided_on(row: type) -> None:
    """A field that is new in a row is either a part of what proofs rely on, or said not to be."""
    assert {each.name for each in fields(row)} == PROMISED[row] | NOT_PROMISED[row]
    assert not PROMISED[row] & NOT_PROMISED[row]


CHANGES = {
    ProgramType: {"returns": (0, 1), "legacy_packet_loads": True, "refuses": ("bpf_timer",)},
    ContextLayout: {"region": "other", "region_max": 9, "region_writable": True, "region_in_helpers": False},
    MapKind: {
        "name": "other", "per_cpu": True, "bounded_array": True, "value_is": "map", "fixed_key_size": 4,
        "fixed_value_size": 4, "program_writable": False, "verified_only": True, "struct": "sock", "acquires": True,
        "ops": {}, "changed_by": {MapOp.UPDATE: frozenset({"x"})},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("row", "name", "value"), [(row, *each) for row, changes in CHANGES.items() for each in changes.items()]
)
def test_a_change_of_what_is_promised_is_seen(row: type, name: str, value: object) -> None:
    """Each field alone."""
    if row is ProgramType:
        lines = _changed(program_types=_type(**{name: value}))
    elif row is ContextLayout:
        lines = _changed(program_types=_type(context=replace(LAYOUT, **{name: value})))
    else:
        lines = _changed(map_kinds=(replace(CORE_MAP_KINDS[0], **{name: value}), *CORE_MAP_KINDS[1:]))
    assert len(lines) == 1, lines


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", 2), ("reads", (2,)), ("writes", (4,)), ("record_offset", 1), ("record_size", 4), ("from_start", True),
        ("kind", FieldKind.RESERVED), ("attach_types", ("x",)), ("offset", 1),
    ],
)  # fmt: skip
def test_a_change_of_a_field_is_seen(name: str, value: object) -> None:
    """Every part of a context field, so long as it keeps its name."""
    lines = _changed(program_types=_fields(replace(FIELDS[0], **{name: value}), *FIELDS[1:]))
    assert [each.startswith("context field thing.used has changed") for each in lines] == [True]
    assert {each.name for each in fields(ContextField)} == {
        "name", "offset", "size", "kind", "reads", "writes", "record_offset", "record_size", "attach_types", "from_start",
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"args": ()},
        {"args": (Arg(ArgType.ANYTHING, nullable=True),)},
        {"args": (Arg(ArgType.ANYTHING, writes=True),)},
        {"ret": ReturnType.VOID},
        {"packet_access": True},
        {"invalidates_packet": True},
        {"gpl_only": True},
        {"acquires": True},
        {"casts": True},
        {"struct": "sock"},
        {"locks": True},
        {"unlocks": True},
        {"returns": (0, 1)},
        {"at_most": 1},
    ],
    ids=str,
)
def test_a_change_of_a_prototype_is_seen(changes: dict[str, object]) -> None:
    """Every part of a prototype."""
    prototype = replace(NUMBER.prototype, **changes)
    lines = _changed(helpers=(replace(NUMBER, prototype=prototype), MAPPED))
    assert any(each.startswith("helper bpf_number has changed") for each in lines)
