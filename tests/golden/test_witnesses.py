"""Witnesses of rejections: inputs with which the wrong programs of tests/golden/failures do what the verifier says."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import VerificationError
from runtime.object import read_object
from tests.golden.failures.cases import CASES, Case, clang, compiled, judge, resolved
from xdp.cli import main
from xdp.extension import default_registry
from xdp.witness import Witness, find_witness

CONFIRMED = 28
FOUND = 57
LINES = {
    "packet_off_by_one": "reads 1 byte past the end of the packet",
    "packet_variable_header": "reads 2 bytes past the end of the packet",
    "packet_negative_offset": "reads 1 byte before the start of the packet",
    "null_unchecked": "reads 8 bytes through a null pointer",
    "map_value_too_small": "outside of its values",
    "uninit_return": "reads r0, which was never written",
    "stale_adjust_head": "before the start of the packet",
    "loop_no_progress": "is still running after 200,000 instructions",
}

pytestmark = pytest.mark.skipif(clang() is None, reason="clang is not installed")


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
    """Many of the wrong programs are seen doing what no program may, and most of the others are seen getting there."""
    found = [each for case in CASES if case.error if (each := _witness(case)) is not None]
    print(f"{sum(each.harm for each in found)} confirmed, {sum(not each.harm for each in found)} reached")  # noqa: T201
    assert sum(each.harm for each in found) >= CONFIRMED
    assert len(found) >= FOUND


def test_a_packet_that_is_long_enough_is_no_witness() -> None:
    """The packet that confirms an off-by-one is exactly one byte short."""
    found = _witness(_case("packet_off_by_one"))
    assert found is not None
    assert len(found.packet) == 13


def test_a_path_that_was_not_followed_confirms_nothing() -> None:
    """Behind a load that is no field of the context there are no facts: getting to it is all that a trial shows."""
    found = _witness(_case("context_other_type"))
    assert found is not None
    assert not found.harm


def test_verify_writes_the_packet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--witness leaves a capture of one frame, and the text says what happens with it."""
    source = tmp_path / "wrong.o"
    source.write_bytes(_object(_case("packet_off_by_one")))
    target = tmp_path / "witness.pcap"
    assert main(["verify", str(source), "--witness", str(target)]) == 1
    assert "confirmed by execution: a packet of 13 bytes" in capsys.readouterr().out
    assert target.read_bytes()[-13:] == bytes(13)
