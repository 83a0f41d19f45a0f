"""What is told besides the message: the slice, states in the kernel's form, warnings as the policy wants them.

Not here: messages and fixes (test_failures.py).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import VerificationError
from runtime.loader import program_type
from runtime.object import read_object
from runtime.verifier import Policy, VerifiedProgram, WarningCode, causes, states, verify
from tests.golden.failures.cases import CASES, Case, clang, compiled, judge, resolved
from xdp.cli import main
from xdp.extension import default_registry
from xdp.witness import find_witness

pytestmark = pytest.mark.skipif(clang() is None, reason="clang is not installed")

LEAKS = ["leak_return", "leak_map_store", "leak_comparison"]
DIVIDES = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int divides(struct xdp_md *ctx)
{
    return 100 / ctx->rx_queue_index;
}

char LICENSE[] SEC("license") = "GPL";
"""
COUNTS = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int counts(struct xdp_md *ctx)
{
    __u64 rounds = 0;

    while (rounds != 1UL << 40) {
        rounds++;
        asm volatile("" : "+r"(rounds));
    }
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
"""
DEAD = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int __attribute__((naked)) dead(struct xdp_md *ctx)
{
    asm volatile("r0 = 2");
    asm volatile("exit");
    asm volatile("r0 = 1");
    asm volatile("exit");
}

char LICENSE[] SEC("license") = "GPL";
"""


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _object(name: str) -> bytes:
    return compiled(name, resolved(_case(name), fixed=False))


def _error(name: str) -> VerificationError:
    """Why the program is rejected."""
    with pytest.raises(VerificationError) as caught:
        judge(_case(name), _object(name))
    return caught.value


def _proven(name: str, data: bytes, policy: Policy) -> VerifiedProgram:
    """The proof of the object's only program under a policy."""
    spec = read_object(data, name=name)
    (program,) = spec.programs
    registry = default_registry()
    return verify(program, program_type(registry, program, None), spec.maps, registry, policy=policy)


def test_the_slice_leads_from_the_operand_to_where_it_comes_from() -> None:
    """Of a header found by a length: the load of the length, its shift and mask, the sum, and the check that was too short."""
    made = causes(_error("packet_variable_header"), default_registry())
    assert [each.pc for each in made] == sorted(each.pc for each in made)
    texts = [each.instruction for each in made]
    assert texts[-1] == "r1 += r2"
    assert "r2 &= 60" in texts
    assert any(each.value.startswith("not taken") for each in made)
    assert not any("w0 = 1" in text for text in texts)


def test_the_slice_follows_the_stack_and_functions() -> None:
    """What a key in memory was stored from, and the call that made a pointer stale, are part of it."""
    assert any("stores context" in each.value for each in causes(_error("leak_key"), default_registry()))
    assert any("changes the packet" in each.value for each in causes(_error("stale_in_function"), default_registry()))


def test_states_have_the_form_of_the_kernels_log() -> None:
    """Each instruction with its opcode and what it wrote, under its line of source."""
    spec = read_object(_object("packet_off_by_one"), name="off")
    (program,) = spec.programs
    registry = default_registry()
    log = states(program, program_type(registry, program, None), spec.maps, registry)
    assert log[0] == "0: R1=ctx() R10=fp0"
    assert any(line.startswith("; void *data = ") and "@ packet_off_by_one.c:" in line for line in log)
    loads = [line for line in log if "r1 = *(u32 *)(r1 +0)" in line]
    assert loads[0].startswith("2: (61) ")
    assert loads[0].endswith("; R1_w=pkt(off=0,r=0)")
    assert log[-1].startswith("reads byte 13 of the packet")


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_may_be_warned_of(name: str) -> None:
    """With `leaks=warn` the program is accepted, with a warning at the line that the rejection names."""
    (warning,) = _proven(name, _object(name), Policy(leaks="warn")).warnings
    error = _error(name)
    assert (warning.code, warning.pc, warning.source, warning.message) == (
        WarningCode.LEAK,
        error.pc,
        error.source,
        str(error),
    )


def test_divisors_are_warned_of_on_request() -> None:
    """A divisor that may be 0 is no rejection and, by default, no warning."""
    data = compiled("divides", DIVIDES)
    assert _proven("divides", data, Policy()).warnings == ()
    (warning,) = _proven("divides", data, Policy(division_by_zero="warn")).warnings
    assert warning.code is WarningCode.DIVISION
    assert warning.source.endswith("divides.c:7")


def test_unreachable_code_is_warned_of_unless_allowed() -> None:
    """The first instruction that nothing leads to is named."""
    data = compiled("dead", DEAD)
    (warning,) = _proven("dead", data, Policy()).warnings
    assert (warning.code, warning.pc) == (WarningCode.UNREACHABLE, 2)
    assert warning.source.endswith("dead.c:9")
    assert _proven("dead", data, Policy(unreachable="allow")).warnings == ()


def test_stack_that_was_not_written_may_be_allowed() -> None:
    """The policy keeps quiet about it; the fact stays."""
    proven = _proven("uninit_padding", _object("uninit_padding"), Policy(uninitialised_stack="allow"))
    assert proven.warnings == ()
    assert proven.facts.reads_uninitialised_stack


def test_a_loop_that_counts_is_run_for_a_million_instructions() -> None:
    """Registers differ in each round, so only the number of instructions tells that it goes on."""
    data = compiled("counts", COUNTS)
    with pytest.raises(VerificationError) as caught:
        _proven("counts", data, Policy(steps=2000))
    found = find_witness(caught.value, read_object(data, name="counts"), default_registry())
    assert found is not None
    assert found.text == "is still running after 1,000,000 instructions"


def test_the_command_takes_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--leaks warn turns exit code 1 into 0 and a warning; -v shows the slice, -vv the states."""
    target = tmp_path / "leak_return.o"
    target.write_bytes(_object("leak_return"))
    assert main(["verify", str(target), "-v"]) == 1
    assert "what made it so:" in capsys.readouterr().out
    assert main(["verify", str(target), "--leaks", "warn", "-vv"]) == 0
    out = capsys.readouterr().out
    assert "warning: r0 is a pointer into the packet" in out
    assert "[leak]" in out
    assert "R0_w=pkt(off=0,r=0)" in out
