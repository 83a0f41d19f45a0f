"""Objects of which one program asks for what only a running kernel has: the others are read."""

from __future__ import annotations

from typing import Final

import pytest

from runtime.errors import InputError, UnsupportedError
from runtime.object import read_object
from tests.support.sources import compile_c, needs_clang, open_c

pytestmark = needs_clang

_ALONE: Final = """
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));

SEC("xdp") int asking(struct xdp_md *ctx) {
	bpf_rcu_read_lock();
	return XDP_PASS;
}
"""
_BOTH: Final = _ALONE + 'SEC("xdp") int plain(struct xdp_md *ctx) { return XDP_DROP; }'


def test_the_other_programs_are_read() -> None:
    """The object has the plain program, and says why it has not the other."""
    spec = read_object(compile_c(_BOTH), name="both")
    assert [each.name for each in spec.programs] == ["plain"]
    assert [name for name, _ in spec.unsupported] == ["asking"]


def test_an_object_without_another_program_is_refused() -> None:
    """There is nothing to run in it."""
    with pytest.raises(UnsupportedError, match="bpf_rcu_read_lock"):
        read_object(compile_c(_ALONE), name="alone")


def test_who_asks_for_the_program_is_told_why() -> None:
    """The plain program is verified; the other one is refused by its reason, and unknown names as ever."""
    with open_c(_BOTH) as loaded:
        assert loaded.program("plain").verified
        with pytest.raises(UnsupportedError, match="__ksym"):
            loaded.program("asking")
        with pytest.raises(InputError, match="no program"):
            loaded.program("absent")
