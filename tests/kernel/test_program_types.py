"""Program types of Linux against the running kernel: every access to every context, every helper, every return value."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from runtime.engine.bpf import KernelMap
from runtime.errors import DeviceError, VerificationError
from runtime.isa import decode
from runtime.spec import ArgType, FieldKind, Helper, MapSpec, ProgramSpec, ProgramType, Subprogram
from runtime.verifier import Policy, verify
from tests.support.kernel_programs import EXIT, call, instruction, move
from tests.support.kernel_types import accepts, helpers_of, ranges
from xdp.extension import default_registry
from xdp.linux import LINUX_PROGRAM_TYPES
from xdp.sockets import NOT_LINUX, SOCKET_PROGRAM_TYPES

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root"),
]

WAYS = [
    pytest.param(kind.attached(way.name) if way else kind, id=way.name if way else kind.name)
    for kind in (*LINUX_PROGRAM_TYPES, *SOCKET_PROGRAM_TYPES)
    for way in kind.attach_types or (None,)
    if kind.linux_type is not None and (way is None or way.linux < NOT_LINUX)
]

PROTOTYPES = [
    each
    for i, each in enumerate(WAYS)
    if (each.values[0].name, each.values[0].helpers) not in [(w.values[0].name, w.values[0].helpers) for w in WAYS[:i]]
]
"""Of ways with the same helpers, one."""

WITH_PACKET = ("sched_cls", "sched_act", "cgroup_skb", "sock_ops")

XDP_WAYS = [
    pytest.param(default_registry().program_type("xdp", name), id=f"xdp {name}") for name in ("xdp", "devmap", "cpumap")
]

LOADS = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}
SIGNED_LOADS = {1: 0x91, 2: 0x89, 4: 0x81}
STORES = {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}
IMMEDIATE_STORES = {1: 0x72, 2: 0x6A, 4: 0x62, 8: 0x7A}
ATOMIC_ADDS = {4: 0xC3, 8: 0xDB}

AS_THE_KERNEL = Policy(leaks="warn")
"""Root may learn where the kernel's memory lies, and the kernel lets its programs tell."""

_ALIGNED_ONLY = 512
_BEYOND = 24

NOT_HERE = {
    "kprobe": {36: "the kernel is locked down", 58: "built without CONFIG_BPF_KPROBE_OVERRIDE"},
    "tracepoint": {36: "the kernel is locked down"},
    "perf_event": {36: "the kernel is locked down"},
    "raw_tracepoint": {36: "the kernel is locked down"},
}
"""Helpers that types may call on other kernels than this one, perhaps."""


def _number(kind: ProgramType) -> tuple[int, int]:
    assert kind.linux_type is not None
    return kind.linux_type, kind.attach.linux if kind.attach else 0


def _known(kind: ProgramType) -> None:
    """Skips where the running kernel does not know the type at all."""
    accepted, _ = accepts(*_number(kind), move(0, 1) + EXIT)
    if not accepted:
        pytest.skip(f"this kernel does not load {kind.name} programs attached in that way")


def _refusal(
    kind: ProgramType, code: bytes, policy: Policy | None = None, maps: tuple[MapSpec, ...] = ()
) -> VerificationError | None:
    """Why we reject a program, or None."""
    spec = ProgramSpec(
        name="probe", section="", code=decode(code), subprograms=(Subprogram(0, "probe"),), license="GPL"
    )
    try:
        verify(spec, kind, maps, default_registry(), policy=policy)
    except VerificationError as error:
        return error
    return None


def _offsets(size: int) -> Iterator[int]:
    """Where accesses are tried: everywhere; in a long context only around its ends."""
    for offset in range(size + _BEYOND):
        if size <= _ALIGNED_ONLY or offset < _BEYOND or offset >= size - _BEYOND:
            yield offset


def _accesses(size: int) -> Iterator[bytes]:
    for offset in _offsets(size):
        for opcode in (*LOADS.values(), *SIGNED_LOADS.values()):
            yield instruction(opcode, 0, 1, offset)
        for opcode in STORES.values():
            yield move(2, 0) + instruction(opcode, 1, 2, offset)
        for opcode in IMMEDIATE_STORES.values():
            yield instruction(opcode, 1, 0, offset, 1)
        for opcode in ATOMIC_ADDS.values():
            yield move(2, 0) + instruction(opcode, 1, 2, offset)


@pytest.mark.parametrize("kind", [*WAYS, *XDP_WAYS])
def test_context_accesses_are_judged_as_by_the_kernel(kind: ProgramType) -> None:
    """Every width at every offset, loaded, sign-extended, stored and added to, is accepted exactly when the kernel accepts."""
    _known(kind)
    differing = []
    for access in _accesses(kind.context.size):
        code = access + move(0, 1) + EXIT
        theirs, _ = accepts(*_number(kind), code)
        ours = _refusal(kind, code)
        if (ours is None) != theirs:
            differing.append((decode(access)[-1], f"kernel: {theirs}", str(ours)))
    assert not differing


@pytest.mark.parametrize("kind", WAYS)
def test_helpers_are_those_of_the_kernel(kind: ProgramType) -> None:
    """The type may call what the kernel lets it call, and nothing else."""
    _known(kind)
    theirs = helpers_of(*_number(kind))
    if _lacks_newest(kind):
        pytest.skip("this kernel has fewer helpers than Linux 6.2")
    allowed_elsewhere = NOT_HERE.get(kind.name, {}).keys()
    numbers = {number for number in kind.helpers if number < NOT_LINUX}
    assert ranges(numbers - theirs - allowed_elsewhere) == ""
    assert ranges(theirs - kind.helpers) == ""


def _lacks_newest(kind: ProgramType) -> bool:
    """Whether the kernel is older than the last helper that Linux got."""
    _, log = accepts(*_number(kind), call(211) + move(0, 1) + EXIT, log=True)
    return "invalid func" in log


RETURNS = [*range(-2, 7), 0x7FFF_FFFF]


@pytest.mark.parametrize("kind", [*WAYS, *XDP_WAYS])
def test_return_values_are_those_of_the_kernel(kind: ProgramType) -> None:
    """Constants, and a number of which nothing or some bits are known, may be returned exactly when the kernel says so."""
    _known(kind)
    random, low = call(7), [instruction(0x57, 0, 0, 0, mask) for mask in (0, 1, 2, 3, 4, 7)]
    programs = [move(0, value) + EXIT for value in RETURNS]
    programs += [random + EXIT, *(random + bits + EXIT for bits in low)]
    programs += [random + bits + instruction(0x07, 0, 0, 0, 1) + EXIT for bits in low]
    programs += [instruction(0xB4, 0, 0, 0, 0xFFFF_FFFF) + EXIT, instruction(0xBF, 0, 1) + EXIT, EXIT]
    explained = {instruction(0xBF, 0, 1) + EXIT}  # the context returned: a leak by our policy
    differing = [
        (decode(code), f"kernel: {not theirs}", str(ours))
        for code in programs
        for theirs, ours in [(accepts(*_number(kind), code)[0], _refusal(kind, code))]
        if (ours is None) != theirs and code not in explained
    ]
    assert not differing


CONTEXT = 6
"""The register that keeps the context across calls."""


def _argument(register: int, value: str) -> bytes:
    """An argument: `ctx`, `mem` (64 bytes of stack that were written), a number, or `none` (never written)."""
    match value:
        case "ctx":
            return instruction(0xBF, register, CONTEXT)
        case "mem":
            return instruction(0xBF, register, 10) + instruction(0x07, register, 0, 0, -64)
        case "none":
            return b""
        case _:
            return move(register, int(value))


def _call(number: int, values: tuple[str, ...]) -> bytes:
    """The helper called with these values, and a legal return; r1 and the others are void before."""
    stack = b"".join(instruction(0x7A, 10, 0, offset) for offset in range(-64, 0, 8))
    keep = instruction(0xBF, CONTEXT, 1)
    void = call(7)  # leaves r1 to r5 unreadable
    arguments = b"".join(_argument(register, value) for register, value in enumerate(values, 1))
    return keep + stack + void + arguments + call(number) + move(0, 1) + EXIT


_FITTING = {
    ArgType.CONTEXT: "ctx",
    ArgType.ANYTHING: "0",
    ArgType.CONST_SIZE: "8",
    ArgType.CONST_SIZE_OR_ZERO: "8",
    ArgType.CONST_ALLOC_SIZE: "8",
}
_OTHERS = ("ctx", "mem", "0", "8", "65", "-1", "none")


def _calls(helper: Helper) -> Iterator[tuple[str, ...]]:
    """Calls with arguments as the prototype has them, then with one of them replaced or left out."""
    fitting = tuple(_FITTING.get(arg.type, "mem") for arg in helper.prototype.args)
    yield fitting
    for position in range(len(fitting)):
        for other in _OTHERS:
            if other != fitting[position]:
                yield (*fitting[:position], other, *fitting[position + 1 :])


def _helpers(kind: ProgramType) -> Iterator[Helper]:
    """The helpers that the type may call on this kernel, with the prototypes that they have for it."""
    own = dict(kind.prototypes)
    for number in sorted(kind.helpers - NOT_HERE.get(kind.name, {}).keys()):
        if number >= NOT_LINUX:
            continue
        helper = default_registry().helper(number)
        if helper is None:
            continue
        yield replace(helper, prototype=own[number]) if number in own else helper


@pytest.mark.parametrize("kind", [*PROTOTYPES, XDP_WAYS[0]])
def test_arguments_of_helpers_are_judged_as_by_the_kernel(kind: ProgramType) -> None:
    """A helper takes the arguments that the kernel lets it take, in each program type."""
    _known(kind)
    differing = []
    for helper in _helpers(kind):
        for values in _calls(helper):
            code = _call(helper.id, values)
            theirs, log = accepts(*_number(kind), code, log=True)
            ours = _refusal(kind, code, AS_THE_KERNEL)
            if (ours is None) != theirs:
                why = [line for line in log.splitlines() if not line.startswith("processed")][-1:]
                differing.append((helper.name, values, why, str(ours)))
    assert not differing, "\n".join(map(str, differing))


def _packet_read_after(kind: ProgramType, helper: Helper) -> bytes:
    """A call between the comparison of a packet pointer with the end and a load through it."""
    values = next(_calls(helper))
    ends = [f for f in kind.context.fields if f.kind in (FieldKind.REGION, FieldKind.REGION_END)]
    loads = b"".join(instruction(LOADS[each.size], 7 + i, 1, each.offset) for i, each in enumerate(ends))
    room = instruction(0xBF, 2, 7) + instruction(0x07, 2, 0, 0, 8) + instruction(0xBD, 2, 8, 2) + move(0, 1) + EXIT
    stack = b"".join(instruction(0x7A, 10, 0, offset) for offset in range(-64, 0, 8))
    arguments = b"".join(_argument(register, value) for register, value in enumerate(values, 1))
    read = instruction(LOADS[1], 0, 7) + move(0, 1) + EXIT
    return instruction(0xBF, CONTEXT, 1) + loads + room + stack + arguments + call(helper.id) + read


@pytest.mark.parametrize("kind", [*(w for w in PROTOTYPES if w.values[0].name in WITH_PACKET), XDP_WAYS[0]])
def test_packet_pointers_survive_the_calls_that_the_kernel_says(kind: ProgramType) -> None:
    """After a helper, a packet pointer is void exactly when the kernel says so."""
    _known(kind)
    differing = []
    for helper in _helpers(kind):
        code = _packet_read_after(kind, helper)
        theirs, log = accepts(*_number(kind), code, log=True)
        ours = _refusal(kind, code, AS_THE_KERNEL)
        if (ours is None) != theirs:
            differing.append((helper.name, log.splitlines()[-2:], str(ours)))
    assert not differing


MAPS = {
    1: (4, 8, 4, 0), 2: (4, 8, 4, 0), 3: (4, 4, 4, 0), 4: (4, 4, 4, 0), 5: (4, 8, 4, 0), 6: (4, 8, 4, 0),
    7: (4, 64, 4, 0), 8: (4, 4, 4, 0), 9: (4, 8, 4, 0), 10: (4, 8, 4, 0), 11: (8, 8, 4, 1), 14: (4, 4, 4, 0),
    15: (4, 4, 4, 0), 16: (4, 4, 4, 0), 17: (4, 4, 4, 0), 18: (4, 4, 4, 0), 19: (16, 8, 0, 0), 20: (4, 4, 4, 0),
    21: (16, 8, 0, 0), 22: (0, 8, 4, 0), 23: (0, 8, 4, 0), 25: (4, 4, 4, 0), 27: (0, 0, 4096, 0), 30: (0, 8, 4, 0),
    31: (0, 0, 4096, 0),
}  # fmt: skip
"""Map types with a definition that the kernel takes: key size, value size, entries, flags."""

DELETE = 3
NO_OPERATION = {(DELETE, number): "maps of sockets are not changed by programs" for number in (15, 18)}
"""What the kernel allows and we do not, by helper and map type."""


@contextmanager
def _kernel_map(spec: MapSpec) -> Iterator[KernelMap]:
    """A map of the kernel; one for each program, since some belong to the type of the first program that names them."""
    try:
        made = KernelMap(
            kind=spec.kind,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=spec.max_entries,
            flags=spec.flags,
            name=spec.name,
        )
    except DeviceError as error:
        pytest.skip(f"this kernel has no maps of type {spec.kind}: {error}")
    try:
        yield made
    finally:
        made.close()


def _call_on_map(helper: Helper, position: int, reference: int) -> bytes:
    """The helper called on a map with arguments that fit."""
    stack = b"".join(instruction(0x7A, 10, 0, offset) for offset in range(-64, 0, 8))
    values = next(_calls(helper))
    arguments = b"".join(_argument(each, value) for each, value in enumerate(values, 1) if each != position)
    pointer = instruction(0x18, position, 1, 0, reference) + instruction(0)
    return instruction(0xBF, CONTEXT, 1) + stack + arguments + pointer + call(helper.id) + move(0, 1) + EXIT


@pytest.mark.parametrize("kind", [*PROTOTYPES, XDP_WAYS[0]])
def test_helpers_take_the_maps_that_the_kernel_lets_them_take(kind: ProgramType) -> None:
    """Every helper on a map of every type is accepted exactly when the kernel accepts, or the difference is listed."""
    _known(kind)
    differing = []
    for helper in _helpers(kind):
        position = next((i for i, arg in enumerate(helper.prototype.args, 1) if arg.type is ArgType.CONST_MAP), 0)
        for number, (key, value, entries, flags) in MAPS.items() if position else ():
            spec = MapSpec(name="m", kind=number, key_size=key, value_size=value, max_entries=entries, flags=flags)
            with _kernel_map(spec) as made:
                theirs, log = accepts(*_number(kind), _call_on_map(helper, position, made.fd), log=True)
            ours = _refusal(kind, _call_on_map(helper, position, 0), AS_THE_KERNEL, maps=(spec,))
            if (ours is None) != theirs and (helper.id, number) not in NO_OPERATION:
                differing.append((helper.name, number, log.splitlines()[-2:-1], str(ours)))
    assert not differing
