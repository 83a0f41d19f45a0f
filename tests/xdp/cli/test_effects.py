"""What a proof found out, in names and in a line."""

from __future__ import annotations

import json

from runtime.loader import program_type
from runtime.object import read_object
from runtime.verifier import VerifiedProgram, verify
from tests.support.commands import EXAMPLES
from xdp.cli.effects import document, sentence
from xdp.extension import default_registry


def _verified(name: str) -> VerifiedProgram:
    registry = default_registry()
    spec = read_object((EXAMPLES / f"{name}.o").read_bytes(), name=name)
    return verify(spec.programs[0], program_type(registry, spec.programs[0]), spec.maps, registry)


def test_a_program_that_does_nothing() -> None:
    """It leaves the packet alone and uses no map."""
    verified = _verified("pass")
    assert sentence(verified) == "leaves the packet alone; 0 bytes of stack"
    facts = document(verified)
    assert not any(facts[name] for name in ("reads_packet", "writes_packet", "moves_packet", "maps", "helpers"))


def test_a_filter() -> None:
    """Maps and helpers have their names, accesses their regions."""
    verified = _verified("dos_filter")
    facts = json.loads(json.dumps(document(verified)))
    assert facts["reads_packet"]
    assert not facts["writes_packet"]
    assert set(facts["maps_written"]) <= set(facts["maps"]) == {each.name for each in verified.maps}
    assert facts["maps_written"]
    assert "map_lookup_elem" in facts["helpers"]
    assert {"maps", "packet"} <= {each for row in facts["regions"] for each in row["reaches"]}
    assert sentence(verified).startswith("reads the packet; writes ")


def test_an_encapsulation() -> None:
    """A program that grows the packet says so."""
    assert sentence(_verified("ipip_encap")).startswith("reads and writes and moves the edges of the packet")
