"""The tool that compares verdicts: what it prints, when it fails, and the table of accepted differences."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.isa import assemble
from runtime.spec import ProgramSpec, Subprogram
from tests.kernel.verdicts.__main__ import main
from tests.kernel.verdicts.libbpf import last_words
from tests.kernel.verdicts.policies import POLICIES, explain
from tests.kernel.verdicts.verdict import Pair, Verdict
from tests.runtime.verifier.rules import MAPS, program_of
from xdp.extension import default_registry

EXAMPLES = Path(__file__).parents[2] / "examples"
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="bpf(2) needs root")

LOG = """0: R1=ctx() R10=fp0
R2 invalid mem access 'scalar'
verification time 20 usec
stack depth 0
processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


_SHIFTED = """
r3 = *(u32 *)(r1 + 12)
r2 = 7
r2 >>= r3
r1 = map_value[small] ll
r1 += r2
r0 = *(u8 *)(r1 + 0)
exit
"""


def _pair(ours: Verdict, kernel: Verdict, text: str = "exit") -> Pair:
    spec = ProgramSpec(name="p", section="xdp", code=assemble(text), subprograms=(Subprogram(0, "p"),))
    return Pair(name="p", section="xdp", ours=ours, kernel=kernel, spec=spec)


def test_the_last_words_of_a_log_are_its_reason() -> None:
    """The line before the statistics says why; a log of statistics only says nothing."""
    assert last_words(LOG) == "R2 invalid mem access 'scalar'"
    assert last_words("\n".join(LOG.splitlines()[2:])) == ""


def test_policies_are_told_apart() -> None:
    """Names are unique and every row says why in a sentence."""
    assert len({each.name for each in POLICIES}) == len(POLICIES)
    assert all(each.why.endswith(".") for each in POLICIES)


def test_a_policy_wants_its_evidence() -> None:
    """A phrase of the kernel is no explanation where we accept without the knowledge that the row is about."""
    kernel = Verdict(accepted=False, message="R2 unbounded memory access, make sure to bounds check any such access")
    kind = default_registry().program_type("xdp")
    found = [
        explain(
            Pair(name="p", section="xdp", ours=Verdict(accepted=True), kernel=kernel, kind=kind, spec=spec, maps=MAPS)
        )
        for spec in (program_of(_SHIFTED), program_of(_SHIFTED.replace("r1 += r2", "r1 += 1")))
    ]
    assert found[0] is not None
    assert found[0].name == "shifts by a variable"
    assert found[1] is None


def test_a_safe_program_that_we_reject_is_not_explained() -> None:
    """Failures to prove bounds, loops or nullness are covered by no row."""
    kernel = Verdict(accepted=True)
    for code in ("packet_oob", "map_oob", "null_deref", "loop", "uninit_reg", "stack", "helper_arg", "retval"):
        assert explain(_pair(Verdict(accepted=False, code=code, message="some words"), kernel)) is None


@pytest.mark.root
@ROOT
def test_examples_agree(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a program and a table by type; the exit status is 0 when everything is explained."""
    objects = [str(each) for each in sorted(EXAMPLES.glob("*.o"))]
    assert main(objects) == 0
    printed = capsys.readouterr().out
    assert "pass.o:xdp_pass\txdp\tours accept\tkernel accept" in printed
    assert printed.endswith("0 unexplained\n")


@pytest.mark.root
@ROOT
def test_a_file_that_is_no_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, with what is wrong, and judged by nobody."""
    path = tmp_path / "text.o"
    path.write_text("no object")
    assert main([str(path)]) == 0
    assert "text.o:text\t-\tours none\tkernel none" in capsys.readouterr().out
