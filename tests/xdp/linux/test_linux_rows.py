"""The rows of the program types that are only verified: in themselves, against the kernel's types, against libbpf."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from runtime.errors import InputError, UnsupportedError
from runtime.loader import program_type
from runtime.spec import ContextField, ContextLayout, FieldKind, ProgramSpec, ProgramType, Section
from xdp.extension import CORE_EXTENSION, LINUX_EXTENSION, XDP_EXTENSION, default_registry
from xdp.linux import LINUX_HELPER_ROWS, LINUX_MAP_KINDS, LINUX_PROGRAM_TYPES, LINUX_SECTIONS, helper_numbers
from xdp.sockets import NOT_LINUX, SOCKET_PROGRAM_TYPES, SOCKET_SECTIONS

KINDS = (*LINUX_PROGRAM_TYPES, *(each for each in SOCKET_PROGRAM_TYPES if each.linux_type is not None))
SECTIONS = (*LINUX_SECTIONS, *SOCKET_SECTIONS)
BTF = "/sys/kernel/btf/vmlinux"
LAYOUTS = {
    f"{each.context.name} {each.name} {way.name if way else ''}": each.attached(way.name if way else "").context
    for each in (*KINDS, *SOCKET_PROGRAM_TYPES)
    for way in each.attach_types or (None,)
}
TYPES = [pytest.param(each, id=each.name) for each in KINDS]
IN_BTF = ("__sk_buff", "bpf_sock", "bpf_sock_addr", "bpf_sock_ops")
POINTERS = (FieldKind.REGION, FieldKind.REGION_END, FieldKind.REGION_META)

needs_btf = pytest.mark.skipif(
    shutil.which("bpftool") is None or not os.access(BTF, os.R_OK), reason="needs bpftool and the kernel's BTF"
)


@functools.cache
def _kernel_types() -> dict[tuple[str, str], dict[str, Any]]:
    """The kernel's types by kind and name."""
    done = subprocess.run(["bpftool", "-j", "btf", "dump", "file", BTF], capture_output=True, check=True)
    return {(each["kind"], each["name"]): each for each in json.loads(done.stdout)["types"]}


def _span(field: ContextField) -> range:
    return range(field.offset, field.offset + field.size)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_fields_lie_apart(layout: ContextLayout) -> None:
    """Fields are in order, inside the context, and overlap only where a wider access is a row of its own."""
    for one, two in zip(layout.fields, layout.fields[1:], strict=False):
        nested = one.offset == two.offset and one.size < two.size
        assert nested or one.offset + one.size <= two.offset, (one.name, two.name)
    assert all(field.offset >= 0 and field.offset + field.size <= layout.size for field in layout.fields)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_widths_fit_their_fields(layout: ContextLayout) -> None:
    """Widths are powers of two no larger than the field; what is written can be read; pointers are read whole."""
    for field in layout.fields:
        assert field.reads
        assert set(field.reads) <= {1, 2, 4, 8}
        assert set(field.writes) <= set(field.reads)
        assert max(field.reads) <= field.size
        if field.kind is not FieldKind.SCALAR:
            assert field.reads == (field.size,)
            assert not field.writes


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_regions_have_two_ends(layout: ContextLayout) -> None:
    """A context tells where its region begins and where it ends, or neither."""
    kinds = [field.kind for field in layout.fields if field.kind in POINTERS]
    assert len(kinds) == len(set(kinds))
    assert (FieldKind.REGION in kinds) == (FieldKind.REGION_END in kinds)


@needs_btf
@pytest.mark.parametrize(
    "layout", [each for each in LAYOUTS.values() if each.name in IN_BTF], ids=lambda each: each.name
)
def test_fields_are_members_of_the_kernels_structs(layout: ContextLayout) -> None:
    """Fields begin where the kernel's members of that name begin."""
    struct = _kernel_types().get(("STRUCT", layout.name))
    if struct is None:
        pytest.skip("the kernel's BTF has no such struct")
    places = {member["name"]: member["bits_offset"] // 8 for member in struct["members"]}
    assert layout.size >= struct["size"] - 8
    for field in layout.fields:
        if field.name in places:
            assert places[field.name] == field.offset, field.name
        else:
            assert field.kind is not FieldKind.SCALAR or field.name in ("reply", "args[1..3]"), field.name


@needs_btf
def test_numbers_are_those_of_the_kernel() -> None:
    """Program types and attach types have the numbers that the kernel's enumerations give them."""
    types = {each["name"]: each["val"] for each in _kernel_types()["ENUM", "bpf_prog_type"]["values"]}
    ways = {each["name"]: each["val"] for each in _kernel_types()["ENUM", "bpf_attach_type"]["values"]}
    for kind in KINDS:
        assert types[f"BPF_PROG_TYPE_{kind.name.upper()}"] == kind.linux_type
        for way in kind.attach_types:
            if way.name == "kprobe":
                assert way.linux == 0
            elif way.linux >= NOT_LINUX:
                assert f"BPF_{way.name.upper()}" not in ways
            else:
                assert ways.get(f"BPF_{way.name.upper()}", way.linux) == way.linux


@pytest.mark.parametrize("kind", TYPES)
def test_attach_types_narrow_the_type(kind: ProgramType) -> None:
    """Each way to attach has helpers of at least the type, and names in fields are names of ways."""
    names = {way.name for way in kind.attach_types}
    assert all(way.helpers >= kind.helpers for way in kind.attach_types)
    assert {name for field in kind.context.fields for name in field.attach_types} <= names
    assert kind.attached() == kind.attached(kind.attach_types[0].name if kind.attach_types else "")
    if kind.attach_types:
        with pytest.raises(UnsupportedError, match="not attached to"):
            kind.attached("nowhere")


@pytest.mark.parametrize("kind", TYPES)
def test_helpers_are_known(kind: ProgramType) -> None:
    """Every number in a helper set is a helper of the registry, and own prototypes belong to helpers of the set."""
    registry = default_registry()
    assert all(registry.helper(number) for number in kind.helpers)
    own = [number for number, _ in kind.prototypes]
    assert len(own) == len(set(own))
    assert set(own) <= kind.helpers


def test_all_helpers_of_linux_are_registered_once() -> None:
    """The registry has all 211, and those that run here are not shadowed."""
    registry = default_registry()
    assert sorted(each.id for each in registry.helpers if each.id < NOT_LINUX) == list(range(1, 212))
    runs = {each.id for extension in (CORE_EXTENSION, XDP_EXTENSION) for each in extension.helpers}
    assert not runs & {each.id for each in LINUX_EXTENSION.helpers}
    assert len({each.name for each in LINUX_HELPER_ROWS}) == len(LINUX_HELPER_ROWS)


def test_map_types_of_helpers_are_known() -> None:
    """Maps that helpers take are of kinds that the registry knows."""
    known = {each.id for each in default_registry().map_kinds}
    assert {number for helper in LINUX_HELPER_ROWS for number in helper.map_types} <= known
    assert all(each.verified_only for each in LINUX_MAP_KINDS)


def test_helper_sets_differ_by_attach_type() -> None:
    """Bind is for programs at connect only."""
    assert 64 in helper_numbers("cgroup_sock_addr", "cgroup_inet4_connect")
    assert 64 not in helper_numbers("cgroup_sock_addr", "cgroup_inet4_bind")
    assert 64 not in helper_numbers("cgroup_sock_addr")


@pytest.mark.parametrize("row", SECTIONS, ids=[each.prefix for each in SECTIONS])
def test_sections_are_those_of_libbpf(row: Section) -> None:
    """A section means what libbpf takes it for, where it knows the name."""
    library = ctypes.util.find_library("bpf")
    if library is None:
        pytest.skip("libbpf is not installed")
    kind = default_registry().program_type(row.program_type, row.attach_type)
    names = [row.prefix] + ([f"{row.prefix}/some/thing"] if row.parameter else [])
    for name in names:
        linux_type, attach = ctypes.c_int(), ctypes.c_int()
        find = ctypes.CDLL(library).libbpf_prog_type_by_name
        if find(name.encode(), ctypes.byref(linux_type), ctypes.byref(attach)) == 0:
            assert linux_type.value == kind.linux_type
            assert kind.attach is None or attach.value == kind.attach.linux
        found = default_registry().section(name)
        assert found is row


def _program(section: str) -> ProgramSpec:
    return ProgramSpec(name="p", section=section, code=(), subprograms=())


@pytest.mark.parametrize(
    ("section", "override", "name", "attach"),
    [
        ("cgroup/bind4", None, "cgroup_sock_addr", "cgroup_inet4_bind"),
        ("cgroup/bind4", "cgroup_sock_addr", "cgroup_sock_addr", "cgroup_inet4_bind"),
        ("cgroup/bind4", "cgroup/connect6", "cgroup_sock_addr", "cgroup_inet6_connect"),
        ("mine", "cgroup/connect6", "cgroup_sock_addr", "cgroup_inet6_connect"),
        ("mine", "cgroup_skb", "cgroup_skb", "cgroup_inet_ingress"),
        ("mine", "classifier", "sched_cls", ""),
        ("xdp", "sched_cls", "sched_cls", ""),
        ("kretprobe/f", None, "kprobe", "kprobe"),
        ("xdp/devmap", None, "xdp", "devmap"),
        ("xdp/devmap", "xdp", "xdp", "devmap"),
        ("mine", "xdp", "xdp", "xdp"),
    ],
)
def test_types_come_from_sections_and_options(section: str, override: str | None, name: str, attach: str) -> None:
    """The section says type and attach type; an option overrides it by a type's name or by another section's."""
    kind = program_type(default_registry(), _program(section), override)
    assert (kind.name, kind.attach.name if kind.attach else "") == (name, attach)


@pytest.mark.parametrize(("section", "override"), [("mine", None), ("xdp", "yours"), ("cgroup/nothing", None)])
def test_unknown_types_are_the_users_error(section: str, override: str | None) -> None:
    """What names no type is refused as input."""
    with pytest.raises(InputError):
        program_type(default_registry(), _program(section), override)
