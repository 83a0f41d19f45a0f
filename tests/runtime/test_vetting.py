"""Extensions that do not hold together: each fault is one line that says what to do, when the extension is registered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runtime import Catalogue
from runtime.errors import InputError
from runtime.maps import CORE_MAP_KINDS
from runtime.native import native
from runtime.spec import (
    Arg,
    ArgType,
    ContextField,
    ContextLayout,
    Extension,
    FieldKind,
    Helper,
    MapOp,
    ProgramType,
    Prototype,
    Registry,
    Section,
)
from runtime.vetting import faults
from xdp.extension import CORE_EXTENSION, default_registry


@native
def _one(env: int) -> int:
    return 0


@native
def _two(env: int, word: int) -> int:
    return 0


def _plain(env: int, word: int) -> int:
    return 0


NUMBER = Arg(ArgType.ANYTHING)
HELPER = Helper(id=90_001, name="thing", native=_two, prototype=Prototype(args=(NUMBER,)))
FIELD = ContextField(name="a", offset=0, size=4, reads=(4,))
CONTEXT = ContextLayout(name="thing", size=16, record_size=24, fields=(FIELD,))
KIND = ProgramType(name="thing", linux_type=None, context=CONTEXT, helpers=frozenset({90_001}), driver=_two)
SECTION = Section(prefix="thing", program_type="thing")
EXTENSION = Extension(name="things", helpers=(HELPER,), program_types=(KIND,), sections=(SECTION,))
MAP_KIND = replace(CORE_MAP_KINDS[0], id=90_001, name="things")


def _helper(**changes: Any) -> Extension:
    return replace(EXTENSION, helpers=(replace(HELPER, **changes),))


def _type(**changes: Any) -> Extension:
    return replace(EXTENSION, program_types=(replace(KIND, **changes),))


def _fields(*fields: ContextField) -> Extension:
    return _type(context=replace(CONTEXT, fields=fields))


def _map(**changes: Any) -> Extension:
    return replace(EXTENSION, map_kinds=(replace(MAP_KIND, **changes),))


def _prototype(*args: Arg) -> Extension:
    return _helper(prototype=Prototype(args=args), native=_two if len(args) == 1 else None, map_op=None)


def test_a_sound_extension_is_taken() -> None:
    """What the cases of this file change is right before."""
    catalogue = Catalogue(Registry((CORE_EXTENSION,)))
    catalogue.register(replace(EXTENSION, map_kinds=(MAP_KIND,)))
    assert catalogue.registry.program_type("thing") is KIND
    assert catalogue.registry.owner(HELPER).name == "things"


def test_what_comes_with_the_project_is_sound() -> None:
    """The built-in extensions are held to the same rules; only printk's native reads registers that its row leaves open."""
    registry = default_registry()
    found = [each for extension in registry.extensions for each in faults(extension, registry)]
    assert [each for each in found if "bpf_trace_printk" not in each] == []


@pytest.mark.parametrize(
    ("extension", "line"),
    [
        (_helper(native=None), "helper bpf_thing has no native, and programs of type thing run: give it one"),
        (_helper(native=_one), "native _one of helper bpf_thing takes 1 words and is called with 2: the environment and"),
        (_helper(native=_plain), "the native of helper bpf_thing was not made by @native: decorate it"),
        (_helper(map_op=MapOp.LOOKUP), "helper bpf_thing is carried out in 2 ways: leave one of native, map_op and builtin"),
        (_helper(native=None, map_op=MapOp.PUSH), "is an operation of a map and does not take one first"),
        (_helper(prototype=Prototype(args=(NUMBER,) * 6), native=None), "takes 6 arguments: programs pass at most 5"),
        (_prototype(Arg(ArgType.MEMORY)), "argument 1 of helper bpf_thing is memory of no size: let the next argument be"),
        (_prototype(Arg(ArgType.FIXED_MEMORY)), "argument 1 of helper bpf_thing is memory of 0 bytes: give it a size"),
        (_type(driver=_one), "native _one of program type thing takes 1 words and is called with 2: the batch and the env"),
        (_type(helpers=frozenset({90_001, 90_002})), "program type thing may call helper 90002, which nobody registers"),
        (_type(returns=(2, 0)), "program type thing returns from 2 to 0: the smaller bound comes first"),
        (
            _fields(FIELD, replace(FIELD, name="b", offset=2)),
            "fields a and b of context thing share bytes: move one, or let the smaller one lie in the other and come first",
        ),
        (_fields(replace(FIELD, offset=14)), "field a of context thing lies at bytes 14 to 18 of 16: make the context larger"),
        (_fields(replace(FIELD, record_offset=20)), "lives at bytes 20 to 28 of a record of 24: make the record larger"),
        (_fields(replace(FIELD, record_size=2)), "field a of context thing has 4 bytes and lives in 2: make record_size larger"),
        (_fields(replace(FIELD, reads=(8,))), "field a of context thing has 4 bytes and is accessed 8 wide: widths are"),
        (
            _fields(replace(FIELD, kind=FieldKind.REGION)),
            "context thing has one end of a packet and not the other: add REGION or REGION_END",
        ),
        (
            _fields(replace(FIELD, kind=FieldKind.REGION, record_size=4)),
            "field a of context thing is an address and lives in 4 bytes: give it 8",
        ),
        (_fields(replace(FIELD, kind=FieldKind.SOCKET, writes=(4,))), "is no number and may be written: take `writes` away"),
        (_map(init=_one), "native _one of map kind things, init, takes 1 words and is called with 5"),
        (_map(ops={MapOp.LOOKUP: _two}), "native _two of map kind things, lookup, takes 2 words and is called with 7"),
        (_map(ops={MapOp.PUSH: _plain}), "the native of map kind things, push, was not made by @native: decorate it"),
        (
            replace(EXTENSION, sections=(replace(SECTION, program_type="other"),)),
            "section 'thing' stands for program type 'other', which nobody registers: register it too",
        ),
        (
            replace(EXTENSION, sections=(replace(SECTION, attach_type="way"),)),
            "section 'thing' says attach type 'way', which thing has not: add the attach type",
        ),
        (_helper(id=1), "registers helper 1, which is already taken by 'core': choose another number or name"),
        (_helper(name="map_lookup_elem"), "registers helper map_lookup_elem, which is already taken by 'core'"),
        (_map(id=1), "registers map kind 1, which is already taken by 'core': choose another number or name"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line(extension: Extension, line: str) -> None:
    """Natives, numbers, prototypes, fields, records, sections: refused by the name of the extension, and nothing is kept."""
    catalogue = Catalogue(Registry((CORE_EXTENSION,)))
    with pytest.raises(InputError) as caught:
        catalogue.register(extension)
    assert str(caught.value).startswith("extension 'things'")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [each.name for each in catalogue.registry.extensions] == ["core"]


def test_fields_of_different_attach_types_may_share_bytes() -> None:
    """Programs that are attached in one way see one of them."""
    fields = (replace(FIELD, attach_types=("x",)), replace(FIELD, name="b", offset=2, attach_types=("y",)))
    assert faults(_fields(*fields), Registry((CORE_EXTENSION, _fields(*fields)))) == ()
