"""Witnesses of rejections: inputs with which the wrong programs of tests/golden/failures do what the verifier says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import final

import pytest

from netdev.port import pack
from runtime.engine.interpreter.trial import Trial
from runtime.errors import VerificationError
from runtime.loader import LoadedObject
from runtime.maps import possible_cpus
from runtime.object import read_object
from runtime.verifier import Facts, FailureCode, Policy, Suspect, VerifiedProgram
from tests.golden.failures.cases import CASES, Case, clang, compiled, judge, resolved
from xdp.cli import main
from xdp.extension import default_registry
from xdp.hooks import Hook
from xdp.witness import Witness, find_witness

CONFIRMED = 52
RULES = {
    "atomic_packet", "context_width", "frame_pointer_written", "helper_license", "helper_map_type", "helper_other_type",
    "pointer_end_moved", "stack_unaligned",
}  # fmt: skip
"""Programs that only get to the instruction, for what they break is a rule."""
UNSEEN = {"budget_branches", "loop_waits_for_chance"}
"""Programs that do no harm in a run of any length: the first is safe, the second ends by chance."""
LINES = {
    "atomic_unaligned": "an atomic operation on 8 bytes at an address that is no multiple of 8",
    "call_recursion": "calls function number 9 while 8 are active",
    "callback_return": "and 0 to 1 are allowed",
    "context_other_type": "reads memory outside of the context, up to 20 bytes past the end of struct xdp_md",
    "context_written": "writes xdp_md.ingress_ifindex, which programs may only read",
    "divide_by_zero": "by 0",
    "end_missing": "runs on behind the last instruction",
    "helper_moved_context": "past the end of the context",
    "helper_size_negative": "write -1 bytes",
    "helper_size_zero": "with a size of 0",
    "leak_comparison": "decides by the address of byte 0 of the packet",
    "leak_key": "hands bpf_map_lookup_elem the address of the context",
    "leak_map_store": "stores the address of byte 0 of the packet",
    "leak_return": "returns the address of byte 0 of the packet",
    "map_index_too_large": "past the end of a value of map 'tables', which has 64",
    "pointer_multiplied": "which is no place in the program's memory",
    "readonly_map": "writes 8 bytes of a value of map 'limits', which programs may only read",
    "stack_index_too_large": "behind the end of the stack",
    "stack_size_too_large": "past the end of the stack",
    "stack_too_large": "bytes of stack in use in 2 functions",
    "stale_adjust_tail": "that was loaded before bpf_xdp_adjust_tail changed the packet",
    "packet_off_by_one": "reads 1 byte past the end of the packet",
    "packet_variable_header": "reads 2 bytes past the end of the packet",
    "packet_negative_offset": "reads 1 byte before the start of the packet",
    "null_unchecked": "reads 8 bytes through a null pointer",
    "map_value_too_small": "reads 4 bytes past the end of a value",
    "uninit_return": "reads r0, which was never written",
    "stale_adjust_head": "before the start of the packet",
    "loop_no_progress": "is back with every register and all memory as they were",
}

pytestmark = pytest.mark.skipif(clang() is None, reason="clang is not installed")


@final
class _Safe:
    """What a hook runs: a proven program on trial."""

    def __init__(self, trial: Trial, proven: VerifiedProgram) -> None:
        self._trial = trial
        self.facts: Facts = proven.facts

    def executable(self, _engine: str | None = None) -> Trial:
        """The trial itself."""
        return self._trial


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _object(case: Case) -> bytes:
    return compiled(case.name, resolved(case, fixed=False))


def _witness(case: Case) -> Witness | None:
    """What is found for the program."""
    data = _object(case)
    with pytest.raises(VerificationError) as caught:
        judge(case, data)
    return find_witness(caught.value, read_object(data, name=case.name), default_registry())


@pytest.mark.parametrize("name", LINES)
def test_the_witness_shows_the_failure(name: str) -> None:
    """The guarded run ends with the very violation that the verifier is about."""
    found = _witness(_case(name))
    assert found is not None
    assert LINES[name] in found.text


def test_rejections_are_confirmed_by_execution() -> None:
    """All wrong programs but the listed ones are seen doing what no program may; some of those are seen getting there."""
    found = {case.name: _witness(case) for case in CASES if case.error}
    confirmed = {name for name, each in found.items() if each is not None and each.harm}
    assert len(confirmed) >= CONFIRMED
    assert {name for name, each in found.items() if each is None} == UNSEEN
    assert {name for name, each in found.items() if each is not None and each.rule} == RULES
    assert confirmed | RULES | UNSEEN == found.keys()


@pytest.mark.parametrize("code", [FailureCode.LEAK, FailureCode.LOOP, FailureCode.HELPER_ARG])
def test_a_trial_sees_no_harm_in_safe_programs(code: FailureCode) -> None:
    """Programs with the fix, taken for suspects at each of their instructions, do nothing that a trial stops at."""
    for case in CASES[:: 1 if code is FailureCode.LEAK else 4]:
        data = compiled(case.name, resolved(case, fixed=True))
        proven = judge(case, data)
        spec = read_object(data, name=case.name)
        for pc in range(len(proven.spec.code)):
            suspect = Suspect(
                spec=proven.spec,
                program_type=proven.program_type,
                maps=proven.maps,
                facts=proven.facts,
                trail=(),
                pc=pc,
                code=code,
            )
            with LoadedObject(
                spec, default_registry(), engine="interpreter", policy=Policy(), cpus=possible_cpus()
            ) as loaded:
                trial = Trial(suspect, tuple(loaded.maps.values()))
                with closing(Hook(_Safe(trial, proven), keep=False)) as hook:
                    for packet in (bytes(60), b"\xff" * 14, b"", bytes(range(1, 90))):
                        hook.run(pack([packet], timestamps=[0]), checked=True)
                        assert trial.course.violation is None, (case.name, pc, trial.course.violation)


def test_a_packet_that_is_long_enough_is_no_witness() -> None:
    """The packet that confirms an off-by-one is exactly one byte short."""
    found = _witness(_case("packet_off_by_one"))
    assert found is not None
    assert len(found.packet) == 13


def test_the_context_is_part_of_the_input() -> None:
    """A size that comes from a field of the context is chosen by the search, and told."""
    found = _witness(_case("stack_size_too_large"))
    assert found is not None
    assert found.context.keys() == {"rx_queue_index"}


def test_a_rule_is_told_from_harm() -> None:
    """A license is no matter of execution: the witness only gets to the call, and says why that is all."""
    found = _witness(_case("helper_license"))
    assert found is not None
    assert not found.harm
    assert "license" in found.rule


def test_verify_writes_the_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--witness leaves a capture of one frame, and the text says what happens with it."""
    source = tmp_path / "wrong.o"
    source.write_bytes(_object(_case("packet_off_by_one")))
    target = tmp_path / "witness.pcap"
    assert main(["verify", str(source), "--witness", str(target)]) == 1
    assert "confirmed by execution: a packet of 13 bytes" in capsys.readouterr().out
    assert target.read_bytes()[-13:] == bytes(13)
