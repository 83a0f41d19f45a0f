"""The rows of helpers: all of Linux, each well-formed, and the ones that run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime.helpers import CORE_HELPERS, LINUX_HELPERS, linux_helper
from runtime.native.library import library
from runtime.native.references import closure
from runtime.spec import Arg, ArgType, Extension, Helper, MapOp, Registry, ReturnType

_HEADER = Path("/usr/include/linux/bpf.h")
_VMLINUX = Path("/sys/kernel/btf/vmlinux")
_OF_ONE_HOOK = {44, 54, 65, 121, 188, 189, 190}  # named without the hook's prefix here


def _names(pattern: str, text: str) -> dict[int, str]:
    return {int(number): name for name, number in re.findall(pattern, text)}


def _compare(theirs: dict[int, str]) -> None:
    for row in LINUX_HELPERS:
        if row.id in theirs:
            assert theirs[row.id].removesuffix(row.name) in ({"", "xdp_"} if row.id in _OF_ONE_HOOK else {""})


def test_numbers_and_names_are_those_of_the_uapi() -> None:
    """The header of this machine gives every helper that it knows the same number."""
    if not _HEADER.exists():
        pytest.skip("linux/bpf.h is not installed")
    names = re.findall(r"\bFN\((\w+)(?:, \d+, ##ctx)?\)", _HEADER.read_text())
    theirs = dict(enumerate(names))
    assert theirs.pop(0) == "unspec"
    assert len(theirs) > 200
    _compare(theirs)


@pytest.mark.skipif(shutil.which("bpftool") is None or not os.access(_VMLINUX, os.R_OK), reason="needs bpftool and BTF")
def test_numbers_and_names_are_those_of_the_running_kernel() -> None:
    """The kernel's BTF gives every helper that it knows the same number."""
    command = ["bpftool", "btf", "dump", "file", str(_VMLINUX), "format", "raw"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = _names(r"'BPF_FUNC_(\w+)' val=(\d+)", text)
    theirs.pop(0, None)
    assert len(theirs) > 200
    _compare(theirs)


def test_all_numbers_are_there_once() -> None:
    """The rows are numbers 1 to 211 in order, with names of their own."""
    assert [row.id for row in LINUX_HELPERS] == list(range(1, 212))
    assert len({row.name for row in LINUX_HELPERS}) == 211
    assert all(linux_helper(row.id) is row for row in LINUX_HELPERS)
    with pytest.raises(KeyError):
        linux_helper(0)


def test_sizes_follow_memory() -> None:
    """Every memory argument of variable size is followed by its size, and no size stands alone."""
    memory = {ArgType.MEMORY, ArgType.UNINIT_MEMORY}
    sizes = {ArgType.CONST_SIZE, ArgType.CONST_SIZE_OR_ZERO}
    without = {"lwt_seg6_store_bytes", "lwt_seg6_action"}  # Linux has ANYTHING there
    for row in LINUX_HELPERS:
        types = [each.type for each in row.prototype.args]
        for at, each in enumerate(types):
            following = types[at + 1] if at + 1 < len(types) else None
            if each in memory and row.name not in without:
                assert following in sizes, row.name
            if each in sizes:
                assert types[at - 1] in memory, row.name
        assert len(types) <= 5


def test_rows_say_what_calls_do() -> None:
    """Spot checks of what the verifier relies on."""
    assert linux_helper(1).prototype.ret is ReturnType.MAP_VALUE_OR_NULL
    assert linux_helper(1).prototype.packet_access
    assert linux_helper(44).prototype.invalidates_packet
    assert linux_helper(44).moves_packet
    assert linux_helper(12).prototype.invalidates_packet
    assert linux_helper(6).prototype.gpl_only
    assert linux_helper(84).prototype.acquires
    assert linux_helper(86).prototype.args == (Arg(ArgType.ANY_SOCK_COMMON, releases=True),)
    assert linux_helper(28).prototype.args[0] == Arg(ArgType.MEMORY, nullable=True)
    assert linux_helper(16).prototype.args[0] == Arg(ArgType.UNINIT_MEMORY, writes=True)
    assert linux_helper(113).prototype.args[2] == Arg(ArgType.ANYTHING, address=True)
    assert linux_helper(163).prototype.args[2] == Arg(ArgType.FIXED_MEMORY, writes=True, size=4)


@pytest.mark.parametrize("row", CORE_HELPERS, ids=lambda row: row.name)
def test_a_row_that_runs_has_one_way_to_run(row: Helper) -> None:
    """A core row keeps Linux's number, name and arguments, and names exactly one of native, operation and builtin."""
    linux = linux_helper(row.id)
    assert (row.name, row.prototype.args, row.prototype.ret) == (linux.name, linux.prototype.args, linux.prototype.ret)
    assert sum((row.native is not None, row.map_op is not None, bool(row.builtin))) == 1


def test_core_rows_cover_what_programs_need() -> None:
    """Maps, clocks, random numbers, CPU, messages, tail calls, checksums and loops can be run."""
    assert {1, 2, 3, 5, 6, 7, 8, 12, 28, 42, 125, 160, 164, 181, 195} <= {row.id for row in CORE_HELPERS}
    assert {row.map_op for row in CORE_HELPERS} >= {MapOp.LOOKUP, MapOp.UPDATE, MapOp.DELETE, MapOp.LOOKUP_PERCPU}


def test_core_rows_override_linux_rows() -> None:
    """A registry can hold all of Linux with the rows that run in place of those that do not."""
    rows = {row.id: row for row in LINUX_HELPERS} | {row.id: row for row in CORE_HELPERS}
    registry = Registry([Extension(name="all", helpers=tuple(rows.values()))])
    assert registry.helper(5) is next(row for row in CORE_HELPERS if row.id == 5)
    assert registry.helper_named("bpf_sk_lookup_tcp") is linux_helper(84)


def test_natives_take_the_environment_first() -> None:
    """Every native takes the environment and at least the words of its prototype, and compiles."""
    natives = [row.native for row in CORE_HELPERS if row.native is not None]
    library(natives)
    arity = {each.symbol: each.arity for each in closure(natives)}  # type: ignore[arg-type] # made by @native
    for row in CORE_HELPERS:
        if row.native is not None:
            assert arity[row.native.symbol] >= 1 + len(row.prototype.args)
